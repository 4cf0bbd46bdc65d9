//! A subscription and its rules. Pure: takes the time and what Stripe said, gives the new state and the facts.

use std::collections::BTreeMap;

use auth::SKEW_MS;
use contracts::events::subscription::{
    CreatedV1, ProofRevokedV1, Status, StatusChangedV1, StatusChangedV2, SubscriptionEvent, TransitionRejectedV1,
};
use contracts::requests::subscription::SubscriptionView;
use contracts::{SubscriptionId, TenantId, UserId};
use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::status::{StripeStatus, allowed, grants};
use crate::stripe::SubscriptionObject;

/// A subscription as it was at Stripe when we last looked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) user_id: UserId,
    pub(crate) plan: String,
    pub(crate) price_id: String,
    /// The caller's pairs only.
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) stripe_subscription_id: String,
    pub(crate) stripe_customer_id: String,
    pub(crate) status: StripeStatus,
    pub(crate) cancel_at_period_end: bool,
    pub(crate) current_period_end_ms: Option<u64>,
    /// When we first saw that a payment had failed; its grace counts from then.
    pub(crate) past_due_since_ms: Option<u64>,
    /// The proofs' epoch: grows each time the entitlement is lost.
    pub(crate) ver: u64,
    /// Counts its facts; each fact carries the number it made.
    pub(crate) sequence: u64,
}

/// What a caller asked for, kept before Stripe is called so that a crash can't make it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) subscription_id: SubscriptionId,
    pub(crate) user_id: UserId,
    pub(crate) plan: String,
    pub(crate) price_id: String,
    pub(crate) payment_method_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) reserved_at_ms: u64,
    /// Numbers the keys under which Stripe was asked to create it.
    pub(crate) attempt: u32,
    /// The customer makes it, on Stripe's checkout page.
    #[serde(default)]
    pub(crate) by_checkout: bool,
}

/// How long an entitlement outlasts what was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// After a failed payment, milliseconds.
    pub(crate) grace_ms: u64,
    /// After the period's end while Stripe still says active: the renewal may be on its way, milliseconds.
    pub(crate) renewal_leeway_ms: u64,
}

/// Where the configuration is needed to read what Stripe said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) catalogue: &'a Catalogue,
    /// Whose plans count.
    pub(crate) tenant: &'a TenantId,
    /// Life of a proof, milliseconds.
    pub(crate) proof_ttl_ms: u64,
}

/// What came of it: the subscription as it is now, and the numbered facts that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) subscription: Subscription,
    pub(crate) facts: Vec<(u64, SubscriptionEvent)>,
    /// The machine has no such arrow, but Stripe's word wins. For the log.
    pub(crate) surprise: Option<(StripeStatus, StripeStatus)>,
}

impl Reservation {
    /// The reserved subscription, now that Stripe made it.
    pub(crate) fn fulfil(self, object: &SubscriptionObject, now_ms: u64, rules: Rules<'_>) -> Change {
        let mut subscription = Subscription {
            subscription_id: self.subscription_id,
            user_id: self.user_id,
            plan: self.plan,
            price_id: self.price_id,
            metadata: self.metadata,
            stripe_subscription_id: object.id.clone(),
            stripe_customer_id: object.customer.clone(),
            past_due_since_ms: (object.status.kind() == Status::PastDue).then_some(now_ms),
            status: object.status.clone(),
            cancel_at_period_end: object.cancel_at_period_end,
            current_period_end_ms: object.current_period_end_ms,
            ver: 1,
            sequence: 1,
        };
        // What is paid counts, not what was asked for.
        subscription.follow_price(object.price_id.as_deref(), rules);
        let created = CreatedV1 {
            subscription_id: subscription.subscription_id.clone(),
            user_id: subscription.user_id.clone(),
            plan: subscription.plan.clone(),
            status: subscription.status.kind(),
        };
        Change { subscription, facts: vec![(1, created.into())], surprise: None }
    }
}

impl Subscription {
    /// What a fetched object makes of it. Stripe's word wins over the status machine.
    pub(crate) fn apply_fetched(self, object: &SubscriptionObject, now_ms: u64, rules: Rules<'_>) -> Change {
        let (from, to) = (self.status.clone(), object.status.clone());
        let mut next = Self {
            stripe_customer_id: object.customer.clone(),
            status: to.clone(),
            cancel_at_period_end: object.cancel_at_period_end,
            current_period_end_ms: object.current_period_end_ms,
            past_due_since_ms: match to.kind() {
                Status::PastDue => self.past_due_since_ms.or(Some(now_ms)),
                _ => None,
            },
            ..self
        };
        next.follow_price(object.price_id.as_deref(), rules);
        let mut facts = Vec::new();
        if from != to {
            next.sequence += 1;
            let changed = next.status_changed(from.kind());
            let twin = StatusChangedV1::from(&changed);
            facts.push((next.sequence, SubscriptionEvent::from(changed)));
            facts.push((next.sequence, twin.into()));
        }
        if grants(from.kind()) && !grants(to.kind()) {
            next.ver += 1;
            next.sequence += 1;
            facts.push((next.sequence, next.revoked(now_ms, rules.proof_ttl_ms).into()));
        }
        let is_surprise = from != to && !allowed(from.kind(), to.kind());
        Change { subscription: next, facts, surprise: is_surprise.then_some((from, to)) }
    }

    /// Audits a status that was announced and that the machine does not lead to from here.
    pub(crate) fn reject_hint(self, to: &StripeStatus) -> Option<Change> {
        if self.status == *to || allowed(self.status.kind(), to.kind()) {
            return None;
        }
        let (subscription_id, from) = (self.subscription_id.clone(), self.status.kind());
        let source = "webhook".to_owned();
        Some(self.rejected(TransitionRejectedV1 {
            subscription_id,
            from,
            to: to.kind(),
            source,
            asked: None,
            user_id: None,
        }))
    }

    /// Audits a wish of `user` that its status does not allow.
    pub(crate) fn reject_wish(self, asked: &str, to: Status, user: &UserId) -> Change {
        let (subscription_id, from) = (self.subscription_id.clone(), self.status.kind());
        self.rejected(TransitionRejectedV1 {
            subscription_id,
            from,
            to,
            source: "api".to_owned(),
            asked: Some(asked.to_owned()),
            user_id: Some(user.clone()),
        })
    }

    fn rejected(mut self, fact: TransitionRejectedV1) -> Change {
        self.sequence += 1;
        Change { facts: vec![(self.sequence, fact.into())], subscription: self, surprise: None }
    }

    /// Until when proofs may speak, Unix milliseconds; `None` when the status entitles to nothing.
    pub(crate) fn entitled_until_ms(&self, terms: Terms) -> Option<u64> {
        match self.status.kind() {
            Status::Trialing | Status::Active => Some(match self.current_period_end_ms {
                Some(end_ms) if self.cancel_at_period_end => end_ms,
                Some(end_ms) => end_ms.saturating_add(terms.renewal_leeway_ms),
                None => u64::MAX,
            }),
            Status::PastDue => Some(self.past_due_since_ms?.saturating_add(terms.grace_ms)),
            _ => None,
        }
    }

    /// Whether Stripe must know more by now: the paid period is over and nobody told us what followed.
    pub(crate) fn is_overdue(&self, now_ms: u64) -> bool {
        grants(self.status.kind()) && self.current_period_end_ms.is_some_and(|end_ms| end_ms <= now_ms)
    }

    /// The subscription as its owner may see it.
    pub(crate) fn view(&self) -> SubscriptionView {
        SubscriptionView {
            subscription_id: self.subscription_id.clone(),
            user_id: self.user_id.clone(),
            plan: self.plan.clone(),
            price_id: self.price_id.clone(),
            status: self.status.kind(),
            stripe_subscription_id: self.stripe_subscription_id.clone(),
            current_period_end_ms: self.current_period_end_ms,
            cancel_at_period_end: Some(self.cancel_at_period_end),
            metadata: self.metadata.clone(),
            payment: None,
        }
    }

    /// The plan goes with the price. A price outside the catalogue leaves the plan as it was: somebody set it at
    /// Stripe by hand, and taking a paid plan away for that would be worse than keeping it.
    fn follow_price(&mut self, price_id: Option<&str>, rules: Rules<'_>) {
        let Some(price_id) = price_id else { return };
        if let Some(plan) = rules.catalogue.plan_of_price(rules.tenant, price_id) {
            self.plan.clone_from(&plan.name);
            price_id.clone_into(&mut self.price_id);
        }
    }

    fn status_changed(&self, previous: Status) -> StatusChangedV2 {
        let current = self.status.kind();
        StatusChangedV2 {
            subscription_id: self.subscription_id.clone(),
            previous: Some(previous),
            current,
            entitled: grants(current),
            current_period_end_ms: self.current_period_end_ms,
        }
    }

    fn revoked(&self, now_ms: u64, proof_ttl_ms: u64) -> ProofRevokedV1 {
        ProofRevokedV1 {
            subscription_id: self.subscription_id.clone(),
            min_ver: self.ver,
            // Another process of ours may have signed with a clock that is ahead.
            until_ms: now_ms.saturating_add(proof_ttl_ms).saturating_add(SKEW_MS),
            reason: self.status.as_str().chars().take(100).collect(),
        }
    }
}

#[cfg(test)]
#[path = "subscription_tests.rs"]
pub(crate) mod tests;
