use std::sync::Arc;

use bus::Asked;
use contracts::requests::presence::{ConnectRefusal, ConnectV1, Connected};
use service::Rejection;

use super::{Limit, change};
use crate::Presence;
use crate::peer::Peer;

/// Takes the peer's place for this connection.
pub(crate) async fn connect(
    presence: Arc<Presence>,
    asked: Asked,
    ask: ConnectV1,
) -> Result<Connected, Rejection<ConnectRefusal>> {
    let (now_ms, lease_ms) = (presence.platform.clock.now_ms(), presence.config.lease_ms);
    let peer_id = ask.peer_id.clone();
    let network = match &ask.address {
        None => None,
        Some(address) => Some(presence.networks.name(&asked.tenant, address).ok_or_else(|| {
            let violations = vec!["address: must be an IPv4 or IPv6 address".to_owned()];
            Rejection::Refused(ConnectRefusal::Invalid { violations })
        })?),
    };
    let decide = |known| Peer::connect(known, ask.clone(), network.clone(), now_ms, lease_ms).map(Some);
    let limit = ask.max_peers.map(|peers| Limit { peers, refusal: ConnectRefusal::TooManyPeers { limit: peers } });
    match change(&presence, &asked.tenant, &peer_id, &asked.trail, limit, decide).await? {
        Some(peer) => Ok(Connected { generation: peer.generation, lease_ms, network: peer.network }),
        None => Err(Rejection::busy(format!("peer {peer_id} could not be placed; try again"))),
    }
}
