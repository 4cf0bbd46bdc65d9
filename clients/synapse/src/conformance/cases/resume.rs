use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::suite::Suite;
use super::auth::closed_with;
use super::messages::{broadcast, delivered, message};
use super::rooms::{enter, room};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [missed(), numbering(), gaps(), belongings()].into_iter().flatten().collect()
}

fn missed() -> Vec<Case> {
    vec![
        case("R-1", "offsets grow by one from the beginning", async |suite| {
            // Every client of this suite counts along.
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            let begin = two.offset;
            for number in 0..5 {
                delivered(&one.ask(&message(&number.to_string(), &two.peer, "hello")).await?)?;
                ensure!(two.message().await?["offset"] == begin + number + 1, "number {number}");
            }
            Ok(())
        })
        .peers(2),
        case("R-2", "what was missed comes, in order and once, then what is new", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            let begin = two.offset;
            write(&mut one, &two.peer, 0..5).await?;
            read(&mut two, 0..2).await?;
            let (peer, resume) = (two.peer.clone(), two.resume(begin + 2));
            two.cut();
            let mut back = resumed(&suite, &peer, resume, "recovered").await?;
            read(&mut back, 2..5).await?;
            write(&mut one, &peer, 5..7).await?;
            read(&mut back, 5..7).await?;
            nothing_more(&mut back).await
        })
        .peers(2),
        case("R-2", "who missed nothing is told nothing", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            write(&mut one, &two.peer, 0..2).await?;
            read(&mut two, 0..2).await?;
            let (peer, resume) = (two.peer.clone(), two.resume(two.offset));
            two.cut();
            let mut back = resumed(&suite, &peer, resume, "recovered").await?;
            nothing_more(&mut back).await
        })
        .peers(2),
        case("R-2", "what a room said meanwhile was missed, too", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            enter(&mut two, &scope).await?;
            let (peer, resume) = (two.peer.clone(), two.resume(two.offset));
            two.cut();
            gone(&mut one, &peer).await?;
            one.accepted(&broadcast("1", &scope, "while away")).await?;
            let mut back = resumed(&suite, &peer, resume, "recovered").await?;
            ensure!(back.message().await?["message"] == "while away", "something else came");
            nothing_more(&mut back).await
        })
        .peers(2),
        case("R-2", "twice in a row", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            for round in 0..2 {
                write(&mut one, &two.peer, round..round + 1).await?;
                let (peer, resume) = (two.peer.clone(), two.resume(two.offset));
                two.cut();
                two = resumed(&suite, &peer, resume, "recovered").await?;
                read(&mut two, round..round + 1).await?;
            }
            nothing_more(&mut two).await
        })
        .peers(2),
    ]
}

fn numbering() -> Vec<Case> {
    vec![
        case("R-3", "the result says where the numbering goes on", async |suite| {
            let (mut one, two) = (suite.enter().await?, quiet(&suite).await?);
            write(&mut one, &two.peer, 0..3).await?;
            let (peer, resume) = (two.peer.clone(), two.resume(two.offset));
            let before = (two.session["epoch"].clone(), two.offset);
            two.cut();
            let mut back = resumed(&suite, &peer, resume, "recovered").await?;
            let offset = back.session["offset"].as_u64().unwrap_or(u64::MAX);
            let goes_on = back.session["epoch"] == before.0 && offset == before.1;
            ensure!(goes_on || offset == 0, "{}", back.session);
            ensure!(back.message().await?["offset"] == offset + 1, "{}", back.session);
            Ok(())
        })
        .peers(2),
        case("R-9", "without resume a new epoch begins", async |suite| {
            let one = suite.enter().await?;
            let (peer, before) = (one.peer.clone(), one.session["epoch"].clone());
            one.cut();
            let back = suite.enter_as(&peer, json!({})).await?;
            ensure!(back.session["epoch"] != before, "the same epoch goes on: {}", back.session);
            Ok(())
        }),
    ]
}

fn gaps() -> Vec<Case> {
    vec![
        gap("R-4", "an epoch that nobody knows", |_| json!({"epoch": "nobodys-epoch", "offset": 0})),
        gap(
            "R-4",
            "an epoch whose process is gone",
            |_| json!({"epoch": "gateway-gone.0123456789abcdef", "offset": 1}),
        ),
        gap(
            "R-5",
            "an offset that was never given",
            |client| json!({"epoch": client.session["epoch"], "offset": client.offset + 1_000_000}),
        ),
        case("R-6", "more than is kept is a gap, and no part of it is told", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            let begin = two.offset;
            let most = two.limit("history_frames")?;
            for number in 0..most + 5 {
                delivered(&one.ask(&message(&number.to_string(), &two.peer, "hello")).await?)?;
                two.message().await?;
            }
            let (peer, resume) = (two.peer.clone(), two.resume(begin));
            two.cut();
            let mut back = resumed(&suite, &peer, resume, "gap").await?;
            let told = back.drained(|frame| frame["type"] == "message").await?;
            ensure!(told.is_empty(), "it was told {} messages", told.len());
            Ok(())
        })
        .peers(2),
    ]
}

fn belongings() -> Vec<Case> {
    vec![
        case("R-7", "a connection that the server still holds is taken over with all in it", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            write(&mut one, &two.peer, 0..3).await?;
            let mut newer = resumed(&suite, &two.peer.clone(), two.resume(two.offset), "recovered").await?;
            read(&mut newer, 0..3).await?;
            nothing_more(&mut newer).await?;
            closed_with(&mut two, 4409).await
        })
        .peers(2),
        case("R-8", "rooms come back with a recovery", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, quiet(&suite).await?);
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            enter(&mut two, &scope).await?;
            let (peer, resume) = (two.peer.clone(), two.resume(two.offset));
            two.cut();
            let mut back = resumed(&suite, &peer, resume, "recovered").await?;
            back.accepted(&broadcast("1", &scope, "back")).await?;
            ensure!(one.message().await?["message"] == "back", "something else came");
            Ok(())
        })
        .peers(2),
        case("R-8", "after a gap they are left", async |suite| {
            let mut one = suite.enter().await?;
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            let peer = one.peer.clone();
            one.cut();
            let more = json!({"resume": {"epoch": "nobodys-epoch", "offset": 0}});
            let mut back = resumed(&suite, &peer, more, "gap").await?;
            back.refused(&broadcast("1", &scope, "back"), "forbidden").await.map(drop)
        }),
    ]
}

/// A peer that is not told who comes and goes: what it is told is the case's own.
async fn quiet(suite: &Arc<Suite>) -> anyhow::Result<Client> {
    let mut client = suite.enter().await?;
    client.accepted(&json!({"type": "presence", "id": "quiet", "action": "unsubscribe"})).await?;
    client.drained(|_| false).await?;
    Ok(client)
}

/// Writes numbered messages, each delivered before the next.
async fn write(from: &mut Client, to: &str, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    for number in numbers {
        delivered(&from.ask(&message(&format!("n-{number}"), to, &number.to_string())).await?)?;
    }
    Ok(())
}

/// Reads those messages.
async fn read(client: &mut Client, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    for number in numbers {
        let told = client.message().await?;
        ensure!(told["message"].as_str() == Some(number.to_string().as_str()), "{number} was expected: {told}");
    }
    Ok(())
}

async fn nothing_more(client: &mut Client) -> anyhow::Result<()> {
    let more = client.drained(|frame| frame["type"] == "message").await?;
    ensure!(more.is_empty(), "more came: {more:?}");
    Ok(())
}

/// Comes back as that peer; the result must say this about it.
async fn resumed(suite: &Arc<Suite>, peer: &str, more: Value, expected: &str) -> anyhow::Result<Client> {
    let client = suite.enter_as(peer, more).await?;
    ensure!(client.session["resume"] == expected, "{expected} was expected: {}", client.session);
    Ok(client)
}

/// Waits until a peer is told that another left.
async fn gone(client: &mut Client, peer: &str) -> anyhow::Result<()> {
    let left = |frame: &Value| frame["peer"]["peer_id"] == peer && frame["peer"]["status"] == "offline";
    client.pushed("news that it left", left).await.map(drop)
}

fn gap(rule: &'static str, name: &str, resume: impl Fn(&Client) -> Value + Send + Sync + Copy + 'static) -> Case {
    case(rule, name, move |suite| async move {
        let one = suite.enter().await?;
        let (peer, before, more) = (one.peer.clone(), one.session["epoch"].clone(), json!({"resume": resume(&one)}));
        one.cut();
        let mut back = resumed(&suite, &peer, more, "gap").await?;
        ensure!(back.session["epoch"] != before, "the same epoch goes on: {}", back.session);
        back.ping().await
    })
}
