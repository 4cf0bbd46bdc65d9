use std::sync::Arc;

use bus::Asked;
use contracts::requests::billing::{ProofSnapshot, ProofSnapshotV1};
use contracts::requests::subscription::NeverRefused;
use service::Rejection;
use store::StoreErrorKind;

use crate::{Subscriptions, revocations};

/// Most revocations a page.
const MAX_LIMIT: u32 = 1_000;

/// Tells a verifier that starts late what it missed.
pub(crate) async fn proof_snapshot(
    service: Arc<Subscriptions>,
    _: Asked,
    ask: ProofSnapshotV1,
) -> Result<ProofSnapshot, Rejection<NeverRefused>> {
    if !(1..=MAX_LIMIT).contains(&ask.limit) {
        return Err(Rejection::broken(format!("limit: {} is outside 1 to {MAX_LIMIT}", ask.limit)));
    }
    let store = service.platform.outbox.store();
    // Keys first: a key withdrawn between the two reads is then in `withdrawn`, which counts more.
    let keys = service.keys.public().await?;
    let withdrawn = service.keys.withdrawn().await?;
    let page = revocations::page(store, ask.after.as_deref(), ask.limit).await;
    let (revocations, next) = page.map_err(|error| match error.kind() {
        StoreErrorKind::Invalid => Rejection::broken("after: it is not the `next` of a page; begin without it"),
        _ => error.into(),
    })?;
    Ok(ProofSnapshot { keys, withdrawn, revocations, next })
}
