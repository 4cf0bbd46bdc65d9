//! Stripe, as much of it as we use: async-stripe's requests, our transport, our views of the answers.

mod failure;
mod fetch;
mod pace;
mod requests;
mod transport;
mod views;

use std::collections::BTreeMap;
use std::time::Duration;

use clock::{Clock, Entropy};
use contracts::SubscriptionId;
use serde_json::Value;

pub(crate) use failure::{Class, StripeFailure};
pub(crate) use requests::{NewSubscription, derived_key, hex, is_id};
pub(crate) use views::SubscriptionObject;

use crate::config::StripeConfig;
use crate::reconcile::page::{self, EventObject, Listed};
use fetch::Shared;
use transport::Transport;

/// A client of Stripe.
pub(crate) struct Stripe {
    transport: Transport,
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
        Ok(Self { transport: Transport::try_new(config, clock, entropy)?, subscriptions })
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
        read(&self.transport.send(&requests::create_subscription(new, key)).await?)
    }

    /// What the subscription is now: read after this call began, shared with others who ask.
    pub(crate) async fn fetch_subscription(&self, id: &str) -> Result<SubscriptionObject, StripeFailure> {
        if !is_id(id, &["sub_"]) {
            return Err(StripeFailure::new(Class::Invalid, "that is not a subscription's id (sub_…)"));
        }
        let call = requests::retrieve_subscription(id);
        self.subscriptions.get(id, async || read(&self.transport.send(&call).await?)).await
    }

    /// A page of every subscription there is, newest first, ended ones too.
    pub(crate) async fn list_all_subscriptions(
        &self,
        after: Option<&str>,
    ) -> Result<Listed<SubscriptionObject>, StripeFailure> {
        page::subscriptions(&self.transport.send(&requests::list_all_subscriptions(after)).await?)
    }

    /// A page of the events about subscriptions since a moment (Unix seconds), newest first.
    pub(crate) async fn list_subscription_events(
        &self,
        since_s: u64,
        after: Option<&str>,
    ) -> Result<Listed<EventObject>, StripeFailure> {
        page::events(&self.transport.send(&requests::list_subscription_events(since_s, after)).await?)
    }

    /// Lookup keys of a customer's active entitlements.
    pub(crate) async fn active_entitlements(&self, customer: &str) -> Result<Vec<String>, StripeFailure> {
        if !is_id(customer, &["cus_"]) {
            return Err(StripeFailure::new(Class::Invalid, "that is not a customer's id (cus_…)"));
        }
        let answer = self.transport.send(&requests::list_entitlements(customer)).await?;
        let entitlements = answer["data"].as_array();
        let entitlements = entitlements.ok_or_else(|| StripeFailure::new(Class::Unreadable, "the list has no data"))?;
        Ok(entitlements.iter().filter_map(|one| one["lookup_key"].as_str().map(str::to_owned)).collect())
    }

    /// The subscription of a customer that we made under our id, if there is one among its newest hundred.
    pub(crate) async fn find_subscription(
        &self,
        customer: &str,
        subscription: &SubscriptionId,
    ) -> Result<Option<SubscriptionObject>, StripeFailure> {
        let answer = self.transport.send(&requests::list_subscriptions(customer)).await?;
        let objects = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut read = objects.iter().filter_map(|object| SubscriptionObject::read(object).ok());
        Ok(read.find(|object| object.is_ours(subscription)))
    }
}

fn id_of(answer: &Value, noun: &str) -> Result<String, StripeFailure> {
    let id = views::reference(answer).filter(|id| !id.is_empty());
    id.ok_or_else(|| StripeFailure::new(Class::Unreadable, format!("the {noun} has no id")))
}

fn read(answer: &Value) -> Result<SubscriptionObject, StripeFailure> {
    SubscriptionObject::read(answer).map_err(|missing| StripeFailure::new(Class::Unreadable, missing))
}
