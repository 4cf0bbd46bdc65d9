//! Signals for peers that are away: kept, in order, told, given up.

use std::time::Duration;

use clock::Clock;
use contracts::SessionId;
use contracts::events::presence::{OfflineReason, PeerStatus};
use contracts::requests::signaling::{Forwarded, SendRefusal, Whereabouts};
use contracts::signals::signaling::{DeliverV1, Fate, PeerSignal, Receipt};
use outbox::Reason;
use tempfile::TempDir;
use testkit::servers::Dynoxide;

use crate::gateways::{Manner, is_quiet, next, now};
use crate::harness::{START_MS, Setting, World, answer, candidate, id, offer, run, run_with};

/// For stores that take their time.
const LONG: Duration = Duration::from_secs(60);

async fn session(world: &World) -> SessionId {
    world.open("alice", "bob").await.unwrap().session_id
}

fn queued(sent: Result<Forwarded, SendRefusal>) -> Forwarded {
    let sent = sent.unwrap();
    assert_eq!(sent.whereabouts(), Whereabouts::Queued);
    sent
}

fn receipt(session: &SessionId, sent: &Forwarded, fate: Fate) -> Receipt {
    Receipt { signal_id: sent.signal_id.clone().unwrap(), session_id: session.clone(), to: sent.to.clone(), fate }
}

async fn receipts(world: &World, peer: &str, number: usize) -> Vec<Receipt> {
    let told = async || Some(world.gateways.receipts(peer)).filter(|told| told.len() >= number);
    world.wait_for("receipts", told).await
}

/// Offer and candidates, as many as said, all kept.
async fn fill(world: &World, session: &SessionId, candidates: usize) -> Vec<Forwarded> {
    let mut sent = vec![queued(world.send(session, "alice", offer(1)).await)];
    for number in 0..candidates {
        sent.push(queued(world.send(session, "alice", numbered(number)).await));
    }
    sent
}

fn numbered(number: usize) -> PeerSignal {
    let candidate = format!("candidate:1 1 udp 2130706431 127.0.0.1 {} typ host", 10_000 + number);
    PeerSignal::Candidate { candidate, sdp_mid: Some("0".into()), generation: 1 }
}

async fn kept_and_told_on(setting: &Setting) {
    run_with(setting, async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 20).await;
        let until_ms = sent[0].kept_until_ms.unwrap();
        assert_eq!(until_ms, world.clock.now_ms() + 120_000);
        assert!(is_quiet(&mut bob));
        world.come("bob").await;
        for (number, sent) in sent.iter().enumerate() {
            // Without the clock: a slow store must not make what is kept too old.
            let came: DeliverV1 = testkit::eventually(LONG, "what was kept", async || now(&mut bob)).await;
            assert_eq!(came.signal_id, sent.signal_id, "{number}");
            assert_eq!((came.from, came.to, came.polite), (id("alice"), id("bob"), true));
        }
        let all = async || Some(world.gateways.receipts("alice")).filter(|told| told.len() >= sent.len());
        let told = testkit::eventually(LONG, "receipts", all).await;
        let expected: Vec<Receipt> = sent.iter().map(|sent| receipt(&session, sent, Fate::Delivered)).collect();
        assert_eq!(told, expected);
        assert!(is_quiet(&mut bob), "nothing twice");
        // Nothing waits any more: the next one goes straight on.
        let direct = world.send(&session, "alice", numbered(99)).await.unwrap();
        assert_eq!(direct.whereabouts(), Whereabouts::Delivered);
        assert_eq!(next(&mut bob).await.signal, numbered(99));
        world.send(&session, "bob", answer(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_to_a_peer_that_is_away_comes_in_order_when_it_is_back() {
    kept_and_told_on(&Setting::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_on_dynamodb() {
    let dynamo = tokio::task::spawn_blocking(Dynoxide::start).await.unwrap();
    let store = dynamo.url().replace("http://", "dynamodb://");
    kept_and_told_on(&Setting { store: Some(store), ..Setting::default() }).await;
}

#[tokio::test]
async fn what_a_gateway_does_not_take_is_tried_again_and_holds_back_what_follows() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.gateways.behave("bob", Manner::Refuses);
        let first = queued(world.send(&session, "alice", offer(1)).await);
        world.gateways.behave("bob", Manner::Takes);
        let second = world.send(&session, "alice", candidate(1)).await.unwrap();
        for sent in [&first, &second] {
            let came = world.wait_for("another try", async || now(&mut bob)).await;
            assert_eq!(came.signal_id, sent.signal_id);
        }
        let told = receipts(world, "alice", 2).await;
        assert_eq!(told, [&first, &second].map(|sent| receipt(&session, sent, Fate::Delivered)));
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_again_for_want_of_an_answer_has_the_same_id() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.gateways.behave("bob", Manner::TakesSilently);
        let mut sending = std::pin::pin!(world.send(&session, "alice", offer(1)));
        let sent = world
            .wait_for("signaling to give up", async || match futures::poll!(sending.as_mut()) {
                std::task::Poll::Ready(sent) => Some(queued(sent)),
                std::task::Poll::Pending => None,
            })
            .await;
        assert_eq!(next(&mut bob).await.signal_id, sent.signal_id);
        world.gateways.behave("bob", Manner::Takes);
        assert_eq!(receipts(world, "alice", 1).await, [receipt(&session, &sent, Fate::Delivered)]);
        assert!(world.gateways.repeats() > 0 && is_quiet(&mut bob));
    })
    .await;
}

#[tokio::test]
async fn no_more_is_kept_than_fits_and_what_is_refused_does_not_move_the_session() {
    run_with(&Setting::of(&[("MAILBOX_SIGNALS", "2")]), async |world| {
        let session = session(world).await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 1).await;
        let full = SendRefusal::MailboxFull { signals: 2, bytes: 1_048_576, retry_after_ms: 15_000 };
        assert_eq!(world.send(&session, "alice", offer(2)).await, Err(full));
        let stale = world.send(&session, "bob", answer(2)).await;
        assert_eq!(stale, Err(SendRefusal::StaleGeneration { current: 1 }));
        world.come("bob").await;
        assert_eq!(receipts(world, "alice", 2).await.len(), sent.len());
        let mut bob = world.node_of("bob").await;
        assert_eq!(world.send(&session, "alice", offer(2)).await.unwrap().whereabouts(), Whereabouts::Delivered);
        assert_eq!(next(&mut bob).await.signal, offer(2));
    })
    .await;
    let small = Setting::of(&[("MAILBOX_BYTES", "1024")]);
    run_with(&small, async |world| {
        let session = session(world).await;
        world.leave("bob", OfflineReason::Left).await;
        queued(world.send(&session, "alice", offer(1)).await);
        let full = SendRefusal::MailboxFull { signals: 64, bytes: 1_024, retry_after_ms: 15_000 };
        assert_eq!(world.send(&session, "alice", offer(1)).await, Err(full));
        world.come("bob").await;
        receipts(world, "alice", 1).await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_fetches_expires_and_both_its_sender_and_operators_are_told() {
    let patient = Setting::of(&[("PEER_GRACE_MS", "3600000"), ("MAILBOX_TTL_MS", "20000")]);
    run_with(&patient, async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 1).await;
        let sent_at_ms = world.clock.now_ms();
        let told = receipts(world, "alice", 2).await;
        assert!(world.clock.now_ms() >= sent_at_ms + 20_000);
        assert_eq!(told, [&sent[0], &sent[1]].map(|sent| receipt(&session, sent, Fate::Expired)));
        let letters = world.letters().await;
        assert!(letters.iter().all(|letter| letter.reason == Reason::Expired));
        let shown: Vec<serde_json::Value> =
            letters.iter().map(|letter| serde_json::from_slice(letter.raw.as_ref().unwrap()).unwrap()).collect();
        assert_eq!(shown.len(), 2);
        for (sent, kind) in sent.iter().zip(["offer", "candidate"]) {
            let what = shown.iter().find(|what| what["signal_id"] == serde_json::json!(sent.signal_id)).unwrap();
            assert_eq!((&what["type"], &what["from"], &what["to"]), (&kind.into(), &"alice".into(), &"bob".into()));
            assert!(!what.to_string().contains("fingerprint"), "its content is nobody's business: {what}");
        }
        world.come("bob").await;
        assert!(is_quiet(&mut bob));
    })
    .await;
}

#[tokio::test]
async fn the_signals_of_a_session_that_is_over_are_not_told_but_its_end_is() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 0).await;
        let bye = PeerSignal::Bye { reason: None };
        let last = queued(world.send(&session, "alice", bye.clone()).await);
        world.come("bob").await;
        let came = world.wait_for("the bye", async || now(&mut bob)).await;
        assert_eq!(came.signal, bye);
        let told = receipts(world, "alice", 2).await;
        assert_eq!(told, [receipt(&session, &sent[0], Fate::Expired), receipt(&session, &last, Fate::Delivered)]);
        assert_eq!(world.letters().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_bye_to_a_peer_that_is_gone_ends_the_session_all_the_same() {
    run_with(&Setting::of(&[("MAILBOX_SIGNALS", "1")]), async |world| {
        let session = session(world).await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 0).await;
        let bye = world.send(&session, "alice", PeerSignal::Bye { reason: None }).await.unwrap();
        assert_eq!(bye.whereabouts(), Whereabouts::Expired);
        assert_eq!(world.facts().await.len(), 2);
        assert_eq!(receipts(world, "alice", 1).await, [receipt(&session, &sent[0], Fate::Expired)]);
        assert_eq!(world.letters().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_receipt_waits_for_its_sender_too() {
    run(async |world| {
        let session = session(world).await;
        world.leave("bob", OfflineReason::Left).await;
        let sent = fill(world, &session, 0).await;
        world.leave("alice", OfflineReason::Left).await;
        let mut bob = world.node_of("bob").await;
        world.come("bob").await;
        next(&mut bob).await;
        assert_eq!(world.gateways.receipts("alice"), []);
        world.come("alice").await;
        assert_eq!(receipts(world, "alice", 1).await, [receipt(&session, &sent[0], Fate::Delivered)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_kept_survives_a_restart_in_the_middle_of_its_delivery() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start(folder.path(), clock.clone(), hand.clone()).await;
    world.publish_key().await;
    let session = session(&world).await;
    world.leave("bob", OfflineReason::Left).await;
    let sent = fill(&world, &session, 2).await;
    // It stops while it waits for the gateway that has the first one.
    let mut bob = world.node_of("bob").await;
    world.gateways.behave("bob", Manner::TakesSilently);
    world.come("bob").await;
    assert_eq!(next(&mut bob).await.signal_id, sent[0].signal_id);
    world.stop().await;

    let world = World::start(folder.path(), clock, hand).await;
    world.place("bob", PeerStatus::Online);
    let mut bob = world.node_of("bob").await;
    for sent in &sent {
        let came = world.wait_for("what was kept", async || now(&mut bob)).await;
        assert_eq!(came.signal_id, sent.signal_id);
    }
    assert_eq!(receipts(&world, "alice", 3).await.len(), 3);
    world.hand.advance(Duration::from_secs(1));
    assert!(is_quiet(&mut bob));
    world.stop().await;
}
