//! Revocations in force, kept for verifiers that start after they were told.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `proof-revoked` | subscription | the last [`ProofRevokedV1`]; expires when every proof it voids has ended by itself |

use auth::SKEW_MS;
use contracts::events::subscription::{ProofRevokedV1, SubscriptionEvent};
use outbox::Unit;
use store::{Condition, Cursor, Item, Key, Query, Store, StoreError, StoreErrorKind};

const PARTITION: &str = "proof-revoked";

/// Adds a fact that is a revocation to what late verifiers are told, in the transaction that publishes it.
pub(crate) fn note(unit: &mut Unit, fact: &SubscriptionEvent) {
    let SubscriptionEvent::ProofRevoked(revoked) = fact else { return };
    let body = serde_json::to_string(revoked).expect("a revocation is plain data");
    let mut item = Item::new(Key::new(PARTITION, revoked.subscription_id.as_str()), revoked.min_ver, body);
    item.expires_at_ms = Some(revoked.until_ms.saturating_add(SKEW_MS));
    // The subscription's own record is written under a condition in the same transaction, which orders these.
    unit.put(item, Condition::Any);
}

/// A page of the revocations in force, and where the next begins.
///
/// # Errors
/// `Invalid` when `after` is none that this function gave.
pub(crate) async fn page(
    store: &Store,
    after: Option<&str>,
    limit: u32,
) -> Result<(Vec<ProofRevokedV1>, Option<String>), StoreError> {
    let after = after.map(Cursor::parse).transpose()?;
    let page = store.query(&Query { after, ..Query::all(PARTITION, limit) }).await?;
    let read = |item: &Item| {
        serde_json::from_str(&item.body)
            .map_err(|_| StoreError::new(StoreErrorKind::Corrupt, format!("{} can't be read", item.key)))
    };
    let revocations = page.items.iter().map(read).collect::<Result<_, _>>()?;
    Ok((revocations, page.next.map(|next| next.as_str().to_owned())))
}
