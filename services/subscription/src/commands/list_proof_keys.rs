use std::sync::Arc;

use bus::Asked;
use contracts::requests::subscription::{ListProofKeysV1, NeverRefused, ProofKeys};
use service::Rejection;

use crate::Subscriptions;

/// Tells every key that may verify now or soon.
pub(crate) async fn list_proof_keys(
    service: Arc<Subscriptions>,
    _: Asked,
    _: ListProofKeysV1,
) -> Result<ProofKeys, Rejection<NeverRefused>> {
    Ok(ProofKeys { keys: service.keys.public().await? })
}
