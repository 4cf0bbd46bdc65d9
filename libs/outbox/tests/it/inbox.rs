use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::Clock;
use outbox::{ConsumeOptions, Failure, Options, Reason};
use store::{Condition, Item, Key};
use testkit::eventually;
use tokio::sync::Notify;

use crate::fixture::*;
use crate::wire::{Hand, Wire, Word};

/// A listener whose deliveries the test hands in.
fn by_hand(clock: &Clock) -> (World, Hand) {
    let wire = Wire::new(bus(clock));
    let hand = wire.by_hand();
    (World::on(clock.clone(), wire.bus()), hand)
}

#[tokio::test]
async fn the_same_event_has_its_effects_once() {
    let (world, hand) = by_hand(&Clock::system());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let event = envelope("e-1", "peer/alice", 1, "plain");
    for attempt in [1, 1, 2, 7] {
        assert_eq!(hand.give(Ok(event.clone()), attempt).await.settled().await, Word::Ack);
    }
    assert_eq!(world.trace().of("peer/alice").await, [1]);
    // The same id from another source is another event.
    let mut other = event.clone();
    other.source = "/synapse/webhook".to_owned();
    assert_eq!(hand.give(Ok(other), 1).await.settled().await, Word::Ack);
    assert_eq!(world.trace().of("peer/alice").await, [1, 1]);
    consumer.stop().await;
}

#[tokio::test]
async fn the_same_id_with_another_payload_is_set_aside_loudly() {
    for subscriptions in [&EVERY, &LATEST] {
        let (world, hand) = by_hand(&Clock::system());
        let consumer = Running::consumer(&world.listener, subscriptions, Scribe::new(world.listener.store()));
        let event = envelope("e-1", "peer/alice", 1, "plain");
        assert_eq!(hand.give(Ok(event.clone()), 1).await.settled().await, Word::Ack);
        let forged = envelope("e-1", "peer/alice", 1, "other");
        for _ in 0..2 {
            assert_eq!(hand.give(Ok(forged.clone()), 1).await.settled().await, Word::Term("conflict".to_owned()));
        }
        let listed = world.listener.dead_letters().list(None, 10).await.unwrap().letters;
        assert_eq!(listed.len(), 1, "once, however often it comes");
        assert_eq!((listed[0].reason, listed[0].envelope.as_ref()), (Reason::Conflict, Some(&forged)));
        // It blocks nothing.
        let next = envelope("e-2", "peer/alice", 2, "plain");
        assert_eq!(hand.give(Ok(next), 1).await.settled().await, Word::Ack);
        assert_eq!(world.trace().of("peer/alice").await, [1, 2]);
        consumer.stop().await;
    }
}

#[tokio::test]
async fn of_two_workers_at_one_event_one_wins() {
    let clock = Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let hands = [wire.by_hand(), wire.by_hand()];
    drop(hands);
    let mut consumers = Vec::new();
    let mut hands = Vec::new();
    for owner in ["first", "second"] {
        let hand = wire.by_hand();
        let options = Options { owner: Some(owner.to_owned()), ..Options::default() };
        let listener = outbox("listener", world.listener.store(), &world.bus, &world.clock, options);
        consumers.push(Running::consumer(&listener, &EVERY, Scribe::new(world.listener.store())));
        // Its subscription must have taken this hand before the next is made.
        let mut first = hand.give(Ok(envelope(&format!("warm-{owner}"), "peer/warm", 1, "plain")), 1).await;
        first.settled().await;
        hands.push(hand);
    }
    for number in 0..200 {
        let event = envelope(&format!("e-{number}"), &format!("peer/p{number}"), 1, "plain");
        let mut fates = [hands[0].give(Ok(event.clone()), 1).await, hands[1].give(Ok(event.clone()), 1).await];
        for fate in &mut fates {
            assert_eq!(fate.settled().await, Word::Ack);
        }
        assert_eq!(world.trace().of(&format!("peer/p{number}")).await, [1]);
    }
    for consumer in consumers {
        consumer.stop().await;
    }
}

#[tokio::test]
async fn a_conflict_of_its_own_writes_runs_the_handler_anew() {
    let (world, hand) = by_hand(&Clock::system());
    let store = world.listener.store().clone();
    let calls = Arc::new(AtomicU32::new(0));
    // Somebody else writes the trace between the handler's read and its commit, nine times.
    let scribe = Meddled { scribe: Scribe::new(&store), store: store.clone(), calls: Arc::clone(&calls), times: 9 };
    let consumer = Running::consumer(&world.listener, &EVERY, scribe);
    let event = envelope("e-1", "peer/alice", 1, "plain");
    assert_eq!(hand.give(Ok(event), 1).await.settled().await, Word::Ack);
    assert_eq!(calls.load(Ordering::SeqCst), 10);
    assert_eq!(world.trace().of("peer/alice").await, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    consumer.stop().await;
}

#[tokio::test]
async fn writes_that_conflict_for_ever_end_as_a_dead_letter() {
    let (world, hand) = by_hand(&Clock::system());
    let store = world.listener.store().clone();
    let calls = Arc::new(AtomicU32::new(0));
    let scribe =
        Meddled { scribe: Scribe::new(&store), store: store.clone(), calls: Arc::clone(&calls), times: u32::MAX };
    let consumer = Running::consumer(&world.listener, &EVERY, scribe);
    let event = envelope("e-1", "peer/alice", 1, "plain");
    assert_eq!(hand.give(Ok(event), 1).await.settled().await, Word::Term("exhausted".to_owned()));
    assert_eq!(calls.load(Ordering::SeqCst), 3 * 11, "three tries of one run and ten reruns");
    consumer.stop().await;
}

struct Meddled {
    scribe: Scribe,
    store: store::Store,
    calls: Arc<AtomicU32>,
    times: u32,
}

#[async_trait::async_trait]
impl outbox::Consumer for Meddled {
    async fn handle(&self, event: &bus::Envelope, unit: &mut outbox::Unit) -> Result<(), Failure> {
        let handled = self.scribe.handle(event, unit).await;
        if self.calls.fetch_add(1, Ordering::SeqCst) < self.times {
            let mut other = outbox::Unit::new();
            let mut event = event.clone();
            event.sequence = 0;
            self.scribe.handle(&event, &mut other).await?;
            let at = Key::new("trace", &event.key);
            let old = self.store.get(&at).await?;
            let version = old.as_ref().map_or(0, |item| item.version);
            let mut seen: Vec<u64> = old.map_or(Vec::new(), |item| serde_json::from_str(&item.body).unwrap());
            seen.push(0);
            self.store.put(Item::new(at, version + 1, serde_json::to_string(&seen).unwrap()), Condition::Any).await?;
        }
        handled
    }
}

#[tokio::test]
async fn the_latest_wins_where_order_says_so() {
    let (world, hand) = by_hand(&Clock::system());
    let consumer = Running::consumer(&world.listener, &LATEST, Scribe::new(world.listener.store()));
    for (id, sequence) in [("e-1", 1), ("e-3", 3), ("e-2", 2), ("e-3", 3), ("e-4", 4), ("e-1", 1)] {
        let event = envelope(id, "peer/alice", sequence, "plain");
        assert_eq!(hand.give(Ok(event), 1).await.settled().await, Word::Ack);
    }
    assert_eq!(world.trace().of("peer/alice").await, [1, 3, 4]);
    consumer.stop().await;
}

#[tokio::test]
async fn an_unknown_kind_is_acknowledged_unhandled() {
    let (world, hand) = by_hand(&Clock::system());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let mut event = envelope("e-1", "peer/alice", 1, "plain");
    event.kind = "presence.never_heard_of.v9".to_owned();
    assert_eq!(hand.give(Ok(event), 1).await.settled().await, Word::Ack);
    assert_eq!(world.trace().of("peer/alice").await, [0; 0]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_slow_worker_that_lost_its_lease_does_not_commit() {
    let (clock, time) = Clock::manual(1_000_000);
    // The slow worker's machine stands still: it neither renews its claim nor sees that it ended.
    let (still, _stands) = Clock::manual(1_000_000);
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let open = Arc::new(Notify::new());
    let mut hands = Vec::new();
    let mut consumers = Vec::new();
    for (owner, clock) in [("slow", &still), ("quick", &world.clock)] {
        hands.push(wire.by_hand());
        let options = Options { owner: Some(owner.to_owned()), ..Options::default() };
        let listener = outbox("listener", world.listener.store(), &world.bus, clock, options);
        let (calls, open) = (Arc::clone(&calls), Arc::clone(&open));
        let scribe = Scribe::slow(world.listener.store(), move |_| {
            let (calls, open) = (Arc::clone(&calls), Arc::clone(&open));
            Box::pin(async move {
                calls.lock().unwrap().push(owner);
                if owner == "slow" {
                    open.notified().await;
                }
                Ok(())
            })
        });
        consumers.push(Running::consumer(&listener, &EXTERNAL, scribe));
        let mut unknown = envelope("warm", "peer/warm", 1, "plain");
        unknown.kind = "presence.warm.v1".to_owned();
        assert_eq!(hands.last().unwrap().give(Ok(unknown), 1).await.settled().await, Word::Ack);
    }
    let event = envelope("e-1", "peer/alice", 1, "plain");
    let mut slow = hands[0].give(Ok(event.clone()), 1).await;
    eventually(SOON, "the slow call", async || (calls.lock().unwrap().len() == 1).then_some(())).await;
    // The broker brings it to the second worker, which finds the claim and waits.
    let mut quick = hands[1].give(Ok(event), 2).await;
    let record = Key::new("inbox#/synapse/presence#e-1", "listener");
    let claim = world.listener.store().get(&record).await.unwrap().unwrap();
    assert!(claim.body.contains(r#""owner":"slow""#), "{}", claim.body);
    assert!(claim.body.contains(r#""until_ms":1006000"#), "{}", claim.body);
    eventually(SOON, "the take-over", async || {
        time.advance(Duration::from_millis(500));
        (calls.lock().unwrap().len() == 2).then_some(())
    })
    .await;
    assert!(world.clock.now_ms() >= 1_006_000, "the second waited for the end of the lease");
    assert_eq!(quick.settled().await, Word::Ack);
    open.notify_one();
    assert_eq!(slow.settled().await, Word::Ack, "a duplicate to the slow one");
    assert_eq!(*calls.lock().unwrap(), ["slow", "quick"]);
    assert_eq!(world.trace().of("peer/alice").await, [1]);
    for consumer in consumers {
        consumer.stop().await;
    }
}

#[tokio::test]
async fn a_claim_is_renewed_while_its_holder_works() {
    let (clock, time) = Clock::manual(1_000_000);
    let (world, hand) = by_hand(&clock);
    let open = Arc::new(Notify::new());
    let waiting = Arc::clone(&open);
    let scribe = Scribe::slow(world.listener.store(), move |_| {
        let waiting = Arc::clone(&waiting);
        Box::pin(async move {
            waiting.notified().await;
            Ok(())
        })
    });
    let consumer = Running::consumer(&world.listener, &EXTERNAL, scribe);
    let mut fate = hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    let record = Key::new("inbox#/synapse/presence#e-1", "listener");
    let claimed = |body: &str| body.contains(r#""state":"claimed""#);
    eventually(SOON, "the claim", async || {
        world.listener.store().get(&record).await.unwrap().filter(|item| claimed(&item.body))
    })
    .await;
    // A third of the lease of 6 s; less than the 5 s that a try may take.
    eventually(SOON, "a renewal", async || {
        if clock.now_ms() < 1_004_000 {
            time.advance(Duration::from_millis(500));
        }
        let item = world.listener.store().get(&record).await.unwrap().unwrap();
        if item.body.contains("1006000") { Err(item.body) } else { Ok(()) }
    })
    .await;
    open.notify_one();
    assert_eq!(fate.settled().await, Word::Ack);
    assert_eq!(world.trace().of("peer/alice").await, [1]);
    consumer.stop().await;
}

#[tokio::test]
async fn a_stop_gives_back_what_waits_and_finishes_what_runs() {
    let (world, hand) = by_hand(&Clock::system());
    let (begun, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let scribe = Scribe::slow(world.listener.store(), {
        let (begun, open) = (Arc::clone(&begun), Arc::clone(&open));
        move |_| {
            let (begun, open) = (Arc::clone(&begun), Arc::clone(&open));
            Box::pin(async move {
                begun.notify_one();
                open.notified().await;
                Ok(())
            })
        }
    });
    let consumer = Running::consumer(&world.listener, &EVERY, scribe);
    let mut running = hand.give(Ok(envelope("e-1", "peer/alice", 1, "plain")), 1).await;
    let mut waiting = hand.give(Ok(envelope("e-2", "peer/alice", 2, "plain")), 1).await;
    begun.notified().await;
    let stopped = tokio::spawn(consumer.stop());
    assert!(running.is_open());
    open.notify_one();
    assert_eq!(running.settled().await, Word::Ack);
    // If it was not taken yet when the stop came, it stays with the broker: dropped, not lost.
    stopped.await.unwrap();
    drop(hand);
    if !waiting.is_open() {
        assert_eq!(waiting.settled().await, Word::Nak(Duration::ZERO));
    }
    assert_eq!(world.trace().of("peer/alice").await, [1]);
}

#[tokio::test]
async fn leases_are_extended_while_an_event_is_handled_or_waits_behind_another() {
    let (clock, time) = Clock::manual(1_000_000);
    let (world, hand) = by_hand(&clock);
    let open = Arc::new(Notify::new());
    let waiting = Arc::clone(&open);
    let scribe = Scribe::slow(world.listener.store(), move |event| {
        let waiting = Arc::clone(&waiting);
        Box::pin(async move {
            if text(&event) == "slow" {
                waiting.notified().await;
            }
            Ok(())
        })
    });
    let options = ConsumeOptions { lease: Duration::from_secs(3), ..ConsumeOptions::default() };
    let consumer = Running::consumer_with(&world.listener, &EVERY, scribe, options);
    let mut first = hand.give(Ok(envelope("e-1", "peer/alice", 1, "slow")), 1).await;
    let mut second = hand.give(Ok(envelope("e-2", "peer/alice", 2, "plain")), 1).await;
    for _ in 0..2 {
        eventually(SOON, "both leases to be extended", async || {
            if first.is_open() || second.is_open() {
                time.advance(Duration::from_millis(50));
                return Err("not yet");
            }
            Ok(())
        })
        .await;
        assert_eq!((first.next().await, second.next().await), (Word::Extend, Word::Extend));
    }
    open.notify_one();
    assert_eq!((first.settled().await, second.settled().await), (Word::Ack, Word::Ack));
    consumer.stop().await;
}

#[tokio::test]
async fn an_older_fact_that_is_still_being_handled_does_not_overwrite_a_newer_one() {
    struct Last(Arc<Notify>, Arc<Notify>);

    #[async_trait::async_trait]
    impl outbox::Consumer for Last {
        async fn handle(&self, event: &bus::Envelope, unit: &mut outbox::Unit) -> Result<(), Failure> {
            if text(event) == "slow" {
                self.0.notify_one();
                self.1.notified().await;
            }
            // No condition of its own: the watermark alone decides.
            unit.put(Item::new(Key::new("last", &event.key), event.sequence, "{}"), Condition::Any);
            Ok(())
        }
    }

    let clock = Clock::system();
    let wire = Wire::new(bus(&clock));
    let world = World::on(clock, wire.bus());
    let (begun, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut hands = Vec::new();
    let mut consumers = Vec::new();
    for _ in 0..2 {
        hands.push(wire.by_hand());
        consumers.push(Running::consumer(&world.listener, &LATEST, Last(Arc::clone(&begun), Arc::clone(&open))));
        let warm = envelope("warm", "peer/warm", 1, "plain");
        assert_eq!(hands.last().unwrap().give(Ok(warm), 1).await.settled().await, Word::Ack);
    }
    let mut older = hands[0].give(Ok(envelope("e-1", "peer/alice", 1, "slow")), 1).await;
    begun.notified().await;
    let newer = envelope("e-2", "peer/alice", 2, "plain");
    assert_eq!(hands[1].give(Ok(newer), 1).await.settled().await, Word::Ack);
    open.notify_one();
    assert_eq!(older.settled().await, Word::Ack);
    let last = world.listener.store().get(&Key::new("last", key("peer/alice"))).await.unwrap().unwrap();
    assert_eq!(last.version, 2);
    for consumer in consumers {
        consumer.stop().await;
    }
}
