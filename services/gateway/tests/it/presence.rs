//! Who is found and watched by what, and what peers tell of themselves.

use auth::Role;
use contracts::Answer;
use contracts::events::presence::PeerStatus;
use contracts::frames::{Outcome, PeerChange, ServerFrame};
use contracts::requests::presence::{ConnectV1, CountV1, DescribeRefusal, DescribeV1, ListV1, LookupV1, Marks};
use contracts::signals::presence::ChangedV1;
use serde_json::{Value, json};

use crate::client::Client;
use crate::fan_out::changed;
use crate::harness::{ACME, SOON, run, run_with};

fn presence(id: &str, action: &str, more: &Value) -> Value {
    let mut frame = json!({"type": "presence", "id": id, "action": action});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

fn room(id: &str, action: &str, room: &str) -> Value {
    json!({"type": "room", "id": id, "action": action, "room": room})
}

fn in_rooms(rooms: &[&str]) -> Option<Marks> {
    Some(Marks { rooms: rooms.iter().map(|room| (*room).to_owned()).collect(), ..Marks::default() })
}

#[tokio::test]
async fn peers_are_asked_for_by_what_they_have() {
    run(async |world| {
        world.http("GET /v1/peers?room=lobby&tag=blue&capability=video&same_network=true", "", "").await;
        let filter = json!({"room": "lobby", "tag": "blue", "capability": "video"});
        let ask = json!({"limit": 50, "filter": filter, "address": "127.0.0.1"});
        assert_eq!(world.doubles.seen::<ListV1>()[0].body, ask);
        let counts = world.http("GET /v1/presence?room=lobby", "", "").await;
        assert_eq!(world.doubles.seen::<CountV1>()[0].body, json!({"room": "lobby"}));
        assert_eq!(counts.status, 200, "{counts:?}");
        for bad in ["GET /v1/peers?same_network=perhaps", "GET /v1/presence?rooms=lobby"] {
            let problem = world.http(bad, "", "").await.is_refused(400, "validation_failed");
            assert_eq!(problem.violations[0].field, "query");
        }

        let mut alice = world.enter("alice").await;
        assert_eq!(world.doubles.seen::<ConnectV1>()[0].body["address"], "127.0.0.1");
        alice.accepted(&presence("1", "list", &json!({"room": "lobby", "tag": "blue", "same_network": true}))).await;
        let asked = &world.doubles.seen::<ListV1>()[1].body;
        assert_eq!((&asked["filter"]["room"], &asked["filter"]["tag"]), (&json!("lobby"), &json!("blue")));
        assert!(asked["filter"]["network"].is_string(), "{asked}");
        let counts = alice.accepted(&presence("2", "count", &json!({"room": "lobby"}))).await.unwrap();
        assert_eq!((&counts["here"], &counts["room"]), (&json!(42), &json!(7)));
    })
    .await;
}

#[tokio::test]
async fn a_peer_describes_itself_and_every_bad_field_is_named() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        let keys = json!([{"kind": "ed25519", "key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]);
        let about = json!({"tags": ["blue"], "transports": [{"kind": "webrtc"}], "identity_keys": keys});
        let view = alice.accepted(&presence("1", "describe", &about)).await.unwrap();
        assert!(view["profile"]["identity_keys"].is_array(), "{view}");
        let asked = world.doubles.seen::<DescribeV1>().remove(0).body;
        assert_eq!((&asked["peer_id"], &asked["tags"]), (&json!("alice"), &json!(["blue"])));
        assert_eq!((&asked["identity_keys"], asked.get("rooms")), (&keys, None));

        let bad = json!({"tags": "blue", "capabilities": [7], "transports": ["webrtc"], "identity_keys": [{"key": 1}]});
        let problem = alice.refused(&presence("2", "describe", &bad)).await;
        let fields: Vec<&str> = problem.violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["tags", "capabilities", "transports", "identity_keys"]);
        let misplaced = presence("3", "set_status", &json!({"status": "away", "tags": ["blue"], "room": "lobby"}));
        assert_eq!(alice.refused(&misplaced).await.violations.len(), 2);

        let violations = vec!["identity_keys[0].key: must be 32 bytes".to_owned()];
        world.doubles.script::<DescribeV1>(&Answer::Refused(DescribeRefusal::Invalid { violations }));
        let problem = alice.refused(&presence("4", "describe", &about)).await;
        assert_eq!(
            (problem.code.as_str(), problem.violations[0].field.as_str()),
            ("validation_failed", "identity_keys[0].key")
        );
    })
    .await;
}

#[tokio::test]
async fn who_may_only_read_finds_and_watches_but_tells_nothing() {
    run(async |world| {
        let token = world.token_of(ACME, "ada", Role::ReadOnly, 3_600_000);
        let proof = world.proof("reader", 2);
        let auth = json!({"type": "auth", "id": "1", "token": token, "peer_id": "reader", "proof": proof});
        let mut reader = world.enter_with(&auth).await;
        for frame in [presence("2", "list", &json!({})), presence("3", "count", &json!({}))] {
            reader.accepted(&frame).await;
        }
        reader.accepted(&presence("4", "subscribe", &json!({"tag": "blue"}))).await;
        let described = presence("5", "describe", &json!({"tags": ["blue"]}));
        assert_eq!(reader.refused(&described).await.code, "forbidden");
    })
    .await;
}

#[tokio::test]
async fn presence_knows_the_rooms_and_who_it_does_not_know_of_is_in_none() {
    run(async |world| {
        let mut alice = world.enter("alice").await;
        for frame in [room("1", "join", "b"), room("2", "join", "a"), room("3", "join", "a"), room("4", "leave", "b")] {
            assert_eq!(alice.ask(&frame).await.0, Outcome::Accepted);
        }
        assert_eq!(alice.ask(&room("5", "leave", "b")).await.0, Outcome::Accepted);
        let told: Vec<Value> =
            world.doubles.seen::<DescribeV1>().into_iter().map(|seen| seen.body["rooms"].clone()).collect();
        assert_eq!(told, [json!(["b"]), json!(["a", "b"]), json!(["a"])], "each change once");
        world.doubles.script::<DescribeV1>(&Answer::Refused(DescribeRefusal::StaleGeneration));
        assert_eq!(alice.refused(&room("6", "join", "c")).await.code, "conflict");
        let speech =
            json!({"type": "broadcast", "id": "7", "scope": "room", "room": "c", "action": "x", "message": "y"});
        assert_eq!(alice.refused(&speech).await.code, "forbidden", "it is not in there");
    })
    .await;
}

#[tokio::test]
async fn presence_hears_of_the_rooms_that_a_resume_brings_back() {
    run(async |world| {
        let (mut alice, session) = world.enter_at(world.address, "alice", &json!({})).await;
        alice.accepted(&room("1", "join", "lobby")).await;
        let resume = json!({"resume": {"epoch": session["epoch"], "offset": 0}});
        let (_again, session) = world.enter_at(world.address, "alice", &resume).await;
        assert_eq!(session["resume"], "recovered");
        let told = world.doubles.seen::<DescribeV1>();
        assert_eq!((told.len(), &told[1].body["rooms"]), (2, &json!(["lobby"])));
        assert_eq!(told[1].body["generation"], session["generation"]);
    })
    .await;
}

async fn told(client: &mut Client) -> (String, Option<PeerChange>) {
    match client.next().await {
        ServerFrame::Presence { peer, change, .. } => (peer.peer_id.to_string(), change),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_watches_a_room_is_told_who_comes_into_it_changes_and_leaves() {
    run(async |world| {
        let (mut room_watcher, mut everybody) = (world.enter("alice").await, world.enter("carol").await);
        room_watcher.accepted(&presence("1", "subscribe", &json!({"room": "lobby"}))).await;
        let steps = [
            // Marks before and after, what who watches the room sees, what who watches everybody sees.
            (None, in_rooms(&[]), None, PeerChange::Joined),
            (in_rooms(&[]), in_rooms(&["lobby"]), Some(PeerChange::Joined), PeerChange::Updated),
            (in_rooms(&["lobby"]), in_rooms(&["hall", "lobby"]), Some(PeerChange::Updated), PeerChange::Updated),
            (in_rooms(&["hall", "lobby"]), in_rooms(&["hall"]), Some(PeerChange::Left), PeerChange::Updated),
            (in_rooms(&["hall"]), None, None, PeerChange::Left),
            (None, in_rooms(&["lobby"]), Some(PeerChange::Joined), PeerChange::Joined),
            (in_rooms(&["lobby"]), None, Some(PeerChange::Left), PeerChange::Left),
        ];
        for (before, marks, in_room, of_all) in steps {
            let status = if marks.is_some() { PeerStatus::Online } else { PeerStatus::Offline };
            let news = ChangedV1 { marks, before, ..changed("bob", 1, status) };
            world.tell(ACME, ACME, &news).await;
            assert_eq!(told(&mut everybody).await, ("bob".to_owned(), Some(of_all)));
            if let Some(in_room) = in_room {
                assert_eq!(told(&mut room_watcher).await, ("bob".to_owned(), Some(in_room)));
            }
            room_watcher.is_alive().await;
        }
        // A presence service that does not tell marks yet: who watches everybody hears of it nevertheless.
        let news = ChangedV1 { marks: None, before: None, ..changed("bob", 1, PeerStatus::Away) };
        world.tell(ACME, ACME, &news).await;
        assert_eq!(told(&mut everybody).await.1, Some(PeerChange::Updated));
        room_watcher.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_watched_comes_back_with_a_resume_elsewhere() {
    run(async |world| {
        let neighbour = world.neighbour(&[]).await;
        let (mut alice, session) = world.enter_at(world.address, "alice", &json!({})).await;
        alice.accepted(&presence("1", "subscribe", &json!({"room": "lobby"}))).await;
        let resume = json!({"resume": {"epoch": session["epoch"], "offset": 0}});
        let (mut alice, session) = world.enter_at(neighbour.address, "alice", &resume).await;
        assert_eq!(session["resume"], "recovered");
        world.tell(ACME, ACME, &ChangedV1 { before: None, ..changed("bob", 1, PeerStatus::Online) }).await;
        let entered = ChangedV1 { marks: in_rooms(&["lobby"]), ..changed("dave", 1, PeerStatus::Online) };
        world.tell(ACME, ACME, &entered).await;
        assert_eq!(told(&mut alice).await, ("dave".to_owned(), Some(PeerChange::Joined)), "bob is in no room");
        drop(alice);
        neighbour.host.drain().await;
    })
    .await;
}

#[tokio::test]
async fn presence_is_not_asked_for_each_message_to_another_gateway() {
    run_with(&[("max_cached_peers", "100")], async |world| {
        let neighbour = world.neighbour(&[]).await;
        let mut alice = world.enter("alice").await;
        let (mut bob, _) = world.enter_at(neighbour.address, "bob", &json!({})).await;
        world.locate("bob", &neighbour.node, PeerStatus::Online);
        let say =
            |id: usize| json!({"type": "message", "id": id.to_string(), "to": "bob", "action": "x", "message": "y"});
        for number in 0..20 {
            assert_eq!(alice.ask(&say(number)).await.0, Outcome::Delivered);
            assert!(matches!(bob.next().await, ServerFrame::Message { .. }));
        }
        let asked = world.doubles.seen::<LookupV1>().len();
        assert!(asked * 5 < 20, "{asked} of 20 asked presence: hits must be over 80 %");
        // It is gone, and nobody told: the first message finds out, and the next one asks anew.
        drop(bob);
        testkit::eventually(SOON, "bob's gateway to notice", async || {
            let (outcome, _, problem) = alice.ask(&say(21)).await;
            (outcome == Outcome::Refused).then(|| assert_eq!(problem.unwrap().code, "peer_offline"))
        })
        .await;
        let asked = world.doubles.seen::<LookupV1>().len();
        assert_eq!(alice.refused(&say(22)).await.code, "peer_offline");
        assert_eq!(world.doubles.seen::<LookupV1>().len(), asked + 1);
        neighbour.host.drain().await;
    })
    .await;
}
