//! What a customer is entitled to by name. Stripe's active entitlements where Stripe ever told of any, else the plan's
//! features.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `entitlements#<tenant>` | Stripe's customer | lookup keys of the active entitlements when we last looked |

use contracts::TenantId;
use contracts::events::webhook::StripeEntitlementsChangedV1;
use outbox::{Failure, Unit};
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, Store, StoreError, StoreErrorKind};

use crate::Subscriptions;
use crate::catalogue::Plan;
use crate::commands::refresh;

/// Most entitlements of a customer that count; proofs must stay small.
const MAX_FEATURES: usize = 50;
/// Longest lookup key that counts, characters.
const MAX_NAME: usize = 80;

#[derive(Serialize, Deserialize)]
struct Entitlements {
    features: Vec<String>,
}

/// Stripe announced that a customer's entitlements changed: reads what is true now and adds it to `unit`.
pub(crate) async fn on_hint(
    service: &Subscriptions,
    tenant: &TenantId,
    hint: &StripeEntitlementsChangedV1,
    unit: &mut Unit,
) -> Result<(), Failure> {
    let key = key(tenant, &hint.stripe_customer_id);
    // Loaded before Stripe is asked: a slower look then meets a newer version and runs again.
    let version = service.platform.outbox.store().get(&key).await?.map_or(0, |item| item.version);
    let found = service
        .stripe
        .active_entitlements(&hint.stripe_customer_id)
        .await
        .map_err(|failure| refresh::later(&failure))?;
    let features = bounded(found);
    tracing::info!(customer = hint.stripe_customer_id, features = features.len(), "Stripe's entitlements were read");
    let body = serde_json::to_string(&Entitlements { features }).expect("names are plain data");
    let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
    unit.put(Item::new(key, version + 1, body), condition);
    Ok(())
}

/// What a customer with this plan is entitled to.
pub(crate) async fn of(
    store: &Store,
    tenant: &TenantId,
    stripe_customer_id: &str,
    plan: &Plan,
) -> Result<Vec<String>, StoreError> {
    let Some(item) = store.get(&key(tenant, stripe_customer_id)).await? else { return Ok(plan.features.clone()) };
    let told: Entitlements = serde_json::from_str(&item.body)
        .map_err(|_| StoreError::new(StoreErrorKind::Corrupt, format!("{} can't be read", item.key)))?;
    Ok(told.features)
}

fn bounded(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| (1..=MAX_NAME).contains(&name.chars().count()));
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_FEATURES {
        tracing::warn!(entitlements = names.len(), "more entitlements than count; the first {MAX_FEATURES} by name do");
        names.truncate(MAX_FEATURES);
    }
    names
}

fn key(tenant: &TenantId, stripe_customer_id: &str) -> Key {
    Key::new(format!("entitlements#{tenant}"), stripe_customer_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entitlements_are_few_short_and_named_once() {
        let many = (0..80).map(|n| format!("f{n:02}")).chain(["f01".into(), String::new(), "x".repeat(81)]);
        let names = bounded(many.collect());
        assert_eq!(names.len(), MAX_FEATURES);
        assert_eq!(names[..2], ["f00", "f01"]);
    }
}
