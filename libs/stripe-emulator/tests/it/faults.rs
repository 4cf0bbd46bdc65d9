use std::time::Duration;

use serde_json::json;
use stripe_emulator::{Limits, Options};

use crate::support::{Api, options, start};

async fn count(api: &Api) -> usize {
    api.get("/v1/customers").await.ok()["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn errors_strike_as_often_as_asked_and_only_what_matches() {
    let (_emulator, api) = start(options()).await;
    api.control(
        "faults",
        json!({ "kind": "error", "status": 503, "method": "post", "times": 2, "should_retry": true }),
    )
    .await;
    api.get("/v1/customers").await.ok();
    for _ in 0..2 {
        let reply = api.post("/v1/customers", &[]).await;
        assert_eq!(reply.header("stripe-should-retry"), "true");
        reply.refused(503);
    }
    api.post("/v1/customers", &[]).await.ok();
    assert_eq!(api.seen("faults").await["data"], json!([]));
}

#[tokio::test]
async fn a_proxy_may_answer_with_html() {
    let (_emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "html", "path": "/v1/customers" })).await;
    api.get("/v1/prices").await.ok();
    let reply = api.get("/v1/customers").await;
    assert_eq!((reply.status, reply.header("content-type")), (502, "text/html"));
    assert!(reply.text.starts_with("<html>"));
}

#[tokio::test]
async fn a_reset_loses_the_request_or_the_answer() {
    let (_emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "reset" })).await;
    let lost = api.call("POST", "/v1/customers", &[("name", "A")], Some("k1")).await;
    assert!(lost.err().expect("the connection is reset").is_request());
    assert_eq!(count(&api).await, 0);
    api.control("faults", json!({ "kind": "reset", "stage": "after" })).await;
    assert!(api.call("POST", "/v1/customers", &[("name", "A")], Some("k1")).await.is_err());
    assert_eq!(count(&api).await, 1);
    let again = api.post_once("/v1/customers", &[("name", "A")], "k1").await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(count(&api).await, 1);
}

#[tokio::test]
async fn the_reset_is_a_real_tcp_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (emulator, api) = start(options()).await;
    api.control("faults", json!({ "kind": "reset" })).await;
    let mut stream = tokio::net::TcpStream::connect(emulator.address()).await.unwrap();
    let request = "GET /v1/customers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_test_1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let error = stream.read(&mut [0; 64]).await.expect_err("RST, not FIN");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_timeout_holds_the_request_and_frees_its_key() {
    let (_emulator, api) = start(options()).await;
    let hasty = Api {
        http: reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(200)).build().unwrap(),
        ..api.clone()
    };
    api.control("faults", json!({ "kind": "timeout" })).await;
    let error = hasty.call("POST", "/v1/customers", &[], Some("k1")).await.err().expect("no answer");
    assert!(error.is_timeout());
    assert_eq!(count(&api).await, 0);
    api.control("faults", json!({ "kind": "timeout", "stage": "after" })).await;
    let error = hasty.call("POST", "/v1/customers", &[], Some("k1")).await.err().expect("no answer");
    assert!(error.is_timeout());
    assert_eq!(count(&api).await, 1);
    assert_eq!(api.post_once("/v1/customers", &[], "k1").await.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_body_may_drip_or_break_off() {
    let (clock, hand) = crate::support::manual();
    let (_emulator, api) = start(Options { clock, ..options() }).await;
    api.control("faults", json!({ "kind": "drip", "delay_ms": 10_000 })).await;
    let dripping = tokio::spawn({
        let api = api.clone();
        async move { api.post_once("/v1/customers", &[("name", "A")], "k1").await }
    });
    crate::support::eventually(&api, "requests", |seen| seen["by_key"]["k1"]["executed"] == 1).await;
    assert!(!dripping.is_finished());
    let mut moved = 0;
    while !dripping.is_finished() && moved < 1_000 {
        hand.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
        count(&api).await;
        moved += 1;
    }
    assert_eq!(dripping.await.unwrap().ok()["name"], "A");
    assert!(moved >= 10, "the ten pieces came at once");

    api.control("faults", json!({ "kind": "cut" })).await;
    let error = api.call("POST", "/v1/customers", &[("name", "B")], Some("k2")).await.err().expect("half a body");
    assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}");
    assert_eq!(count(&api).await, 2, "it took effect");
    assert_eq!(api.post_once("/v1/customers", &[("name", "B")], "k2").await.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn too_many_requests_in_a_second_are_refused() {
    let (clock, hand) = crate::support::manual();
    let limits = Limits { requests_per_s: 2, ..Limits::default() };
    let (_emulator, api) = start(Options { clock, limits, ..options() }).await;
    api.get("/v1/customers").await.ok();
    api.get("/v1/customers").await.ok();
    let reply = api.get("/v1/customers").await;
    assert_eq!(reply.header("stripe-rate-limited-reason"), "global-rate");
    assert_eq!(reply.refused(429)["code"], "rate_limit");
    hand.advance(Duration::from_secs(1));
    api.get("/v1/customers").await.ok();
}

#[tokio::test]
async fn bad_faults_and_plans_name_their_field() {
    let (_emulator, api) = start(options()).await;
    for (path, body, word) in [
        ("faults", json!({ "kind": "error", "status": 200 }), "status"),
        ("faults", json!({ "kind": "error", "times": 0 }), "times"),
        ("faults", json!({ "kind": "explode" }), "explode"),
        ("faults", json!({ "kind": "slow", "delay_ms": 900_000 }), "delay_ms"),
        ("delivery", json!({ "copies": 0 }), "copies"),
        ("delivery", json!({ "window": 0 }), "window"),
        ("delivery", json!({ "colour": 0 }), "colour"),
        ("subscriptions/sub_none/status", json!({ "status": "odd" }), "status"),
    ] {
        let reply = api.http.post(format!("{}/_emulator/{path}", api.base)).json(&body).send().await.unwrap();
        assert_eq!(reply.status(), 400, "{body}");
        assert!(reply.text().await.unwrap().contains(word), "{body}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_path_and_key() {
    let (_emulator, api) = start(options()).await;
    api.post_once("/v1/customers", &[], "k1").await.ok();
    api.post_once("/v1/customers", &[], "k1").await.ok();
    api.get("/v1/customers").await.ok();
    let seen = api.seen("requests").await;
    assert_eq!(seen["total"], 3);
    assert_eq!(seen["by_path"]["POST /v1/customers"], 2);
    assert_eq!(seen["by_key"]["k1"], json!({ "requests": 2, "executed": 1, "replayed": 1, "conflicts": 0 }));
    api.http.delete(format!("{}/_emulator/requests", api.base)).send().await.unwrap();
    assert_eq!(api.seen("requests").await["total"], 0);
}
