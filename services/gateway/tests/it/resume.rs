//! Coming back: exactly what was missed, or an honest gap.

use std::time::Duration;

use contracts::events::presence::PeerStatus;
use contracts::frames::ServerFrame;
use serde_json::{Value, json};

use crate::client::Client;
use crate::fan_out::changed;
use crate::harness::{ACME, SOON, World, run, run_with};
use crate::messages::{broadcast, heard, message};

fn resume(result: &Value, offset: u64) -> Value {
    json!({"resume": {"epoch": result["epoch"], "offset": offset}})
}

/// The offset and the peer of a presence frame.
async fn news(client: &mut Client) -> (u64, String) {
    match client.next().await {
        ServerFrame::Presence { offset, peer, .. } => (offset, peer.peer_id.to_string()),
        other => panic!("news were expected: {other:?}"),
    }
}

async fn tell(world: &World, peers: &[&str]) {
    for peer in peers {
        world.tell(ACME, ACME, &changed(peer, 1, PeerStatus::Online)).await;
    }
}

#[tokio::test]
async fn what_happened_meanwhile_is_told_and_nothing_twice() {
    run(async |world| {
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        tell(world, &["bob", "carol"]).await;
        assert_eq!(news(&mut alice).await, (1, "bob".into()));
        drop(alice);
        world.leaves(1).await;
        tell(world, &["dave"]).await;
        // It took in only the first.
        let (mut alice, again) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
        let told = (&again["resume"], &again["epoch"], &again["offset"]);
        assert_eq!(told, (&"recovered".into(), &result["epoch"], &1.into()));
        assert_eq!(news(&mut alice).await, (2, "carol".into()));
        assert_eq!(news(&mut alice).await, (3, "dave".into()));
        tell(world, &["erin"]).await;
        assert_eq!(news(&mut alice).await, (4, "erin".into()));
        alice.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_only_the_client_has_given_up_is_taken_over_with_its_journal() {
    run(async |world| {
        let (mut older, result) = world.enter_at(world.address, "alice", &json!({})).await;
        let mut bob = world.enter("bob").await;
        bob.ask(&message("1", "alice", "one")).await;
        bob.ask(&message("2", "alice", "two")).await;
        let (mut newer, again) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
        assert_eq!(again["resume"], "recovered");
        assert_eq!(heard(&mut newer).await, (2, "bob".into(), "two".into()));
        assert_eq!(older.closed().await.code, Some(4409));
        newer.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn rooms_and_subscriptions_come_back_with_a_recovery_and_not_with_a_gap() {
    run(async |world| {
        let room = json!({"scope": "room", "room": "lobby"});
        let join = json!({"type": "room", "id": "1", "action": "join", "room": "lobby"});
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        let mut bob = world.enter("bob").await;
        alice.accepted(&join).await;
        bob.accepted(&join).await;
        alice.accepted(&json!({"type": "presence", "id": "2", "action": "unsubscribe"})).await;
        drop(alice);
        world.leaves(1).await;
        bob.ask(&broadcast("2", &room, "while away")).await;
        let (mut alice, _) = world.enter_at(world.address, "alice", &resume(&result, 0)).await;
        assert_eq!(heard(&mut alice).await.2, "while away");
        bob.ask(&broadcast("3", &room, "back")).await;
        assert_eq!(heard(&mut alice).await.2, "back");
        tell(world, &["carol"]).await;
        bob.next().await;
        alice.is_alive().await;
        drop(alice);
        let (mut alice, again) = world.enter_at(world.address, "alice", &resume(&result, 99)).await;
        assert_eq!(again["resume"], "gap");
        bob.ask(&broadcast("4", &room, "to the others")).await;
        tell(world, &["dave"]).await;
        assert_eq!(news(&mut alice).await, (1, "dave".into()));
    })
    .await;
}

#[tokio::test]
async fn a_gap_is_told() {
    run_with(&[("history_frames", "2")], async |world| {
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        tell(world, &["bob", "carol", "dave"]).await;
        for _ in 0..3 {
            news(&mut alice).await;
        }
        drop(alice);
        world.leaves(1).await;
        for (name, more) in [
            ("more was missed than is kept", resume(&result, 0)),
            ("another epoch", json!({"resume": {"epoch": format!("{}.0", world.node), "offset": 0}})),
            ("nobody's epoch", json!({"resume": {"epoch": "nonsense", "offset": 0}})),
        ] {
            let (mut alice, again) = world.enter_at(world.address, "alice", &more).await;
            assert_eq!((&again["resume"], &again["offset"]), (&"gap".into(), &0.into()), "{name}");
            assert_ne!(again["epoch"], result["epoch"], "{name}");
            alice.is_alive().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_offset_that_never_was_is_a_gap() {
    run(async |world| {
        let (alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        drop(alice);
        let (_, again) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
        assert_eq!(again["resume"], "gap");
    })
    .await;
}

#[tokio::test]
async fn history_ends_with_its_time() {
    run_with(&[("heartbeat_ms", "300000")], async |world| {
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        tell(world, &["bob"]).await;
        news(&mut alice).await;
        drop(alice);
        world.leaves(1).await;
        world.hand.advance(Duration::from_secs(121));
        // The sweep comes with the beat.
        testkit::eventually(SOON, "the history to be forgotten", async || {
            world.hand.advance(Duration::from_secs(10));
            let (client, again) = world.enter_at(world.address, "alice", &resume(&result, 0)).await;
            drop(client);
            if again["resume"] == "gap" { Ok(()) } else { Err(again.to_string()) }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn who_lost_the_entitlement_has_nothing_to_resume() {
    run(async |world| {
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        world.revoke("sub-alice", 3).await;
        assert_eq!(alice.closed().await.code, Some(4402));
        let mut more = resume(&result, 0);
        more["proof"] = world.proof("alice", 3).into();
        let (_, again) = world.enter_at(world.address, "alice", &more).await;
        assert_eq!(again["resume"], "gap");
    })
    .await;
}

#[tokio::test]
async fn another_gateway_hands_over_what_was_missed() {
    run(handed_over).await;
}

/// A peer that comes back to another gateway.
pub(crate) async fn handed_over(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let (mut alice, result) = world.enter_at(neighbour.address, "alice", &json!({})).await;
    alice.accepted(&json!({"type": "room", "id": "1", "action": "join", "room": "lobby"})).await;
    tell(world, &["bob", "carol"]).await;
    assert_eq!(news(&mut alice).await, (1, "bob".into()));
    drop(alice);
    world.leaves(1).await;
    tell(world, &["dave"]).await;
    let (mut alice, again) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
    assert_eq!((&again["resume"], &again["offset"]), (&"recovered".into(), &0.into()));
    assert!(again["epoch"].as_str().unwrap().starts_with(&world.node), "{again}");
    assert_eq!(news(&mut alice).await, (1, "carol".into()));
    assert_eq!(news(&mut alice).await, (2, "dave".into()));
    tell(world, &["erin"]).await;
    assert_eq!(news(&mut alice).await, (3, "erin".into()));
    let mut bob = world.enter("bob").await;
    bob.accepted(&json!({"type": "room", "id": "1", "action": "join", "room": "lobby"})).await;
    bob.ask(&broadcast("2", &json!({"scope": "room", "room": "lobby"}), "hello")).await;
    assert_eq!(heard(&mut alice).await, (4, "bob".into(), "hello".into()));
    // The history went with the peer: nobody has it twice.
    drop(alice);
    let (_, third) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
    assert_eq!(third["resume"], "gap");
    neighbour.host.drain().await;
}

#[tokio::test]
async fn a_gateway_that_still_holds_the_connection_gives_it_up() {
    run(given_up).await;
}

/// The same before the first one noticed.
pub(crate) async fn given_up(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let (mut older, result) = world.enter_at(neighbour.address, "alice", &json!({})).await;
    tell(world, &["bob"]).await;
    assert_eq!(news(&mut older).await, (1, "bob".into()));
    let (mut newer, again) = world.enter_at(world.address, "alice", &resume(&result, 0)).await;
    assert_eq!(again["resume"], "recovered");
    assert_eq!(older.closed().await.code, Some(4409));
    assert_eq!(news(&mut newer).await, (1, "bob".into()));
    neighbour.host.drain().await;
}

#[tokio::test]
async fn a_gateway_that_is_gone_takes_the_history_with_it() {
    run(async |world| {
        let more = json!({"resume": {"epoch": "gateway-gone.0123456789abcdef", "offset": 3}});
        let mut auth = world.auth_frame("alice");
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut alice = world.connect().await;
        alice.send(&auth).await;
        // It is given two seconds to answer.
        let waiting = async {
            loop {
                tokio::task::yield_now().await;
                world.hand.advance(Duration::from_millis(10));
            }
        };
        let result = tokio::select! {
            (_, result, _) = alice.outcome_of(Some("auth-1")) => result.unwrap(),
            () = waiting => unreachable!("it ends with the other"),
        };
        assert_eq!(result["resume"], "gap");
    })
    .await;
}

#[tokio::test]
async fn a_slow_consumer_loses_nothing_by_being_closed() {
    run_with(&[("max_outbound_frames", "8")], async |world| {
        let (mut alice, result) = world.enter_at(world.address, "alice", &json!({})).await;
        let session = |number: usize| {
            let signal = contracts::signals::signaling::PeerSignal::Offer { sdp: "v".repeat(250_000), generation: 1 };
            let (session, bob, alice) = (format!("s-{number}"), "bob".parse().unwrap(), "alice".parse().unwrap());
            contracts::signals::signaling::DeliverV1::plain(session.parse().unwrap(), bob, alice, true, signal)
        };
        let mut sent = 0;
        testkit::eventually(SOON, "the client to be given up", async || {
            world.tell(&world.node, ACME, &session(sent)).await;
            sent += 1;
            let told = world.leaves(0).await.len();
            (told == 1).then_some(())
        })
        .await;
        assert_eq!(alice.closed().await.code, Some(4408));
        // More than the history holds: it says so instead of telling a part.
        let (_, again) = world.enter_at(world.address, "alice", &resume(&result, 0)).await;
        assert_eq!(again["resume"], "gap");
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_stops_may_stay_to_hand_over() {
    run(async |world| {
        let neighbour = world.neighbour(&[("handover_on_drain_ms", "8000")]).await;
        let (mut alice, result) = world.enter_at(neighbour.address, "alice", &json!({})).await;
        tell(world, &["bob"]).await;
        assert_eq!(news(&mut alice).await, (1, "bob".into()));
        let host = neighbour.host.clone();
        let draining = tokio::spawn(async move { host.drain().await });
        let closed = alice.closed().await;
        assert_eq!(closed.code, Some(1012));
        assert!(closed.reconnect_after_ms.unwrap() <= 500 + 8_000 / 3 * 2, "{closed:?}");
        tell(world, &["carol"]).await;
        let (mut alice, again) = world.enter_at(world.address, "alice", &resume(&result, 1)).await;
        assert_eq!(again["resume"], "recovered");
        assert_eq!(news(&mut alice).await, (1, "carol".into()));
        // Nobody is left to wait for: it ends although the clock stands still.
        tokio::time::timeout(SOON, draining).await.expect("it ends").unwrap();
    })
    .await;
}
