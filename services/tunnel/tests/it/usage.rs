//! What tunnels carry is told, all of it and once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use agent::Options;
use auth::Entitlement;
use bus::Envelope;
use contracts::events::tunnel::UsageRecordedV1;
use contracts::events::usage::Usage;
use futures::{SinkExt, StreamExt};
use testkit::contract::Observer;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{ACME, SOON, World, entitlement, world_with};
use crate::origin::pattern;
use crate::subscriptions::Subscriptions;

const QUICK: &[(&str, &str)] = &[("proof_required", "true"), ("usage_interval_ms", "100")];
const RARE: &[(&str, &str)] = &[("proof_required", "true"), ("usage_interval_ms", "60000")];

fn usage(event: &Envelope) -> Usage {
    serde_json::from_slice::<UsageRecordedV1>(&event.data).unwrap().usage
}

/// Requests and bytes in all that was told; what was told twice has one id.
fn told(observers: &[&Observer]) -> (u64, u64) {
    let seen = observers.iter().flat_map(|observer| observer.seen());
    let facts: BTreeMap<String, Envelope> = seen.map(|event| (event.id.to_string(), event)).collect();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (meter, amount) in facts.values().flat_map(|event| usage(event).amounts) {
        *sums.entry(meter).or_default() += amount;
    }
    let sum = |meter: &str| sums.get(meter).copied().unwrap_or(0);
    (sum("tunnel_requests"), sum("tunnel_bytes"))
}

async fn until_told(observers: &[&Observer], expected: (u64, u64)) {
    testkit::eventually(SOON, &format!("{expected:?} to be told"), async || {
        let told = told(observers);
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

/// Downloads and uploads; how many requests and bytes of bodies that were.
async fn use_it(world: &World) -> (u64, u64) {
    let mut bytes = 0;
    for length in [0, 1, 10_000, 200_000] {
        bytes += world.get(&format!("/bytes/{length}")).send().await.unwrap().bytes().await.unwrap().len();
        let answer = world.http.post(world.url("/hash")).body(pattern(length)).send().await.unwrap();
        bytes += length + answer.bytes().await.unwrap().len();
    }
    (8, bytes as u64)
}

#[tokio::test]
async fn requests_and_bytes_of_both_ways_are_told_once() {
    let world = world_with(QUICK).await;
    let observer = world.observer.clone();
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    let (requests, bytes) = use_it(&world).await;
    until_told(&[&observer], (requests, bytes)).await;
    let again = use_it(&world).await;
    until_told(&[&observer], (requests + again.0, bytes + again.1)).await;

    let (mut socket, _) = connect_async(format!("ws://{}/t/blue/ws", world.edge)).await.unwrap();
    for _ in 0..10 {
        socket.send(Message::binary(pattern(1_000))).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    // Told while it is open. A frame of 1,000 bytes has a head of 4 bytes, and the client's a mask of 4 more (RFC 6455
    // section 5.2).
    until_told(&[&observer], (requests + again.0 + 1, bytes + again.1 + 10 * (1_008 + 1_004))).await;
    drop(socket);
    agent.stop().await;
    world.stop().await;

    let seen = observer.seen();
    let ids: BTreeSet<&str> = seen.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), seen.len());
    for pair in seen.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence && pair[0].key == pair[1].key, "{pair:?}");
        assert!(usage(&pair[0]).to_ms <= usage(&pair[1]).from_ms, "spans don't overlap: {pair:?}");
    }
    for event in &seen {
        let Usage { subscription_id, from_ms, to_ms, .. } = usage(event);
        assert_eq!((event.tenant.as_str(), subscription_id.as_str()), (ACME, "sub-1"));
        assert!(from_ms <= to_ms);
    }
}

#[tokio::test]
async fn a_stopping_edge_tells_what_it_counted_last() {
    let world = world_with(RARE).await;
    let observer = world.observer.clone();
    let subscriptions = Subscriptions::start(&world).await;
    let agent = subscriptions.blue(&world).await;
    let (requests, bytes) = use_it(&world).await;
    // One is under way and finishes while the edge stops.
    let mut stream = world.get("/sse/100").send().await.unwrap().bytes_stream();
    let reading = async {
        let mut length = 0;
        while let Some(chunk) = stream.next().await {
            length += chunk.unwrap().len() as u64;
        }
        length
    };
    assert_eq!(told(&[&observer]), (0, 0));
    let (length, ()) = tokio::join!(reading, world.host.drain());
    agent.stop().await;
    // Stored it is for certain; it goes out with the relay's last breath or with the next start.
    let world = world.restarted(RARE).await;
    until_told(&[&observer, &world.observer], (requests + 1, bytes + length)).await;
    let last = world.observer.clone();
    world.stop().await;
    assert_eq!(told(&[&observer, &last]), (requests + 1, bytes + length));
}

#[tokio::test]
async fn where_no_proof_is_asked_for_nobody_is_billed() {
    let world = world_with(&[("usage_interval_ms", "100")]).await;
    let observer = world.observer.clone();
    let agent = world.blue().await;
    use_it(&world).await;
    agent.stop().await;
    world.stop().await;
    assert_eq!(observer.seen(), []);
}

#[tokio::test]
async fn a_proof_of_another_subscription_does_not_prolong_a_tunnel_but_opens_one() {
    let world = world_with(QUICK).await;
    let observer = world.observer.clone();
    let subscriptions = Subscriptions::start(&world).await;
    // Now the key is known.
    subscriptions.blue(&world).await.stop().await;
    let proofs = AtomicU64::new(0);
    let prover = subscriptions.prover_of(50, move |now_ms| {
        let is_first = proofs.fetch_add(1, Ordering::Relaxed) == 0;
        let (name, lasts_ms) = if is_first { ("sub-1", 1_000) } else { ("sub-2", 86_400_000) };
        let subscription = name.parse().unwrap();
        Entitlement { subscription, entitled_until_ms: now_ms + lasts_ms, ..entitlement("laptop", now_ms) }
    });
    let options = Options { prover: Some(prover), name: Some("blue".into()), ..world.options("laptop") };
    let agent = agent::start(options).await.unwrap();
    testkit::eventually(SOON, "the tunnel to be opened with the other subscription", async || {
        let _ = world.get("/").send().await.unwrap();
        let told: Vec<String> = observer.seen().iter().map(|event| usage(event).subscription_id.to_string()).collect();
        if told.contains(&"sub-2".to_owned()) { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    agent.stop().await;
    world.stop().await;
}
