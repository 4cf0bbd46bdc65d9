use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Error;

use super::super::client::{Client, handshake};
use super::super::http::problem;
use super::super::suite::is_text;
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [protocols(), doors(), hello()].into_iter().flatten().collect()
}

fn protocols() -> Vec<Case> {
    vec![
        case("C-1", "a supported protocol is spoken and named", async |suite| {
            let client = suite.connect().await?;
            ensure!(client.hello["protocol"] == "synapse.v1", "hello: {}", client.hello);
            Ok(())
        }),
        case("C-1", "the first supported protocol on the list is taken", async |suite| {
            let client = Client::connect(&suite.base, &["synapse.v9", "synapse.v1.cbor", "synapse.v1"], &[]).await?;
            ensure!(client.hello["protocol"] == "synapse.v1.cbor", "hello: {}", client.hello);
            Ok(())
        }),
        case("C-2", "no protocol at all is refused with the list", async |suite| {
            turned_away(&suite.base, "", &[]).await
        }),
        case("C-2", "an unknown version is refused with the list", async |suite| {
            turned_away(&suite.base, "", &[("sec-websocket-protocol", "synapse.v2")]).await
        }),
        case("C-3", "no extension is agreed on", async |suite| {
            let deflate = ("sec-websocket-extensions", "permessage-deflate");
            let headers = [("sec-websocket-protocol", "synapse.v1"), deflate];
            let (_, response) = handshake(&suite.base, "", &headers).await?;
            let agreed = response.headers().get("sec-websocket-extensions");
            ensure!(agreed.is_none(), "agreed on {agreed:?}");
            Ok(())
        }),
    ]
}

fn doors() -> Vec<Case> {
    vec![
        case("C-4", "a browser's page from elsewhere is refused", async |suite| {
            let headers = [("sec-websocket-protocol", "synapse.v1"), ("origin", "https://evil.invalid")];
            refusal(&suite.base, "", &headers, 403, "forbidden").await.map(drop)
        }),
        case("C-4", "who names no origin passes", async |suite| suite.connect().await.map(drop)),
        case("C-5", "a plain request is told to open a WebSocket", async |suite| {
            let request = suite.get("/v1/ws").header("sec-websocket-protocol", "synapse.v1");
            problem(request.send().await?, 400, "malformed_request").await.map(drop)
        }),
        case("C-6", "a token in the address is refused by name", async |suite| secret(&suite.base, "token").await),
        case("C-6", "a ticket in the address is refused by name", async |suite| secret(&suite.base, "ticket").await),
        case("C-6", "an event stream takes no token in its address either", async |suite| {
            let problem =
                problem(suite.get("/v1/stream?access_token=a.b.c").send().await?, 400, "validation_failed").await?;
            ensure!(problem["violations"][0]["field"] == "access_token", "{problem}");
            Ok(())
        }),
    ]
}

fn hello() -> Vec<Case> {
    vec![
        case("C-7", "hello comes first and tells the limits", async |suite| {
            let client = suite.connect().await?;
            for name in ["auth_within_ms", "heartbeat_ms"] {
                ensure!(
                    client.hello[name].as_u64().is_some_and(|time_ms| time_ms > 0),
                    "hello.{name}: {}",
                    client.hello
                );
            }
            let limits = ["frame_bytes", "bad_frames", "pending_messages", "rooms", "ack_within_ms", "history_ttl_ms"];
            limits.into_iter().try_for_each(|name| client.limit(name).map(drop))
        }),
        case("C-7", "connections have names of their own", async |suite| {
            let (one, two) = (suite.connect().await?, suite.connect().await?);
            let names = (is_text(&one.hello["connection_id"])?, is_text(&two.hello["connection_id"])?);
            ensure!(names.0 != names.1, "both are {}", names.0);
            Ok(())
        }),
    ]
}

async fn turned_away(base: &str, query: &str, headers: &[(&'static str, &str)]) -> anyhow::Result<()> {
    let problem = refusal(base, query, headers, 400, "unsupported_protocol").await?;
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("synapse.v1")), "{problem}");
    Ok(())
}

async fn secret(base: &str, name: &str) -> anyhow::Result<()> {
    let headers = [("sec-websocket-protocol", "synapse.v1")];
    let problem = refusal(base, &format!("?{name}=a.b.c"), &headers, 400, "validation_failed").await?;
    ensure!(problem["violations"][0]["field"] == name, "{problem}");
    Ok(())
}

async fn refusal(
    base: &str,
    query: &str,
    headers: &[(&'static str, &str)],
    status: u16,
    code: &str,
) -> anyhow::Result<Value> {
    match handshake(base, query, headers).await {
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let problem: Value = serde_json::from_slice(body).context("the answer is no problem")?;
            let same = response.status() == status && problem["code"] == code;
            ensure!(same, "{status} {code} was expected, {} came: {problem}", response.status());
            Ok(problem)
        }
        Err(other) => bail!("{status} {code} was expected: {other}"),
        Ok(_) => bail!("{status} {code} was expected; it was let in"),
    }
}
