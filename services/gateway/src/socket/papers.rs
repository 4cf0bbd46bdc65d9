//! What a peer shows to get in: who it is (a token, or a ticket that stands for one) and that it may (a proof).

use std::sync::Arc;

use auth::Principal;
use contracts::plans::limit;
use contracts::{PeerId, SubscriptionId};
use service::http::{Code, ProblemResponse};

use super::{PROOF_REFUSED, UNAUTHENTICATED};
use crate::refusals::IntoProblem;
use crate::registry::Farewell;
use crate::{Gateway, tickets};

/// Where a token comes from.
#[derive(Clone)]
pub(crate) enum Credential {
    Token(String),
    Ticket(String),
}

impl Credential {
    /// What a frame brought; both at once were refused before.
    pub(super) fn of(token: Option<String>, ticket: Option<String>) -> Option<Self> {
        token.map(Self::Token).or(ticket.map(Self::Ticket))
    }
}

/// A good token.
pub(super) async fn principal(
    gateway: &Arc<Gateway>,
    credential: Credential,
) -> Result<Principal, (ProblemResponse, Farewell)> {
    let refused = |problem| (problem, UNAUTHENTICATED);
    let token = match credential {
        Credential::Token(token) => token,
        Credential::Ticket(ticket) => tickets::redeem(gateway, &ticket).await.map_err(refused)?,
    };
    gateway.tokens.verify(&token).await.map_err(|refusal| refused(refusal.into()))
}

/// A good proof.
#[derive(Clone)]
pub(super) struct Proven {
    pub(super) proof: Arc<str>,
    pub(super) subscription_id: SubscriptionId,
    pub(super) ver: u64,
    /// The key it is signed with.
    pub(super) kid: Arc<str>,
    /// The plan's limit of peers that are here at once.
    pub(super) max_peers: Option<u64>,
    pub(super) until_ms: u64,
}

/// A good proof of the peer.
pub(super) async fn prove(
    gateway: &Arc<Gateway>,
    principal: &Principal,
    peer_id: &PeerId,
    proof: &str,
) -> Result<Proven, (ProblemResponse, Farewell)> {
    let verified = gateway.proofs.verify(&principal.tenant, peer_id, proof).await;
    let verified = verified.map_err(|error| (error.into_problem(), PROOF_REFUSED))?;
    Ok(Proven {
        proof: proof.into(),
        subscription_id: verified.subscription.clone(),
        ver: verified.ver,
        kid: verified.kid.as_str().into(),
        max_peers: verified.limits.get(limit::PEERS).copied(),
        // Without the skew: with the bus away, a proof's end is what ends a connection that nobody may revoke.
        until_ms: verified.expires_at_ms,
    })
}

pub(super) fn no_proof() -> (ProblemResponse, Farewell) {
    let detail = "proof: is missing; ask POST /v1/subscriptions/{id}/verify for one and send it with the token";
    (ProblemResponse::new(Code::ProofRefused).detail(detail), PROOF_REFUSED)
}
