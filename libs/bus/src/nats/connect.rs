use std::time::Duration;

use async_nats::{ConnectOptions, Event, jetstream};
use clock::{Clock, Entropy};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Link, NatsOptions, replies};
use crate::{BusError, BusErrorKind, meter};

/// Room that headers get inside the server's `max_payload`.
const HEADER_ROOM: usize = 16 * 1024;

/// What the server can do beyond 2.9; each has a fallback that is logged by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// ≥ 2.10: a consumer filters several kinds. Else it reads all kinds and acknowledges those that aren't its own.
    pub(super) multi_filter: bool,
    /// ≥ 2.11: one process holds a partition and reads ahead. Else `max_ack_pending = 1`.
    pub(super) pinned: bool,
    /// ≥ 2.12: atomic batches. Else one event of a key is under way at a time.
    pub(super) atomic: bool,
    /// ≥ 2.10.4: `+TERM` takes a reason.
    pub(super) term_reason: bool,
}

pub(super) async fn connect(mut options: NatsOptions, clock: Clock) -> Result<Link, BusError> {
    let (up, connected) = watch::channel(false);
    let gauge = meter::connected("nats");
    let reconnect_max = options.reconnect_max;
    let entropy = Entropy::system();
    let connecting = ConnectOptions::new()
        .name(&options.client_name)
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.connect_timeout))
        .max_reconnects(None)
        .reconnect_delay_callback(move |attempts| pause(attempts, reconnect_max, &entropy))
        .event_callback(move |event| {
            match event {
                Event::Connected => {
                    up.send_replace(true);
                    gauge.set(1.0);
                    tracing::info!("connected to NATS");
                }
                Event::Disconnected | Event::Closed => {
                    up.send_replace(false);
                    gauge.set(0.0);
                    tracing::warn!("the connection to NATS is gone; reconnecting until it is back");
                }
                other => tracing::warn!(event = %other, "NATS reports"),
            }
            std::future::ready(())
        })
        .connect(options.url.split(',').map(str::trim).collect::<Vec<_>>());
    let client = match clock.timeout(options.connect_timeout, connecting).await {
        Some(Ok(client)) => client,
        Some(Err(error)) => return Err(super::failed("can't connect to NATS", error)),
        None => return Err(BusError::new(BusErrorKind::Unavailable, "can't connect to NATS: no answer in time")),
    };
    // The event may come a moment after the connection.
    let mut first = connected.clone();
    let _ = clock.timeout(options.connect_timeout, first.wait_for(|up| *up)).await;
    let room = client.max_payload().saturating_sub(HEADER_ROOM);
    if options.max_inline_bytes > room {
        tracing::warn!(
            max_payload = client.max_payload(),
            "the server's max_payload lowers max_inline_bytes to {room}"
        );
        options.max_inline_bytes = room;
    }
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(options.connect_timeout);
    let features = probe(&client, &jetstream).await?;
    let closed = CancellationToken::new();
    let replies = replies::Replies::start(&client, closed.clone()).await?;
    let (draining, busy) = (CancellationToken::new(), TaskTracker::new());
    Ok(Link { options, client, jetstream, features, connected, replies, clock, draining, closed, busy })
}

/// 50 ms, doubled each time, at most `max`; between half and all of that, so that a fleet does not come back at once.
fn pause(attempts: usize, max: Duration, entropy: &Entropy) -> Duration {
    let full = Duration::from_millis(50 << attempts.saturating_sub(1).min(16)).min(max);
    let millis = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(millis / 2 + entropy.up_to(millis / 2))
}

fn unfit(detail: String) -> BusError {
    BusError::new(BusErrorKind::Unfit, detail)
}

async fn probe(client: &async_nats::Client, jetstream: &jetstream::Context) -> Result<Features, BusError> {
    let number = client.server_info().version;
    let version = version(&number);
    if version < (2, 9, 0) {
        return Err(unfit(format!(
            "nats-server {number}: at least 2.9 is needed (negative acknowledgement with delay)"
        )));
    }
    let info: serde_json::Value = match jetstream.request("INFO", &()).await {
        Ok(info) => info,
        Err(error) if error.kind() == jetstream::context::RequestErrorKind::NoResponders => {
            return Err(unfit(format!("nats-server {number}: JetStream is disabled; start it with --jetstream")));
        }
        Err(error) => return Err(super::failed("JetStream does not answer", error)),
    };
    if let Some(error) = info.get("error") {
        let text = error.get("description").and_then(serde_json::Value::as_str).unwrap_or("unknown");
        return Err(unfit(format!("nats-server {number}: JetStream is disabled for this account ({text})")));
    }
    // The level counts what newer servers offer; old ones accept and silently ignore what they don't know.
    let level = info.pointer("/api/level").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let features = Features {
        multi_filter: version >= (2, 10, 0),
        pinned: level >= 1,
        atomic: level >= 2,
        term_reason: version >= (2, 10, 4),
    };
    for (has, feature, instead) in [
        (features.multi_filter, "consumers with several filters", "all kinds are read, foreign ones acknowledged"),
        (features.pinned, "pinned clients (server 2.11)", "one unsettled event per partition"),
        (features.atomic, "atomic batches (server 2.12)", "one event of a key after the other"),
        (features.term_reason, "reasons of +TERM", "the reason is only logged here"),
    ] {
        if !has {
            tracing::warn!(server = number, "no {feature}; fallback: {instead}");
        }
    }
    Ok(features)
}

/// `2.15.1-beta` → (2, 15, 1).
fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}
