//! Messages to one and to many, here and at another gateway, and what their senders learn.

use std::time::Duration;

use auth::Role;
use contracts::Answer;
use contracts::events::presence::PeerStatus;
use contracts::frames::{Outcome, ServerFrame};
use contracts::requests::presence::{LookupRefusal, LookupV1};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{ACME, World, run, run_with};

pub(crate) fn message(id: &str, to: &str, text: &str) -> Value {
    json!({"type": "message", "id": id, "to": to, "action": "chat", "message": text})
}

pub(crate) fn broadcast(id: &str, scope: &Value, text: &str) -> Value {
    let mut frame = json!({"type": "broadcast", "id": id, "action": "chat", "message": text});
    frame.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
    frame
}

/// The next frame, which must be a message: its offset, sender and text.
pub(crate) async fn heard(client: &mut Client) -> (u64, String, String) {
    match client.next().await {
        ServerFrame::Message { offset, from, note, .. } => (offset, from.to_string(), note.message),
        other => panic!("a message was expected: {other:?}"),
    }
}

async fn join(client: &mut Client, room: &str) {
    client.accepted(&json!({"type": "room", "id": "join", "action": "join", "room": room})).await;
}

#[tokio::test]
async fn a_message_is_delivered_once_the_peers_connection_has_it() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let mut bob = world.enter("bob").await;
        assert_eq!(alice.ask(&message("1", "bob", "hello")).await, (Outcome::Delivered, None, None));
        assert_eq!(heard(&mut bob).await, (1, "alice".into(), "hello".into()));
        assert!(world.doubles.seen::<LookupV1>().is_empty(), "who is here need not be looked for");
    })
    .await;
}

#[tokio::test]
async fn who_is_not_there_gets_nothing_and_the_sender_knows() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        world.locate("bob", "gateway-gone", PeerStatus::Offline);
        assert_eq!(alice.refused(&message("1", "bob", "hello")).await.code, "peer_offline");
        // Presence has not heard yet that it left this process.
        world.locate("bob", &world.node, PeerStatus::Online);
        assert_eq!(alice.refused(&message("2", "bob", "hello")).await.code, "peer_offline");
        world.doubles.script::<LookupV1>(&Answer::Refused(LookupRefusal::UnknownPeer));
        assert_eq!(alice.refused(&message("3", "bob", "hello")).await.code, "peer_unknown");
        let to_itself = alice.refused(&message("4", "alice", "hello")).await;
        assert_eq!((to_itself.code.as_str(), to_itself.violations[0].field.as_str()), ("validation_failed", "to"));
    })
    .await;
}

#[tokio::test]
async fn where_the_receiver_acknowledges_the_sender_waits_for_that() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let (mut bob, _) = world.enter_at(world.address, "bob", &json!({"acks": true})).await;
        alice.send(&message("1", "bob", "one")).await;
        alice.send(&message("2", "bob", "two")).await;
        // Its other frames don't wait.
        alice.is_alive().await;
        assert_eq!(heard(&mut bob).await.0, 1);
        assert_eq!(heard(&mut bob).await.0, 2);
        bob.accepted(&json!({"type": "ack", "id": "a", "offset": 1})).await;
        assert_eq!(alice.outcome_of(Some("1")).await.0, Outcome::Delivered);
        world.hand.advance(Duration::from_secs(5));
        assert_eq!(alice.outcome_of(Some("2")).await.0, Outcome::Expired);
        let ahead = bob.refused(&json!({"type": "ack", "id": "b", "offset": 3})).await;
        assert_eq!((ahead.code.as_str(), ahead.violations[0].field.as_str()), ("validation_failed", "offset"));
    })
    .await;
}

#[tokio::test]
async fn two_who_wait_for_each_other_both_get_their_outcome() {
    run(async |world| {
        let (mut alice, _) = world.enter_at(world.address, "alice", &json!({"acks": true})).await;
        let (mut bob, _) = world.enter_at(world.address, "bob", &json!({"acks": true})).await;
        alice.send(&message("1", "bob", "to bob")).await;
        bob.send(&message("1", "alice", "to alice")).await;
        for client in [&mut alice, &mut bob] {
            assert_eq!(heard(client).await.0, 1);
            client.send(&json!({"type": "ack", "id": "2", "offset": 1})).await;
        }
        for client in [&mut alice, &mut bob] {
            let mut outcomes = Vec::new();
            for _ in 0..2 {
                match client.next().await {
                    ServerFrame::Outcome { id, outcome, .. } => outcomes.push((id.unwrap(), outcome)),
                    other => panic!("{other:?}"),
                }
            }
            outcomes.sort_by(|one, two| one.0.cmp(&two.0));
            assert_eq!(outcomes, [("1".to_owned(), Outcome::Delivered), ("2".to_owned(), Outcome::Accepted)]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_to_another_gateway_arrives_in_order_with_a_receipt() {
    run(in_order_with_receipts).await;
}

/// Fifty messages from one gateway to a peer at another.
pub(crate) async fn in_order_with_receipts(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let mut alice = world.enter("alice").await;
    let (mut bob, _) = world.enter_at(neighbour.address, "bob", &json!({})).await;
    world.locate("bob", &neighbour.node, PeerStatus::Online);
    for number in 0..50 {
        alice.send(&message(&format!("m-{number}"), "bob", &format!("{number}"))).await;
    }
    let mut outcomes = Vec::new();
    for number in 0..50_u64 {
        assert_eq!(heard(&mut bob).await, (number + 1, "alice".into(), number.to_string()));
        match alice.next().await {
            ServerFrame::Outcome { id, outcome: Outcome::Delivered, .. } => outcomes.push(id.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    outcomes.sort();
    outcomes.dedup();
    assert_eq!(outcomes.len(), 50, "each has one outcome");
    drop(bob);
    world.leaves(1).await;
    assert_eq!(alice.refused(&message("late", "bob", "hello")).await.code, "peer_offline");
    neighbour.host.drain().await;
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_is_no_delivery() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        world.locate("bob", "gateway-gone", PeerStatus::Online);
        alice.send(&message("1", "bob", "hello")).await;
        testkit::eventually(crate::harness::SOON, "the message to be on its way", async || {
            let asked = world.doubles.seen::<LookupV1>().len();
            (asked == 1).then_some(())
        })
        .await;
        alice.is_alive().await;
        world.hand.advance(Duration::from_secs(7));
        let (outcome, _, problem) = alice.outcome_of(Some("1")).await;
        assert_eq!((outcome, problem.unwrap().code.as_str()), (Outcome::Refused, "timeout"));
    })
    .await;
}

#[tokio::test]
async fn a_connection_has_only_so_many_messages_without_an_outcome() {
    run_with(&[("max_pending_messages", "2")], async |world| {
        let mut alice = world.enter("alice").await;
        let (_bob, _) = world.enter_at(world.address, "bob", &json!({"acks": true})).await;
        alice.send(&message("1", "bob", "one")).await;
        alice.send(&message("2", "bob", "two")).await;
        assert_eq!(alice.refused(&message("3", "bob", "three")).await.code, "rate_limited");
        alice.is_alive().await;
    })
    .await;
}

async fn admin(world: &World, peer: &str) -> Client {
    let token = world.token_of(ACME, "root", Role::Admin, 3_600_000);
    let proof = world.proof(peer, 2);
    world.enter_with(&json!({"type": "auth", "id": "1", "token": token, "peer_id": peer, "proof": proof})).await
}

#[tokio::test]
async fn a_broadcast_reaches_whom_it_is_for_at_every_gateway() {
    run(to_whom_it_is_for).await;
}

/// Broadcasts of every scope, over two gateways.
pub(crate) async fn to_whom_it_is_for(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let mut root = admin(world, "root").await;
    let mut alice = world.enter("alice").await;
    let (mut bob, _) = world.enter_at(neighbour.address, "bob", &json!({})).await;
    join(&mut alice, "lobby").await;
    join(&mut bob, "lobby").await;
    let room = json!({"scope": "room", "room": "lobby"});
    assert_eq!(alice.ask(&broadcast("1", &room, "to the room")).await.0, Outcome::Accepted);
    match bob.next().await {
        ServerFrame::Message { from, broadcast: Some(scope), note, .. } => {
            assert_eq!((from.as_str(), note.message.as_str()), ("alice", "to the room"));
            assert_eq!(serde_json::to_value(scope).unwrap(), room);
        }
        other => panic!("{other:?}"),
    }
    root.accepted(&broadcast("2", &json!({"scope": "tenant"}), "to all")).await;
    root.accepted(&broadcast("3", &json!({"scope": "user", "user_id": "ada"}), "to ada")).await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(heard(client).await.2, "to all");
        assert_eq!(heard(client).await.2, "to ada");
    }
    alice.accepted(&json!({"type": "room", "id": "4", "action": "leave", "room": "lobby"})).await;
    assert_eq!(alice.refused(&broadcast("5", &room, "from outside")).await.code, "forbidden");
    for client in [&mut alice, &mut bob, &mut root] {
        client.is_alive().await;
    }
    drop(bob);
    world.leaves(1).await;
    neighbour.host.drain().await;
}

#[tokio::test]
async fn not_everybody_speaks_to_everybody() {
    run_with(&[("max_rooms", "1")], async |world| {
        let mut alice = world.enter("alice").await;
        let tenant = broadcast("1", &json!({"scope": "tenant"}), "to all");
        assert_eq!(alice.refused(&tenant).await.code, "forbidden");
        let user = |name: &str| broadcast("2", &json!({"scope": "user", "user_id": name}), "to a user");
        assert_eq!(alice.refused(&user("eve")).await.code, "forbidden");
        assert_eq!(alice.ask(&user("ada")).await.0, Outcome::Accepted);
        join(&mut alice, "one").await;
        let second = json!({"type": "room", "id": "3", "action": "join", "room": "two"});
        assert_eq!(alice.refused(&second).await.code, "conflict");
        let token = world.token_of(ACME, "ada", Role::ReadOnly, 3_600_000);
        let proof = world.proof("reader", 2);
        let auth = json!({"type": "auth", "id": "1", "token": token, "peer_id": "reader", "proof": proof});
        let mut reader = world.enter_with(&auth).await;
        assert_eq!(reader.refused(&message("1", "alice", "hello")).await.code, "forbidden");
        assert_eq!(reader.refused(&user("ada")).await.code, "forbidden");
        reader.accepted(&json!({"type": "presence", "id": "2", "action": "list"})).await;
    })
    .await;
}

#[tokio::test]
async fn who_does_not_want_to_know_is_not_told_who_comes() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        alice.accepted(&json!({"type": "presence", "id": "1", "action": "unsubscribe"})).await;
        world.tell(ACME, ACME, &crate::fan_out::changed("bob", 1, PeerStatus::Away)).await;
        alice.is_alive().await;
        alice.accepted(&json!({"type": "presence", "id": "2", "action": "subscribe"})).await;
        world.tell(ACME, ACME, &crate::fan_out::changed("bob", 1, PeerStatus::Online)).await;
        assert!(matches!(alice.next().await, ServerFrame::Presence { offset: 1, .. }));
    })
    .await;
}

#[tokio::test]
async fn a_user_has_only_so_many_connections_here() {
    run_with(&[("max_user_connections", "1")], async |world| {
        let _alice = world.enter("alice").await;
        let mut bob = world.connect().await;
        assert_eq!(bob.refused(&world.auth_frame("bob")).await.code, "rate_limited");
        let closed = bob.closed().await;
        assert_eq!((closed.code, closed.reconnect_after_ms), (Some(4429), Some(5_000)));
        world.enter("alice").await;
    })
    .await;
}
