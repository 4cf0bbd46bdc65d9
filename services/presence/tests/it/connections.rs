use std::collections::BTreeSet;

use bus::Trail;
use contracts::events::presence::{
    OfflineReason, PeerStatus, PeerStatusChangedV1, PeerWentOfflineV1, PeerWentOnlineV1, PresenceEvent,
};
use contracts::requests::presence::{
    ConnectRefusal, Connected, DisconnectRefusal, DisconnectV1, Disconnected, LookupRefusal, LookupV1, Profile,
    SetStatusRefusal, SetStatusV1,
};
use contracts::{Answer, Failure};
use tokio::task::JoinSet;

use crate::harness::{ACME, START_MS, World, connect, id, is_quiet, next_change, run};

fn leave(peer: &str, generation: u64) -> DisconnectV1 {
    DisconnectV1 { peer_id: id(peer), generation, reason: OfflineReason::Left }
}

fn went_online(peer: &str, generation: u64) -> PresenceEvent {
    let (node_id, subscription_id) = (id("gateway-1"), id("sub-1"));
    PeerWentOnlineV1 { peer_id: id(peer), generation, node_id, subscription_id, profile: Profile::default() }.into()
}

fn went_offline(peer: &str, generation: u64, reason: OfflineReason) -> PresenceEvent {
    PeerWentOfflineV1 { peer_id: id(peer), generation, reason }.into()
}

async fn set_status(world: &World, generation: u64, status: PeerStatus) -> Result<PeerStatus, SetStatusRefusal> {
    match world.ask(ACME, &SetStatusV1 { peer_id: id("alice"), generation, status }).await {
        Answer::Ok(view) => Ok(view.status),
        Answer::Refused(refusal) => Err(refusal),
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_connects_is_online_and_everybody_is_told() {
    run(async |world| {
        let mut changes = world.changes().await;
        let mut trail = Trail::new("call-7");
        trail.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
        let answer = world.ask_on(&trail, ACME, &connect("alice", "c1")).await;
        assert_eq!(answer, Answer::Ok(Connected { generation: 1, lease_ms: 30_000, network: None }));

        let view = world.lookup(ACME, "alice").await;
        assert_eq!((view.status, view.generation, view.proof_ver), (PeerStatus::Online, 1, 2));
        assert_eq!(view.lease_until_ms, START_MS + 30_000);
        assert_eq!(next_change(&mut changes).await, view);
        assert_eq!(world.facts().await, [went_online("alice", 1)]);
        let fact = &world.envelopes()[0];
        assert_eq!(
            (fact.source.as_str(), fact.key.as_str(), fact.sequence),
            ("/synapse/presence", "acme/peer/alice", 1)
        );
        assert_eq!(fact.trail.correlation_id, "call-7");
        assert_eq!(fact.trail.traceparent, trail.traceparent);
        assert!(fact.trail.causation_id.is_some(), "the request caused it");
    })
    .await;
}

#[tokio::test]
async fn the_same_connection_again_changes_nothing() {
    run(async |world| {
        let first = world.connect(ACME, "alice", "c1").await;
        world.relayed().await;
        let mut changes = world.changes().await;
        // What a gateway does whose first try was answered too late.
        assert_eq!(world.connect(ACME, "alice", "c1").await, first);
        assert!(is_quiet(&mut changes).await);
        assert_eq!(world.facts().await, [went_online("alice", 1)]);
        assert_eq!(world.count(ACME).await, 1);
    })
    .await;
}

#[tokio::test]
async fn the_newest_connection_takes_over_and_a_stale_leave_is_ignored() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        assert_eq!(world.connect(ACME, "alice", "c2").await.generation, 2);
        let stale = world.ask(ACME, &leave("alice", 1)).await;
        assert_eq!(stale, Answer::Ok(Disconnected { went_offline: false }));
        assert_eq!(world.lookup(ACME, "alice").await.status, PeerStatus::Online);
        assert_eq!(world.count(ACME).await, 1, "one peer, however many connections");

        let real = world.ask(ACME, &leave("alice", 2)).await;
        assert_eq!(real, Answer::Ok(Disconnected { went_offline: true }));
        let again = world.ask(ACME, &leave("alice", 2)).await;
        assert_eq!(again, Answer::Ok(Disconnected { went_offline: false }), "a retried leave is no second one");
        let expected =
            [went_online("alice", 1), went_online("alice", 2), went_offline("alice", 2, OfflineReason::Left)];
        assert_eq!(world.facts().await, expected);
        let sequences: Vec<u64> = world.envelopes().iter().map(|fact| fact.sequence).collect();
        assert_eq!(sequences, [1, 2, 3], "without gaps");
        assert_eq!(world.count(ACME).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_comes_back_goes_on_counting() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        world.ask(ACME, &leave("alice", 1)).await;
        let view = world.lookup(ACME, "alice").await;
        assert_eq!((view.status, view.generation), (PeerStatus::Offline, 1), "remembered, but gone");
        assert_eq!(world.connect(ACME, "alice", "c2").await.generation, 2);
        assert_eq!(world.count(ACME).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_status_changes_by_the_machine_and_tells_it() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        let mut changes = world.changes().await;
        assert_eq!(set_status(world, 1, PeerStatus::Away).await, Ok(PeerStatus::Away));
        assert_eq!(next_change(&mut changes).await.status, PeerStatus::Away);
        assert_eq!(set_status(world, 1, PeerStatus::Away).await, Ok(PeerStatus::Away), "no change is no error");
        assert!(is_quiet(&mut changes).await);
        for to in [PeerStatus::Offline, PeerStatus::Connecting, PeerStatus::Unknown] {
            let refusal = SetStatusRefusal::InvalidTransition { from: PeerStatus::Away, to };
            assert_eq!(set_status(world, 1, to).await, Err(refusal));
        }
        assert_eq!(set_status(world, 9, PeerStatus::Online).await, Err(SetStatusRefusal::StaleGeneration));
        let away = PeerStatusChangedV1 { peer_id: id("alice"), generation: 1, status: PeerStatus::Away };
        assert_eq!(world.facts().await, [went_online("alice", 1), away.into()]);
        world.ask(ACME, &leave("alice", 1)).await;
        assert_eq!(set_status(world, 1, PeerStatus::Online).await, Err(SetStatusRefusal::UnknownPeer));
    })
    .await;
}

#[tokio::test]
async fn a_peer_nobody_ever_saw_is_unknown() {
    run(async |world| {
        let lookup = world.ask(ACME, &LookupV1 { peer_id: id("nobody") }).await;
        assert_eq!(lookup, Answer::Refused(LookupRefusal::UnknownPeer));
        assert_eq!(world.ask(ACME, &leave("nobody", 1)).await, Answer::Refused(DisconnectRefusal::UnknownPeer));
        assert_eq!(set_status(world, 1, PeerStatus::Away).await, Err(SetStatusRefusal::UnknownPeer));
        assert_eq!(world.facts().await, []);
    })
    .await;
}

#[tokio::test]
async fn a_peer_belongs_to_its_user_here_or_gone() {
    run(async |world| {
        world.connect(ACME, "alice", "c1").await;
        let mut thief = connect("alice", "c2");
        thief.user_id = id("mallory");
        assert_eq!(world.ask(ACME, &thief).await, Answer::Refused(ConnectRefusal::NotOwner));
        world.ask(ACME, &leave("alice", 1)).await;
        assert_eq!(world.ask(ACME, &thief).await, Answer::Refused(ConnectRefusal::NotOwner));
        assert_eq!(world.facts().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn of_many_connections_at_once_each_has_its_number_and_one_stands() {
    run(async |world| {
        let mut asking = JoinSet::new();
        for number in 0..32 {
            let (bus, sender) = (world.bus.clone(), world.sender.clone());
            asking.spawn(async move {
                let ask = connect("alice", &format!("c{number}"));
                loop {
                    let (tenant, trail) = (id(ACME), Trail::new("race"));
                    match bus.ask(&sender, &tenant, &trail, &ask, crate::harness::SOON).await.unwrap() {
                        Answer::Ok(connected) => return connected.generation,
                        // Too many at once: the asker tries again, as the failure says.
                        Answer::Failed(Failure { retryable: true, .. }) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
        let generations: BTreeSet<u64> = asking.join_all().await.into_iter().collect();
        assert_eq!(generations, (1..=32).collect());
        assert_eq!(world.lookup(ACME, "alice").await.generation, 32);
        assert_eq!(world.count(ACME).await, 1);
        let expected: Vec<PresenceEvent> = (1..=32).map(|generation| went_online("alice", generation)).collect();
        assert_eq!(world.facts().await, expected, "in order and without gaps");
    })
    .await;
}
