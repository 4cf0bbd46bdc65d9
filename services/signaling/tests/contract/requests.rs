//! Each request that signaling serves.

use contracts::SessionId;
use contracts::events::presence::PeerStatus;
use contracts::requests::signaling::{IceServersV1, OpenSessionV1, SendV1};
use contracts::signals::signaling::{PeerSignal, SAMPLE_SDP};
use testkit::contract::{On, Requests};

use crate::harness::{World, candidate, id, offer, run_on};

testkit::on_every_bus!(every_request_is_answered_as_promised);

async fn every_request_is_answered_as_promised(on: On) {
    run_on(on, async |world| {
        let mut requests = Requests::of(signaling::NAME, &world.bus, &world.clock);
        let session = opens(world, &mut requests).await;
        sends(world, &mut requests, session).await;
        ice_servers(world, &mut requests).await;
        requests.finish();
    })
    .await;
}

/// What a request could change: what was told.
async fn told(world: &World) -> usize {
    world.relayed().await;
    world.place.quiet().await;
    world.observer.seen().len()
}

fn open(world: &World, from: &str, to: &str) -> OpenSessionV1 {
    OpenSessionV1::of_two(id(from), id(to), world.proof(from))
}

async fn opens(world: &World, requests: &mut Requests<'_>) -> SessionId {
    let session = requests.good(&open(world, "alice", "bob")).await.session_id;
    requests.late(&open(world, "alice", "bob"), async || told(world).await).await;
    requests.bodies(&open(world, "alice", "bob")).await;
    requests.never_asked_twice::<OpenSessionV1>("each asking opens a session of its own");
    requests.refused("unknown_peer", &open(world, "alice", "nobody")).await;
    requests.refused("same_peer", &open(world, "alice", "alice")).await;
    let others = (0..7).map(|number| id(&format!("other-{number}"))).collect();
    requests.refused("too_many_peers", &OpenSessionV1 { others, ..open(world, "alice", "bob") }).await;
    let borrowed = OpenSessionV1 { proof: world.proof("bob"), ..open(world, "alice", "bob") };
    requests.refused("proof_refused", &borrowed).await;
    world.place("carol", PeerStatus::Offline);
    requests.refused("peer_offline", &open(world, "alice", "carol")).await;
    session
}

async fn sends(world: &World, requests: &mut Requests<'_>, session: SessionId) {
    let send =
        |from: &str, session: &str, signal: PeerSignal| SendV1::plain(id(session), id(from), world.proof(from), signal);
    let session = session.as_str();
    assert_eq!(requests.good(&send("alice", session, offer(1))).await.to, id("bob"));
    requests.late(&send("alice", session, PeerSignal::Bye { reason: None }), async || told(world).await).await;
    requests.bodies(&send("alice", session, candidate(1))).await;
    requests.never_asked_twice::<SendV1>("a signal goes out each time; its generation tells peers what it belongs to");
    requests.refused("unknown_session", &send("alice", "session-nobody-opened", offer(1))).await;
    requests.refused("stale_generation", &send("alice", session, candidate(7))).await;
    let long = PeerSignal::Candidate { candidate: "c".repeat(10_000), sdp_mid: None, generation: 1 };
    requests.refused("invalid_signal", &send("alice", session, long)).await;
    let borrowed = SendV1 { proof: world.proof("bob"), ..send("alice", session, offer(1)) };
    requests.refused("proof_refused", &borrowed).await;
    requests.refused("not_member", &send("carol", session, offer(1))).await;
    let another = PeerSignal::Offer { sdp: SAMPLE_SDP.replace("00:01:", "FF:01:"), generation: 1 };
    requests.refused("identity_mismatch", &send("alice", session, another)).await;
    let three = OpenSessionV1 { others: vec![id("carol")], ..open(world, "alice", "bob") };
    world.place("carol", PeerStatus::Online);
    let three = requests.good(&three).await.session_id;
    requests.refused("target_needed", &send("alice", three.as_str(), offer(1))).await;
    world.place("bob", PeerStatus::Offline);
    world.fill("bob", session).await;
    requests.refused("mailbox_full", &send("alice", session, candidate(1))).await;
    world.peers.lock().unwrap().remove("bob");
    requests.refused("peer_offline", &send("alice", session, offer(1))).await;
}

async fn ice_servers(world: &World, requests: &mut Requests<'_>) {
    let ask = IceServersV1 { peer_id: id("alice"), proof: world.proof("alice") };
    assert!(!requests.good(&ask).await.ice_servers.is_empty());
    requests.late(&ask, async || told(world).await).await;
    requests.bodies(&ask).await;
    requests.never_asked_twice::<IceServersV1>("it only tells");
    requests.refused("proof_refused", &IceServersV1 { proof: world.proof("bob"), ..ask }).await;
}
