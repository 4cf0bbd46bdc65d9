//! Sessions of more than two, and certificates bound to keys.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::SessionId;
use contracts::events::signaling::SessionEnd;
use contracts::requests::presence::{IdentityKey, KeyKind};
use contracts::requests::signaling::{OpenSessionRefusal, OpenSessionV1, SendRefusal, SendV1};
use contracts::signals::signaling::{Binding, PeerSignal, SAMPLE_SDP};

use crate::gateways::{is_quiet, next};
use crate::harness::{ACME, World, answer, candidate, decided, id, offer, run};

fn ask(world: &World, others: &[&str]) -> OpenSessionV1 {
    let others = others.iter().map(|other| id(other)).collect();
    OpenSessionV1 { others, ..OpenSessionV1::of_two(id("bob"), id("alice"), world.proof("bob")) }
}

async fn send(
    world: &World,
    session: &SessionId,
    from: &str,
    to: Option<&str>,
    signal: PeerSignal,
) -> Result<(), SendRefusal> {
    let plain = SendV1::plain(session.clone(), id(from), world.proof(from), signal);
    world.send_with(SendV1 { to: to.map(id), ..plain }).await.map(drop)
}

#[tokio::test]
async fn each_two_of_three_connect_for_themselves() {
    run(async |world| {
        let opened = decided(world.ask(ACME, &ask(world, &["carol"])).await).unwrap();
        let roles: Vec<(&str, bool)> = opened.roles.iter().map(|role| (role.peer_id.as_str(), role.polite)).collect();
        assert_eq!(roles, [("alice", true), ("carol", false)]);
        let session = opened.session_id;
        let (mut alice, mut carol) = (world.node_of("alice").await, world.node_of("carol").await);
        send(world, &session, "bob", Some("alice"), offer(1)).await.unwrap();
        let came = next(&mut alice).await;
        assert_eq!((came.polite, came.peers), (false, ["bob", "alice", "carol"].map(id).to_vec()));
        assert!(is_quiet(&mut carol));
        // The two others have not begun.
        let early = send(world, &session, "carol", Some("alice"), candidate(1)).await;
        assert_eq!(early, Err(SendRefusal::StaleGeneration { current: 0 }));
        send(world, &session, "carol", Some("alice"), offer(1)).await.unwrap();
        assert_eq!(next(&mut alice).await.from, id("carol"));
        for to in [None, Some("dave"), Some("bob")] {
            assert_eq!(send(world, &session, "bob", to, offer(1)).await, Err(SendRefusal::TargetNeeded));
        }
    })
    .await;
}

#[tokio::test]
async fn a_bye_is_told_to_all_and_the_session_ends_when_one_is_left() {
    run(async |world| {
        let session = decided(world.ask(ACME, &ask(world, &["carol"])).await).unwrap().session_id;
        let (mut alice, mut carol) = (world.node_of("alice").await, world.node_of("carol").await);
        send(world, &session, "bob", None, PeerSignal::Bye { reason: None }).await.unwrap();
        assert_eq!((next(&mut alice).await.from, next(&mut carol).await.from), (id("bob"), id("bob")));
        assert_eq!(send(world, &session, "bob", None, offer(1)).await, Err(SendRefusal::NotMember));
        send(world, &session, "carol", None, offer(1)).await.unwrap();
        send(world, &session, "alice", None, answer(1)).await.unwrap();
        assert_eq!(world.facts().await.len(), 1);
        world.lose("carol").await;
        let facts = world.facts().await;
        let contracts::events::signaling::SignalingEvent::SessionEnded(end) = &facts[1] else { panic!("{facts:?}") };
        assert_eq!(end.reason, SessionEnd::PeerLost);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_named_twice_and_sessions_are_bounded() {
    run(async |world| {
        for others in [&["alice"][..], &["bob"], &["carol", "carol"]] {
            let refused = decided(world.ask(ACME, &ask(world, others)).await);
            assert_eq!(refused, Err(OpenSessionRefusal::SamePeer), "{others:?}");
        }
        let names: Vec<String> = (0..7).map(|number| format!("peer-{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let refused = decided(world.ask(ACME, &ask(world, &names)).await);
        assert_eq!(refused, Err(OpenSessionRefusal::TooManyPeers { limit: 8 }));
        let unknown = decided(world.ask(ACME, &ask(world, &["nobody"])).await);
        assert_eq!(unknown, Err(OpenSessionRefusal::UnknownPeer));
    })
    .await;
}

fn sdp_of(byte: &str) -> String {
    SAMPLE_SDP.replace("00:01:02", &format!("{byte}:01:02"))
}

#[tokio::test]
async fn a_peer_shows_one_certificate_in_a_session() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.send(&session, "alice", offer(1)).await.unwrap();
        let other = PeerSignal::Offer { sdp: sdp_of("FF"), generation: 2 };
        let refused = world.send(&session, "alice", other.clone()).await;
        assert!(matches!(refused, Err(SendRefusal::IdentityMismatch { .. })), "{refused:?}");
        // The same one again, with an ICE restart; and the other side has its own.
        world.send(&session, "alice", offer(2)).await.unwrap();
        world.send(&session, "bob", PeerSignal::Answer { sdp: sdp_of("EE"), generation: 2 }).await.unwrap();
        // A new session may have a new one.
        let session = world.open("alice", "bob").await.unwrap().session_id;
        world.send(&session, "alice", PeerSignal::Offer { sdp: sdp_of("FF"), generation: 1 }).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_has_a_proof_bound_to_a_key_signs_its_certificate_with_it() {
    run(async |world| {
        let session = world.open("alice", "bob").await.unwrap().session_id;
        let mut bob = world.node_of("bob").await;
        let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
        let public_key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public_key}"}}"#);
        let thumbprint = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, jwk.as_bytes()));
        let proof = world.bound_proof("alice", &thumbprint);
        let fingerprint = SAMPLE_SDP.split("a=fingerprint:").nth(1).unwrap().lines().next().unwrap();
        let binding = |to: &str| {
            let issued_at_s = world.clock.now_ms() / 1_000;
            let text = Binding::text(&session, &id("alice"), &id(to), fingerprint, issued_at_s);
            let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()).as_ref());
            Some(Binding { public_key: public_key.clone(), issued_at_s, signature })
        };
        let plain = SendV1::plain(session.clone(), id("alice"), proof, offer(1));
        for (binding, word) in [(None, "is missing"), (binding("carol"), "does not fit")] {
            match world.send_with(SendV1 { binding, ..plain.clone() }).await {
                Err(SendRefusal::IdentityMismatch { message }) => assert!(message.contains(word), "{message}"),
                other => panic!("{word}: {other:?}"),
            }
        }
        assert!(is_quiet(&mut bob));
        let good = binding("bob");
        world.send_with(SendV1 { binding: good.clone(), ..plain.clone() }).await.unwrap();
        assert_eq!(next(&mut bob).await.binding, good, "whoever knows the key can check it again");
        // The same with a key that the peer has published, whatever its proof says.
        let published = |key: &str| {
            let key = IdentityKey { kind: KeyKind::Ed25519, key: key.to_owned() };
            world.peers.lock().unwrap().get_mut("alice").unwrap().profile.identity_keys = vec![key];
        };
        published(&public_key);
        let unbound = SendV1 { proof: world.proof("alice"), ..plain.clone() };
        assert!(world.send_with(unbound.clone()).await.is_err());
        let bound = SendV1 { binding: binding("bob"), ..unbound };
        world.send_with(bound.clone()).await.unwrap();
        published("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert!(world.send_with(bound).await.is_err());
        // Candidates carry no certificate.
        world.send_with(SendV1 { signal: candidate(1), ..plain }).await.unwrap();
    })
    .await;
}
