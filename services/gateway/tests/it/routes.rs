//! Every route: who may call it, what it asks of whom, what it answers.

use auth::{Role, SigningKey, TokenMinter};
use contracts::requests::presence::{ListV1, LookupV1};
use contracts::requests::subscription::{
    CancelV1, ChangePlanV1, CheckPlansV1, CreateCheckoutV1, CreatePortalV1, CreateV1, GetV1,
    ListV1 as ListSubscriptionsV1, ResumeV1, VerifyV1,
};
use contracts::{Answer, Failure, Request};
use serde_json::{Value, json};

use crate::harness::{SECRET, run, run_alone};

const JSON: &str = "Content-Type: application/json\r\n";
const CREATE: &str = r#"{"price_id":"price_team_monthly"}"#;
const VERIFY: &str = r#"{"peer_id":"alice"}"#;

const KEYED: &str = "Content-Type: application/json\r\nIdempotency-Key: k-1\r\n";
const CHECKOUT: &str = r#"{"price_id":"p","success_url":"https://a.example/ok","cancel_url":"https://a.example/no"}"#;

/// Request line, headers, body of a good call of each route.
const ROUTES: [(&str, &str, &str); 13] = [
    ("POST /v1/subscriptions", KEYED, CREATE),
    ("GET /v1/subscriptions", "", ""),
    ("POST /v1/subscriptions/checkout", KEYED, CHECKOUT),
    ("POST /v1/subscriptions/portal", JSON, r#"{"return_url":"https://a.example/"}"#),
    ("POST /v1/subscriptions/sub-01/plan", KEYED, r#"{"price_id":"price_gold"}"#),
    ("POST /v1/subscriptions/sub-01/cancel", JSON, r#"{"at_period_end":true}"#),
    ("POST /v1/subscriptions/sub-01/resume", "", ""),
    ("GET /v1/plans", "", ""),
    ("GET /v1/subscriptions/sub-01", "", ""),
    ("POST /v1/subscriptions/sub-01/verify", JSON, VERIFY),
    ("GET /v1/subscriptions/sub-01/usage", "", ""),
    ("GET /v1/peers", "", ""),
    ("GET /v1/peers/alice", "", ""),
];

/// Routes that make something answer so.
fn status_of(line: &str) -> u16 {
    match line {
        "POST /v1/subscriptions" | "POST /v1/subscriptions/checkout" | "POST /v1/subscriptions/portal" => 201,
        _ => 200,
    }
}

#[tokio::test]
async fn no_route_is_open_without_a_good_token() {
    run(async |world| {
        let secret = || SECRET.to_owned().into();
        let grant = |ttl_ms| auth::Grant {
            tenant: "acme".parse().unwrap(),
            user: "ada".parse().unwrap(),
            role: Role::User,
            ttl_ms,
            token_id: "t".into(),
        };
        let now_ms = world.clock.now_ms();
        let mint = |issuer, audience| {
            TokenMinter::hs256(issuer, audience, "hs-1", secret()).unwrap().mint(&grant(60_000), now_ms)
        };
        let good = mint("synapse", "synapse-gateway");
        let old = TokenMinter::hs256("synapse", "synapse-gateway", "hs-1", secret()).unwrap();
        let stranger = SigningKey::from_seed("hs-1", &[1; 32]).unwrap();
        let cases = [
            (String::new(), "authentication_missing"),
            ("Authorization: Basic YTpi\r\n".into(), "authentication_missing"),
            ("Authorization: Bearer nonsense\r\n".into(), "authentication_invalid"),
            (format!("Authorization: Bearer {good}A\r\n"), "authentication_invalid"),
            (format!("Authorization: Bearer {}\r\n", mint("synapse", "elsewhere")), "authentication_invalid"),
            (format!("Authorization: Bearer {}\r\n", mint("elsewhere", "synapse-gateway")), "authentication_invalid"),
            (
                format!("Authorization: Bearer {}\r\n", old.mint(&grant(60_000), now_ms - 3_600_000)),
                "authentication_expired",
            ),
            (
                format!(
                    "Authorization: Bearer {}\r\n",
                    TokenMinter::eddsa("synapse", "synapse-gateway", stranger).mint(&grant(60_000), now_ms)
                ),
                "authentication_invalid",
            ),
            (format!("Authorization: Bearer {}\r\n", world.proof("alice", 2)), "authentication_invalid"),
        ];
        for (line, headers, body) in ROUTES {
            for (token, code) in &cases {
                let answer = world.http_as(line, &format!("{token}{headers}"), body).await;
                answer.is_refused(401, code);
                let challenge = answer.header("www-authenticate").unwrap();
                assert!(challenge.starts_with("Bearer realm=\"synapse\""), "{challenge}");
                // A request without a token is told no error (RFC 6750 §3).
                let is_told = challenge.contains(", error=\"invalid_token\", error_description=\"");
                assert_eq!(is_told, *code != "authentication_missing", "{challenge}");
                assert!(!answer.body.contains(&good), "{answer:?}");
            }
        }
        assert_eq!(world.doubles.asked(), 0, "nobody behind the gateway was bothered");
        // The same by cookie as by header.
        let answer = world.http_as("GET /v1/peers", &format!("Cookie: a=b; synapse_token={good}\r\n"), "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_may_only_read_writes_nothing() {
    run(async |world| {
        let token = world.token_of("acme", "ada", Role::ReadOnly, 60_000);
        for (line, headers, body) in ROUTES {
            let answer = world.http_as(line, &format!("Authorization: Bearer {token}\r\n{headers}"), body).await;
            if line.starts_with("POST") {
                answer.is_refused(403, "forbidden");
            } else {
                assert_eq!(answer.status, 200, "{line}: {answer:?}");
            }
        }
        let reads = ROUTES.iter().filter(|(line, ..)| line.starts_with("GET")).count();
        assert_eq!(world.doubles.asked(), reads);
    })
    .await;
}

#[tokio::test]
async fn each_route_asks_its_owner_for_the_tokens_tenant_and_user() {
    run(async |world| {
        for (line, headers, body) in ROUTES {
            let answer = world.http(line, headers, body).await;
            let created = line == "POST /v1/subscriptions";
            assert_eq!(answer.status, status_of(line), "{line}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert!(answer.header("x-request-id").is_some() && answer.header("x-correlation-id").is_some());
            if created {
                assert_eq!(answer.header("location"), Some("/v1/subscriptions/sub-01"));
            }
        }
        let doubles = &world.doubles;
        for seen in [
            doubles.seen::<ListSubscriptionsV1>(),
            doubles.seen::<CreateCheckoutV1>(),
            doubles.seen::<CreatePortalV1>(),
            doubles.seen::<ChangePlanV1>(),
            doubles.seen::<CancelV1>(),
            doubles.seen::<ResumeV1>(),
        ] {
            assert_eq!((seen[0].tenant.as_str(), &seen[0].body["user_id"]), ("acme", &json!("ada")), "{seen:?}");
            assert!(seen[0].body["is_admin"] != json!(true), "{seen:?}");
        }
        let change = &doubles.seen::<ChangePlanV1>()[0].body;
        assert_eq!((&change["subscription_id"], &change["idempotency_key"]), (&json!("sub-01"), &json!("k-1")));
        let create = doubles.seen::<CreateV1>().remove(0);
        assert_eq!(create.tenant, "acme");
        let expected = json!({"user_id": "ada", "price_id": "price_team_monthly", "idempotency_key": "k-1"});
        assert_eq!(create.body, expected);
        assert_eq!(doubles.seen::<GetV1>()[0].body, json!({"subscription_id": "sub-01"}));
        let verify = json!({"subscription_id": "sub-01", "peer_id": "alice", "user_id": "ada"});
        assert_eq!(doubles.seen::<VerifyV1>()[0].body, verify);
        assert_eq!(doubles.seen::<ListV1>()[0].body, json!({"limit": 50}));
        assert_eq!(doubles.seen::<LookupV1>()[0].body, json!({"peer_id": "alice"}));
    })
    .await;
}

#[tokio::test]
async fn a_page_is_asked_for_by_limit_and_token() {
    run(async |world| {
        world.http("GET /v1/peers?limit=7&after=abc", "", "").await;
        assert_eq!(world.doubles.seen::<ListV1>()[0].body, json!({"limit": 7, "after": "abc"}));
        for query in ["limit=seven", "limit=-1", "page=2"] {
            let problem = world.http(&format!("GET /v1/peers?{query}"), "", "").await;
            let problem = problem.is_refused(400, "validation_failed");
            assert_eq!(problem.violations[0].field, "query");
        }
    })
    .await;
}

#[tokio::test]
async fn creating_needs_an_idempotency_key_that_fits() {
    run(async |world| {
        world.http("POST /v1/subscriptions", JSON, CREATE).await.is_refused(400, "idempotency_key_missing");
        for key in ["", "a b", "ä", &"k".repeat(256)] {
            let headers = format!("{JSON}Idempotency-Key: {key}\r\n");
            let answer = world.http("POST /v1/subscriptions", &headers, CREATE).await;
            let problem = answer.is_refused(400, "validation_failed");
            assert_eq!(problem.violations[0].field, "Idempotency-Key");
        }
        assert_eq!(world.doubles.asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_by_field() {
    run(async |world| {
        let (line, key) = ("POST /v1/subscriptions", "Idempotency-Key: k-1\r\n");
        for (body, field) in [
            ("{}", "price_id"),
            (r#"{"price_id":7}"#, "price_id"),
            (r#"{"price_id":"p","colour":"red"}"#, "colour"),
            (r#"{"price_id":"p","metadata":{"a":1}}"#, "metadata.a"),
            ("7", "body"),
        ] {
            let problem = world.http(line, &format!("{JSON}{key}"), body).await.is_refused(400, "validation_failed");
            assert_eq!(problem.violations[0].field, field, "{body}: {problem:?}");
        }
        for (body, word) in [("", "EOF"), ("{", "EOF"), ("nonsense", "line 1"), (r#"{"price_id":"p"} x"#, "trailing")] {
            let problem = world.http(line, &format!("{JSON}{key}"), body).await.is_refused(400, "malformed_request");
            assert!(problem.detail.as_ref().is_some_and(|detail| detail.contains(word)), "{body}: {problem:?}");
        }
        for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/jsonp\r\n"] {
            world.http(line, &format!("{kind}{key}"), CREATE).await.is_refused(415, "unsupported_media_type");
        }
        let charset = format!("Content-Type: Application/JSON; charset=utf-8\r\n{key}");
        assert_eq!(world.http(line, &charset, CREATE).await.status, 201);
        let verify = world.http("POST /v1/subscriptions/sub-01/verify", JSON, r#"{"peer_id":"a b"}"#).await;
        assert_eq!(verify.is_refused(400, "validation_failed").violations[0].field, "peer_id");
    })
    .await;
}

#[tokio::test]
async fn an_id_in_the_path_must_be_one() {
    run(async |world| {
        for line in ["GET /v1/peers/a%20b", "GET /v1/subscriptions/a.b", &format!("GET /v1/peers/{}", "a".repeat(101))]
        {
            let problem = world.http(line, "", "").await.is_refused(400, "validation_failed");
            assert_eq!(problem.violations[0].field, "id");
        }
        world.http("GET /v1/peers/%ff", "", "").await.is_refused(400, "malformed_request");
        assert_eq!(world.doubles.asked(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_is_shown_to_its_owner_and_to_admins() {
    run(async |world| {
        let get = async |user: &str, role| {
            let token = world.token_of("acme", user, role, 60_000);
            let line = "GET /v1/subscriptions/sub-01";
            world.http_as(line, &format!("Authorization: Bearer {token}\r\n"), "").await
        };
        assert_eq!(get("ada", Role::User).await.status, 200);
        assert_eq!(get("root", Role::Admin).await.status, 200);
        get("eve", Role::User).await.is_refused(404, "not_found");
    })
    .await;
}

#[tokio::test]
async fn administrators_act_for_their_tenant_and_others_do_not() {
    run(async |world| {
        let call = async |role, line: &str, headers: &str, body: &str| {
            let token = world.token_of("acme", "root", role, 60_000);
            world.http_as(line, &format!("Authorization: Bearer {token}\r\n{headers}"), body).await
        };
        for line in ["GET /v1/subscriptions?all=true", "GET /v1/subscriptions?user_id=ada", "POST /v1/plans/check"] {
            call(Role::User, line, "", "").await.is_refused(403, "forbidden");
            assert_eq!(call(Role::Admin, line, "", "").await.status, 200, "{line}");
        }
        let asked = world.doubles.seen::<ListSubscriptionsV1>();
        assert_eq!(asked[0].body, json!({"limit": 50}));
        assert_eq!(asked[1].body, json!({"limit": 50, "user_id": "ada"}));
        assert_eq!(world.doubles.seen::<CheckPlansV1>().len(), 1);
        call(Role::User, "GET /v1/subscriptions?status=activ", "", "").await.is_refused(400, "validation_failed");
        let cancel = r#"{"at_period_end":false}"#;
        for (role, is_admin) in [(Role::User, false), (Role::Admin, true)] {
            call(role, "POST /v1/subscriptions/sub-01/cancel", JSON, cancel).await;
            let seen = world.doubles.seen::<CancelV1>().pop().unwrap().body;
            assert_eq!((&seen["user_id"], &seen["is_admin"]), (&json!("root"), &json!(is_admin)));
        }
    })
    .await;
}

#[tokio::test]
async fn who_has_to_act_for_the_bank_is_told_how() {
    run(async |world| {
        let refusal = CreateV1::refusals().pop().unwrap();
        world.doubles.script::<CreateV1>(&Answer::Refused(refusal));
        let answer = world.http("POST /v1/subscriptions", KEYED, CREATE).await;
        let problem = answer.is_refused(402, "payment_action_required");
        assert_eq!(problem.members["subscription_id"], "sub-01");
        assert!(problem.members["payment"]["client_secret"].as_str().unwrap().starts_with("pi_"));
        assert!(problem.members["payment"]["hosted_invoice_url"].as_str().unwrap().starts_with("https://"));
    })
    .await;
}

#[tokio::test]
async fn a_call_and_what_it_causes_share_ids_and_trace() {
    run(async |world| {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let headers = format!(
            "X-Correlation-ID: order-77\r\nX-Request-ID: req-1\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n"
        );
        let answer = world.http("GET /v1/peers", &headers, "").await;
        assert_eq!(answer.header("x-correlation-id"), Some("order-77"));
        assert_eq!(answer.header("x-request-id"), Some("req-1"));
        let trail = world.doubles.seen::<ListV1>().remove(0).trail;
        assert_eq!(trail.correlation_id, "order-77");
        assert!(trail.traceparent.is_some_and(|parent| parent.split('-').nth(1) == Some(trace)));
        // Without the caller's ids the gateway makes its own, and ids that are none are not taken over.
        let answer = world.http("GET /v1/peers", "X-Correlation-ID: a b<script>\r\n", "").await;
        let trail = world.doubles.seen::<ListV1>().remove(1).trail;
        assert_eq!(answer.header("x-correlation-id"), Some(trail.correlation_id.as_str()));
        assert!(!trail.correlation_id.contains('<'));
        let refused = world.http("GET /v1/peers?limit=x", "X-Correlation-ID: order-78\r\n", "").await.problem();
        assert_eq!(refused.correlation_id, "order-78");
    })
    .await;
}

#[tokio::test]
async fn without_anybody_to_answer_the_caller_may_try_again() {
    run_alone(async |world| {
        for (line, headers, body) in ROUTES {
            let answer = world.http(line, headers, body).await;
            answer.is_refused(503, "unavailable");
            assert_eq!(answer.header("retry-after"), Some("1"), "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_failure_says_whether_and_when_to_try_again() {
    run(async |world| {
        let fail = |retryable, retry_after_ms| {
            let message = "the store rests".to_owned();
            world.doubles.script::<ListV1>(&Answer::Failed(Failure { retryable, message, retry_after_ms }));
        };
        for (wait_ms, header) in [(None, "1"), (Some(0), "1"), (Some(1), "1"), (Some(2_500), "3")] {
            fail(true, wait_ms);
            let answer = world.http("GET /v1/peers", "", "").await;
            let problem = answer.is_refused(503, "unavailable");
            assert_eq!((answer.header("retry-after"), problem.retry_after_s), (Some(header), header.parse().ok()));
        }
        fail(false, None);
        let answer = world.http("GET /v1/peers", "", "").await;
        answer.is_refused(500, "internal_error");
        assert_eq!(answer.header("retry-after"), None);
    })
    .await;
}

/// So that a new refusal in the contracts shows up here.
pub(crate) fn refusals<R: Request>() -> Vec<Value> {
    R::refusals().iter().map(|refusal| serde_json::to_value(refusal).unwrap()).collect()
}
