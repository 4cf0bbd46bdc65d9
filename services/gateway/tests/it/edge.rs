//! Rate limits, browsers' rules and addresses at the edge.

use std::net::SocketAddr;
use std::time::Duration;

use auth::Role;
use serde_json::{Value, json};
use service::config::Mode;

use crate::client::{Answer, Client};
use crate::harness::{World, run, run_with};

const BINDS: (&str, &str) = ("limits__in_development", "true");

/// `"requests_per_user";r=3;t=9` of the header, as `r` and `t`.
fn standing(answer: &Answer, policy: &str) -> (u64, u64) {
    let line = answer.header("ratelimit").unwrap_or_else(|| panic!("no RateLimit: {answer:?}"));
    let item = line.split(", ").find(|item| item.starts_with(&format!("\"{policy}\";"))).unwrap();
    let number = |name: &str| item.split(';').find_map(|part| part.strip_prefix(name)?.parse().ok()).unwrap();
    (number("r="), number("t="))
}

#[tokio::test]
async fn a_user_who_asks_too_much_is_told_when_to_go_on() {
    let settings = [BINDS, ("limits__requests_per_user__quota", "4"), ("limits__requests_per_user__window_s", "8")];
    run_with(&settings, async |world| {
        for left in (0..4).rev() {
            let answer = world.http("GET /v1/peers", "", "").await;
            assert_eq!((answer.status, standing(&answer, "requests_per_user").0), (200, left), "{answer:?}");
            assert!(answer.header("ratelimit-policy").unwrap().contains("\"requests_per_user\";q=4;w=8"), "{answer:?}");
        }
        let answer = world.http("GET /v1/peers", "", "").await;
        let problem = answer.is_refused(429, "rate_limited");
        assert_eq!((answer.header("retry-after"), problem.retry_after_s), (Some("2"), Some(2)));
        assert_eq!(standing(&answer, "requests_per_user"), (0, 8));
        assert!(problem.detail.unwrap().contains("at most 4 at once"));
        // Others have limits of their own, and so has the same name in another tenant.
        for (tenant, user) in [("acme", "bob"), ("beta", "ada")] {
            let token = world.token_of(tenant, user, Role::User, 60_000);
            let answer = world.http_as("GET /v1/peers", &format!("Authorization: Bearer {token}\r\n"), "").await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        world.hand.advance(Duration::from_secs(2));
        assert_eq!(world.http("GET /v1/peers", "", "").await.status, 200);
        world.http("GET /v1/peers", "", "").await.is_refused(429, "rate_limited");
    })
    .await;
}

#[tokio::test]
async fn an_address_is_counted_with_a_token_and_without() {
    let settings = [BINDS, ("limits__requests_per_address__quota", "3")];
    run_with(&settings, async |world| {
        world.http_as("GET /v1/peers", "", "").await.is_refused(401, "authentication_missing");
        world
            .http_as("GET /v1/peers", "Authorization: Bearer x\r\n", "")
            .await
            .is_refused(401, "authentication_invalid");
        assert_eq!(world.http("GET /v1/peers", "", "").await.status, 200);
        world.http("GET /v1/peers", "", "").await.is_refused(429, "rate_limited");
        // The header is the client's own: without trusted proxies it changes nothing.
        world.http("GET /v1/peers", "X-Forwarded-For: 198.51.100.1\r\n", "").await.is_refused(429, "rate_limited");
    })
    .await;
}

#[tokio::test]
async fn connections_are_counted_by_address_and_by_token() {
    let settings =
        [BINDS, ("limits__connections_per_address__quota", "3"), ("limits__connections_per_token__quota", "1")];
    run_with(&settings, async |world| {
        let mut first = world.enter("alice").await;
        // The token of the test has one id.
        let mut second = world.connect().await;
        let problem = second.refused(&world.auth_frame("bob")).await;
        assert_eq!((problem.code.as_str(), problem.retry_after_s), ("rate_limited", Some(3_600)));
        assert_eq!(second.closed().await.code, Some(4429));
        let _third = world.connect().await;
        let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) =
            Client::try_connect(world.address, &[("sec-websocket-protocol", "synapse.v1")]).await
        else {
            panic!("a fourth connection was let in")
        };
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["x-error-code"]),
            (429, &"rate_limited".parse().unwrap())
        );
        world.http("GET /v1/stream", "", "").await.is_refused(429, "rate_limited");
        // Whoever is in stays in, and may renew its papers.
        first.is_alive().await;
        let (token, proof) = (world.token(), world.proof("alice", 2));
        first.accepted(&json!({"type": "refresh", "id": "r", "token": token, "proof": proof})).await;
    })
    .await;
}

#[tokio::test]
async fn limits_do_not_bind_in_development_unless_asked_to() {
    let settings = [("limits__requests_per_user__quota", "1"), ("limits__connections_per_address__quota", "1")];
    run_with(&settings, async |world| {
        assert_eq!(world.platform_mode(), Mode::Development);
        for _ in 0..3 {
            let answer = world.http("GET /v1/peers", "", "").await;
            assert_eq!((answer.status, answer.header("ratelimit")), (200, None), "{answer:?}");
        }
        let _two = (world.connect().await, world.connect().await);
    })
    .await;
}

#[tokio::test]
async fn operators_see_the_limits_and_fill_a_bucket() {
    let settings = [BINDS, ("limits__requests_per_user__quota", "1")];
    run_with(&settings, async |world| {
        let admin = world.host.serve_admin().await.unwrap();
        assert_eq!(world.http("GET /v1/peers", "", "").await.status, 200);
        world.http("GET /v1/peers", "", "").await.is_refused(429, "rate_limited");
        let one = admin_json(admin, "GET /limits/requests_per_user").await;
        assert_eq!((&one["calls"]["allowed"], &one["calls"]["blocked"]), (&json!(1), &json!(1)), "{one}");
        admin_json(admin, "POST /limits/requests_per_user/reset?key=acme/ada").await;
        assert_eq!(world.http("GET /v1/peers", "", "").await.status, 200);
    })
    .await;
}

async fn admin_json(address: SocketAddr, line: &str) -> Value {
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let answer = crate::client::raw(address, &request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

const PAGE: (&str, &str) = ("allowed_origins", r#"["https://app.example.com"]"#);
const PREFLIGHT: &str = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";

async fn from(world: &World, line: &str, origin: &str, more: &str) -> Answer {
    world.http_as(line, &format!("Origin: {origin}\r\n{more}"), "").await
}

#[tokio::test]
async fn pages_of_known_origins_may_call_and_others_may_not() {
    run_with(&[PAGE], async |world| {
        let good = "https://app.example.com";
        let answer = from(world, "OPTIONS /v1/subscriptions", good, PREFLIGHT).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(good)), "{answer:?}");
        assert!(answer.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(answer.head.contains("vary: origin"), "{answer:?}");
        let bearer = format!("Authorization: Bearer {}\r\n", world.token());
        let answer = from(world, "GET /v1/peers", good, &bearer).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(good)));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("ratelimit"));
        let answer = from(world, "GET /v1/nothing", good, "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, Some(good)), "errors too");
        for bad in ["https://app.example.com.evil.test", "http://app.example.com", "null", "https://APP.example.com"] {
            let answer = from(world, "OPTIONS /v1/subscriptions", bad, PREFLIGHT).await;
            answer.is_refused(403, "forbidden");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
            let answer = from(world, "GET /v1/peers", bad, &bearer).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{answer:?}");
            assert_eq!(answer.header("vary"), Some("origin"));
        }
        let answer = world.http("GET /v1/peers", "", "").await;
        assert_eq!(answer.header("vary"), Some("origin"), "a cache must not mix them up");
        // An OPTIONS that is no preflight is a method like any other.
        world.http("OPTIONS /v1/peers", "", "").await.is_refused(405, "method_not_allowed");
    })
    .await;
}

#[tokio::test]
async fn a_strange_page_can_not_use_a_users_cookie() {
    run_with(&[PAGE], async |world| {
        let cookie = format!("Cookie: synapse_token={}\r\n", world.token());
        let line = "POST /v1/tickets";
        from(world, line, "https://evil.test", &cookie).await.is_refused(403, "forbidden");
        assert_eq!(from(world, line, "https://app.example.com", &cookie).await.status, 201);
        // The page that the gateway itself serves; the test's Host is x.
        assert_eq!(from(world, line, "http://x", &cookie).await.status, 201);
        assert_eq!(world.http_as(line, &cookie, "").await.status, 201, "no browser");
        let bearer = format!("Authorization: Bearer {}\r\n", world.token());
        assert_eq!(from(world, line, "https://evil.test", &bearer).await.status, 201, "who has the token may use it");
    })
    .await;
}

#[tokio::test]
async fn answers_tell_browsers_to_be_careful() {
    run(async |world| {
        for line in ["GET /v1/peers", "GET /v1/nothing", "GET /v1/../x"] {
            let answer = world.http(line, "", "").await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
            assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_lets_callers_pass_or_not_as_configured() {
    for (mode, status) in [("open", 200), ("closed", 503)] {
        let settings = [BINDS, ("limits__when_unknown", mode)];
        run_with(&settings, async |world| {
            // A bucket that can't be read is a store that does not help.
            let broken = store::Item::new(store::Key::new("limit#requests_per_user#acme/ada", "bucket"), 1, "[]");
            world.store().put(broken, store::Condition::Any).await.unwrap();
            let answer = world.http("GET /v1/peers", "", "").await;
            assert_eq!(answer.status, status, "{mode}: {answer:?}");
            if status == 503 {
                answer.is_refused(503, "unavailable");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        })
        .await;
    }
}
