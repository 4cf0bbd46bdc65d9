use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::client::fields;
use super::super::suite::extend;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [arriving(), refusals(), order(), acks(), bounds()].into_iter().flatten().collect()
}

fn arriving() -> Vec<Case> {
    vec![
        case("M-1", "a message arrives as it was sent, with the server's word for the sender", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let text = "grüße \u{1f600} \"quoted\"\n\tand more";
            let mut frame = message("1", &two.peer, text);
            frame["session_id"] = "any-session".into();
            let outcome = one.ask(&frame).await?;
            ensure!(outcome["outcome"] == "delivered", "{outcome}");
            let told = two.message().await?;
            for (name, expected) in
                [("from", one.peer.as_str()), ("action", "chat"), ("message", text), ("session_id", "any-session")]
            {
                ensure!(told[name] == expected, "{name}: {told}");
            }
            ensure!(told.get("broadcast").is_none(), "it was for one: {told}");
            let more = two.drained(|frame| frame["type"] == "message").await?;
            ensure!(more.is_empty(), "it came more than once: {more:?}");
            Ok(())
        })
        .peers(2),
        case("M-1", "the longest message arrives whole", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let text = "é".repeat(10_000);
            one.ask(&message("1", &two.peer, &text)).await?;
            ensure!(two.message().await?["message"] == text, "it did not");
            Ok(())
        })
        .peers(2),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        case("M-2", "to nobody the tenant ever saw", async |suite| {
            let mut one = suite.enter().await?;
            let nobody = format!("{}-nobody", one.peer);
            one.refused(&message("1", &nobody, "hello"), "peer_unknown").await.map(drop)
        }),
        case("M-3", "to somebody who has left, and nothing is kept", async |suite| {
            let (mut one, two) = (suite.enter().await?, suite.enter().await?);
            let other = two.peer.clone();
            two.cut();
            one.pushed("news that it left", |frame| {
                frame["peer"]["peer_id"] == other && frame["peer"]["status"] == "offline"
            })
            .await?;
            one.refused(&message("1", &other, "hello"), "peer_offline").await?;
            let mut back = suite.enter_as(&other, json!({})).await?;
            let kept = back.drained(|frame| frame["type"] == "message").await?;
            ensure!(kept.is_empty(), "it got {kept:?}");
            Ok(())
        })
        .peers(2),
        case("M-4", "to itself", async |suite| {
            let mut one = suite.enter().await?;
            let frame = message("1", &one.peer, "hello");
            let problem = one.refused(&frame, "validation_failed").await?;
            ensure!(fields(&problem) == ["to"], "{problem}");
            Ok(())
        }),
    ]
}

fn order() -> Vec<Case> {
    vec![
        case("M-5", "a hundred messages arrive in order, each once", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let at_once = one.limit("pending_messages")?.min(8);
            for number in 0..100 {
                one.send(&message(&format!("m-{number}"), &two.peer, &number.to_string())).await?;
                if number >= at_once {
                    delivered(&one.outcome(Some(&format!("m-{}", number - at_once))).await?)?;
                }
            }
            for number in 100 - at_once..100 {
                delivered(&one.outcome(Some(&format!("m-{number}"))).await?)?;
            }
            for number in 0..100 {
                let told = two.message().await?;
                ensure!(told["message"].as_str() == Some(number.to_string().as_str()), "{number} was expected: {told}");
            }
            let more = two.drained(|frame| frame["type"] == "message").await?;
            ensure!(more.is_empty(), "more came: {more:?}");
            Ok(())
        })
        .peers(2),
        case("M-5", "two who write to each other at once both arrive", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            one.send(&message("1", &two.peer, "to two")).await?;
            two.send(&message("1", &one.peer, "to one")).await?;
            delivered(&one.outcome(Some("1")).await?)?;
            delivered(&two.outcome(Some("1")).await?)?;
            ensure!(
                one.message().await?["message"] == "to one" && two.message().await?["message"] == "to two",
                "mixed up"
            );
            Ok(())
        })
        .peers(2),
    ]
}

fn acks() -> Vec<Case> {
    vec![
        case("M-6", "the outcome waits for the receiver's ack", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter_as(&suite.peer(), json!({"acks": true})).await?;
            one.send(&message("1", &two.peer, "hello")).await?;
            let told = two.message().await?;
            // An answer to a later frame shows that the first one's is still open.
            one.send(&json!({"type": "ping", "id": "later"})).await?;
            let first = one.next_outcome().await?;
            ensure!(first["id"] == "later", "the ping was expected: {first}");
            two.accepted(&json!({"type": "ack", "id": "1", "offset": told["offset"]})).await?;
            delivered(&one.outcome(Some("1")).await?)
        })
        .peers(2),
        case("M-6", "one ack takes in everything before it", async |suite| {
            let mut one = suite.enter().await?;
            let mut two = suite.enter_as(&suite.peer(), json!({"acks": true})).await?;
            one.send(&message("1", &two.peer, "one")).await?;
            one.send(&message("2", &two.peer, "two")).await?;
            two.message().await?;
            let last = two.message().await?;
            two.accepted(&json!({"type": "ack", "id": "1", "offset": last["offset"]})).await?;
            delivered(&one.outcome(Some("1")).await?)?;
            delivered(&one.outcome(Some("2")).await?)
        })
        .peers(2),
        case("M-7", "without an ack in time it is expired", async |suite| {
            let mut one = suite.enter().await?;
            let two = suite.enter_as(&suite.peer(), json!({"acks": true})).await?;
            let limit = Duration::from_millis(u64::try_from(one.limit("ack_within_ms")?)?);
            let begun = suite.clock.monotonic();
            let outcome = one.ask(&message("1", &two.peer, "hello")).await?;
            ensure!(outcome["outcome"] == "expired", "{outcome}");
            let waited = suite.clock.monotonic().saturating_sub(begun);
            ensure!(waited + Duration::from_millis(50) >= limit, "after {waited:?}");
            Ok(())
        })
        .peers(2),
    ]
}

fn bounds() -> Vec<Case> {
    vec![
        case("M-8", "too many without an outcome are refused, and no more than those", async |suite| {
            let mut one = suite.enter().await?;
            let two = suite.enter_as(&suite.peer(), json!({"acks": true})).await?;
            let most = one.limit("pending_messages")?;
            for number in 0..=most {
                one.send(&message(&format!("m-{number}"), &two.peer, "hello")).await?;
            }
            let first = one.next_outcome().await?;
            ensure!(first["id"] == format!("m-{most}") && first["problem"]["code"] == "rate_limited", "{first}");
            one.ping().await
        })
        .peers(2),
        case("M-9", "an ack of what was never pushed is refused", async |suite| {
            let mut one = suite.enter().await?;
            let frame = json!({"type": "ack", "id": "1", "offset": one.offset + 1_000_000});
            let problem = one.refused(&frame, "validation_failed").await?;
            ensure!(fields(&problem) == ["offset"], "{problem}");
            Ok(())
        }),
    ]
}

/// A message to a peer.
pub(super) fn message(id: &str, to: &str, text: &str) -> Value {
    json!({"type": "message", "id": id, "to": to, "action": "chat", "message": text})
}

/// A broadcast.
pub(super) fn broadcast(id: &str, scope: &Value, text: &str) -> Value {
    let mut frame = json!({"type": "broadcast", "id": id, "action": "chat", "message": text});
    extend(&mut frame, scope);
    frame
}

/// The outcome must be `delivered`.
pub(super) fn delivered(outcome: &Value) -> anyhow::Result<()> {
    ensure!(outcome["outcome"] == "delivered", "{outcome}");
    Ok(())
}
