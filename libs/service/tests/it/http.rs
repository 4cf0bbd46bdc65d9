use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use service::config::Mode;
use service::health::{Health, admin_router};
use service::http::{Code, HttpSettings, ProblemResponse, RequestContext, ServeOptions, Verbatim};

use crate::client::{Server, production, start};

#[derive(Deserialize)]
struct Body {
    name: String,
}

fn router() -> Router {
    Router::new()
        .route("/hello/{name}", get(async |context: RequestContext| context.correlation_id))
        .route("/json", post(async |Json(body): Json<Body>| body.name))
        .route("/bytes", post(async |body: Bytes| body.len().to_string()))
        .route("/panic", get(panics))
        .route("/broken", get(async || ProblemResponse::new(Code::Internal).detail("secret detail").debug("stack")))
        .route("/busy", get(async || ProblemResponse::new(Code::Unavailable).detail("bus").retry_after_s(7)))
        .route("/proxied", get(proxied))
        .route("/invalid", get(invalid))
}

async fn panics() -> StatusCode {
    panic!("on purpose")
}

async fn proxied() -> Response {
    let mut response = (StatusCode::BAD_GATEWAY, "from elsewhere").into_response();
    response.extensions_mut().insert(Verbatim);
    response
}

async fn invalid() -> ProblemResponse {
    ProblemResponse::new(Code::Validation).violation("name", "is empty").violation("metadata.team", "is too long")
}

#[tokio::test]
async fn ids_are_taken_over_when_well_formed_and_made_otherwise() {
    let server = production(router()).await;
    let answer = server.send("GET /hello/x", "X-Request-ID: r.1\r\nX-Correlation-ID: c-1\r\n", "").await;
    assert_eq!((answer.header("x-request-id"), answer.header("x-correlation-id")), (Some("r.1"), Some("c-1")));
    assert_eq!(answer.body, "c-1");
    let answer = server.send("GET /hello/x", "X-Request-ID: a b\r\nX-Correlation-ID: \"\r\n", "").await;
    let (request, correlation) = (answer.header("x-request-id").unwrap(), answer.header("x-correlation-id").unwrap());
    assert_eq!((request.len(), request), (32, correlation));
    let long = format!("X-Request-ID: {}\r\n", "a".repeat(129));
    assert_eq!(server.send("GET /hello/x", &long, "").await.header("x-request-id").unwrap().len(), 32);
}

#[tokio::test]
async fn every_error_is_a_problem_whoever_made_it() {
    let server = production(router()).await;
    assert_eq!(server.get("/nowhere").await.code(), "not_found");
    let answer = server.send("DELETE /json", "", "").await;
    assert_eq!((answer.code().as_str(), answer.header("allow")), ("method_not_allowed", Some("POST")));
    let json = "Content-Type: application/json\r\n";
    assert_eq!(server.send("POST /json", json, "{\"name\":\"x\"}").await.body, "x");
    assert_eq!(server.send("POST /json", json, "{").await.code(), "malformed_request");
    assert_eq!(server.send("POST /json", "", "{}").await.code(), "unsupported_media_type");
    let answer = server.send("POST /json", json, "{\"name\":1}").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "validation_failed"));
    assert!(answer.problem()["detail"].as_str().unwrap().contains("name"), "{answer:?}");
    let answer = server.get("/busy").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(answer.problem()["retry_after_s"], 7);
    let answer = server.get("/invalid").await;
    assert_eq!(answer.problem()["violations"][1]["field"], "metadata.team");
    let answer = server.get("/proxied").await;
    assert_eq!((answer.status, answer.body.as_str()), (502, "from elsewhere"));
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_works() {
    for (mode, shows) in [(Mode::Production, false), (Mode::Development, true)] {
        let server = start(router(), mode, HttpSettings::default(), ServeOptions::default()).await;
        let answer = server.get("/panic").await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"));
        assert_eq!(answer.body.contains("on purpose"), shows, "{answer:?}");
        let answer = server.get("/broken").await;
        assert_eq!(answer.body.contains("secret detail"), shows, "{answer:?}");
        assert_eq!(answer.body.contains("stack"), shows, "{answer:?}");
        assert_eq!(server.get("/hello/x").await.status, 200);
    }
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_with_and_without_a_length() {
    let mut settings = HttpSettings::default();
    settings.limits.body_bytes = 10;
    let server = start(router(), Mode::Production, settings, ServeOptions::default()).await;
    assert_eq!(server.send("POST /bytes", "", "0123456789").await.body, "10");
    assert_eq!(server.send("POST /bytes", "", "0123456789a").await.code(), "payload_too_large");
    let chunked = "POST /bytes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server.raw(&format!("{chunked}6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n")).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload_too_large"));
    assert!(answer.problem()["detail"].as_str().unwrap().contains("10 bytes"));
}

#[tokio::test]
async fn the_default_body_limit_is_two_mebibytes() {
    let server = production(router()).await;
    assert_eq!(server.send("POST /bytes", "", &"x".repeat(2 << 20)).await.body, "2097152");
    assert_eq!(server.send("POST /bytes", "", &"x".repeat((2 << 20) + 1)).await.code(), "payload_too_large");
}

#[tokio::test]
async fn headers_and_addresses_over_the_limit_are_refused() {
    let server = production(router()).await;
    let headers = |count: usize| (0..count).map(|n| format!("h{n}: v\r\n")).collect::<String>();
    // Host, Connection and Content-Length are three of the fifty.
    assert_eq!(server.send("GET /hello/x", &headers(47), "").await.status, 200);
    assert_eq!(server.send("GET /hello/x", &headers(48), "").await.code(), "headers_too_large");
    let value = |len: usize| format!("h: {}\r\n", "v".repeat(len));
    assert_eq!(server.send("GET /hello/x", &value(8192), "").await.status, 200);
    assert_eq!(server.send("GET /hello/x", &value(8193), "").await.code(), "headers_too_large");
    let name = |len: usize| format!("{}: v\r\n", "n".repeat(len));
    assert_eq!(server.send("GET /hello/x", &name(256), "").await.status, 200);
    assert_eq!(server.send("GET /hello/x", &name(257), "").await.code(), "headers_too_large");
    assert_eq!(server.get(&format!("/hello/{}", "x".repeat(8192 - 7))).await.status, 200);
    assert_eq!(server.get(&format!("/hello/{}", "x".repeat(8193 - 7))).await.code(), "uri_too_long");
    for path in ["/hello/../x", "/hello/%2e%2e", "/hello/a%2fb", "/nowhere/..%5cx"] {
        assert_eq!(server.get(path).await.code(), "unsafe_path", "{path}");
    }
}

#[tokio::test]
async fn requests_are_measured_by_route_not_by_address() {
    let server = production(router()).await;
    server.get("/hello/somebody-unique").await;
    server.get("/nowhere/somebody-unique").await;
    server.send("BREW /hello/x", "", "").await;
    let admin = admin();
    let text = admin.await.get("/metrics").await.body;
    let row = |labels: &str| text.lines().any(|line| line.starts_with(labels));
    let name = "http_server_request_duration_seconds_count";
    assert!(
        row(&format!("{name}{{service=\"test\",method=\"GET\",route=\"/hello/{{name}}\",status=\"200\"}}")),
        "{text}"
    );
    assert!(row(&format!("{name}{{service=\"test\",method=\"GET\",route=\"unmatched\",status=\"404\"}}")), "{text}");
    assert!(text.contains("method=\"OTHER\"") && !text.contains("somebody-unique") && !text.contains("BREW"), "{text}");
}

async fn admin() -> Server {
    let health = Health::new(clock::Clock::system());
    health.add_check("bus", async || Ok(()));
    health.started();
    production(admin_router(health)).await
}

#[tokio::test]
async fn the_admin_endpoints_answer() {
    let server = admin().await;
    assert_eq!((server.get("/healthz").await.status, server.get("/readyz").await.status), (200, 200));
    let health = Health::new(clock::Clock::system());
    let server = production(admin_router(health.clone())).await;
    let answer = server.get("/readyz").await;
    assert_eq!((answer.status, server.get("/healthz").await.status), (503, 200));
    assert_eq!(answer.body, "{\"ready\":false,\"phase\":\"starting\",\"checks\":[]}");
    health.started();
    assert_eq!(server.get("/readyz").await.status, 200);
    health.drain();
    assert_eq!(server.get("/readyz").await.status, 503);
}
