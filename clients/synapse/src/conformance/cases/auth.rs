use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::super::client::{Client, fields};
use super::super::suite::is_text;
use super::{Case, Needs, case};

/// Long enough to get in, short enough to wait for.
const SHORT_MS: i64 = 3_000;
/// Longer ago than clocks may differ (30 s).
const LONG_AGO_MS: i64 = -60_000;

pub(super) fn cases() -> Vec<Case> {
    [first(), tokens(), proofs(), credentials(), place(), ends()].into_iter().flatten().collect()
}

fn first() -> Vec<Case> {
    vec![
        case("A-1", "before auth everything else is refused", async |suite| {
            let mut client = suite.connect().await?;
            for frame in [
                json!({"type": "ping", "id": "1"}),
                json!({"type": "presence", "id": "2", "action": "list"}),
                json!({"type": "refresh", "id": "3", "token": "a.b.c"}),
            ] {
                client.refused(&frame, "authentication_missing").await?;
            }
            Ok(())
        }),
        case("A-1", "and auth is still possible after that", async |suite| {
            let mut client = suite.connect().await?;
            client.refused(&json!({"type": "ping", "id": "1"}), "authentication_missing").await?;
            let auth = suite.auth(&suite.peer()).await?;
            client.authenticate(&auth).await
        }),
        case("A-2", "the result says who, which connection, and where its numbering begins", async |suite| {
            let client = suite.enter().await?;
            is_text(&client.session["epoch"])?;
            ensure!(client.session["peer_id"] == client.peer, "{}", client.session);
            ensure!(client.session["generation"].as_u64().is_some_and(|number| number > 0), "{}", client.session);
            ensure!(client.session.get("resume").is_none(), "no resume was asked for: {}", client.session);
            Ok(())
        }),
    ]
}

fn tokens() -> Vec<Case> {
    vec![
        case("A-3", "a token that is nonsense", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["token"] = "a.b.c".into();
            client.refused(&auth, "authentication_invalid").await?;
            closed_with(&mut client, 4401).await
        }),
        case("A-3", "a good token with another signature", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            let signed = suite.token.rsplit_once('.').map_or("", |(signed, _)| signed);
            auth["token"] = format!("{signed}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").into();
            client.refused(&auth, "authentication_invalid").await?;
            closed_with(&mut client, 4401).await
        }),
        case("A-4", "a token that has expired", async |suite| {
            let Some(mint) = &suite.levers.mint else { return Ok(()) };
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["token"] = mint(LONG_AGO_MS).into();
            let mut client = suite.connect().await?;
            client.refused(&auth, "authentication_expired").await?;
            closed_with(&mut client, 4401).await
        })
        .needs(Needs::Mint),
    ]
}

fn proofs() -> Vec<Case> {
    vec![
        case("A-5", "without a proof, and where to get one", async |suite| {
            let mut client = suite.connect().await?;
            let auth = json!({"type": "auth", "id": "1", "token": suite.token, "peer_id": suite.peer()});
            let problem = client.refused(&auth, "proof_refused").await?;
            ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains("verify")), "{problem}");
            closed_with(&mut client, 4403).await
        }),
        case("A-6", "a proof that is nonsense", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["proof"] = "a.b.c".into();
            client.refused(&auth, "proof_refused").await?;
            closed_with(&mut client, 4403).await
        }),
        case("A-6", "another peer's proof", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["peer_id"] = "somebody-else".into();
            client.refused(&auth, "proof_refused").await?;
            closed_with(&mut client, 4403).await
        }),
        case("A-6", "a token in the proof's place", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["proof"] = suite.token.clone().into();
            client.refused(&auth, "proof_refused").await?;
            closed_with(&mut client, 4403).await
        }),
        case("A-7", "who does not authenticate in time is closed", async |suite| {
            let mut client = suite.connect().await?;
            let within_ms = client.hello["auth_within_ms"].as_u64().unwrap_or(0);
            let closed = client.closed_within(Duration::from_millis(within_ms) + super::super::client::SOON).await?;
            ensure!(closed.code == 4401, "{closed:?}");
            Ok(())
        }),
    ]
}

fn credentials() -> Vec<Case> {
    vec![
        case("A-8", "a second auth is refused and the connection stays", async |suite| {
            let mut client = suite.enter().await?;
            let auth = suite.auth(&client.peer).await?;
            client.refused(&auth, "conflict").await?;
            client.ping().await
        }),
        case("A-9", "the token may come with the handshake", async |suite| {
            let bearer = format!("Bearer {}", suite.token);
            let client = Client::connect(&suite.base, &["synapse.v1"], &[("authorization", &bearer)]).await?;
            let peer = suite.peer();
            let auth = json!({"type": "auth", "id": "1", "peer_id": peer, "proof": suite.proof(&peer).await?});
            let mut client = client;
            client.authenticate(&auth).await
        }),
        case("A-9", "as a cookie, too", async |suite| {
            let cookie = format!("synapse_token={}", suite.token);
            let mut client = Client::connect(&suite.base, &["synapse.v1"], &[("cookie", &cookie)]).await?;
            let peer = suite.peer();
            let auth = json!({"type": "auth", "id": "1", "peer_id": peer, "proof": suite.proof(&peer).await?});
            client.authenticate(&auth).await
        }),
        case("A-9", "without any credential auth names what is missing", async |suite| {
            let mut client = suite.connect().await?;
            let auth = json!({"type": "auth", "id": "1", "peer_id": "alice"});
            let problem = client.refused(&auth, "validation_failed").await?;
            ensure!(fields(&problem) == ["token"], "{problem}");
            Ok(())
        }),
        case("A-10", "a token and a ticket at once are refused", async |suite| {
            let mut client = suite.connect().await?;
            let mut auth = suite.auth(&suite.peer()).await?;
            auth["ticket"] = "node.0".into();
            let problem = client.refused(&auth, "validation_failed").await?;
            ensure!(fields(&problem) == ["ticket"], "{problem}");
            Ok(())
        }),
    ]
}

fn place() -> Vec<Case> {
    vec![case("A-11", "a newer connection takes the older one's place at once", async |suite| {
        let mut older = suite.enter().await?;
        let mut newer = suite.enter_as(&older.peer, json!({})).await?;
        closed_with(&mut older, 4409).await?;
        let generation = |client: &Client| client.session["generation"].as_u64();
        ensure!(generation(&newer) > generation(&older), "{} after {}", newer.session, older.session);
        newer.ping().await
    })]
}

fn ends() -> Vec<Case> {
    vec![
        case("N-4", "the end of the token closes the connection", async |suite| {
            let Some(mint) = &suite.levers.mint else { return Ok(()) };
            let mut client = suite.enter_as(&suite.peer(), json!({"token": mint(SHORT_MS)})).await?;
            let closed = client.closed().await?;
            ensure!((closed.code, closed.reconnect_after_ms) == (4410, Some(0)), "{closed:?}");
            Ok(())
        })
        .needs(Needs::Mint),
        case("N-5", "a connection with a new token outlives the old one", async |suite| {
            let Some(mint) = &suite.levers.mint else { return Ok(()) };
            let mut client = suite.enter_as(&suite.peer(), json!({"token": mint(SHORT_MS)})).await?;
            client.accepted(&json!({"type": "refresh", "id": "1", "token": suite.token})).await?;
            suite.clock.sleep(Duration::from_millis(SHORT_MS.unsigned_abs() + 1_000)).await;
            client.ping().await
        })
        .needs(Needs::Mint),
    ]
}

/// The next thing to come is the end, with this code.
pub(super) async fn closed_with(client: &mut Client, code: u16) -> anyhow::Result<()> {
    let closed = client.closed().await?;
    ensure!(closed.code == code, "{code} was expected: {closed:?}");
    Ok(())
}
