use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::super::http::problem;
use super::super::suite::is_text;
use super::messages::{delivered, message};
use super::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [outcomes(), ids(), refusals(), reach()].into_iter().flatten().collect()
}

fn outcomes() -> Vec<Case> {
    vec![
        case("E-1", "the stream says hello with its secret", async |suite| {
            let (one, two) = (suite.open_stream(&[]).await?, suite.open_stream(&[]).await?);
            ensure!(one.hello["protocol"] == "synapse.v1", "{}", one.hello);
            ensure!(is_text(&one.hello["stream_key"])? != is_text(&two.hello["stream_key"])?, "both have one secret");
            Ok(())
        }),
        case("E-1", "a WebSocket has no such secret", async |suite| {
            let client = suite.connect().await?;
            ensure!(client.hello.get("stream_key").is_none(), "{}", client.hello);
            Ok(())
        }),
        case("E-2", "posted frames have their outcomes on the stream", async |suite| {
            let mut client = suite.enter_stream(&suite.peer()).await?;
            client.ping().await?;
            client.refused(&json!({"type": "dance", "id": "1"}), "validation_failed").await.map(drop)
        }),
        case("E-2", "a list of 64 is taken in order", async |suite| {
            let mut client = suite.enter_stream(&suite.peer()).await?;
            let frames: Vec<Value> =
                (0..64).map(|number| json!({"type": "ping", "id": format!("n-{number}")})).collect();
            client.send_list(&frames).await?;
            for number in 0..64 {
                let outcome = client.next_outcome().await?;
                ensure!(outcome["id"] == format!("n-{number}"), "number {number} was expected: {outcome}");
            }
            Ok(())
        }),
        case("E-2", "the token may come with the stream's request", async |suite| {
            let bearer = format!("Bearer {}", suite.token);
            let mut client = suite.open_stream(&[("authorization", &bearer)]).await?;
            let peer = suite.peer();
            let auth = json!({"type": "auth", "id": "1", "peer_id": peer, "proof": suite.proof(&peer).await?});
            client.authenticate(&auth).await
        }),
    ]
}

fn ids() -> Vec<Case> {
    vec![
        case("E-3", "numbered frames are events with ids", async |suite| {
            // The reader of this suite compares every event's id.
            let (mut one, mut two) = (suite.enter().await?, suite.enter_stream(&suite.peer()).await?);
            delivered(&one.ask(&message("1", &two.peer, "two\nlines")).await?)?;
            ensure!(two.message().await?["message"] == "two\nlines", "something else came");
            let last = two.last_event_id().context("no event had an id")?;
            ensure!(last.ends_with(&format!(":{}", two.offset)), "{last}");
            Ok(())
        })
        .peers(2),
        case("E-4", "the last event's id resumes", async |suite| {
            let (mut one, mut two) = (suite.enter().await?, suite.enter_stream(&suite.peer()).await?);
            delivered(&one.ask(&message("1", &two.peer, "first")).await?)?;
            two.message().await?;
            let (peer, last) = (two.peer.clone(), two.last_event_id().context("no event had an id")?);
            delivered(&one.ask(&message("2", &peer, "second")).await?)?;
            two.cut();
            let back = suite.open_stream(&[("last-event-id", &last)]).await?;
            let mut back = suite.authenticate(back, &peer, json!({})).await?;
            ensure!(back.session["resume"] == "recovered", "{}", back.session);
            ensure!(back.message().await?["message"] == "second", "something else came");
            Ok(())
        })
        .peers(2),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        case("E-5", "a POST that names no stream", async |suite| {
            let answer = suite.post_raw(None, ping()).await?;
            problem(answer, 400, "validation_failed").await.map(drop)
        }),
        case("E-5", "a POST for a stream that is not", async |suite| {
            problem(suite.post_raw(Some("nonsense"), ping()).await?, 404, "not_found").await?;
            problem(suite.post_raw(Some("gateway-gone.00"), ping()).await?, 404, "not_found").await.map(drop)
        }),
        case("E-5", "a POST for a stream that has ended", async |suite| {
            let client = suite.open_stream(&[]).await?;
            let key = client.stream_key().to_owned();
            client.cut();
            for _ in 0..200 {
                let answer = suite.post_raw(Some(&key), ping()).await?;
                if answer.status() == 404 {
                    return problem(answer, 404, "not_found").await.map(drop);
                }
                suite.clock.sleep(std::time::Duration::from_millis(50)).await;
            }
            anyhow::bail!("it still takes frames after 10 s")
        }),
        case("E-6", "a body that is no JSON", async |suite| {
            let client = suite.open_stream(&[]).await?;
            problem(suite.post_raw(Some(client.stream_key()), "{".into()).await?, 400, "malformed_request")
                .await
                .map(drop)
        }),
        case("E-6", "an empty list", async |suite| {
            let client = suite.open_stream(&[]).await?;
            problem(suite.post_raw(Some(client.stream_key()), "[]".into()).await?, 400, "validation_failed")
                .await
                .map(drop)
        }),
        case("E-6", "a list of 65", async |suite| {
            let client = suite.open_stream(&[]).await?;
            let body = json!(vec![json!({"type": "ping", "id": "1"}); 65]).to_string();
            problem(suite.post_raw(Some(client.stream_key()), body).await?, 400, "validation_failed").await.map(drop)
        }),
    ]
}

fn reach() -> Vec<Case> {
    vec![
        case("E-7", "a peer on a stream and one on a WebSocket reach each other", async |suite| {
            let (mut socket, mut stream) = (suite.enter().await?, suite.enter_stream(&suite.peer()).await?);
            delivered(&socket.ask(&message("1", &stream.peer, "to the stream")).await?)?;
            delivered(&stream.ask(&message("1", &socket.peer, "to the socket")).await?)?;
            ensure!(stream.message().await?["message"] == "to the stream", "something else came");
            ensure!(socket.message().await?["message"] == "to the socket", "something else came");
            Ok(())
        })
        .peers(2),
        case("E-8", "after closing the stream ends", async |suite| {
            let mut older = suite.enter_stream(&suite.peer()).await?;
            let _newer = suite.enter_stream(&older.peer).await?;
            let closed = older.closed().await?;
            ensure!((closed.code, closed.reason.as_str()) == (4409, "taken_over"), "{closed:?}");
            Ok(())
        }),
    ]
}

fn ping() -> String {
    json!({"type": "ping", "id": "1"}).to_string()
}
