//! Each request that signaling serves.

use contracts::SessionId;
use contracts::events::presence::PeerStatus;
use contracts::requests::signaling::{OpenSessionV1, SendV1};
use contracts::signals::signaling::PeerSignal;
use testkit::contract::{On, Requests};

use crate::harness::{World, candidate, id, offer, run_on};

testkit::on_every_bus!(every_request_is_answered_as_promised);

async fn every_request_is_answered_as_promised(on: On) {
    run_on(on, async |world| {
        let mut requests = Requests::of(signaling::NAME, &world.bus, &world.clock);
        let session = opens(world, &mut requests).await;
        sends(world, &mut requests, session).await;
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
    OpenSessionV1 { from: id(from), to: id(to), proof: world.proof(from) }
}

async fn opens(world: &World, requests: &mut Requests<'_>) -> SessionId {
    let session = requests.good(&open(world, "alice", "bob")).await.session_id;
    requests.late(&open(world, "alice", "bob"), async || told(world).await).await;
    requests.bodies(&open(world, "alice", "bob")).await;
    requests.never_asked_twice::<OpenSessionV1>("each asking opens a session of its own");
    requests.refused("unknown_peer", &open(world, "alice", "nobody")).await;
    requests.refused("same_peer", &open(world, "alice", "alice")).await;
    let borrowed = OpenSessionV1 { proof: world.proof("bob"), ..open(world, "alice", "bob") };
    requests.refused("proof_refused", &borrowed).await;
    world.place("carol", PeerStatus::Offline);
    requests.refused("peer_offline", &open(world, "alice", "carol")).await;
    session
}

async fn sends(world: &World, requests: &mut Requests<'_>, session: SessionId) {
    let send = |from: &str, session: &str, signal: PeerSignal| SendV1 {
        session_id: id(session),
        from: id(from),
        proof: world.proof(from),
        signal,
    };
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
    world.place("bob", PeerStatus::Offline);
    requests.refused("peer_offline", &send("alice", session, offer(1))).await;
}
