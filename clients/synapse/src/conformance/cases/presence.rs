use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::client::{Client, fields};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [liveness(), status(), news(), finding(), descriptions()].into_iter().flatten().collect()
}

fn liveness() -> Vec<Case> {
    vec![
        case("H-2", "a silent connection is closed", async |suite| {
            let mut client = suite.enter().await?;
            let beat = Duration::from_millis(client.hello["heartbeat_ms"].as_u64().unwrap_or(0));
            let begun = suite.clock.monotonic();
            let closed = client.closed_within(beat * 2 + super::super::client::SOON).await?;
            ensure!((closed.code, closed.reconnect_after_ms) == (4407, Some(0)), "{closed:?}");
            // It was heard of last when it authenticated, a moment before.
            let silent = suite.clock.monotonic().saturating_sub(begun);
            ensure!(silent + beat / 2 >= beat * 2, "closed after {silent:?} of silence");
            Ok(())
        }),
        case("H-3", "a frame now and then keeps a connection", async |suite| {
            let mut client = suite.enter().await?;
            let beat = Duration::from_millis(client.hello["heartbeat_ms"].as_u64().unwrap_or(0));
            for _ in 0..3 {
                suite.clock.sleep(beat).await;
                client.ping().await?;
            }
            Ok(())
        }),
        case("H-3", "a WebSocket ping does, too", async |suite| {
            let mut client = suite.enter().await?;
            let beat = Duration::from_millis(client.hello["heartbeat_ms"].as_u64().unwrap_or(0));
            for _ in 0..3 {
                suite.clock.sleep(beat).await;
                client.send_raw(Message::Ping(Vec::new().into())).await?;
            }
            client.ping().await
        }),
    ]
}

fn status() -> Vec<Case> {
    vec![
        case("P-1", "the list shows who is here", async |suite| {
            let mut client = suite.enter().await?;
            let peer = client.peer.clone();
            let view = listed(&mut client, &peer).await?;
            ensure!(view["status"] == "online" && view["generation"] == client.session["generation"], "{view}");
            Ok(())
        }),
        case("P-2", "a page that never was is refused", async |suite| {
            let mut client = suite.enter().await?;
            let frame = json!({"type": "presence", "id": "1", "action": "list", "after": "nonsense"});
            let problem = client.refused(&frame, "validation_failed").await?;
            ensure!(fields(&problem) == ["after"], "{problem}");
            Ok(())
        }),
        case("P-3", "a status is set and shown", async |suite| {
            let mut client = suite.enter().await?;
            for (id, status) in [("1", "away"), ("2", "online")] {
                let frame = json!({"type": "presence", "id": id, "action": "set_status", "status": status});
                let view = client.accepted(&frame).await?;
                ensure!(view["status"] == status && view["peer_id"] == client.peer, "{view}");
            }
            Ok(())
        }),
    ]
}

fn news() -> Vec<Case> {
    vec![
        case("P-4", "a peer is told when another comes, changes and goes", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter().await?;
            let other = two.peer.clone();
            told(&mut one, &other, "online").await?;
            two.accepted(&json!({"type": "presence", "id": "1", "action": "set_status", "status": "away"})).await?;
            told(&mut one, &other, "away").await?;
            two.cut();
            told(&mut one, &other, "offline").await
        })
        .peers(2),
        case("P-4", "a peer is not told of itself", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter().await?;
            for (id, status) in [("1", "away"), ("2", "online")] {
                one.accepted(&json!({"type": "presence", "id": id, "action": "set_status", "status": status})).await?;
            }
            let own = one.peer.clone();
            told(&mut two, &own, "online").await?;
            let news = one.drained(|frame| frame["peer"]["peer_id"] == own).await?;
            ensure!(news.is_empty(), "it was told {news:?}");
            Ok(())
        })
        .peers(2),
        case("P-5", "who does not want to know is not told, until it does", async |suite| {
            let mut one = suite.enter().await?;
            let mut witness = suite.enter().await?;
            one.accepted(&json!({"type": "presence", "id": "1", "action": "unsubscribe"})).await?;
            let mut two = suite.enter().await?;
            let other = two.peer.clone();
            told(&mut witness, &other, "online").await?;
            let news = one.drained(|frame| frame["peer"]["peer_id"] == other).await?;
            ensure!(news.is_empty(), "it was told {news:?}");
            one.accepted(&json!({"type": "presence", "id": "2", "action": "subscribe"})).await?;
            two.accepted(&json!({"type": "presence", "id": "1", "action": "set_status", "status": "away"})).await?;
            told(&mut one, &other, "away").await
        })
        .peers(3),
    ]
}

fn finding() -> Vec<Case> {
    vec![
        case("P-6", "a list holds who fits all of a choice", async |suite| {
            let mut client = suite.enter().await?;
            let (peer, tag) = (client.peer.clone(), format!("tag-{}", client.peer));
            let (tag, room) = (tag.chars().take(50).collect::<String>(), format!("room-{peer}"));
            client.accepted(&describe("1", &json!({"tags": [tag, "other"], "capabilities": ["video"]}))).await?;
            client.accepted(&json!({"type": "room", "id": "2", "action": "join", "room": room})).await?;
            let good = [
                json!({"tag": tag}),
                json!({"tag": tag, "capability": "video", "room": room}),
                json!({"tag": tag, "same_network": true}),
            ];
            for choice in good {
                ensure!(chosen(&mut client, &choice).await? == [peer.clone()], "{choice} did not find it alone");
            }
            for choice in [json!({"tag": tag, "capability": "audio"}), json!({"room": format!("{room}-2"), "tag": tag})]
            {
                ensure!(chosen(&mut client, &choice).await?.is_empty(), "{choice} found somebody");
            }
            Ok(())
        }),
        case("P-6", "a choice that breaks its rule is refused", async |suite| {
            let mut client = suite.enter().await?;
            for (field, value) in [("tag", json!("a b")), ("room", json!("")), ("same_network", json!("yes"))] {
                let mut frame = json!({"type": "presence", "id": "1", "action": "subscribe"});
                frame[field] = value;
                let problem = client.refused(&frame, "validation_failed").await?;
                ensure!(fields(&problem) == [field], "{problem}");
            }
            Ok(())
        }),
        case("P-9", "a count grows with who comes into a room and falls with who leaves", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter().await?;
            let room = format!("count-{}", one.peer);
            for (client, members) in [(&mut one, 1), (&mut two, 2)] {
                client.accepted(&json!({"type": "room", "id": "1", "action": "join", "room": room})).await?;
                let counts = client.accepted(&count(&room)).await?;
                ensure!(counts["room"] == members && counts["here"].as_u64() >= Some(2), "{counts}");
            }
            two.accepted(&json!({"type": "room", "id": "3", "action": "leave", "room": room})).await?;
            let counts = one.accepted(&count(&room)).await?;
            ensure!(counts["room"] == 1, "{counts}");
            Ok(())
        })
        .peers(2),
        case("P-10", "news say whether a peer joined, changed or left what is watched", async |suite| {
            let mut watcher = suite.enter().await?;
            let room = format!("watched-{}", watcher.peer);
            let watch = json!({"type": "presence", "id": "1", "action": "subscribe", "room": room});
            watcher.accepted(&watch).await?;
            let mut other = suite.enter().await?;
            let peer = other.peer.clone();
            other.accepted(&json!({"type": "room", "id": "1", "action": "join", "room": room})).await?;
            other.accepted(&json!({"type": "presence", "id": "2", "action": "set_status", "status": "away"})).await?;
            other.accepted(&json!({"type": "room", "id": "3", "action": "leave", "room": room})).await?;
            for change in ["joined", "updated", "left"] {
                let news = watcher.pushed("news of the room", |frame| frame["type"] == "presence").await?;
                ensure!(news["change"] == change && news["peer"]["peer_id"] == peer, "{change} was expected: {news}");
            }
            Ok(())
        })
        .peers(2),
    ]
}

fn descriptions() -> Vec<Case> {
    vec![
        case("P-7", "what a peer tells of itself is shown to others, and what it leaves out stays", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter().await?;
            let key = json!([{"kind": "ed25519", "key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]);
            let transports = json!([{"kind": "webrtc"}, {"kind": "local_network", "address": "192.0.2.7:7777"}]);
            one.accepted(&describe("1", &json!({"identity_keys": key, "transports": transports}))).await?;
            one.accepted(&describe("2", &json!({"tags": ["blue"]}))).await?;
            let peer = one.peer.clone();
            let told =
                |frame: &Value| frame["peer"]["peer_id"] == peer && frame["peer"]["profile"]["tags"] == json!(["blue"]);
            let news = two.pushed("news of its tags", told).await?;
            let profile = &news["peer"]["profile"];
            ensure!(profile["identity_keys"] == key && profile["transports"] == transports, "{news}");
            ensure!(listed(&mut two, &peer).await?["profile"] == *profile, "the list shows another profile");
            Ok(())
        })
        .peers(2),
        case("P-8", "what breaks a rule is refused whole, with every place", async |suite| {
            let mut client = suite.enter().await?;
            let about = json!({
                "tags": ["good", "a b"],
                "transports": [{"kind": "pigeon"}, {"kind": "relay", "address": ""}],
                "identity_keys": [{"kind": "ed25519", "key": "AAAA"}],
            });
            let problem = client.refused(&describe("1", &about), "validation_failed").await?;
            let places = ["tags[1]", "transports[0].kind", "transports[1].address", "identity_keys[0].key"];
            ensure!(fields(&problem) == places, "{problem}");
            let peer = client.peer.clone();
            ensure!(listed(&mut client, &peer).await?.get("profile").is_none(), "some of it was taken");
            Ok(())
        }),
    ]
}

fn describe(id: &str, about: &Value) -> Value {
    with(json!({"type": "presence", "id": id, "action": "describe"}), about)
}

fn count(room: &str) -> Value {
    json!({"type": "presence", "id": "2", "action": "count", "room": room})
}

fn with(mut frame: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        frame[name] = value.clone();
    }
    frame
}

/// The peers of a choice, from all pages.
async fn chosen(client: &mut Client, choice: &Value) -> anyhow::Result<Vec<String>> {
    let (mut found, mut after) = (Vec::new(), None);
    for number in 0..1_000 {
        let frame = json!({"type": "presence", "id": format!("choice-{number}"), "action": "list"});
        let mut frame = with(frame, choice);
        if let Some(after) = after {
            frame["after"] = after;
        }
        let page = client.accepted(&frame).await?;
        let peers = page["peers"].as_array().context("no peers in the page")?;
        found.extend(peers.iter().filter_map(|peer| peer["peer_id"].as_str().map(str::to_owned)));
        match page.get("next") {
            Some(next) => after = Some(next.clone()),
            None => return Ok(found),
        }
    }
    bail!("a thousand pages have no end")
}

/// Waits until it is told that the peer has this status.
async fn told(client: &mut Client, peer: &str, status: &str) -> anyhow::Result<()> {
    let what = format!("news that {peer} is {status}");
    client.pushed(&what, |frame| frame["peer"]["peer_id"] == peer && frame["peer"]["status"] == status).await.map(drop)
}

/// The peer as the list shows it, on whatever page.
async fn listed(client: &mut Client, peer: &str) -> anyhow::Result<Value> {
    let mut after = None;
    for number in 0..1_000 {
        let mut frame = json!({"type": "presence", "id": format!("list-{number}"), "action": "list"});
        if let Some(after) = after {
            frame["after"] = after;
        }
        let page = client.accepted(&frame).await?;
        let peers = page["peers"].as_array().context("no peers in the page")?;
        ensure!(peers.len() <= 100, "a page of {}", peers.len());
        if let Some(view) = peers.iter().find(|view| view["peer_id"] == peer) {
            return Ok(view.clone());
        }
        match page.get("next") {
            Some(next) => after = Some(next.clone()),
            None => bail!("{peer} is on no page"),
        }
    }
    bail!("a thousand pages have no end")
}
