use anyhow::{Context, ensure};
use contracts::signals::signaling::SAMPLE_SDP as SDP;
use serde_json::{Value, json};

use super::super::client::{Client, fields, refusal};
use super::super::suite::is_text;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [opening(), negotiation(), ends(), order(), away(), names_and_returns(), bounds_and_bindings(), several()]
        .into_iter()
        .flatten()
        .collect()
}

fn opening() -> Vec<Case> {
    vec![
        case("S-1", "a session has a name, and exactly one of the two yields", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let opened = open(&mut one, &two.peer).await?;
            let session = is_text(&opened["session_id"])?;
            signal(&mut one, "1", session, &offer(1)).await?;
            let told = signalled(&mut two, session).await?;
            let roles = (opened["polite"].as_bool(), told["polite"].as_bool());
            ensure!(matches!(roles, (Some(own), Some(other)) if own != other), "{opened} and {told}");
            Ok(())
        })
        .peers(2),
        case("S-2", "nobody is called whom the tenant never saw", async |suite| {
            let mut one = suite.enter().await?;
            let frame = json!({"type": "session", "id": "1", "to": format!("{}-nobody", one.peer)});
            one.refused(&frame, "peer_unknown").await.map(drop)
        }),
        case("S-2", "nobody is called who is not here", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let other = two.peer.clone();
            two.cut();
            one.pushed("news that it left", |frame| {
                frame["peer"]["peer_id"] == other && frame["peer"]["status"] == "offline"
            })
            .await?;
            one.refused(&json!({"type": "session", "id": "1", "to": other}), "peer_offline").await.map(drop)
        })
        .peers(2),
        case("S-3", "nobody calls itself", async |suite| {
            let mut one = suite.enter().await?;
            let frame = json!({"type": "session", "id": "1", "to": one.peer});
            let problem = one.refused(&frame, "validation_failed").await?;
            ensure!(fields(&problem) == ["to"], "{problem}");
            Ok(())
        }),
    ]
}

fn negotiation() -> Vec<Case> {
    vec![
        case(
            "S-4",
            "a signal reaches the other peer as it was sent, with the server's word for the sender",
            async |suite| {
                let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
                let session = opened(&mut one, &two.peer).await?;
                let outcome = signal(&mut one, "1", &session, &offer(1)).await?;
                ensure!(outcome["outcome"] == "delivered", "{outcome}");
                let told = signalled(&mut two, &session).await?;
                ensure!(told["from"] == one.peer && told["signal"] == offer(1), "{told}");
                Ok(())
            },
        )
        .peers(2),
        case("S-5", "a signal of a negotiation long past is refused with the current one", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "1", &session, &offer(1)).await?;
            signal(&mut one, "2", &session, &offer(2)).await?;
            let frame = json!({"type": "signal", "id": "3", "session_id": session, "signal": offer(1)});
            let problem = one.refused(&frame, "stale_generation").await?;
            ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains('2')), "{problem}");
            Ok(())
        })
        .peers(2),
        case("S-5", "a negotiation may not be skipped", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "1", &session, &offer(1)).await?;
            let frame = json!({"type": "signal", "id": "2", "session_id": session, "signal": offer(3)});
            one.refused(&frame, "stale_generation").await.map(drop)
        })
        .peers(2),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        case("S-6", "a session that never was", async |suite| {
            let mut one = suite.enter().await?;
            let frame = json!({"type": "signal", "id": "1", "session_id": "never-was", "signal": {"type": "bye"}});
            one.refused(&frame, "session_unknown").await.map(drop)
        }),
        case("S-6", "a session of others", async |suite| {
            let (mut one, two, mut three) = (suite.enter().await?, suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            let frame = json!({"type": "signal", "id": "1", "session_id": session, "signal": {"type": "bye"}});
            three.refused(&frame, "not_member").await.map(drop)
        })
        .peers(3),
        case("S-7", "after bye there is no session", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "1", &session, &json!({"type": "bye", "reason": "done"})).await?;
            let told = signalled(&mut two, &session).await?;
            ensure!(told["signal"]["reason"] == "done", "{told}");
            let frame = json!({"type": "signal", "id": "2", "session_id": session, "signal": offer(1)});
            two.refused(&frame, "session_unknown").await.map(drop)
        })
        .peers(2),
        malformed("an SDP that is none", json!({"type": "offer", "sdp": "nonsense", "generation": 1})),
        malformed("a candidate that is none", json!({"type": "candidate", "candidate": "nonsense", "generation": 1})),
    ]
}

fn order() -> Vec<Case> {
    vec![
        case("S-9", "signals arrive in order", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "offer", &session, &offer(1)).await?;
            let candidate = |port: usize| {
                let candidate = format!("candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host");
                json!({"type": "candidate", "candidate": candidate, "sdp_mid": "0", "generation": 1})
            };
            for port in 10_000..10_020 {
                let signal = candidate(port);
                one.send(&json!({"type": "signal", "id": port.to_string(), "session_id": session, "signal": signal}))
                    .await?;
            }
            signalled(&mut two, &session).await?;
            for port in 10_000..10_020 {
                let told = signalled(&mut two, &session).await?;
                ensure!(told["signal"] == candidate(port), "{port} was expected: {told}");
            }
            Ok(())
        })
        .peers(2),
    ]
}

fn away() -> Vec<Case> {
    vec![
        case(
            "S-10",
            "what is sent to a peer that is away comes when it is back, in order, with receipts",
            async |suite| {
                let (mut one, two) = (suite.enter().await?, suite.enter().await?);
                let session = opened(&mut one, &two.peer).await?;
                let other = leave(&mut one, two).await?;
                let mut kept = Vec::new();
                for generation in 1..=3 {
                    let outcome = signal(&mut one, &generation.to_string(), &session, &offer(generation)).await?;
                    ensure!(outcome["outcome"] == "queued", "{outcome}");
                    kept.push(is_text(&outcome["result"]["signal_id"])?.to_owned());
                }
                let mut back = suite.enter_as(&other, json!({})).await?;
                for (generation, id) in (1..).zip(&kept) {
                    let told = signalled(&mut back, &session).await?;
                    ensure!(told["signal"] == offer(generation) && told["signal_id"] == *id, "{told}");
                }
                for id in &kept {
                    let receipt = one.pushed("a receipt", |frame| frame["type"] == "receipt").await?;
                    ensure!(receipt["signal_id"] == *id && receipt["fate"] == "delivered", "{receipt}");
                }
                Ok(())
            },
        )
        .peers(2),
        case("S-11", "a receipt tells of a signal that nobody waited for any more", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            leave(&mut one, two).await?;
            let outcome = signal(&mut one, "1", &session, &offer(1)).await?;
            let id = is_text(&outcome["result"]["signal_id"])?.to_owned();
            signal(&mut one, "2", &session, &json!({"type": "bye"})).await?;
            let receipt = one.pushed("a receipt", |frame| frame["type"] == "receipt").await?;
            ensure!(receipt["signal_id"] == id && receipt["fate"] == "expired", "{receipt}");
            Ok(())
        })
        .peers(2),
    ]
}

fn names_and_returns() -> Vec<Case> {
    vec![
        case("S-13", "a pushed signal has a name of its own", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            let mut names = Vec::new();
            for generation in 1..=2 {
                let outcome = signal(&mut one, &generation.to_string(), &session, &offer(generation)).await?;
                let told = signalled(&mut two, &session).await?;
                ensure!(told["signal_id"] == outcome["result"]["signal_id"], "{outcome} and {told}");
                names.push(is_text(&told["signal_id"])?.to_owned());
            }
            ensure!(names[0] != names[1], "two signals are called {names:?}");
            Ok(())
        })
        .peers(2),
        case("S-16", "a binding that nobody signed is refused", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            let binding = json!({
                "public_key": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "issued_at_s": 1_790_000_000,
                "signature": "A".repeat(86),
            });
            let frame =
                json!({"type": "signal", "id": "1", "session_id": session, "signal": offer(1), "binding": binding});
            one.refused(&frame, "identity_mismatch").await.map(drop)
        })
        .peers(2),
        case("S-17", "a session goes on when a member comes back soon", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "1", &session, &offer(1)).await?;
            signalled(&mut two, &session).await?;
            let other = leave(&mut one, two).await?;
            let mut back = suite.enter_as(&other, json!({})).await?;
            signal(&mut back, "1", &session, &json!({"type": "bye"})).await?;
            let told = signalled(&mut one, &session).await?;
            ensure!(told["signal"]["type"] == "bye", "{told}");
            Ok(())
        })
        .peers(2),
    ]
}

fn bounds_and_bindings() -> Vec<Case> {
    vec![
        case("S-12", "no more is kept than fits", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            leave(&mut one, two).await?;
            // A bound of more than a thousand is not looked for here.
            for number in 0..1_000 {
                let frame =
                    json!({"type": "signal", "id": number.to_string(), "session_id": session, "signal": offer(1)});
                let outcome = one.ask(&frame).await?;
                if outcome["outcome"] != "queued" {
                    return refusal(&outcome, "mailbox_full").map(drop);
                }
            }
            Ok(())
        })
        .peers(2),
        case("S-15", "another certificate in the same session is refused", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            signal(&mut one, "1", &session, &offer(1)).await?;
            let other = json!({"type": "offer", "sdp": SDP.replace("00:01:02", "FF:01:02"), "generation": 2});
            let frame = json!({"type": "signal", "id": "2", "session_id": session, "signal": other});
            one.refused(&frame, "identity_mismatch").await.map(drop)
        })
        .peers(2),
        case("S-18", "servers are told as browsers take them", async |suite| {
            let mut one = suite.enter().await?;
            let told = one.accepted(&json!({"type": "ice_servers", "id": "1"})).await?;
            ensure!(told["expires_at_ms"].is_u64(), "{told}");
            for server in told["ice_servers"].as_array().context("no list")? {
                let urls = server["urls"].as_array().context("no urls")?;
                let turn = urls.iter().any(|url| url.as_str().is_some_and(|url| url.starts_with("turn")));
                ensure!(turn == server["credential"].is_string() && turn == server["username"].is_string(), "{server}");
            }
            Ok(())
        }),
    ]
}

fn several() -> Vec<Case> {
    vec![
        case("S-14", "in a session of three each two negotiate for themselves", async |suite| {
            let (mut one, mut two, three) = (suite.enter().await?, suite.enter().await?, suite.enter().await?);
            let frame = json!({"type": "session", "id": "1", "to": two.peer, "others": [three.peer]});
            let opened = one.accepted(&frame).await?;
            ensure!(opened["roles"].as_array().is_some_and(|roles| roles.len() == 2), "{opened}");
            let session = is_text(&opened["session_id"])?;
            let to = |peer: &str| json!({"type": "signal", "id": "2", "session_id": session, "to": peer, "signal": offer(1)});
            ensure!(one.ask(&to(&two.peer)).await?["outcome"] == "delivered", "to the second");
            let told = signalled(&mut two, session).await?;
            ensure!(told["peers"].as_array().is_some_and(|peers| peers.len() == 3), "{told}");
            let problem = one.refused(&to(&one.peer), "validation_failed").await?;
            ensure!(fields(&problem) == ["to"], "{problem}");
            Ok(())
        })
        .peers(3),
    ]
}

/// A peer's connection ends; the other one has heard of it. Gives its name.
async fn leave(one: &mut Client, two: Client) -> anyhow::Result<String> {
    let other = two.peer.clone();
    two.cut();
    let gone = |frame: &Value| frame["peer"]["peer_id"] == other && frame["peer"]["status"] == "offline";
    one.pushed("news that it left", gone).await?;
    Ok(other)
}

fn offer(generation: u32) -> Value {
    json!({"type": "offer", "sdp": SDP, "generation": generation})
}

async fn open(client: &mut Client, to: &str) -> anyhow::Result<Value> {
    client.accepted(&json!({"type": "session", "id": "open", "to": to})).await
}

async fn opened(client: &mut Client, to: &str) -> anyhow::Result<String> {
    let opened = open(client, to).await?;
    Ok(opened["session_id"].as_str().context("no session_id")?.to_owned())
}

/// Sends a signal, which must not be refused, and gives its outcome.
async fn signal(client: &mut Client, id: &str, session: &str, signal: &Value) -> anyhow::Result<Value> {
    let outcome = client.ask(&json!({"type": "signal", "id": id, "session_id": session, "signal": signal})).await?;
    ensure!(outcome["outcome"] != "refused", "{outcome}");
    Ok(outcome)
}

/// The next signal of a session.
async fn signalled(client: &mut Client, session: &str) -> anyhow::Result<Value> {
    client.pushed("a signal", |frame| frame["type"] == "signal" && frame["session_id"] == session).await
}

fn malformed(name: &str, bad: Value) -> Case {
    case("S-8", name, move |suite| {
        let bad = bad.clone();
        async move {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let session = opened(&mut one, &two.peer).await?;
            let frame = json!({"type": "signal", "id": "1", "session_id": session, "signal": bad});
            let problem = one.refused(&frame, "invalid_signal").await?;
            ensure!(!fields(&problem).is_empty(), "{problem}");
            Ok(())
        }
    })
    .peers(2)
}
