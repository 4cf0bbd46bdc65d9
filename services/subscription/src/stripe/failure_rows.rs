//! Every way in which Stripe fails, against the emulator: what each is taken for, whether it is sent again with the same
//! key, and what there is at Stripe afterwards. One test per row.

use std::time::Duration;

use clock::{Clock, Entropy};
use serde_json::{Value, json};
use stripe_emulator::{Options, StripeEmulator};

use super::*;
use crate::config::StripeConfig;

/// What becomes of a call that meets a fault once and may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It is sent again under the same key and succeeds.
    Succeeds,
    /// It is not sent again.
    GivenUp,
    /// It is sent again, and Stripe repeats its failure for that key.
    Stuck,
}

struct Bench {
    emulator: StripeEmulator,
    stripe: Stripe,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut StripeConfig)) -> Self {
        let emulator = StripeEmulator::start(Options::default()).await.unwrap();
        let mut config = crate::config::tests::config().stripe;
        config.base_url = emulator.base_url().to_owned();
        config.request_timeout_ms = 300;
        config.backoff_ms = 1;
        config.breaker.slow_call_ms = 10_000;
        change(&mut config);
        let stripe = Stripe::try_new(config, Clock::system(), Entropy::system()).unwrap();
        Self { emulator, stripe }
    }

    async fn fault(&self, mut fault: Value) {
        fault["path"] = json!("/v1/customers");
        let url = format!("{}/_emulator/faults", self.emulator.base_url());
        let sent = client().post(url).json(&fault).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }

    async fn call(&self, key: &str) -> Result<String, StripeFailure> {
        self.stripe.create_customer(Some("ada@example.com"), BTreeMap::new(), key.into()).await
    }

    async fn get(&self, path: &str) -> Value {
        let request = client().get(format!("{}{path}", self.emulator.base_url())).bearer_auth("sk_test_looking");
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn customers(&self) -> usize {
        self.get("/v1/customers?limit=100").await["data"].as_array().unwrap().len()
    }

    async fn posts(&self) -> u64 {
        self.get("/_emulator/requests").await["by_path"]["POST /v1/customers"].as_u64().unwrap_or(0)
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// `made`: how many customers there are at Stripe after one try that met the fault.
async fn row(fault: Value, class: Class, then: Then, made: usize) {
    let once = Bench::start(|config| config.max_retries = 0).await;
    once.fault(fault.clone()).await;
    let failure = once.call("key").await.unwrap_err();
    assert_eq!(failure.class, class, "{failure}");
    assert_eq!(once.posts().await, 1);
    assert_eq!(once.customers().await, made, "after one try");
    assert!(!failure.to_string().contains("sk_test"), "{failure}");

    let retrying = Bench::start(|config| config.max_retries = 2).await;
    retrying.fault(fault).await;
    let outcome = retrying.call("key").await;
    let posts = retrying.posts().await;
    match then {
        Then::Succeeds => assert_eq!((outcome.is_ok(), posts, retrying.customers().await), (true, 2, 1), "{outcome:?}"),
        Then::GivenUp => assert_eq!((outcome.unwrap_err().class, posts), (class, 1)),
        Then::Stuck => {
            let failure = outcome.unwrap_err();
            assert!(failure.is_stuck() && failure.class == class, "{failure:?}");
            assert_eq!((posts, retrying.customers().await), (2, made));
        }
    }
}

macro_rules! rows {
    ($($name:ident: $fault:tt => $class:ident, $then:ident, $made:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            row(json!($fault), Class::$class, Then::$then, $made).await;
        })+
    };
}

rows! {
    no_answer_to_a_lost_request: {"kind": "timeout", "delay_ms": 2_000} => Timeout, Succeeds, 0;
    no_answer_to_a_request_that_took_effect: {"kind": "timeout", "stage": "after", "delay_ms": 2_000} => Timeout, Succeeds, 1;
    a_body_that_does_not_end: {"kind": "drip", "delay_ms": 2_000} => SlowBody, Succeeds, 1;
    a_body_that_is_cut: {"kind": "cut"} => Lost, Succeeds, 1;
    a_connection_that_breaks_before: {"kind": "reset"} => Lost, Succeeds, 0;
    a_connection_that_breaks_after: {"kind": "reset", "stage": "after"} => Lost, Succeeds, 1;
    a_proxys_page: {"kind": "html"} => Html, Succeeds, 0;
    a_proxys_page_instead_of_the_answer: {"kind": "html", "stage": "after", "status": 504} => Html, Succeeds, 1;
    a_firewalls_page: {"kind": "html", "status": 403} => Html, Succeeds, 0;
    a_bad_request: {"kind": "error", "status": 400} => Invalid, GivenUp, 0;
    a_bad_request_that_stripe_says_to_retry: {"kind": "error", "status": 400, "should_retry": true} => Invalid, Succeeds, 0;
    a_wrong_key: {"kind": "error", "status": 401} => Unauthorized, GivenUp, 0;
    a_refused_card: {"kind": "error", "status": 402} => Card, GivenUp, 0;
    a_key_without_the_right: {"kind": "error", "status": 403} => Invalid, GivenUp, 0;
    nothing_there: {"kind": "error", "status": 404} => NotFound, GivenUp, 0;
    a_busy_object: {"kind": "error", "status": 409} => Busy, Succeeds, 0;
    too_many_requests: {"kind": "error", "status": 429} => RateLimited, Succeeds, 0;
    too_many_requests_for_a_second: {"kind": "error", "status": 429, "retry_after_s": 1} => RateLimited, Succeeds, 0;
    too_many_requests_for_a_minute: {"kind": "error", "status": 429, "retry_after_s": 60} => RateLimited, GivenUp, 0;
    stripes_own_trouble_before: {"kind": "error", "status": 500} => Server, Stuck, 0;
    stripes_own_trouble_after: {"kind": "error", "status": 500, "stage": "after"} => Server, Stuck, 1;
    stripes_maintenance: {"kind": "error", "status": 503} => Server, Stuck, 0;
    trouble_that_stripe_says_not_to_retry: {"kind": "error", "status": 500, "should_retry": false} => Server, GivenUp, 0;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_means_nothing_was_sent() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::start(|config| {
        config.base_url = format!("http://{closed}");
        config.max_retries = 2;
    })
    .await;
    let failure = bench.call("key").await.unwrap_err();
    assert_eq!((failure.class, failure.may_retry()), (Class::Connect, true), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_used_for_something_else() {
    let bench = Bench::start(|_| {}).await;
    bench.call("key").await.unwrap();
    let other = bench.stripe.create_customer(None, BTreeMap::new(), "key".into()).await.unwrap_err();
    assert!(other.class == Class::Mismatch && other.is_stuck() && !other.may_retry(), "{other:?}");
    assert_eq!((bench.posts().await, bench.customers().await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_and_their_time_are_bounded() {
    let bench = Bench::start(|config| config.max_retries = 2).await;
    bench.fault(json!({"kind": "error", "status": 409, "times": 99})).await;
    assert_eq!(bench.call("key").await.unwrap_err().class, Class::Busy);
    assert_eq!(bench.posts().await, 3);
    let bench = Bench::start(|config| (config.max_retries, config.total_timeout_ms) = (10, 700)).await;
    bench.fault(json!({"kind": "timeout", "delay_ms": 2_000, "times": 99})).await;
    let clock = Clock::system();
    let began = clock.monotonic();
    assert_eq!(bench.call("key").await.unwrap_err().class, Class::Timeout);
    // The last try may begin just before the end.
    assert!(clock.monotonic().saturating_sub(began) < Duration::from_millis(700 + 300 + 500));
    assert!(bench.posts().await <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_failures_in_a_row_nothing_is_sent_for_a_while() {
    let bench = Bench::start(|config| config.max_retries = 0).await;
    bench.fault(json!({"kind": "reset", "times": 99})).await;
    for number in 0..5 {
        assert_eq!(bench.call(&format!("key-{number}")).await.unwrap_err().class, Class::Lost);
    }
    let clock = Clock::system();
    let began = clock.monotonic();
    let failure = bench.call("key").await.unwrap_err();
    assert_eq!((failure.class, failure.may_retry()), (Class::NotSent, false), "{failure}");
    assert!(failure.retry_after.is_some_and(|wait| wait > Duration::from_secs(20) && wait <= Duration::from_secs(30)));
    assert!(clock.monotonic().saturating_sub(began) < Duration::from_millis(200), "at once");
    assert_eq!(bench.posts().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_do_not_open_the_breaker_and_slow_answers_do() {
    let bench = Bench::start(|config| config.max_retries = 0).await;
    bench.fault(json!({"kind": "error", "status": 402, "times": 10})).await;
    for number in 0..10 {
        assert_eq!(bench.call(&format!("key-{number}")).await.unwrap_err().class, Class::Card);
    }
    assert!(bench.call("key").await.is_ok());
    let bench = Bench::start(|config| config.breaker.slow_call_ms = 20).await;
    bench.fault(json!({"kind": "slow", "delay_ms": 60, "times": 99})).await;
    for number in 0..5 {
        assert!(bench.call(&format!("key-{number}")).await.is_ok(), "a slow answer is an answer");
    }
    assert_eq!(bench.call("key").await.unwrap_err().class, Class::NotSent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_a_turn_is_bounded_and_not_held_against_stripe() {
    let bench = Bench::start(|config| {
        (config.rate_per_endpoint, config.rate_wait_ms, config.breaker.slow_call_ms) = (20, 400, 100);
    })
    .await;
    let outcomes = futures::future::join_all((0..30).map(|number| {
        let key = format!("key-{number}");
        let bench = &bench;
        async move { bench.call(&key).await }
    }))
    .await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!((15..=23).contains(&refused.len()), "{} refused", refused.len());
    assert!(refused.iter().all(|failure| failure.class == Class::NotSent && failure.retry_after.is_some()));
    assert!(bench.call("key").await.is_ok() || bench.posts().await >= 7, "the breaker is closed");
}
