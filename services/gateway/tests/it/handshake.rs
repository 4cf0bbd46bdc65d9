use contracts::frames::ServerFrame;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Error;

use crate::client::Client;
use crate::harness::{SOON, World, run, run_with};

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "synapse.v1");

async fn refused(world: &World, headers: &[(&'static str, &str)]) -> Value {
    match Client::try_connect(world.address, headers).await {
        Err(Error::Http(response)) => {
            let problem: Value = serde_json::from_slice(response.body().as_deref().unwrap()).unwrap();
            assert_eq!(problem["status"], response.status().as_u16());
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers()["x-error-code"].to_str().ok(), problem["code"].as_str());
            problem
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn a_supported_protocol_must_be_offered_and_is_named() {
    run(async |world| {
        for headers in [&[][..], &[("sec-websocket-protocol", "synapse.v9, chat")]] {
            let problem = refused(world, headers).await;
            assert_eq!(problem["code"], "unsupported_protocol");
            assert!(problem["detail"].as_str().unwrap().contains("synapse.v1"), "{problem}");
        }
        let offered = [("sec-websocket-protocol", "synapse.v9, synapse.v1")];
        let (mut client, response) = Client::try_connect(world.address, &offered).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "synapse.v1");
        assert!(response.headers().get("sec-websocket-extensions").is_none(), "no compression");
        match client.next().await {
            ServerFrame::Hello { protocol, auth_within_ms, heartbeat_ms, connection_id, stream_key: None, .. } => {
                assert_eq!((protocol.as_str(), auth_within_ms, heartbeat_ms), ("synapse.v1", 10_000, 15_000));
                assert!(!connection_id.as_str().is_empty());
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn browsers_come_only_from_listed_origins() {
    run_with(&[("allowed_origins", r#"["https://app.example.com"]"#)], async |world| {
        for origin in
            ["https://evil.example.com", "http://app.example.com", "https://app.example.com.evil.test", "null"]
        {
            let problem = refused(world, &[PROTOCOL, ("origin", origin)]).await;
            assert_eq!((&problem["code"], &problem["status"]), (&"forbidden".into(), &403.into()));
        }
        let listed = [PROTOCOL, ("origin", "https://app.example.com")];
        assert!(Client::try_connect(world.address, &listed).await.is_ok());
        assert!(Client::try_connect(world.address, &[PROTOCOL]).await.is_ok(), "programs send none");
    })
    .await;
}

#[tokio::test]
async fn a_plain_request_is_told_to_open_a_socket() {
    run(async |world| {
        let headers = "Sec-WebSocket-Protocol: synapse.v1\r\n";
        let problem = world.http("GET /v1/ws", headers, "").await.is_refused(400, "malformed_request");
        assert!(problem.detail.unwrap().contains("WebSocket"));
        world.http("GET /v1/ws", "", "").await.is_refused(400, "unsupported_protocol");
    })
    .await;
}

#[tokio::test]
async fn over_the_limit_nobody_gets_in_until_somebody_leaves() {
    run_with(&[("max_connections", "2")], async |world| {
        let first = world.connect().await;
        let _second = world.connect().await;
        let problem = refused(world, &[PROTOCOL]).await;
        assert_eq!((&problem["code"], &problem["retry_after_s"]), (&"unavailable".into(), &5.into()));
        drop(first);
        testkit::eventually(SOON, "room for another", async || {
            Client::try_connect(world.address, &[PROTOCOL]).await.map(drop)
        })
        .await;
    })
    .await;
}
