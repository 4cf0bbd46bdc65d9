//! An authenticated connection: its papers, and what it may ask.

use std::sync::Arc;

use auth::Principal;
use bus::Trail;
use contracts::events::presence::OfflineReason;
use contracts::frames::{ClientFrame, Outcome, PresenceAction};
use contracts::requests::presence::{ConnectRefusal, ConnectV1, DisconnectV1, ListV1, SetStatusV1};
use contracts::requests::signaling::{OpenSessionV1, SendV1};
use contracts::{ConnectionId, PeerId, Request, SubscriptionId};
use serde::Serialize;
use serde_json::{Value, json};
use service::Rejection;
use service::http::{Code, ProblemResponse};

use super::connection::{Deadline, Line};
use super::{ENTITLEMENT_LOST, PROOF_REFUSED, QUOTA_EXCEEDED, TAKEN_OVER, UNAUTHENTICATED};
use crate::Gateway;
use crate::refusals::IntoProblem;
use crate::registry::{Entry, Farewell};

/// Peers in one answer to a presence list frame.
const LIST_LIMIT: u32 = 100;

/// A peer and the papers it connected with.
pub(super) struct Peer {
    principal: Principal,
    peer_id: PeerId,
    connection_id: ConnectionId,
    generation: u64,
    subscription_id: SubscriptionId,
    proof: String,
    proof_until_ms: u64,
}

/// What became of a frame.
pub(super) enum Handled {
    Done(Outcome, Option<Value>),
    Refused(ProblemResponse),
    /// Refused, and the connection can't go on.
    Closing(ProblemResponse, Farewell),
}

impl Peer {
    /// Checks token and proof, takes the peer's place in presence and in the registry.
    pub(super) async fn enter(
        gateway: &Arc<Gateway>,
        line: &Line,
        trail: &Trail,
        token: String,
        peer_id: PeerId,
        proof: Option<String>,
    ) -> Result<(Self, Value), (ProblemResponse, Farewell)> {
        let papers = Papers::check(gateway, &token, &peer_id, proof).await?;
        let ask = ConnectV1 {
            peer_id: peer_id.clone(),
            user_id: papers.principal.user.clone(),
            node_id: gateway.platform.node_id.clone(),
            connection_id: line.id.clone(),
            subscription_id: papers.subscription_id.clone(),
            proof_ver: papers.ver,
            max_peers: papers.max_peers,
        };
        let connected = gateway.ask(&papers.principal.tenant, trail, &ask).await;
        let connected = connected.map_err(|rejection| {
            let is_full = matches!(rejection, Rejection::Refused(ConnectRefusal::TooManyPeers { .. }));
            (rejection.into_problem(), if is_full { QUOTA_EXCEEDED } else { UNAUTHENTICATED })
        })?;
        let peer = Self {
            principal: papers.principal,
            peer_id,
            connection_id: line.id.clone(),
            generation: connected.generation,
            subscription_id: papers.subscription_id,
            proof: papers.proof,
            proof_until_ms: papers.until_ms,
        };
        let entered = gateway.registry.insert(Entry {
            tenant: peer.principal.tenant.clone(),
            peer_id: peer.peer_id.clone(),
            connection_id: line.id.clone(),
            generation: peer.generation,
            subscription_id: peer.subscription_id.clone(),
            proof_ver: papers.ver,
            proof_kid: papers.kid,
            outbound: line.outbound.clone(),
            kick: Arc::clone(&line.kick),
        });
        if !entered {
            return Err((
                ProblemResponse::new(Code::Conflict).detail("a newer connection of this peer stands"),
                TAKEN_OVER,
            ));
        }
        // Revoked between the check and the entry: whoever revoked found no entry to close.
        if gateway.proofs.is_revoked(&peer.subscription_id, papers.ver) {
            peer.leave(gateway, Some(ENTITLEMENT_LOST)).await;
            return Err((ProblemResponse::new(Code::EntitlementLost), ENTITLEMENT_LOST));
        }
        let result = json!({ "peer_id": peer.peer_id, "generation": peer.generation });
        Ok((peer, result))
    }

    /// Leaves the registry and presence. Presence learns why; if it can't be told, the lease ends by itself.
    pub(super) async fn leave(&self, gateway: &Gateway, farewell: Option<Farewell>) {
        gateway.registry.remove(&self.principal.tenant, &self.peer_id, &self.connection_id);
        let reason = match farewell {
            Some(ENTITLEMENT_LOST) => OfflineReason::EntitlementLost,
            Some(farewell) if farewell == TAKEN_OVER => return,
            _ => OfflineReason::Left,
        };
        let ask = DisconnectV1 { peer_id: self.peer_id.clone(), generation: self.generation, reason };
        if let Err(rejection) = gateway.ask(&self.principal.tenant, &gateway.new_trail(), &ask).await {
            tracing::warn!(peer_id = %self.peer_id, %rejection, "presence was not told; the lease will end by itself");
        }
    }

    /// When the first of its papers is over, Unix milliseconds.
    pub(super) fn next_deadline_ms(&self) -> u64 {
        self.principal.expires_at_ms.min(self.proof_until_ms)
    }

    /// Which of its papers is over.
    pub(super) fn deadline_passed(&self, now_ms: u64) -> Option<Deadline> {
        if now_ms >= self.principal.expires_at_ms {
            return Some(Deadline::Token);
        }
        (now_ms >= self.proof_until_ms).then_some(Deadline::Proof)
    }

    /// Does what a frame asks.
    pub(super) async fn handle(&mut self, gateway: &Arc<Gateway>, trail: &Trail, frame: ClientFrame) -> Handled {
        match frame {
            ClientFrame::Ping { .. } => Handled::Done(Outcome::Accepted, None),
            ClientFrame::Auth { token, peer_id, proof, .. } => self.renew(gateway, token, peer_id, proof).await,
            ClientFrame::Presence { action: PresenceAction::List { after }, .. } => {
                self.forward(gateway, trail, ListV1 { limit: LIST_LIMIT, after }, Outcome::Accepted).await
            }
            ClientFrame::Presence { action: PresenceAction::SetStatus { status }, .. } => {
                let ask = SetStatusV1 { peer_id: self.peer_id.clone(), generation: self.generation, status };
                self.forward(gateway, trail, ask, Outcome::Accepted).await
            }
            ClientFrame::Session { to, .. } => {
                let ask = OpenSessionV1 { from: self.peer_id.clone(), to, proof: self.proof.clone() };
                self.forward(gateway, trail, ask, Outcome::Accepted).await
            }
            ClientFrame::Signal { session_id, signal, .. } => {
                let ask = SendV1 { session_id, from: self.peer_id.clone(), proof: self.proof.clone(), signal };
                self.forward(gateway, trail, ask, Outcome::Delivered).await
            }
        }
    }

    async fn forward<R: Request>(&self, gateway: &Gateway, trail: &Trail, ask: R, outcome: Outcome) -> Handled
    where
        Rejection<R::Refusal>: IntoProblem,
        R::Reply: Serialize,
    {
        match gateway.ask(&self.principal.tenant, trail, &ask).await {
            Ok(reply) => Handled::Done(outcome, serde_json::to_value(reply).ok()),
            Err(rejection) => Handled::Refused(rejection.into_problem()),
        }
    }

    /// A new token and proof on a live connection: same tenant, user, peer and subscription.
    async fn renew(
        &mut self,
        gateway: &Arc<Gateway>,
        token: String,
        peer_id: PeerId,
        proof: Option<String>,
    ) -> Handled {
        if peer_id != self.peer_id {
            let detail = "peer_id: this connection speaks for another peer; open a new connection";
            return Handled::Refused(ProblemResponse::new(Code::Conflict).detail(detail));
        }
        let papers = match Papers::check(gateway, &token, &peer_id, proof).await {
            Ok(papers) => papers,
            Err((problem, farewell)) => return Handled::Closing(problem, farewell),
        };
        let same = papers.principal.tenant == self.principal.tenant
            && papers.principal.user == self.principal.user
            && papers.subscription_id == self.subscription_id;
        if !same {
            let detail = "the token or proof is of another tenant, user or subscription; open a new connection";
            return Handled::Refused(ProblemResponse::new(Code::Conflict).detail(detail));
        }
        self.principal = papers.principal;
        self.proof = papers.proof;
        self.proof_until_ms = papers.until_ms;
        let (tenant, kid) = (&self.principal.tenant, &papers.kid);
        gateway.registry.renew(tenant, &self.peer_id, &self.connection_id, papers.ver, kid);
        Handled::Done(Outcome::Accepted, None)
    }
}

/// A good token and a good proof that belong together.
struct Papers {
    principal: Principal,
    proof: String,
    subscription_id: SubscriptionId,
    ver: u64,
    kid: String,
    /// The plan's limit of peers that are here at once.
    max_peers: Option<u64>,
    until_ms: u64,
}

impl Papers {
    async fn check(
        gateway: &Gateway,
        token: &str,
        peer_id: &PeerId,
        proof: Option<String>,
    ) -> Result<Self, (ProblemResponse, Farewell)> {
        let now_ms = gateway.platform.clock.now_ms();
        let principal =
            gateway.tokens.load().verify(token, now_ms).map_err(|error| (error.into_problem(), UNAUTHENTICATED))?;
        let Some(proof) = proof else {
            let detail = "proof: is missing; ask POST /v1/subscriptions/{id}/verify for one and send it with the token";
            return Err((ProblemResponse::new(Code::ProofRefused).detail(detail), PROOF_REFUSED));
        };
        let verified = gateway.proofs.verify(&principal.tenant, peer_id, &proof).await;
        let verified = verified.map_err(|error| (error.into_problem(), PROOF_REFUSED))?;
        Ok(Self {
            principal,
            proof,
            subscription_id: verified.subscription.clone(),
            ver: verified.ver,
            kid: verified.kid.clone(),
            max_peers: verified.limits.get("peers").copied(),
            // Without the skew: with the bus away, a proof's end is what ends a connection that nobody may revoke.
            until_ms: verified.expires_at_ms,
        })
    }
}
