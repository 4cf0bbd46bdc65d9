use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Malformed;
use bytes::Bytes;
use clock::Clock;
use outbox::{ConsumeOptions, DeadLetter, Failure, Outbox, Reason, Selection};
use testkit::eventually;

use crate::fixture::*;
use crate::wire::{Wire, Word};

/// What is broken for now: notes with these texts are refused for good.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<HashSet<String>>>);

impl Broken {
    fn new(texts: &[&str]) -> Self {
        Self(Arc::new(Mutex::new(texts.iter().map(|text| (*text).to_owned()).collect())))
    }

    fn mend(&self, text: &str) {
        assert!(self.0.lock().unwrap().remove(text));
    }

    fn scribe(&self, outbox: &Outbox) -> Scribe {
        let broken = self.clone();
        Scribe::with(outbox.store(), move |event| {
            let text = text(event);
            if broken.0.lock().unwrap().contains(&text) { Err(Failure::Permanent(text)) } else { Ok(()) }
        })
    }
}

async fn letters(outbox: &Outbox) -> Vec<DeadLetter> {
    outbox.dead_letters().list(None, 100).await.unwrap().letters
}

fn seen(letters: &[DeadLetter]) -> Vec<(u64, Reason)> {
    letters.iter().map(|letter| (letter.envelope.as_ref().unwrap().sequence, letter.reason)).collect()
}

async fn until_letters(outbox: &Outbox, expected: &[(u64, Reason)]) -> Vec<DeadLetter> {
    eventually(SOON, &format!("the letters {expected:?}"), async || {
        let letters = letters(outbox).await;
        let seen = seen(&letters);
        if seen == expected { Ok(letters) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// Alice's second and fourth note are broken, Bob's are not.
async fn with_letters(world: &World) -> Vec<DeadLetter> {
    for (sequence, text) in [(1, "fine"), (2, "bad-2"), (3, "fine"), (4, "bad-4"), (5, "fine")] {
        world.publisher.commit(note("peer/alice", sequence, text)).await.unwrap();
    }
    notes(&world.publisher, "peer/bob", 1..=3).await;
    let letters = until_letters(
        &world.listener,
        &[(2, Reason::Permanent), (3, Reason::Parked), (4, Reason::Parked), (5, Reason::Parked)],
    )
    .await;
    world.trace().until("peer/bob", &[1, 2, 3]).await;
    assert_eq!(world.trace().of("peer/alice").await, [1]);
    until_empty(&world.publisher).await;
    letters
}

#[tokio::test]
async fn later_events_park_behind_a_dead_letter_and_a_redrive_keeps_their_order() {
    let world = World::new();
    let broken = Broken::new(&["bad-2", "bad-4"]);
    let consumer = Running::consumer(&world.listener, &EVERY, broken.scribe(&world.listener));
    let relay = Running::relay(&world.publisher);
    let found = with_letters(&world).await;
    assert_eq!(found[0].error, "permanent: bad-2");
    assert!(found[1..].iter().all(|letter| letter.behind.as_deref() == Some(&found[0].id)));
    let dead = world.listener.dead_letters();
    assert_eq!(dead.show(&found[2].id).await.unwrap().as_ref(), Some(&found[2]));
    assert_eq!(dead.show("nothing").await.unwrap(), None);
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["envelope"]["data"]["text"], "bad-2");

    // A dry run says what would happen and changes nothing; so does a redrive while the cause stands.
    let plan = dead.redrive(Selection::All, true).await.unwrap();
    assert_eq!((plan.keys.len(), plan.keys[0].total, &plan.keys[0].letters), (1, 4, &found));
    assert_eq!(letters(&world.listener).await, found);
    dead.redrive(Selection::Letter(found[3].id.clone()), false).await.unwrap();
    eventually(SOON, "the first letter to fail again", async || {
        letters(&world.listener)
            .await
            .into_iter()
            .find(|letter| letter.id == found[0].id && letter.at_ms > found[0].at_ms)
    })
    .await;
    assert_eq!(world.trace().of("peer/alice").await, [1]);

    // The first cause is mended, the second is not: the redrive stops there.
    broken.mend("bad-2");
    let selection = Selection::Key { source: "/synapse/presence".to_owned(), key: key("peer/alice") };
    dead.redrive(selection, false).await.unwrap();
    until_letters(&world.listener, &[(4, Reason::Permanent), (5, Reason::Parked)]).await;
    assert_eq!(world.trace().of("peer/alice").await, [1, 2, 3]);
    // What comes now waits too.
    notes(&world.publisher, "peer/alice", 6..=6).await;
    until_letters(&world.listener, &[(4, Reason::Permanent), (5, Reason::Parked), (6, Reason::Parked)]).await;

    broken.mend("bad-4");
    let plan = dead.redrive(Selection::All, false).await.unwrap();
    assert_eq!(seen(&plan.keys[0].letters), [(4, Reason::Permanent), (5, Reason::Parked), (6, Reason::Parked)]);
    world.trace().until("peer/alice", &[1, 2, 3, 4, 5, 6]).await;
    until_letters(&world.listener, &[]).await;
    // The key is free again.
    notes(&world.publisher, "peer/alice", 7..=8).await;
    world.trace().until("peer/alice", &[1, 2, 3, 4, 5, 6, 7, 8]).await;
    assert!(dead.redrive(Selection::All, false).await.unwrap().keys.is_empty());
    until_empty(&world.publisher).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn dropping_the_blocking_letter_lets_its_followers_go() {
    let world = World::new();
    let broken = Broken::new(&["bad-2", "bad-4"]);
    let consumer = Running::consumer(&world.listener, &EVERY, broken.scribe(&world.listener));
    let relay = Running::relay(&world.publisher);
    let found = with_letters(&world).await;
    let dead = world.listener.dead_letters();
    // A follower goes alone.
    assert!(dead.drop(&found[1].id, "not needed").await.unwrap());
    assert!(!dead.drop(&found[1].id, "not needed").await.unwrap(), "only once");
    until_letters(&world.listener, &[(2, Reason::Permanent), (4, Reason::Parked), (5, Reason::Parked)]).await;
    assert!(dead.drop(&found[0].id, "hopeless").await.unwrap());
    until_letters(&world.listener, &[(4, Reason::Permanent), (5, Reason::Parked)]).await;
    assert!(dead.drop(&found[2].id, "hopeless too").await.unwrap());
    world.trace().until("peer/alice", &[1, 5]).await;
    until_letters(&world.listener, &[]).await;
    // A dropped event stays dropped should it come again.
    let event = found[0].envelope.clone().unwrap();
    for answer in world.bus.publisher().publish(vec![event]) {
        answer.await.unwrap();
    }
    assert_eq!(world.trace().of("peer/alice").await, [1, 5]);
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn a_redrive_survives_a_restart() {
    let world = World::new();
    let broken = Broken::new(&["bad-2", "bad-4"]);
    let consumer = Running::consumer(&world.listener, &EVERY, broken.scribe(&world.listener));
    let relay = Running::relay(&world.publisher);
    with_letters(&world).await;
    consumer.stop().await;
    broken.mend("bad-2");
    broken.mend("bad-4");
    // Asked for while no consumer runs, by another process.
    let other = outbox("listener", world.listener.store(), &world.bus, &world.clock, outbox::Options::default());
    other.dead_letters().redrive(Selection::All, false).await.unwrap();
    let options = ConsumeOptions { redrive_interval: Duration::from_millis(50), ..ConsumeOptions::default() };
    let consumer = Running::consumer_with(&world.listener, &EVERY, broken.scribe(&world.listener), options);
    world.trace().until("peer/alice", &[1, 2, 3, 4, 5]).await;
    until_letters(&world.listener, &[]).await;
    relay.stop().await;
    consumer.stop().await;
}

#[tokio::test]
async fn what_is_no_event_is_kept_as_it_came() {
    let clock = Clock::system();
    let wire = Wire::new(bus(&clock));
    let hand = wire.by_hand();
    let world = World::on(clock, wire.bus());
    let consumer = Running::consumer(&world.listener, &EVERY, Scribe::new(world.listener.store()));
    let raw = Bytes::from_static(b"\xff not an event");
    for _ in 0..2 {
        let malformed = Malformed { reason: "ce-id: missing".to_owned(), raw: raw.clone() };
        let fate = hand.give(Err(malformed), 1).await.settled().await;
        assert_eq!(fate, Word::Term("malformed".to_owned()));
    }
    let found = letters(&world.listener).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].reason, found[0].error.as_str()), (Reason::Malformed, "ce-id: missing"));
    assert_eq!((found[0].raw.as_ref(), found[0].envelope.as_ref()), (Some(&raw), None));
    let dead = world.listener.dead_letters();
    let refused = dead.redrive(Selection::Letter(found[0].id.clone()), false).await.unwrap().refused;
    assert_eq!(refused, [(found[0].id.clone(), "malformed letters can only be dropped".to_owned())]);
    assert!(dead.drop(&found[0].id, "seen").await.unwrap());
    assert!(letters(&world.listener).await.is_empty());
    consumer.stop().await;
}

#[tokio::test]
async fn a_poisoned_event_is_buried_at_the_first_try_and_listed_by_pages() {
    let world = World::new();
    let scribe = Scribe::with(world.listener.store(), |_| Err(Failure::Poison("no such field".to_owned())));
    let consumer = Running::consumer(&world.listener, &EVERY, scribe);
    for number in 0..7 {
        world.publisher.commit(note(&format!("peer/p{number}"), 1, "plain")).await.unwrap();
    }
    assert_eq!(world.publisher.relay_once().await.unwrap(), 7);
    let dead = world.listener.dead_letters();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = dead.list(after, 3).await.unwrap();
        assert!(page.letters.len() <= 3);
        found.extend(page.letters);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), 7);
    assert!(found.is_sorted_by(|a, b| a.id < b.id), "oldest first");
    assert!(found.iter().all(|letter| letter.reason == Reason::Poison && letter.attempts == 1));
    consumer.stop().await;
}
