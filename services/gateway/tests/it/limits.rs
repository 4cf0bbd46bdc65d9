//! What no handler should ever see.

use crate::client::raw;
use crate::harness::{World, run};

const LINE: &str = "POST /v1/subscriptions";
const HEADERS: &str = "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n";

async fn get(world: &World, path: &str) -> crate::client::Answer {
    world.http(&format!("GET {path}"), "", "").await
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_are_problems() {
    run(async |world| {
        get(world, "/v1/nothing").await.is_refused(404, "not_found");
        get(world, "/").await.is_refused(404, "not_found");
        let answer = world.http("DELETE /v1/peers/alice", "", "").await;
        answer.is_refused(405, "method_not_allowed");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
        get(world, "/v1/plans/check").await.is_refused(405, "method_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn a_body_over_two_mebibytes_is_too_large_however_it_comes() {
    run(async |world| {
        let over = "x".repeat((2 << 20) + 1);
        let problem = world.http(LINE, HEADERS, &over).await.is_refused(413, "payload_too_large");
        assert!(problem.detail.unwrap().contains("2097152"));
        // Without a length, told while it is read.
        let head = format!(
            "{LINE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{HEADERS}Authorization: \
             Bearer {}\r\n\r\n",
            world.token()
        );
        let chunked = format!("{head}{:x}\r\n{over}\r\n0\r\n\r\n", over.len());
        raw(world.address, &chunked).await.is_refused(413, "payload_too_large");
        let fits = "x".repeat(2 << 20);
        world.http(LINE, HEADERS, &fits).await.is_refused(400, "malformed_request");
    })
    .await;
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    run(async |world| {
        // Host, Connection, Content-Length and Authorization are four of them.
        let many = |count: usize| (0..count).map(|number| format!("X-{number}: 1\r\n")).collect::<String>();
        assert_eq!(world.http("GET /v1/peers", &many(46), "").await.status, 200);
        world.http("GET /v1/peers", &many(47), "").await.is_refused(431, "headers_too_large");
        let value = format!("X-Long: {}\r\n", "v".repeat(8_193));
        world.http("GET /v1/peers", &value, "").await.is_refused(431, "headers_too_large");
        get(world, &format!("/v1/peers?after={}", "a".repeat(8_192))).await.is_refused(414, "uri_too_long");
    })
    .await;
}

#[tokio::test]
async fn paths_that_climb_are_refused() {
    run(async |world| {
        for path in
            ["/v1/../v1/peers", "/v1/%2e%2e/peers", "/v1/peers/..%2fadmin", "/v1/peers/%252e%252e", "/v1/./peers"]
        {
            get(world, path).await.is_refused(400, "unsafe_path");
        }
    })
    .await;
}
