//! New papers on a live connection.

use anyhow::ensure;
use serde_json::json;

use super::super::client::fields;
use super::auth::closed_with;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("N-1", "a new proof and a new token are taken", async |suite| {
            let mut client = suite.enter().await?;
            let proof = suite.proof(&client.peer).await?;
            client.accepted(&json!({"type": "refresh", "id": "1", "token": suite.token, "proof": proof})).await?;
            client.accepted(&json!({"type": "refresh", "id": "2", "proof": proof})).await?;
            client.accepted(&json!({"type": "refresh", "id": "3", "token": suite.token})).await?;
            client.ping().await
        }),
        case("N-1", "a proof of another subscription is refused and the connection stays", async |suite| {
            let other = suite.buy().await?;
            let mut client = suite.enter().await?;
            let proof = suite.proof_of(&other, &client.peer).await?;
            client.refused(&json!({"type": "refresh", "id": "1", "proof": proof}), "conflict").await?;
            client.ping().await
        })
        .peers(2),
        case("N-2", "a refresh without papers is refused", async |suite| {
            let mut client = suite.enter().await?;
            let problem = client.refused(&json!({"type": "refresh", "id": "1"}), "validation_failed").await?;
            ensure!(fields(&problem) == ["token"], "{problem}");
            client.ping().await
        }),
        case("N-3", "a bad token ends the connection", async |suite| {
            let mut client = suite.enter().await?;
            client.refused(&json!({"type": "refresh", "id": "1", "token": "a.b.c"}), "authentication_invalid").await?;
            closed_with(&mut client, 4401).await
        }),
        case("N-3", "a bad proof ends the connection", async |suite| {
            let mut client = suite.enter().await?;
            client.refused(&json!({"type": "refresh", "id": "1", "proof": "a.b.c"}), "proof_refused").await?;
            closed_with(&mut client, 4403).await
        }),
        case("N-3", "a bad ticket ends the connection", async |suite| {
            let mut client = suite.enter().await?;
            client
                .refused(&json!({"type": "refresh", "id": "1", "ticket": "node.0"}), "authentication_invalid")
                .await?;
            closed_with(&mut client, 4401).await
        }),
    ]
}
