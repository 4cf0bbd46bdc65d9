//! Stripe, as much of it as we use: async-stripe's requests, our transport, our views of the answers.

mod failure;
mod fetch;
mod lists;
mod pace;
mod requests;
mod transport;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use clock::{Clock, Entropy};
use contracts::{SubscriptionId, TenantId, UserId};
use serde_json::Value;

pub(crate) use failure::{Class, StripeFailure};
pub(crate) use requests::{NewCheckout, NewSubscription, derived_key, hex, is_id};
pub(crate) use views::{PriceObject, SubscriptionObject};

use crate::config::StripeConfig;
use crate::reconcile::page::{self, EventObject, Listed};
use fetch::Shared;
use transport::Transport;

/// A client of Stripe.
pub(crate) struct Stripe {
    transport: Transport,
    payment_path: &'static str,
    subscriptions: Shared<SubscriptionObject>,
}

impl Stripe {
    /// A client; connects when it is first used.
    ///
    /// # Errors
    /// When the HTTP client can't be built.
    pub(crate) fn try_new(config: StripeConfig, clock: Clock, entropy: Entropy) -> anyhow::Result<Self> {
        let spacing = Duration::from_millis(config.fetch_spacing_ms);
        let subscriptions = Shared::new(clock.clone(), spacing, config.fetch_memory);
        let payment_path = requests::payment_path(&config.api_version);
        Ok(Self { payment_path, transport: Transport::try_new(config, clock, entropy)?, subscriptions })
    }

    /// So many processes share Stripe's rate limit from now on.
    pub(crate) fn share(&self, processes: u32) {
        self.transport.share(processes);
    }

    /// Makes a customer and tells its id.
    pub(crate) async fn create_customer(
        &self,
        email: Option<&str>,
        metadata: BTreeMap<String, String>,
        key: String,
    ) -> Result<String, StripeFailure> {
        let answer = self.transport.send(&requests::create_customer(email, metadata, key)).await?;
        id_of(&answer, "customer")
    }

    /// Gives a payment method to a customer and tells the id it has there.
    pub(crate) async fn attach_payment_method(
        &self,
        payment_method: &str,
        customer: &str,
        key: String,
    ) -> Result<String, StripeFailure> {
        let answer = self.transport.send(&requests::attach_payment_method(payment_method, customer, key)).await?;
        id_of(&answer, "payment method")
    }

    /// Makes a subscription.
    pub(crate) async fn create_subscription(
        &self,
        new: NewSubscription<'_>,
        key: String,
    ) -> Result<SubscriptionObject, StripeFailure> {
        read(&self.transport.send(&requests::create_subscription(new, self.payment_path, key)).await?)
    }

    /// Bills a subscription's item by another price. Tells also whether the answer is an old one that Stripe kept.
    pub(crate) async fn change_price(
        &self,
        id: &str,
        item: &str,
        price_id: &str,
        key: String,
    ) -> Result<(SubscriptionObject, bool), StripeFailure> {
        let call = requests::change_price(checked(id)?, item, price_id, key);
        let (answer, is_replay) = self.transport.send_telling_replays(&call).await?;
        Ok((read(&answer)?, is_replay))
    }

    /// Lets a subscription end with its period, or not.
    pub(crate) async fn end_with_period(
        &self,
        id: &str,
        ends: bool,
        key: String,
    ) -> Result<SubscriptionObject, StripeFailure> {
        read(&self.transport.send(&requests::end_with_period(checked(id)?, ends, key)).await?)
    }

    /// Ends a subscription now.
    pub(crate) async fn cancel(&self, id: &str) -> Result<SubscriptionObject, StripeFailure> {
        read(&self.transport.send(&requests::cancel(checked(id)?)).await?)
    }

    /// Wakes up a paused subscription.
    pub(crate) async fn resume(&self, id: &str, key: String) -> Result<SubscriptionObject, StripeFailure> {
        read(&self.transport.send(&requests::resume(checked(id)?, key)).await?)
    }

    /// Opens a checkout page and tells the session.
    pub(crate) async fn create_checkout(&self, new: &NewCheckout<'_>, key: String) -> Result<Session, StripeFailure> {
        session(&self.transport.send(&requests::create_checkout(new, key)).await?)
    }

    /// Opens the customer's own page and tells the session.
    pub(crate) async fn create_portal(
        &self,
        customer: &str,
        return_url: &str,
        key: String,
    ) -> Result<Session, StripeFailure> {
        session(&self.transport.send(&requests::create_portal(customer, return_url, key)).await?)
    }

    /// What a price is now. `id` comes from the catalogue, which has checked it.
    pub(crate) async fn fetch_price(&self, id: &str) -> Result<PriceObject, StripeFailure> {
        Ok(PriceObject::read(&self.transport.send(&requests::retrieve_price(id)).await?))
    }

    /// Whether a customer is gone.
    pub(crate) async fn is_customer_gone(&self, id: &str) -> Result<bool, StripeFailure> {
        if !is_id(id, &["cus_"]) {
            return Err(StripeFailure::new(Class::Invalid, "that is not a customer's id (cus_…)"));
        }
        match self.transport.send(&requests::retrieve_customer(id)).await {
            Ok(customer) => Ok(customer["deleted"].as_bool().unwrap_or_default()),
            Err(failure) if failure.class == Class::NotFound => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// The customer that we made for a user, if there is one among the newest hundred (of the address).
    pub(crate) async fn find_customer(
        &self,
        tenant: &TenantId,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<Option<String>, StripeFailure> {
        let answer = self.transport.send(&requests::list_customers(email)).await?;
        let objects = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_theirs = |object: &&Value| {
            let pairs = views::metadata(object);
            let says = |key: &str, value: &str| pairs.get(key).is_some_and(|found| found == value);
            says(crate::metadata::TENANT, tenant.as_str()) && says(crate::metadata::USER, user.as_str())
        };
        Ok(objects.iter().find(is_theirs).and_then(views::reference))
    }

    /// A subscription with what is to be done so that its latest invoice is paid.
    pub(crate) async fn fetch_payment(&self, id: &str) -> Result<SubscriptionObject, StripeFailure> {
        read(&self.transport.send(&requests::retrieve_payment(checked(id)?, self.payment_path)).await?)
    }

    /// What the subscription is now: read after this call began, shared with others who ask.
    pub(crate) async fn fetch_subscription(&self, id: &str) -> Result<SubscriptionObject, StripeFailure> {
        let call = requests::retrieve_subscription(checked(id)?);
        self.subscriptions.get(id, async || read(&self.transport.send(&call).await?)).await
    }

    /// A page of every subscription there is, newest first, ended ones too.
    pub(crate) async fn list_all_subscriptions(
        &self,
        after: Option<&str>,
    ) -> Result<Listed<SubscriptionObject>, StripeFailure> {
        page::subscriptions(&self.transport.send(&lists::list_all_subscriptions(after)).await?)
    }

    /// A page of the events about subscriptions since a moment (Unix seconds), newest first.
    pub(crate) async fn list_subscription_events(
        &self,
        since_s: u64,
        after: Option<&str>,
    ) -> Result<Listed<EventObject>, StripeFailure> {
        page::events(&self.transport.send(&lists::list_subscription_events(since_s, after)).await?)
    }

    /// Lookup keys of a customer's active entitlements.
    pub(crate) async fn active_entitlements(&self, customer: &str) -> Result<Vec<String>, StripeFailure> {
        if !is_id(customer, &["cus_"]) {
            return Err(StripeFailure::new(Class::Invalid, "that is not a customer's id (cus_…)"));
        }
        let answer = self.transport.send(&lists::list_entitlements(customer)).await?;
        let entitlements = answer["data"].as_array();
        let entitlements = entitlements.ok_or_else(|| StripeFailure::new(Class::Unreadable, "the list has no data"))?;
        Ok(entitlements.iter().filter_map(|one| one["lookup_key"].as_str().map(str::to_owned)).collect())
    }

    /// The subscription of a customer that we made under our id, if there is one among its newest hundred.
    pub(crate) async fn find_subscription(
        &self,
        customer: &str,
        tenant: &TenantId,
        subscription: &SubscriptionId,
    ) -> Result<Option<SubscriptionObject>, StripeFailure> {
        let answer = self.transport.send(&requests::list_subscriptions(customer)).await?;
        let objects = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut read = objects.iter().filter_map(|object| SubscriptionObject::read(object).ok());
        Ok(read.find(|object| object.is_ours(tenant, subscription)))
    }
}

/// A page that Stripe hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) expires_at_ms: Option<u64>,
}

fn session(answer: &Value) -> Result<Session, StripeFailure> {
    let url = answer["url"].as_str().filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| StripeFailure::new(Class::Unreadable, "the session has no url"))?;
    let expires_at_ms = answer["expires_at"].as_u64().and_then(|seconds| seconds.checked_mul(1_000));
    Ok(Session { id: id_of(answer, "session")?, url: url.to_owned(), expires_at_ms })
}

/// A subscription's id may become part of a path.
fn checked(id: &str) -> Result<&str, StripeFailure> {
    let failure = || StripeFailure::new(Class::Invalid, "that is not a subscription's id (sub_…)");
    is_id(id, &["sub_"]).then_some(id).ok_or_else(failure)
}

fn id_of(answer: &Value, noun: &str) -> Result<String, StripeFailure> {
    let id = views::reference(answer).filter(|id| !id.is_empty());
    id.ok_or_else(|| StripeFailure::new(Class::Unreadable, format!("the {noun} has no id")))
}

fn read(answer: &Value) -> Result<SubscriptionObject, StripeFailure> {
    SubscriptionObject::read(answer).map_err(|missing| StripeFailure::new(Class::Unreadable, missing))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod failure_rows;
