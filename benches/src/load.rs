//! What the benches send around, and where they keep it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bus::{Envelope, Trail};
use clock::Clock;
use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use contracts::{Contract, Event, Fact, TenantId};
use store::{SqliteOptions, Store};
use tempfile::TempDir;

/// The kind of every event here.
pub(crate) const KIND: &str = StripeSubscriptionChangedV1::KIND;
/// The service that publishes them.
pub(crate) const PUBLISHER: &str = "webhook";
/// Whatever takes longer than this is stuck.
pub(crate) const STUCK: Duration = Duration::from_secs(120);

/// A SQLite store with production's settings, in a folder that lasts as long as this.
pub(crate) struct Disk {
    pub(crate) store: Store,
    _folder: TempDir,
}

impl Disk {
    pub(crate) fn new(clock: &Clock) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Store::sqlite(SqliteOptions::at(folder.path().join("store.sqlite")), clock.clone())?;
        Ok(Self { store, _folder: folder })
    }
}

pub(crate) fn tenant() -> Result<TenantId> {
    Ok("acme".parse()?)
}

/// A real event of the catalogue about the subscription of this number, its payload `bytes` long.
pub(crate) fn event(number: usize, bytes: usize) -> Result<WebhookEvent> {
    let mut payload = StripeSubscriptionChangedV1 {
        subscription_id: format!("sub-{number:08}").parse()?,
        stripe_subscription_id: "sub_1PgafmB7WZ01zgkW6dKueIc5".to_owned(),
        stripe_event_id: format!("evt_{number:08}"),
        stripe_event_type: "customer.subscription.updated".to_owned(),
        api_version: None,
        livemode: false,
        created_s: 1_790_000_000,
        hinted_status: None,
        metadata: BTreeMap::new(),
        stripe_account: None,
    };
    let bare = serde_json::to_vec(&payload)?.len();
    // `,"metadata":{"note":""}` around what is missing, in values as long as Stripe allows (500).
    let mut missing = bytes.saturating_sub(bare + r#","metadata":{}"#.len());
    for name in ["a", "b", "c", "d"] {
        let around = r#""a":"","#.len();
        if missing > around {
            let length = (missing - around).min(500);
            payload.metadata.insert(name.to_owned(), "x".repeat(length));
            missing -= length + around;
        }
    }
    Ok(WebhookEvent::from(payload))
}

/// The payload as it goes over the wire.
pub(crate) fn payload(event: &WebhookEvent) -> Result<Vec<u8>> {
    event.to_json().context("contracts are plain data")
}

/// An envelope as a broker brings it.
pub(crate) fn envelope(number: usize, bytes: usize, sequence: u64, now_ms: u64) -> Result<Envelope> {
    let WebhookEvent::StripeSubscriptionChanged(payload) = event(number, bytes)? else { bail!("another event") };
    let tenant = tenant()?;
    let entropy = clock::Entropy::system();
    Ok(Envelope {
        id: entropy.uuid_v7(now_ms).to_string().parse()?,
        source: format!("/synapse/{PUBLISHER}"),
        kind: KIND.to_owned(),
        key: payload.key(&tenant),
        tenant,
        sequence,
        time_ms: now_ms,
        trail: trail(),
        expires_at_ms: None,
        data: serde_json::to_vec(&payload)?.into(),
    })
}

/// A trail as production has it: inside a trace.
pub(crate) fn trail() -> Trail {
    Trail {
        causation_id: Some("0190b6e4-7c3b-7d52-8c1f-2d6a1b9c4e01".to_owned()),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        ..Trail::new("0190b6e4-7c3b-7d52-8c1f-2d6a1b9c4e00")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_as_long_as_asked_for() {
        for bytes in [256, 1_024] {
            let length = payload(&event(7, bytes).unwrap()).unwrap().len();
            assert!(length.abs_diff(bytes) <= 8, "{length} for {bytes}");
        }
    }
}
