use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::messages::broadcast;
use super::rooms::{enter, room};
use super::{Case, Needs, case};

/// Broadcasts after which a client that reads nothing must have been given up: some megabytes wait in between.
const FLOOD: usize = 5_000;
/// Sent before their outcomes are read; one client may have so many open.
const AT_ONCE: usize = 20;

pub(super) fn cases() -> Vec<Case> {
    [words(), ends(), slow()].into_iter().flatten().collect()
}

fn words() -> Vec<Case> {
    vec![
        // `closed` compares the two whenever a connection is closed.
        case("X-1", "closing names the code and the reason that follow", async |suite| {
            let mut older = suite.enter().await?;
            let _newer = suite.enter_as(&older.peer, json!({})).await?;
            let closed = older.closed().await?;
            ensure!((closed.code, closed.reason.as_str()) == (4409, "taken_over"), "{closed:?}");
            Ok(())
        }),
        case("X-2", "nobody is asked back who would only do harm", async |suite| {
            let mut older = suite.enter().await?;
            let _newer = suite.enter_as(&older.peer, json!({})).await?;
            let closed = older.closed().await?;
            ensure!(closed.reconnect_after_ms.is_none(), "{closed:?}");
            let mut stranger = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["token"] = "a.b.c".into();
            stranger.refused(&auth, "authentication_invalid").await?;
            let closed = stranger.closed().await?;
            ensure!(closed.reconnect_after_ms.is_none(), "{closed:?}");
            Ok(())
        }),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case("X-3", "a process that stops sends everybody away with a hint", async |suite| {
            let Some(drain) = &suite.levers.drain else { return Ok(()) };
            let mut clients =
                vec![suite.enter().await?, suite.enter_stream(&suite.peer()).await?, suite.connect().await?];
            let draining = tokio::spawn(drain());
            let mut hints = Vec::new();
            for client in &mut clients {
                let closed = client.closed().await?;
                ensure!((closed.code, closed.reason.as_str()) == (1012, "service_restart"), "{closed:?}");
                hints.extend(closed.reconnect_after_ms);
            }
            draining.await?;
            ensure!(hints.len() == 3 && hints.iter().all(|hint_ms| (500..=10_500).contains(hint_ms)), "{hints:?}");
            ensure!(hints[0] != hints[1] || hints[1] != hints[2], "all come back at once: {hints:?}");
            Ok(())
        })
        .peers(2)
        .needs(Needs::Drain),
        case("X-4", "who is no longer entitled is put out and stays out", async |suite| {
            let subscription = suite.buy().await?;
            let peer = suite.peer();
            let proof = suite.proof_of(&subscription, &peer).await?;
            let mut client = suite.enter_as(&peer, json!({"proof": proof})).await?;
            suite.cancel(&subscription).await?;
            let closed = client.closed_within(Duration::from_secs(60)).await?;
            ensure!((closed.code, closed.reason.as_str()) == (4402, "entitlement_lost"), "{closed:?}");
            ensure!(closed.reconnect_after_ms.is_none(), "{closed:?}");
            let mut again = suite.connect().await?;
            let mut auth = suite.auth(&peer).await?;
            auth["proof"] = proof.into();
            again.refused(&auth, "entitlement_lost").await.map(drop)
        })
        .peers(2)
        .needs(Needs::Cancel),
    ]
}

fn slow() -> Vec<Case> {
    vec![
        case("X-5", "who does not read is given up, and asked back", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            enter(&mut two, &scope).await?;
            let (text, other) = ("x".repeat(10_000), two.peer.clone());
            for batch in 0..FLOOD / AT_ONCE {
                for number in 0..AT_ONCE {
                    one.send(&broadcast(&format!("n-{batch}-{number}"), &scope, &text)).await?;
                }
                for number in 0..AT_ONCE {
                    one.outcome(Some(&format!("n-{batch}-{number}"))).await?;
                }
                // It says that it lives, and reads nothing. Once it is out, others are told.
                let _ = two.send(&json!({"type": "ping", "id": "alive"})).await;
                let left = |frame: &Value| frame["peer"]["peer_id"] == other && frame["peer"]["status"] == "offline";
                if !one.drained(left).await?.is_empty() {
                    break;
                }
            }
            let closed = two.closed().await?;
            ensure!((closed.code, closed.reason.as_str()) == (4408, "slow_consumer"), "{closed:?}");
            ensure!(closed.reconnect_after_ms.is_some_and(|wait_ms| wait_ms > 0), "{closed:?}");
            Ok(())
        })
        .peers(2),
    ]
}
