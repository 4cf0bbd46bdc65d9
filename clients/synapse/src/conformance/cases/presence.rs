use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::client::{Client, fields};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [liveness(), status(), news()].into_iter().flatten().collect()
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
