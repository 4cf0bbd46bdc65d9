//! Requests and heartbeats in, answers out.

use std::sync::Arc;

use contracts::signals::EVERYBODY;
use contracts::signals::presence::HeartbeatV1;
use contracts::{Class, Contract};

use crate::commands::{connect, describe, disconnect, heartbeat, queries, set_status};
use crate::{NAME, Presence};

/// Most heartbeat signals that wait; beyond that the oldest are dropped, and the next beat makes up for them.
const HEARTBEAT_BUFFER: usize = 1_024;

/// Serves every request kind that presence owns.
pub(crate) async fn requests(presence: &Arc<Presence>) -> anyhow::Result<()> {
    let (platform, max) = (&presence.platform, presence.config.max_requests);
    platform.serve(presence, max, connect::connect).await?;
    platform.serve(presence, max, disconnect::disconnect).await?;
    platform.serve(presence, max, set_status::set_status).await?;
    platform.serve(presence, max, queries::lookup).await?;
    platform.serve(presence, max, queries::list).await?;
    platform.serve(presence, max, describe::describe).await?;
    platform.serve(presence, max, queries::count).await?;
    Ok(())
}

/// Takes heartbeats; presence processes share them.
pub(crate) async fn heartbeats(presence: &Arc<Presence>) -> anyhow::Result<()> {
    let bus = &presence.platform.bus;
    let mut beats = bus.listen(HeartbeatV1::KIND, Some(EVERYBODY), Some(NAME), HEARTBEAT_BUFFER).await?;
    let (p, stop) = (Arc::clone(presence), presence.platform.lifecycle.token());
    presence.platform.lifecycle.spawn("presence.heartbeats", async move {
        while let Some(Some(envelope)) = stop.run_until_cancelled(beats.next()).await {
            match contracts::read(NAME, Class::Signal, HeartbeatV1::KIND, &envelope.data) {
                Ok(beat) => heartbeat::heartbeat(&p, &envelope.tenant, &envelope.trail, beat).await,
                Err(error) => tracing::warn!(%error, source = envelope.source, "a heartbeat breaks its contract"),
            }
        }
    });
    Ok(())
}
