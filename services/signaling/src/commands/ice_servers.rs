use std::sync::Arc;

use bus::Asked;
use contracts::requests::signaling::{IceServers, IceServersRefusal, IceServersV1};
use service::Rejection;

use crate::Signaling;
use crate::ice;

/// Tells a peer with a good proof which servers help it to connect.
pub(crate) async fn ice_servers(
    signaling: Arc<Signaling>,
    asked: Asked,
    ask: IceServersV1,
) -> Result<IceServers, Rejection<IceServersRefusal>> {
    if let Err(error) = signaling.proofs.verify(&asked.tenant, &ask.peer_id, &ask.proof).await {
        return Err(Rejection::Refused(IceServersRefusal::ProofRefused { message: error.to_string() }));
    }
    Ok(ice::servers(&signaling.config, &asked.tenant, &ask.peer_id, signaling.platform.clock.now_ms()))
}
