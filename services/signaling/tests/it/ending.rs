use std::time::Duration;

use clock::Clock;
use contracts::SessionId;
use contracts::events::presence::{OfflineReason, PeerStatus};
use contracts::events::signaling::{SessionEnd, SessionEndedV1, SignalingEvent};
use contracts::requests::signaling::SendRefusal;
use contracts::signals::signaling::PeerSignal;
use tempfile::TempDir;

use crate::gateways::next;
use crate::harness::{SOON, START_MS, World, answer, candidate, id, offer, run};

const IDLE: Duration = Duration::from_secs(30 * 60);

fn ended(session: &SessionId, reason: SessionEnd, by: Option<&str>) -> SignalingEvent {
    SessionEndedV1 { session_id: session.clone(), reason, by: by.map(id) }.into()
}

async fn is_over(world: &World, session: &SessionId) -> bool {
    world.send(session, "alice", offer(1)).await == Err(SendRefusal::UnknownSession)
}

/// Moves the clock by a sweep interval at a time until the session was swept.
async fn swept(world: &World, session: &SessionId) {
    testkit::eventually(SOON, "the session to be swept", async || {
        world.hand.advance(Duration::from_secs(5));
        world.facts().await.contains(&ended(session, SessionEnd::TimedOut, None)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bye_reaches_the_other_side_and_ends_the_session() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        let mut alice = world.node_of("alice").await;
        let bye = PeerSignal::Bye { reason: Some("done".into()) };
        world.send(&session, "bob", bye.clone()).await.unwrap();
        assert_eq!(next(&mut alice).await.signal, bye);
        assert!(is_over(world, &session).await);
        assert_eq!(world.facts().await[1..], [ended(&session, SessionEnd::Bye, Some("bob"))]);
    })
    .await;
}

#[tokio::test]
async fn a_lost_peer_ends_all_its_sessions_and_no_others() {
    run(async |world| {
        // More than one transaction holds.
        let mut lost = Vec::new();
        for _ in 0..45 {
            lost.push(world.open("alice", "bob").await.unwrap().session_id);
        }
        let kept = world.open("alice", "carol").await.unwrap().session_id;
        world.lose("bob").await;
        let facts = world.facts().await;
        for session in &lost {
            let told = facts.iter().filter(|fact| **fact == ended(session, SessionEnd::PeerLost, None)).count();
            assert_eq!(told, 1, "{session}");
        }
        assert_eq!(facts.len(), 46 + 45);
        world.place("bob", PeerStatus::Online);
        assert!(is_over(world, &lost[0]).await && is_over(world, &lost[44]).await);
        world.send(&kept, "alice", offer(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn both_peers_lost_at_once_end_their_session_once() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        tokio::join!(world.lose("alice"), world.lose("bob"));
        assert_eq!(world.facts().await[1..], [ended(&session, SessionEnd::PeerLost, None)]);
    })
    .await;
}

#[tokio::test]
async fn a_loss_that_is_told_late_spares_the_peers_next_life() {
    run(async |world| {
        world.hand.set(START_MS + 10_000);
        let next_life = world.open("alice", "bob").await.unwrap().session_id;
        // The fact was written before the session was opened, and is read only now.
        world.hand.set(START_MS + 5_000);
        world.lose("bob").await;
        world.hand.set(START_MS + 10_000);
        world.place("bob", PeerStatus::Online);
        world.send(&next_life, "alice", offer(1)).await.unwrap();
        assert_eq!(world.facts().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_silent_session_ends_by_itself_and_a_talking_one_does_not() {
    run(async |world| {
        let silent = world.open("alice", "bob").await.unwrap().session_id;
        let talking = world.open("alice", "carol").await.unwrap().session_id;
        for (session, other) in [(&silent, "bob"), (&talking, "carol")] {
            world.send(session, "alice", offer(1)).await.unwrap();
            world.send(session, other, answer(1)).await.unwrap();
        }
        world.hand.advance(IDLE / 2);
        world.send(&talking, "alice", candidate(1)).await.unwrap();
        world.hand.advance(IDLE / 2);
        swept(world, &silent).await;
        assert!(is_over(world, &silent).await);
        world.send(&talking, "alice", candidate(1)).await.unwrap();
        assert_eq!(world.facts().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_sessions_their_negotiation_and_their_end() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(START_MS);
    let world = World::start(folder.path(), clock.clone(), hand.clone()).await;
    world.publish_key().await;
    let session = world.open("alice", "bob").await.unwrap().session_id;
    world.send(&session, "alice", offer(1)).await.unwrap();
    world.send(&session, "bob", answer(1)).await.unwrap();
    world.stop().await;

    let world = World::start(folder.path(), clock, hand).await;
    let mut bob = world.node_of("bob").await;
    world.send(&session, "alice", candidate(1)).await.unwrap();
    assert_eq!(next(&mut bob).await.session_id, session);
    let stale = world.send(&session, "alice", offer(3)).await;
    assert_eq!(stale, Err(SendRefusal::StaleGeneration { current: 1 }));
    world.hand.advance(IDLE);
    swept(&world, &session).await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_that_nobody_answers_ends_by_itself() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.hand.advance(Duration::from_secs(110));
        world.send(&session, "alice", offer(1)).await.unwrap();
        world.wait_for("the end", async || world.facts().await.get(1).cloned()).await;
        assert_eq!(world.facts().await[1..], [ended(&session, SessionEnd::NotAnswered, None)]);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_comes_back_in_time_finds_its_session() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.leave("bob", OfflineReason::Left).await;
        world.hand.advance(Duration::from_secs(25));
        world.come("bob").await;
        world.hand.advance(Duration::from_secs(25));
        world.send(&session, "alice", offer(1)).await.unwrap();
        world.send(&session, "bob", answer(1)).await.unwrap();
        assert_eq!(world.facts().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_stays_away_is_waited_for_no_longer_than_its_time() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.leave("bob", OfflineReason::Left).await;
        assert_eq!(world.facts().await.len(), 1);
        let left_at_ms = world.clock.now_ms();
        world.wait_for("the end", async || world.facts().await.get(1).cloned()).await;
        assert!(world.clock.now_ms() >= left_at_ms + 30_000, "{}", world.clock.now_ms() - left_at_ms);
        assert_eq!(world.facts().await[1..], [ended(&session, SessionEnd::PeerLost, None)]);
    })
    .await;
}
