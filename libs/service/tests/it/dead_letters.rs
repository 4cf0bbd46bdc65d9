//! Dead letters as an operator sees them: over the admin listener of a real process's host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use bus::{Bus, EmbeddedOptions, Envelope, Trail};
use clock::{Clock, Entropy};
use contracts::Contract;
use contracts::events::presence::{OfflineReason, PeerWentOfflineV1, PresenceEvent};
use http::Request;
use outbox::{Consumer, Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use serde_json::Value;
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, PlatformConfig, config};
use testkit::eventually;
use tower::ServiceExt;

const SUBSCRIPTIONS: &[Subscription] = &[Subscription {
    kind: PeerWentOfflineV1::KIND,
    retry: RetryPolicy::DEFAULT,
    order: Order::Every,
    effects: Effects::Local,
}];

struct Indigestible;

#[async_trait]
impl Consumer for Indigestible {
    async fn handle(&self, _: &Envelope, _: &mut Unit) -> Result<(), Failure> {
        Err(Failure::Poison("it makes no sense".into()))
    }
}

async fn call(host: &Host, method: &str, path: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = host.dead_letters.router().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn an_operator_lists_shows_redrives_and_drops() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().display());
    let env = [("SYNAPSE_PLATFORM__STORE".to_owned(), store)].into_iter();
    let sources = config::Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env };
    let settings: PlatformConfig = config::load(sources).unwrap();
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let options = EmbeddedOptions { routes: Some(BTreeMap::new()), ..EmbeddedOptions::default() };
    let host = Host::on(settings, Bus::embedded(options, clock.clone()), clock, entropy);
    let (reader, writer) = (host.platform("signaling").await.unwrap(), host.platform("presence").await.unwrap());
    reader.consume(SUBSCRIPTIONS, Arc::new(Indigestible)).await.unwrap();
    let fact = PeerWentOfflineV1 { peer_id: "alice".parse().unwrap(), generation: 1, reason: OfflineReason::Left };
    let mut unit = Unit::new();
    unit.publish(&"acme".parse().unwrap(), 1, &Trail::new("c-1"), &PresenceEvent::from(fact));
    writer.outbox.commit(unit).await.unwrap();

    let id = eventually(Duration::from_secs(20), "the dead letter", async || {
        let (_, page) = call(&host, "GET", "/dead-letters/signaling").await;
        page["letters"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let (status, letter) = call(&host, "GET", &format!("/dead-letters/signaling/{id}")).await;
    assert_eq!(status, 200);
    assert!(letter.to_string().contains("it makes no sense"), "{letter}");

    let (status, plan) = call(&host, "POST", "/dead-letters/signaling/redrive?dry_run=true").await;
    assert_eq!((status, &plan["dry_run"], &plan["keys"][0]["total"]), (200, &true.into(), &1.into()));

    assert_eq!(call(&host, "DELETE", &format!("/dead-letters/signaling/{id}")).await.0, 400, "a reason is needed");
    assert_eq!(call(&host, "DELETE", &format!("/dead-letters/signaling/{id}?reason=nonsense")).await.0, 200);
    assert_eq!(call(&host, "GET", &format!("/dead-letters/signaling/{id}")).await.0, 404);
    assert_eq!(call(&host, "GET", "/dead-letters/signaling?limit=0").await.0, 400);
    assert_eq!(call(&host, "GET", "/dead-letters/nobody").await.0, 404);
    host.drain().await;
}
