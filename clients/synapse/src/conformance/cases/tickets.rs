use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::http::problem;
use super::super::suite::Suite;
use super::auth::closed_with;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("T-1", "a ticket is good for a short time", async |suite| {
            let (ticket, until_ms) = suite.ticket().await?;
            ensure!(!ticket.is_empty() && ticket.len() <= 200, "{ticket:?}");
            let left_ms = until_ms.saturating_sub(suite.clock.now_ms());
            // The clocks may differ by as much as those of token issuers.
            ensure!(left_ms <= 90_000, "it is good for {left_ms} ms");
            Ok(())
        }),
        case("T-2", "nobody gets one without a token", async |suite| {
            let request = suite.http.post(format!("{}/v1/tickets", suite.base));
            problem(request.send().await?, 401, "authentication_missing").await.map(drop)
        }),
        case("T-2", "nor with a bad one", async |suite| {
            let request = suite.http.post(format!("{}/v1/tickets", suite.base)).bearer_auth("a.b.c");
            problem(request.send().await?, 401, "authentication_invalid").await.map(drop)
        }),
        case("T-3", "in the handshake it is the credential, and no protocol", async |suite| {
            let mut client = with_ticket(&suite, &suite.ticket().await?.0).await?;
            ensure!(client.hello["protocol"] == "synapse.v1", "{}", client.hello);
            let auth = without_token(&suite).await?;
            client.authenticate(&auth).await
        }),
        case("T-4", "in auth it stands for the token", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = without_token(&suite).await?;
            auth["ticket"] = suite.ticket().await?.0.into();
            client.authenticate(&auth).await
        }),
        case("T-4", "in refresh, too", async |suite| {
            let mut client = suite.enter().await?;
            let ticket = suite.ticket().await?.0;
            client.accepted(&json!({"type": "refresh", "id": "1", "ticket": ticket})).await.map(drop)
        }),
        case("T-5", "the second time it is void", async |suite| {
            let ticket = suite.ticket().await?.0;
            let mut auth = without_token(&suite).await?;
            auth["ticket"] = ticket.into();
            suite.connect().await?.authenticate(&auth).await?;
            let mut again = suite.connect().await?;
            again.refused(&auth, "authentication_invalid").await?;
            closed_with(&mut again, 4401).await
        }),
        case("T-5", "of two at once, one gets in", async |suite| {
            let ticket = suite.ticket().await?.0;
            let mut auth = without_token(&suite).await?;
            auth["ticket"] = ticket.into();
            let (mut one, mut two) = (suite.connect().await?, suite.connect().await?);
            let outcomes = tokio::join!(one.ask(&auth), two.ask(&auth));
            let accepted = [outcomes.0?, outcomes.1?].iter().filter(|outcome| outcome["outcome"] == "accepted").count();
            ensure!(accepted == 1, "{accepted} got in");
            Ok(())
        }),
        case("T-5", "one that never was", async |suite| {
            let mut client = with_ticket(&suite, "gateway-gone.00112233445566778899aabbccddeeff").await?;
            let auth = without_token(&suite).await?;
            client.refused(&auth, "authentication_invalid").await?;
            closed_with(&mut client, 4401).await
        }),
        case("T-6", "after its time it is void", async |suite| {
            let (ticket, until_ms) = suite.ticket().await?;
            let left_ms = until_ms.saturating_sub(suite.clock.now_ms());
            suite.clock.sleep(Duration::from_millis(left_ms.min(60_000) + 500)).await;
            let mut auth = without_token(&suite).await?;
            auth["ticket"] = ticket.into();
            suite.connect().await?.refused(&auth, "authentication_invalid").await.map(drop)
        }),
    ]
}

async fn with_ticket(suite: &Arc<Suite>, ticket: &str) -> anyhow::Result<Client> {
    Client::connect(&suite.base, &["synapse.v1", &format!("ticket.{ticket}")], &[]).await
}

async fn without_token(suite: &Arc<Suite>) -> anyhow::Result<Value> {
    let mut auth = suite.auth(&suite.peer()).await?;
    if let Some(fields) = auth.as_object_mut() {
        fields.remove("token");
    }
    Ok(auth)
}
