use std::task::Poll;

use contracts::events::presence::PeerStatus;
use contracts::events::signaling::SessionOpenedV1;
use contracts::requests::signaling::{OpenSessionRefusal, OpenSessionV1};
use contracts::{Answer, Failure};

use crate::harness::{ACME, SOON, STUCK, id, run};

#[tokio::test]
async fn a_session_opens_with_a_peer_that_is_here() {
    run(async |world| {
        world.place("bob", PeerStatus::Away);
        let opened = world.open("alice", "bob").await.unwrap();
        let fact = SessionOpenedV1 { session_id: opened.session_id, peers: vec![id("alice"), id("bob")] };
        assert_eq!(world.facts().await, [fact.into()]);
    })
    .await;
}

#[tokio::test]
async fn exactly_one_of_two_is_polite_whoever_opens() {
    run(async |world| {
        let ours = world.open("alice", "bob").await.unwrap();
        let theirs = world.open("bob", "alice").await.unwrap();
        assert_ne!(ours.polite, theirs.polite);
        assert_ne!(ours.session_id, theirs.session_id);
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_called_is_told_apart() {
    run(async |world| {
        assert_eq!(world.open("alice", "nobody").await, Err(OpenSessionRefusal::UnknownPeer));
        assert_eq!(world.open("alice", "alice").await, Err(OpenSessionRefusal::SamePeer));
        for status in [PeerStatus::Offline, PeerStatus::Connecting, PeerStatus::Unknown] {
            world.place("bob", status);
            assert_eq!(world.open("alice", "bob").await, Err(OpenSessionRefusal::PeerOffline), "{status:?}");
        }
        assert_eq!(world.facts().await, []);
    })
    .await;
}

#[tokio::test]
async fn a_peer_whose_entitlement_was_revoked_can_not_be_called() {
    run(async |world| {
        // Its gateway has not closed it yet: presence still shows it.
        world.revoke("sub-bob", 3).await;
        assert_eq!(world.open("alice", "bob").await, Err(OpenSessionRefusal::PeerOffline));
        world.open("alice", "carol").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_proof_must_be_the_openers_own_and_of_its_tenant() {
    run(async |world| {
        let cases = [
            ("another peer's", world.proof("bob"), "another peer"),
            ("another tenant's", world.proof_with(&world.signer, "alice", "umbrella"), "another tenant"),
            ("no proof", "nonsense".to_owned(), "not a signed token"),
            ("changed", format!("{}A", world.proof("alice")), "signature"),
        ];
        for (name, proof, expected) in cases {
            match world.open_with("alice", "bob", proof).await {
                Err(OpenSessionRefusal::ProofRefused { message }) => {
                    assert!(message.contains(expected), "{name}: {message}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
        world.hand.advance(std::time::Duration::from_secs(60));
        let old = world.proof("alice");
        world.hand.advance(std::time::Duration::from_secs(330));
        let refused = world.open_with("alice", "bob", old).await;
        assert!(
            matches!(&refused, Err(OpenSessionRefusal::ProofRefused { message }) if message.contains("expired")),
            "{refused:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn when_presence_does_not_answer_the_asker_may_try_again() {
    run(async |world| {
        let ask = OpenSessionV1::of_two(id("alice"), id(STUCK), world.proof("alice"));
        let asking = world.ask(ACME, &ask);
        tokio::pin!(asking);
        // Presence is waited for on the manual clock: it is moved until signaling has given up.
        let given_up = testkit::eventually(SOON, "signaling to give up", async || {
            world.hand.advance(std::time::Duration::from_millis(500));
            match futures::poll!(asking.as_mut()) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            }
        });
        let answer = given_up.await;
        assert!(matches!(&answer, Answer::Failed(Failure { retryable: true, .. })), "{answer:?}");
        assert_eq!(world.facts().await, []);
        world.stuck.send_replace(false);
        world.open("alice", "bob").await.unwrap();
    })
    .await;
}
