use std::sync::Arc;
use std::time::Duration;

use bus::Trail;
use clock::Clock;
use outbox::{Options, RelayError, Unit};
use store::{Condition, Item, Key, StoreErrorKind};
use testkit::eventually;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fixture::*;
use crate::wire::Wire;

#[tokio::test]
async fn a_committed_fact_reaches_its_consumer_once() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let relay = Running::relay(&world.publisher);
    notes(&world.publisher, "peer/alice", 1..=3).await;
    notes(&world.publisher, "peer/bob", 1..=2).await;
    world.trace().until("peer/alice", &[1, 2, 3]).await;
    world.trace().until("peer/bob", &[1, 2]).await;
    until_empty(&world.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn what_was_committed_before_the_stop_still_goes_out() {
    let clock = Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let stopped = CancellationToken::new();
    stopped.cancel();
    // A bus in this process has nobody left who reads.
    notes(&world.publisher, "peer/alice", 1..=3).await;
    world.publisher.run_relay(stopped.clone()).await;
    assert_eq!(world.publisher.pending().await.unwrap(), 3);
    wire.keep();
    world.publisher.run_relay(stopped).await;
    assert_eq!((world.publisher.pending().await.unwrap(), wire.published().len()), (0, 3));
}

#[tokio::test]
async fn concurrent_commits_of_one_key_stay_in_order() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let relay = Running::relay(&world.publisher);
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let publisher = world.publisher.clone();
        writers.spawn(async move {
            let at = Key::new("peer", "alice");
            let mut won = 0;
            while won < 25 {
                let version = publisher.store().get(&at).await.unwrap().map_or(0, |item| item.version);
                let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
                let mut unit: Unit = note("peer/alice", version + 1, "plain");
                unit.put(Item::new(at.clone(), version + 1, "{}"), condition);
                match publisher.commit(unit).await {
                    Ok(()) => won += 1,
                    Err(error) => assert_eq!(error.conflict(), Some(0), "{error}"),
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let all: Vec<u64> = (1..=200).collect();
    world.trace().until("peer/alice", &all).await;
    until_empty(&world.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_step_publishes_what_is_there() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    assert_eq!(world.publisher.relay_once().await.unwrap(), 0);
    let small = Options { page: 7, in_flight: 16, in_flight_per_key: 3, ..Options::default() };
    let publisher = Arc::new(outbox("presence", world.publisher.store(), &world.bus, &world.clock, small));
    for about in ["peer/a", "peer/b", "peer/c", "peer/a#b", "peer/a%"] {
        notes(&publisher, about, 1..=20).await;
    }
    assert_eq!(publisher.pending().await.unwrap(), 100);
    assert_eq!(publisher.relay_once().await.unwrap(), 100);
    assert_eq!(publisher.pending().await.unwrap(), 0);
    let all: Vec<u64> = (1..=20).collect();
    for about in ["peer/a", "peer/b", "peer/c", "peer/a#b", "peer/a%"] {
        assert_eq!(world.trace().of(about).await, all, "{about}");
    }
    consumer.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_while_the_broker_is_away() {
    let clock = Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let relay = Running::relay(&world.publisher);
    notes(&world.publisher, "peer/alice", 1..=2).await;
    world.trace().until("peer/alice", &[1, 2]).await;
    wire.away(true);
    for about in ["peer/alice", "peer/bob"] {
        notes(&world.publisher, about, 3..=120).await;
    }
    assert!(matches!(world.publisher.relay_once().await, Ok(0) | Err(RelayError::Bus(_))));
    assert_eq!(world.publisher.pending().await.unwrap(), 236);
    wire.away(false);
    world.trace().until("peer/alice", &(1..=120).collect::<Vec<u64>>()).await;
    world.trace().until("peer/bob", &(3..=120).collect::<Vec<u64>>()).await;
    until_empty(&world.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_shard_changes_hands_when_its_lease_ends() {
    let (clock, hand) = Clock::manual(1_000_000);
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock.clone(), wire.bus());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let named = |owner: &str| {
        let options = Options { owner: Some(owner.to_owned()), ..Options::default() };
        outbox("presence", world.publisher.store(), &world.bus, &clock, options)
    };
    let (first, second) = (named("first"), named("second"));
    // The first publishes and then hangs: it never hears that the broker has it.
    wire.hold(true);
    notes(&first, "peer/alice", 1..=1).await;
    let hanging = tokio::spawn({
        let first = first.clone();
        async move { first.relay_once().await }
    });
    eventually(SOON, "the publish", async || (!wire.published().is_empty()).then_some(())).await;
    assert_eq!(second.relay_once().await.unwrap(), 0, "the shard belongs to the first");
    hand.advance(Duration::from_secs(6));
    let taking = tokio::spawn({
        let second = second.clone();
        async move { second.relay_once().await }
    });
    eventually(SOON, "the second publish", async || (wire.published().len() == 2).then_some(())).await;
    wire.hold(false);
    // Whoever deletes first: only the second can.
    assert_eq!(taking.await.unwrap().unwrap(), 1);
    let fenced = hanging.await.unwrap();
    assert!(matches!(&fenced, Err(RelayError::Store(error)) if error.conflict() == Some(0)), "{fenced:?}");
    assert_eq!(world.trace().of("peer/alice").await, [1], "published twice, handled once");
    assert_eq!(second.pending().await.unwrap(), 0);
    consumer.stop().await;
}

#[tokio::test]
async fn a_restarted_process_takes_its_own_leases_over_at_once() {
    let (clock, _hand) = Clock::manual(1_000_000);
    let world = World::on(clock.clone(), bus(&clock));
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let lease = Item::new(Key::new("outbox-lease#0", "lease"), 7, r#"{"owner":"local","until_ms":1004000}"#);
    world.publisher.store().put(lease, Condition::Absent).await.unwrap();
    notes(&world.publisher, "peer/alice", 1..=1).await;
    assert_eq!(world.publisher.relay_once().await.unwrap(), 1);
    consumer.stop().await;
}

#[tokio::test]
async fn a_sweep_finds_what_a_crash_left() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    // Committed by a process that was killed before its relay woke.
    let dead = outbox("presence", world.publisher.store(), &world.bus, &world.clock, Options::default());
    let relay = Running::relay(&world.publisher);
    notes(&dead, "peer/alice", 1..=40).await;
    world.trace().until("peer/alice", &(1..=40).collect::<Vec<u64>>()).await;
    until_empty(&world.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_slow_key_holds_back_only_itself() {
    let world = World::new();
    let slow = Arc::new(Notify::new());
    let scribe = Scribe::slow(world.listener.store(), {
        let slow = Arc::clone(&slow);
        move |event| {
            let slow = Arc::clone(&slow);
            Box::pin(async move {
                if text(&event) == "slow" {
                    slow.notified().await;
                }
                Ok(())
            })
        }
    });
    let consumer = Running::consumer(&world.listener, &EVERY, scribe);
    // One shard and a window of 8: ten waiting rows of the slow key would fill it.
    let options = Options { shards: Some(1), in_flight: 8, in_flight_per_key: 2, page: 4, ..Options::default() };
    let publisher = outbox("presence", world.publisher.store(), &world.bus, &world.clock, options);
    publisher.commit(note("peer/a-slow", 1, "slow")).await.unwrap();
    notes(&publisher, "peer/a-slow", 2..=10).await;
    notes(&publisher, "peer/fast", 1..=30).await;
    let relay = Running::relay(&publisher);
    world.trace().until("peer/fast", &(1..=30).collect::<Vec<u64>>()).await;
    assert_eq!(world.trace().of("peer/a-slow").await, [0; 0]);
    slow.notify_one();
    world.trace().until("peer/a-slow", &(1..=10).collect::<Vec<u64>>()).await;
    until_empty(&publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_conflict_names_the_units_own_action() {
    let world = World::new();
    let item = |sort: &str| Item::new(Key::new("peer", sort), 1, "{}");
    let mut first = note("peer/alice", 1, "plain");
    first.put(item("a"), Condition::Absent).put(item("b"), Condition::Absent);
    world.publisher.commit(first).await.unwrap();

    let mut taken = note("peer/alice", 2, "plain");
    taken.put(item("c"), Condition::Absent).put(item("b"), Condition::Absent);
    assert_eq!(world.publisher.commit(taken).await.unwrap_err().conflict(), Some(1));
    let mut same_sequence = note("peer/alice", 1, "other");
    same_sequence.put(item("c"), Condition::Absent);
    assert_eq!(world.publisher.commit(same_sequence).await.unwrap_err().conflict(), Some(1), "beyond its actions");
    assert_eq!(world.publisher.pending().await.unwrap(), 1, "neither left anything");
    assert!(world.publisher.store().get(&Key::new("peer", "c")).await.unwrap().is_none());
    world.publisher.commit(Unit::new()).await.unwrap();
}

#[tokio::test]
async fn facts_beyond_the_limits_are_refused_with_the_rule() {
    let world = World::new();
    let large = note("peer/alice", 1, &"x".repeat(400 * 1024));
    let error = world.publisher.commit(large).await.unwrap_err();
    assert!(error.to_string().contains("presence.noted.v1.data: 4096"), "{error}");
    let long = note(&"#".repeat(300), 1, "plain");
    let error = world.publisher.commit(long).await.unwrap_err();
    assert!(error.to_string().contains("presence.noted.v1.key: longer than 800 bytes"), "{error}");
    let mut many = Unit::new();
    for sequence in 1..=101 {
        many.publish(&tenant(), sequence, &Trail::new("c"), &Note { about: "peer/a".to_owned(), text: String::new() });
    }
    let error = world.publisher.commit(many).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(world.publisher.pending().await.unwrap(), 0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_only_its_key() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let options = Options { shards: Some(1), ..Options::default() };
    let publisher = outbox("presence", world.publisher.store(), &world.bus, &world.clock, options);
    let broken = Key::new("outbox#0", format!("{}#{:020}#{NOTED}", key("peer/alice"), 2));
    notes(&publisher, "peer/alice", [1, 3]).await;
    publisher.store().put(Item::new(broken.clone(), 2, r#"{"id":"bad"}"#), Condition::Absent).await.unwrap();
    notes(&publisher, "peer/bob", 1..=3).await;
    let error = publisher.relay_once().await.unwrap_err();
    assert!(matches!(&error, RelayError::Store(error) if error.kind() == StoreErrorKind::Corrupt), "{error}");
    assert_eq!(world.trace().of("peer/alice").await, [1]);
    assert_eq!(world.trace().of("peer/bob").await, [1, 2, 3]);
    publisher.store().delete(broken, Condition::Exists).await.unwrap();
    assert_eq!(publisher.relay_once().await.unwrap(), 1);
    assert_eq!(world.trace().of("peer/alice").await, [1, 3]);
    consumer.stop().await;
}

#[tokio::test]
async fn the_first_use_of_a_table_decides_its_number_of_shards() {
    let world = World::new();
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let with = |shards| {
        let options = Options { shards, ..Options::default() };
        outbox("presence", world.publisher.store(), &world.bus, &world.clock, options)
    };
    let abouts: Vec<String> = (0..20).map(|number| format!("peer/{number}")).collect();
    // Twenty keys in eight shards; then the service starts again with fewer, and once more with none named.
    let first = with(Some(8));
    for about in &abouts {
        notes(&first, about, 1..=2).await;
    }
    let fewer = with(Some(2));
    for about in &abouts {
        notes(&fewer, about, 3..=3).await;
    }
    assert_eq!(fewer.pending().await.unwrap(), 60, "the old rows count too");
    assert_eq!(fewer.relay_once().await.unwrap(), 60, "and are published, in order with the new ones");
    notes(&with(None), &abouts[0], 4..=4).await;
    assert_eq!(first.relay_once().await.unwrap(), 1, "old and new processes agree");
    assert_eq!(world.trace().of(&abouts[0]).await, [1, 2, 3, 4]);
    for about in &abouts[1..] {
        assert_eq!(world.trace().of(about).await, [1, 2, 3], "{about}");
    }
    consumer.stop().await;
}
