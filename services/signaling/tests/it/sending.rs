use contracts::SessionId;
use contracts::requests::signaling::{Forwarded, SendRefusal, Whereabouts};
use contracts::signals::signaling::PeerSignal;

use crate::gateways::{is_quiet, next};
use crate::harness::{World, answer, candidate, id, offer, run};

async fn session(world: &World) -> SessionId {
    world.open("alice", "bob").await.unwrap().session_id
}

fn delivered_to(peer: &str, sent: Result<Forwarded, SendRefusal>) {
    let sent = sent.unwrap();
    assert_eq!((sent.to.as_str(), sent.whereabouts()), (peer, Whereabouts::Delivered));
    assert!(sent.signal_id.is_some() && sent.kept_until_ms.is_none());
}

#[tokio::test]
async fn signals_reach_the_other_peers_node_with_the_sender_stamped() {
    run(async |world| {
        let session = session(world).await;
        let (mut alice, mut bob, mut carol) =
            (world.node_of("alice").await, world.node_of("bob").await, world.node_of("carol").await);
        for signal in [offer(1), candidate(1), PeerSignal::Restart { generation: 2 }] {
            delivered_to("bob", world.send(&session, "alice", signal.clone()).await);
            let delivered = next(&mut bob).await;
            assert_eq!((delivered.from.as_str(), delivered.to.as_str()), ("alice", "bob"));
            assert_eq!((&delivered.session_id, delivered.signal), (&session, signal));
        }
        for signal in [answer(2), candidate(2)] {
            delivered_to("alice", world.send(&session, "bob", signal.clone()).await);
            assert_eq!(next(&mut alice).await.signal, signal);
        }
        assert!(is_quiet(&mut alice) && is_quiet(&mut bob) && is_quiet(&mut carol));
    })
    .await;
}

#[tokio::test]
async fn colliding_offers_are_both_forwarded_to_peers_of_different_manners() {
    run(async |world| {
        let opened = world.open("alice", "bob").await.unwrap();
        let (mut alice, mut bob) = (world.node_of("alice").await, world.node_of("bob").await);
        let both = tokio::join!(
            world.send(&opened.session_id, "alice", offer(1)),
            world.send(&opened.session_id, "bob", offer(1)),
        );
        assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
        let (to_alice, to_bob) = (next(&mut alice).await, next(&mut bob).await);
        assert_ne!(to_alice.polite, to_bob.polite);
        assert_eq!(to_alice.polite, opened.polite, "the opener was told the same");
    })
    .await;
}

#[tokio::test]
async fn signals_of_an_older_negotiation_are_refused_with_the_current_one() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        for generation in 1..=3 {
            world.send(&session, "alice", offer(generation)).await.unwrap();
            next(&mut bob).await;
        }
        for (stale, from) in [(answer(2), "bob"), (candidate(1), "bob"), (offer(2), "alice"), (offer(5), "alice")] {
            let refused = world.send(&session, from, stale).await;
            assert_eq!(refused, Err(SendRefusal::StaleGeneration { current: 3 }));
        }
        assert!(is_quiet(&mut bob));
        world.send(&session, "bob", answer(3)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_members_may_send() {
    run(async |world| {
        let session = session(world).await;
        assert_eq!(world.send(&session, "carol", offer(1)).await, Err(SendRefusal::NotMember));
        let never = id("never-was");
        assert_eq!(world.send(&never, "alice", offer(1)).await, Err(SendRefusal::UnknownSession));
    })
    .await;
}

#[tokio::test]
async fn a_session_of_another_tenant_is_unknown() {
    run(async |world| {
        let session = session(world).await;
        let proof = world.proof_with(&world.signer, "alice", "umbrella");
        let ask = contracts::requests::signaling::SendV1::plain(session, id("alice"), proof, offer(1));
        let refused = world.ask("umbrella", &ask).await;
        assert_eq!(refused, contracts::Answer::Refused(SendRefusal::UnknownSession));
    })
    .await;
}

#[tokio::test]
async fn an_invalid_signal_is_refused_with_every_violation_and_moves_nothing() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        let violations = async |signal: PeerSignal| match world.send(&session, "alice", signal).await {
            Err(SendRefusal::InvalidSignal { violations }) => violations,
            other => panic!("{other:?}"),
        };
        let broken = violations(PeerSignal::Offer { sdp: "nonsense".into(), generation: 0 }).await;
        assert_eq!(broken.len(), 5, "four of the SDP, one of the generation: {broken:?}");
        assert!(broken.iter().all(|line| line.starts_with("sdp: ") || line.starts_with("generation: ")));
        let bad = PeerSignal::Candidate {
            candidate: "candidate: 300 udp x 1.2.3.4 99999 host".into(),
            sdp_mid: Some("m".repeat(65)),
            generation: 0,
        };
        let broken = violations(bad).await;
        assert!(broken.len() >= 6, "{broken:?}");
        assert!(broken.iter().any(|line| line.starts_with("sdp_mid: ")), "{broken:?}");
        let huge = violations(PeerSignal::Answer { sdp: "v".repeat(262_145), generation: 1 }).await;
        assert_eq!(huge, ["sdp: 262145 bytes, at most 262144 are allowed"]);
        let long = PeerSignal::Candidate { candidate: "c".repeat(4_097), sdp_mid: None, generation: 1 };
        assert_eq!(violations(long).await, ["candidate: 4097 bytes, at most 4096 are allowed"]);
        let wordy = violations(PeerSignal::Bye { reason: Some("ä".repeat(201)) }).await;
        assert_eq!(wordy, ["reason: longer than 200 characters"]);
        assert!(is_quiet(&mut bob));
        // None of it started a negotiation.
        world.send(&session, "alice", offer(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_nobody_may_have_is_refused_and_does_not_move_the_session() {
    run(async |world| {
        let session = session(world).await;
        world.revoke("sub-bob", 3).await;
        assert_eq!(world.send(&session, "alice", offer(1)).await, Err(SendRefusal::PeerOffline));
        world.peers.lock().unwrap().get_mut("bob").unwrap().proof_ver = 3;
        let stale = world.send(&session, "alice", candidate(1)).await;
        assert_eq!(stale, Err(SendRefusal::StaleGeneration { current: 0 }));
        world.send(&session, "alice", offer(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn many_candidates_at_once_all_arrive() {
    run(async |world| {
        let session = session(world).await;
        let mut bob = world.node_of("bob").await;
        world.send(&session, "alice", offer(1)).await.unwrap();
        next(&mut bob).await;
        let sent = futures::future::join_all((0..100).map(|_| world.send(&session, "alice", candidate(1)))).await;
        assert!(sent.iter().all(Result::is_ok), "{sent:?}");
        for _ in 0..100 {
            assert_eq!(next(&mut bob).await.signal, candidate(1));
        }
        assert!(is_quiet(&mut bob));
    })
    .await;
}
