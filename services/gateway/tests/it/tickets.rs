//! One-use tickets, and where secrets may not stand.

use std::net::SocketAddr;
use std::time::Duration;

use contracts::frames::{Outcome, ServerFrame};
use serde_json::{Value, json};

use crate::client::Client;
use crate::harness::{World, run, run_with};

async fn ticket(world: &World) -> String {
    let answer = world.http("POST /v1/tickets", "", "").await;
    assert_eq!((answer.status, answer.header("cache-control")), (201, Some("no-store")), "{answer:?}");
    let issued: Value = serde_json::from_str(&answer.body).unwrap();
    let left_ms = issued["expires_at_ms"].as_u64().unwrap() - world.clock.now_ms();
    assert!((20_000..=30_000).contains(&left_ms), "{left_ms}");
    issued["ticket"].as_str().unwrap().to_owned()
}

async fn connect_with(address: SocketAddr, ticket: &str) -> Client {
    let offered = format!("synapse.v1, ticket.{ticket}");
    let (mut client, response) = Client::try_connect(address, &[("sec-websocket-protocol", &offered)]).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "synapse.v1", "a ticket is no protocol");
    assert!(matches!(client.next().await, ServerFrame::Hello { .. }));
    client
}

fn auth(world: &World, more: &Value) -> Value {
    let mut frame = json!({"type": "auth", "id": "1", "peer_id": "alice", "proof": world.proof("alice", 2)});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

#[tokio::test]
async fn a_ticket_lets_in_once_by_either_way() {
    run(async |world| {
        let first = ticket(world).await;
        let mut client = connect_with(world.address, &first).await;
        client.accepted(&auth(world, &json!({}))).await;
        let second = ticket(world).await;
        let mut client = world.connect().await;
        client.accepted(&auth(world, &json!({"ticket": second}))).await;
        for used in [first, second] {
            let mut client = connect_with(world.address, &used).await;
            let problem = client.refused(&auth(world, &json!({}))).await;
            assert_eq!(problem.code, "authentication_invalid");
            assert!(problem.detail.unwrap().contains("/v1/tickets"));
            assert_eq!(client.closed().await.code, Some(4401));
        }
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_good_for_thirty_seconds() {
    run_with(&[("heartbeat_ms", "300000"), ("auth_within_ms", "120000")], async |world| {
        let (old, young) = (ticket(world).await, ticket(world).await);
        let mut client = world.connect().await;
        world.hand.advance(Duration::from_millis(29_999));
        client.accepted(&auth(world, &json!({"ticket": young}))).await;
        world.hand.advance(Duration::from_millis(1));
        let mut client = world.connect().await;
        assert_eq!(client.refused(&auth(world, &json!({"ticket": old}))).await.code, "authentication_invalid");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_good_at_another_gateway_and_only_once_over_all() {
    run(good_elsewhere).await;
}

/// A ticket of one gateway at another.
pub(crate) async fn good_elsewhere(world: &World) {
    let neighbour = world.neighbour(&[]).await;
    let ticket = ticket(world).await;
    let mut client = connect_with(neighbour.address, &ticket).await;
    client.accepted(&auth(world, &json!({}))).await;
    let mut again = connect_with(world.address, &ticket).await;
    assert_eq!(again.refused(&auth(world, &json!({}))).await.code, "authentication_invalid");
    drop(client);
    world.leaves(1).await;
    neighbour.host.drain().await;
}

#[tokio::test]
async fn a_ticket_renews_a_live_connection() {
    run(async |world| {
        let mut client = world.enter("alice").await;
        let ticket = ticket(world).await;
        let refresh = json!({"type": "refresh", "id": "2", "ticket": ticket});
        assert_eq!(client.ask(&refresh).await.0, Outcome::Accepted);
    })
    .await;
}

#[tokio::test]
async fn only_who_has_a_token_gets_a_ticket_and_not_without_end() {
    run_with(&[("max_tickets", "1")], async |world| {
        world.http_as("POST /v1/tickets", "", "").await.is_refused(401, "authentication_missing");
        ticket(world).await;
        world.http("POST /v1/tickets", "", "").await.is_refused(503, "unavailable");
    })
    .await;
}

#[tokio::test]
async fn the_handshake_may_bring_the_token_and_without_any_there_is_no_way_in() {
    run(async |world| {
        let bearer = format!("Bearer {}", world.token());
        let headers = [("sec-websocket-protocol", "synapse.v1"), ("authorization", bearer.as_str())];
        let (mut client, _) = Client::try_connect(world.address, &headers).await.unwrap();
        client.next().await;
        client.accepted(&auth(world, &json!({}))).await;
        let mut client = world.connect().await;
        let problem = client.refused(&auth(world, &json!({}))).await;
        assert_eq!((problem.code.as_str(), problem.violations[0].field.as_str()), ("validation_failed", "token"));
        client.accepted(&world.auth_frame("bob")).await;
    })
    .await;
}

#[tokio::test]
async fn secrets_in_addresses_are_refused_with_what_to_do() {
    run(async |world| {
        let headers = "Sec-WebSocket-Protocol: synapse.v1\r\n";
        for line in ["GET /v1/ws?token=a.b.c", "GET /v1/stream?access_token=a.b.c", "POST /v1/frames?stream_key=x"] {
            let problem = world.http(line, headers, "").await.is_refused(400, "validation_failed");
            assert!(problem.violations[0].message.contains("auth frame"), "{problem:?}");
        }
    })
    .await;
}
