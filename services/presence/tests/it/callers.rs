//! What askers may get wrong, and what keeps tenants apart.

use bus::{BusErrorKind, Envelope, Trail};
use contracts::events::presence::{OfflineReason, PeerStatus};
use contracts::requests::presence::{ConnectV1, DisconnectV1, Disconnected, LookupRefusal, LookupV1};
use contracts::signals::EVERYBODY;
use contracts::signals::presence::HeartbeatV1;
use contracts::{Answer, Contract};
use serde_json::{Value, json};

use crate::harness::{ACME, SOON, START_MS, World, id, run};

fn envelope(kind: &str, data: impl Into<bytes::Bytes>) -> Envelope {
    Envelope {
        id: id("0199f6a0-0000-7000-8000-000000000001"),
        source: "/synapse/gateway".into(),
        kind: kind.into(),
        tenant: id(ACME),
        key: ACME.into(),
        sequence: 0,
        time_ms: START_MS,
        trail: Trail::new("test"),
        expires_at_ms: None,
        data: data.into(),
    }
}

async fn failure(world: &World, body: Value) -> String {
    let answer = world.bus.request(envelope(ConnectV1::KIND, body.to_string()), SOON).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["failed"]["retryable"], false, "{answer}");
    answer["failed"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_body_that_breaks_its_contract_is_told_by_field() {
    run(async |world| {
        let good = serde_json::to_value(crate::harness::connect("alice", "c1")).unwrap();
        for (field, value) in [("peer_id", json!("a b")), ("user_id", json!(7)), ("proof_ver", json!(-1))] {
            let mut body = good.clone();
            body[field] = value;
            let message = failure(world, body).await;
            assert!(message.starts_with("presence.connect.v1: the body breaks its contract"), "{message}");
        }
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove("node_id");
        assert!(failure(world, body).await.contains("node_id"));
        assert!(failure(world, json!([])).await.contains("contract"));
        // The service goes on.
        world.connect(ACME, "alice", "c1").await;
    })
    .await;
}

#[tokio::test]
async fn an_unknown_kind_has_no_owner_here() {
    run(async |world| {
        let asked = world.bus.request(envelope("presence.dance.v1", "{}"), SOON).await;
        assert_eq!(asked.unwrap_err().kind(), BusErrorKind::NoResponder);
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_time_is_over_is_not_carried_out() {
    run(async |world| {
        let body = serde_json::to_vec(&crate::harness::connect("alice", "c1")).unwrap();
        let mut late = envelope(ConnectV1::KIND, body);
        late.expires_at_ms = Some(START_MS);
        let answer: Value = serde_json::from_slice(&world.bus.request(late, SOON).await.unwrap()).unwrap();
        assert!(answer["failed"]["message"].as_str().unwrap().contains("deadline"), "{answer}");
        assert_eq!(
            world.ask(ACME, &LookupV1 { peer_id: id("alice") }).await,
            Answer::Refused(LookupRefusal::UnknownPeer)
        );
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_that_breaks_its_contract_is_dropped() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        world.bus.signal(EVERYBODY, envelope(HeartbeatV1::KIND, r#"{"peers":7}"#)).await.unwrap();
        // The listener lives: a good one afterwards still counts.
        world.hand.advance(std::time::Duration::from_secs(20));
        let good = json!({"node_id": "gateway-1", "peers": [{"peer_id": "alice", "generation": 1}]});
        world.bus.signal(EVERYBODY, envelope(HeartbeatV1::KIND, good.to_string())).await.unwrap();
        testkit::eventually(SOON, "the lease to be renewed", async || {
            (world.lookup(ACME, "alice").await.lease_until_ms == world.clock.now_ms() + 30_000).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn tenants_do_not_see_or_touch_each_other() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        let lookup = LookupV1 { peer_id: id("alice") };
        assert_eq!(world.ask("umbrella", &lookup).await, Answer::Refused(LookupRefusal::UnknownPeer));
        // The same id is another peer there, with an owner of its own.
        let mut theirs = crate::harness::connect("alice", "c1");
        theirs.user_id = id("bill");
        assert!(matches!(world.ask("umbrella", &theirs).await, Answer::Ok(connected) if connected.generation == 1));
        let leave = DisconnectV1 { peer_id: id("alice"), generation: 1, reason: OfflineReason::Left };
        assert_eq!(world.ask("umbrella", &leave).await, Answer::Ok(Disconnected { went_offline: true }));
        assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Online);
        assert_eq!((world.count(ACME).await, world.count("umbrella").await), (1, 0));
        world.facts().await;
        let keys: Vec<String> = world.envelopes().into_iter().map(|fact| fact.key).collect();
        assert_eq!(keys.iter().filter(|key| *key == "acme/peer/alice").count(), 1, "{keys:?}");
    })
    .await;
}
