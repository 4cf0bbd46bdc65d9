use anyhow::ensure;
use serde_json::{Value, json};

use super::super::client::Client;
use super::messages::broadcast;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [heard(), outside()].into_iter().flatten().collect()
}

fn heard() -> Vec<Case> {
    vec![
        case("M-10", "a room hears its members, and they don't hear themselves", async |suite| {
            let (mut one, mut two, mut outside) = (suite.enter().await?, suite.enter().await?, suite.enter().await?);
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            enter(&mut two, &scope).await?;
            one.accepted(&broadcast("1", &scope, "to the room")).await?;
            let told = two.message().await?;
            ensure!(
                told["from"] == one.peer && told["message"] == "to the room" && told["broadcast"] == scope,
                "{told}"
            );
            for client in [&mut one, &mut outside] {
                let heard = client.drained(|frame| frame["broadcast"] == scope).await?;
                ensure!(heard.is_empty(), "it heard {heard:?}");
            }
            Ok(())
        })
        .peers(3),
        case("M-10", "a user's peers hear the user, and others don't", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let scope = json!({"scope": "user", "user_id": suite.user()?});
            one.accepted(&broadcast("1", &scope, &one.peer.clone())).await?;
            let sender = one.peer.clone();
            two.pushed("the user's word", |frame| frame["message"] == sender && frame["broadcast"] == scope)
                .await
                .map(drop)
        })
        .peers(2),
        case("M-10", "the whole tenant hears an admin and nobody else", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let scope = json!({"scope": "tenant"});
            let frame = broadcast("1", &scope, &one.peer.clone());
            if !suite.is_admin() {
                return one.refused(&frame, "forbidden").await.map(drop);
            }
            one.accepted(&frame).await?;
            let sender = one.peer.clone();
            two.pushed("the admin's word", |frame| frame["message"] == sender && frame["broadcast"] == scope)
                .await
                .map(drop)
        })
        .peers(2),
    ]
}

fn outside() -> Vec<Case> {
    vec![
        case("M-11", "nobody speaks in a room from outside", async |suite| {
            let mut one = suite.enter().await?;
            let scope = room(&one);
            one.refused(&broadcast("1", &scope, "hello"), "forbidden").await.map(drop)
        }),
        case("M-11", "nor after leaving it, nor is told what is said there", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter().await?);
            let scope = room(&one);
            enter(&mut one, &scope).await?;
            enter(&mut two, &scope).await?;
            two.accepted(&json!({"type": "room", "id": "2", "action": "leave", "room": scope["room"]})).await?;
            two.refused(&broadcast("3", &scope, "hello"), "forbidden").await?;
            one.accepted(&broadcast("4", &scope, "hello")).await?;
            let heard = two.drained(|frame| frame["broadcast"] == scope).await?;
            ensure!(heard.is_empty(), "it heard {heard:?}");
            Ok(())
        })
        .peers(2),
        case("M-12", "a connection is in so many rooms and no more", async |suite| {
            let mut one = suite.enter().await?;
            let most = one.limit("rooms")?;
            for number in 0..most {
                enter(&mut one, &json!({"room": format!("r-{number}")})).await?;
            }
            enter(&mut one, &json!({"room": "r-0"})).await?;
            let frame = json!({"type": "room", "id": "more", "action": "join", "room": "one-more"});
            one.refused(&frame, "conflict").await?;
            one.accepted(&json!({"type": "room", "id": "out", "action": "leave", "room": "r-0"})).await?;
            one.accepted(&frame).await.map(drop)
        }),
    ]
}

/// A room of the case's own.
pub(super) fn room(client: &Client) -> Value {
    json!({"scope": "room", "room": format!("room-of-{}", client.peer)})
}

pub(super) async fn enter(client: &mut Client, scope: &Value) -> anyhow::Result<()> {
    client.accepted(&json!({"type": "room", "id": "join", "action": "join", "room": scope["room"]})).await.map(drop)
}
