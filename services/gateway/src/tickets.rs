//! One-use tickets for clients that can't set headers: each stands for the access token it was bought with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use clock::Entropy;
use contracts::NodeId;
use contracts::signals::gateway::{Call, Reply};
use service::http::{Code, ProblemResponse};

use crate::Gateway;
use crate::nodes;

/// How long another gateway may take to say whose ticket it is, milliseconds.
const REDEEM_WITHIN_MS: u64 = 2_000;

/// The tickets that this process gave and nobody has used.
pub(crate) struct Tickets {
    node: NodeId,
    max: usize,
    ttl_ms: u64,
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    token: String,
    until_ms: u64,
}

impl Tickets {
    pub(crate) fn new(node: NodeId, max: usize, ttl_ms: u64) -> Self {
        Self { node, max, ttl_ms, open: Mutex::default() }
    }

    /// A ticket for the token, and until when it is good; `None` when there are too many open ones.
    pub(crate) fn issue(&self, token: &str, now_ms: u64, entropy: &Entropy) -> Option<(String, u64)> {
        let ticket = secret_of(&self.node, entropy);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= self.max {
            return None;
        }
        let until_ms = now_ms + self.ttl_ms;
        open.insert(ticket.clone(), Open { token: token.to_owned(), until_ms });
        Some((ticket, until_ms))
    }

    /// Forgets what nobody used in time.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, ticket| ticket.until_ms > now_ms);
    }

    /// The token of a ticket of this process, which is void from now on.
    pub(crate) fn redeem(&self, ticket: &str, now_ms: u64) -> Option<String> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(ticket)?;
        (open.until_ms > now_ms).then_some(open.token)
    }
}

/// A secret that names the process that knows it: `<node>.<128 random bits in hex>`.
pub(crate) fn secret_of(node: &NodeId, entropy: &Entropy) -> String {
    format!("{node}.{:016x}{:016x}", entropy.next_u64(), entropy.next_u64())
}

/// The process that a secret of [`secret_of`] or an epoch names.
pub(crate) fn node_of(secret: &str) -> Option<NodeId> {
    secret.split_once('.')?.0.parse().ok()
}

/// The token that a ticket stands for, wherever it was given.
///
/// # Errors
/// When it was used, is over, never was, or its process is gone.
pub(crate) async fn redeem(gateway: &Arc<Gateway>, ticket: &str) -> Result<String, ProblemResponse> {
    let refused = || {
        let detail = "ticket: is used, over or unknown; ask POST /v1/tickets for another one";
        ProblemResponse::new(Code::AuthenticationInvalid).detail(detail)
    };
    let platform = &gateway.platform;
    let node = node_of(ticket).ok_or_else(refused)?;
    if node == platform.node_id {
        return gateway.tickets.redeem(ticket, platform.clock.now_ms()).ok_or_else(refused);
    }
    let call = Call::Ticket { ticket: ticket.to_owned() };
    let tenant = service::platform_tenant();
    match nodes::ask(gateway, &node, &tenant, &gateway.new_trail(), call, REDEEM_WITHIN_MS).await {
        Some(Reply::Token { token }) => Ok(token),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_in_time() {
        let entropy = Entropy::seeded(1);
        let tickets = Tickets::new("node-1".parse().unwrap(), 2, 30_000);
        let (ticket, until_ms) = tickets.issue("a.b.c", 0, &entropy).unwrap();
        assert_eq!(until_ms, 30_000);
        assert_eq!(node_of(&ticket).unwrap().as_str(), "node-1");
        assert_eq!(tickets.redeem(&ticket, 29_999).as_deref(), Some("a.b.c"));
        assert_eq!(tickets.redeem(&ticket, 0), None);
        let (old, _) = tickets.issue("a.b.c", 0, &entropy).unwrap();
        assert_eq!(tickets.redeem(&old, 30_000), None);
    }

    #[test]
    fn open_tickets_are_bounded_and_old_ones_make_room() {
        let entropy = Entropy::seeded(1);
        let tickets = Tickets::new("node-1".parse().unwrap(), 2, 30_000);
        let given: Vec<_> = (0..3).map(|_| tickets.issue("a.b.c", 0, &entropy)).collect();
        assert!(given[0].is_some() && given[1].is_some() && given[2].is_none());
        tickets.sweep(29_999);
        assert!(tickets.issue("a.b.c", 29_999, &entropy).is_none());
        tickets.sweep(30_000);
        assert!(tickets.issue("a.b.c", 30_000, &entropy).is_some());
    }
}
