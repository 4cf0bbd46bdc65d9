//! The same on DynamoDB: what commits, relays and buries must not lean on SQLite.

use bus::Bus;
use clock::{Clock, Entropy};
use outbox::{Failure, Options, Outbox, Reason, Selection};
use store::{Condition, DynamoOptions, Item, Key, Store};
use testkit::eventually;
use testkit::servers::Dynoxide;

use crate::fixture::*;

struct Cloud {
    bus: Bus,
    publisher: Outbox,
    listener: Outbox,
    _server: Dynoxide,
}

async fn cloud() -> Cloud {
    let server = tokio::task::spawn_blocking(Dynoxide::start).await.unwrap();
    let clock = Clock::system();
    let bus = crate::fixture::bus(&clock);
    let mut outboxes = Vec::new();
    for service in ["presence", "listener"] {
        let options = DynamoOptions::emulator(server.url(), format!("synapse-{service}"));
        let store = Store::dynamo(options, clock.clone()).await.unwrap();
        let outbox = Outbox::new(service, store, bus.clone(), clock.clone(), Entropy::system(), Options::default());
        outboxes.push(outbox);
    }
    let (listener, publisher) = (outboxes.pop().unwrap(), outboxes.pop().unwrap());
    Cloud { bus, publisher, listener, _server: server }
}

#[tokio::test]
async fn facts_are_committed_relayed_and_handled_once_on_dynamodb() {
    let cloud = cloud().await;
    let trace = Trace(cloud.listener.store().clone());
    let consumer = Running::consumer(&cloud.listener, &EVERY, Scribe::new(cloud.listener.store()));
    for sequence in 1..=150 {
        let condition = if sequence == 1 { Condition::Absent } else { Condition::Version(sequence - 1) };
        let mut unit = note("peer/alice", sequence, "plain");
        unit.put(Item::new(Key::new("peer", "alice"), sequence, "{}"), condition);
        cloud.publisher.commit(unit).await.unwrap();
    }
    let mut late = note("peer/alice", 151, "plain");
    late.put(Item::new(Key::new("peer", "alice"), 7, "{}"), Condition::Version(3));
    assert_eq!(cloud.publisher.commit(late).await.unwrap_err().conflict(), Some(0));
    assert_eq!(cloud.publisher.pending().await.unwrap(), 150);
    assert_eq!(cloud.publisher.relay_once().await.unwrap(), 150);
    assert_eq!(cloud.publisher.pending().await.unwrap(), 0);
    assert_eq!(trace.of("peer/alice").await, (1..=150).collect::<Vec<u64>>());

    let relay = Running::relay(&cloud.publisher);
    notes(&cloud.publisher, "peer/bob", 1..=20).await;
    trace.until("peer/bob", &(1..=20).collect::<Vec<u64>>()).await;
    until_empty(&cloud.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn duplicates_and_dead_letters_on_dynamodb() {
    let cloud = cloud().await;
    let trace = Trace(cloud.listener.store().clone());
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = std::sync::Arc::clone(&broken);
    let scribe = Scribe::with(cloud.listener.store(), move |event| {
        let bad = text(event) == "bad" && now.load(std::sync::atomic::Ordering::SeqCst);
        if bad { Err(Failure::Poison("bad".to_owned())) } else { Ok(()) }
    });
    let consumer = Running::consumer(&cloud.listener, &LATEST, scribe);
    let publish = async |id: &str, sequence: u64, text: &str| {
        for answer in cloud.bus.publisher().publish(vec![envelope(id, "peer/alice", sequence, text)]) {
            answer.await.unwrap();
        }
    };
    publish("e-1", 1, "plain").await;
    publish("e-1", 1, "plain").await;
    publish("e-2", 2, "bad").await;
    publish("e-3", 3, "plain").await;
    assert_eq!(trace.of("peer/alice").await, [1]);
    let dead = cloud.listener.dead_letters();
    let listed = eventually(SOON, "two letters", async || {
        let letters = dead.list(None, 10).await.unwrap().letters;
        (letters.len() == 2).then_some(letters)
    })
    .await;
    assert_eq!(listed.iter().map(|letter| letter.reason).collect::<Vec<_>>(), [Reason::Poison, Reason::Parked]);
    assert_eq!(dead.show(&listed[0].id).await.unwrap().as_ref(), Some(&listed[0]));
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(dead.redrive(Selection::All, false).await.unwrap().keys[0].total, 2);
    trace.until("peer/alice", &[1, 2, 3]).await;
    eventually(SOON, "no letters", async || dead.list(None, 10).await.unwrap().letters.is_empty().then_some(())).await;
    consumer.stop().await;
}
