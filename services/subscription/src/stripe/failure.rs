//! Why Stripe did not do it, and whether to try again. Pure.

use std::time::Duration;

use serde_json::Value;

/// What kind of failure a call to Stripe met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// No answer in time. It may have happened.
    Timeout,
    /// The answer began and did not end in time. It may have happened.
    SlowBody,
    /// No connection: nothing was sent.
    Connect,
    /// The connection broke after the request was sent. It may have happened.
    Lost,
    /// A page of something in between, not Stripe's answer. It may have happened.
    Html,
    /// Something else that is no answer (broken JSON, a redirect). It may have happened.
    Unreadable,
    /// Stripe refuses the request as it is (400, 403).
    Invalid,
    /// There is no such object (404).
    NotFound,
    /// The key is not accepted (401).
    Unauthorized,
    /// The bank refuses the card or wants the payer to act (402).
    Card,
    /// The idempotency key was used with other parameters.
    Mismatch,
    /// The object or the idempotency key is busy (409).
    Busy,
    /// Too many requests (429).
    RateLimited,
    /// Stripe's own trouble (5xx). It may have happened.
    Server,
    /// Not sent: the breaker is open or no turn was free in time.
    NotSent,
}

impl Class {
    /// A short stable word for metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::SlowBody => "slow_body",
            Self::Connect => "connect",
            Self::Lost => "lost",
            Self::Html => "html",
            Self::Unreadable => "unreadable",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Card => "card",
            Self::Mismatch => "idempotency_mismatch",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::NotSent => "not_sent",
        }
    }

    /// Whether Stripe itself seems to be in trouble: what a breaker counts.
    pub(crate) fn is_outage(self) -> bool {
        matches!(
            self,
            Self::Timeout | Self::SlowBody | Self::Connect | Self::Lost | Self::Html | Self::Unreadable | Self::Server
        )
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_retryable(self) -> bool {
        self.is_outage() || matches!(self, Self::Busy | Self::RateLimited | Self::NotSent)
    }
}

/// A call that failed. Shows neither the secret key nor the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Stripe: {}: {message}{}", .class.name(), shown_request(.request_id.as_deref()))]
pub(crate) struct StripeFailure {
    pub(crate) class: Class,
    /// What happened, from Stripe where it said so.
    pub(crate) message: String,
    /// Stripe's code, e.g. `card_declined`.
    pub(crate) code: Option<String>,
    /// Stripe's name of this request, for their support.
    pub(crate) request_id: Option<String>,
    /// How long to wait before trying again, where known.
    pub(crate) retry_after: Option<Duration>,
    /// It is the stored answer of an earlier request with the same idempotency key: asking again gives it again.
    pub(crate) is_replay: bool,
    /// Stripe's own advice (`Stripe-Should-Retry`).
    pub(crate) should_retry: Option<bool>,
}

fn shown_request(id: Option<&str>) -> String {
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
}

impl StripeFailure {
    pub(crate) fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
            code: None,
            request_id: None,
            retry_after: None,
            is_replay: false,
            should_retry: None,
        }
    }

    /// Whether asking again under the same key can't help: Stripe replays its own trouble for as long as it keeps the
    /// key, or knows the key with other parameters.
    pub(crate) fn is_stuck(&self) -> bool {
        self.class == Class::Mismatch || self.is_replay && self.class == Class::Server
    }

    /// Whether the bank wants the payer to act (3-D Secure) rather than refusing the card.
    pub(crate) fn wants_action(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        self.class == Class::Card && (code == "authentication_required" || code.ends_with("_requires_action"))
    }

    /// Whether to send the same request with the same key again. Stripe's advice wins.
    pub(crate) fn may_retry(&self) -> bool {
        // A replayed failure stays the same for as long as Stripe keeps the key (24 hours).
        !self.is_replay && self.class != Class::NotSent && self.should_retry.unwrap_or(self.class.is_retryable())
    }
}

/// An answer's status line and the headers that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) should_retry: Option<String>,
    pub(crate) is_replay: bool,
    /// `Content-Type` names HTML.
    pub(crate) is_html: bool,
}

/// Longest message of Stripe's that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 500;

/// Tells a good answer from the kinds of failure.
pub(crate) fn classify(head: &Head, body: &[u8]) -> Result<Value, StripeFailure> {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    if parsed.is_none() && (head.is_html || body.trim_ascii_start().starts_with(b"<")) {
        let message = format!("status {} with a page of something in between", head.status);
        return Err(with_head(StripeFailure::new(Class::Html, message), head));
    }
    if (200..300).contains(&head.status) {
        let object = parsed.filter(Value::is_object);
        return object.ok_or_else(|| {
            with_head(
                StripeFailure::new(Class::Unreadable, format!("status {} without a JSON object", head.status)),
                head,
            )
        });
    }
    let error = parsed.as_ref().map_or(&Value::Null, |value| &value["error"]);
    let text = |field: &str| error[field].as_str().map(|text| text.chars().take(MAX_MESSAGE_CHARS).collect::<String>());
    let class = class_of(head.status, text("type").as_deref());
    let message = match class {
        // Stripe's own text repeats a part of the key.
        Class::Unauthorized => "the secret key is not accepted; check stripe.secret_key".to_owned(),
        _ => text("message").unwrap_or_else(|| format!("status {} without Stripe's error object", head.status)),
    };
    let message = match text("param") {
        Some(param) if class == Class::Invalid => format!("{param}: {message}"),
        _ => message,
    };
    let code = text("decline_code").or_else(|| text("code"));
    Err(with_head(StripeFailure { code, ..StripeFailure::new(class, message) }, head))
}

fn class_of(status: u16, kind: Option<&str>) -> Class {
    match (status, kind) {
        (401, _) => Class::Unauthorized,
        (402, _) => Class::Card,
        (404, _) => Class::NotFound,
        (409, _) => Class::Busy,
        (429, _) => Class::RateLimited,
        (_, Some("idempotency_error")) => Class::Mismatch,
        (500.., _) => Class::Server,
        (400..500, _) => Class::Invalid,
        // 1xx and 3xx: nothing of Stripe's.
        _ => Class::Unreadable,
    }
}

fn with_head(failure: StripeFailure, head: &Head) -> StripeFailure {
    let seconds = head.retry_after.as_deref().and_then(|text| text.trim().parse::<u64>().ok());
    StripeFailure {
        request_id: head.request_id.as_ref().map(|id| id.chars().take(100).collect()),
        retry_after: seconds.map(Duration::from_secs),
        is_replay: head.is_replay,
        should_retry: head.should_retry.as_deref().and_then(|text| text.trim().parse().ok()),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(status: u16, body: &Value) -> StripeFailure {
        classify(&Head { status, ..Head::default() }, body.to_string().as_bytes()).expect_err("a failure")
    }

    #[test]
    fn every_kind_of_failure_is_told_apart() {
        let error = |kind: &str| json!({"error": {"type": kind, "message": "m", "code": "c"}});
        for (status, kind, class, retried) in [
            (400, "invalid_request_error", Class::Invalid, false),
            (400, "idempotency_error", Class::Mismatch, false),
            (401, "invalid_request_error", Class::Unauthorized, false),
            (402, "card_error", Class::Card, false),
            (403, "invalid_request_error", Class::Invalid, false),
            (404, "invalid_request_error", Class::NotFound, false),
            (409, "idempotency_error", Class::Busy, true),
            (409, "invalid_request_error", Class::Busy, true),
            (429, "invalid_request_error", Class::RateLimited, true),
            (500, "api_error", Class::Server, true),
            (503, "api_error", Class::Server, true),
        ] {
            let found = failure(status, &error(kind));
            assert_eq!((found.class, found.may_retry()), (class, retried), "{status} {kind}");
        }
    }

    #[test]
    fn pages_of_proxies_are_told_from_answers() {
        for status in [200, 302, 403, 429, 502] {
            let head = Head { status, ..Head::default() };
            let found = classify(&head, b"\n<html><h1>Bad Gateway</h1></html>").expect_err("no JSON");
            assert_eq!((found.class, found.may_retry()), (Class::Html, true), "{status}");
            assert!(!found.message.contains("<html>"));
            let head = Head { is_html: true, ..head };
            assert_eq!(classify(&head, b"Bad Gateway").expect_err("no JSON").class, Class::Html, "{status}");
        }
        for (status, class) in [(200, Class::Unreadable), (302, Class::Unreadable), (502, Class::Server)] {
            let head = Head { status, ..Head::default() };
            assert_eq!(classify(&head, b"{\"id\":").expect_err("broken JSON").class, class, "{status}");
        }
        let head = Head { status: 200, ..Head::default() };
        assert!(classify(&head, b"[]").is_err());
        assert_eq!(classify(&head, b"{\"id\":\"sub_1\"}").expect("an object")["id"], "sub_1");
    }

    #[test]
    fn stripes_advice_wins_and_a_replay_is_never_asked_for_again() {
        let head = |status, advice: &str| Head {
            status,
            should_retry: Some(advice.to_owned()),
            retry_after: Some("7".to_owned()),
            request_id: Some("req_1".to_owned()),
            ..Head::default()
        };
        let told = |head: &Head| classify(head, b"{}").expect_err("a failure");
        assert!(!told(&head(500, "false")).may_retry());
        assert!(told(&head(400, "true")).may_retry());
        assert_eq!(told(&head(429, "true")).retry_after, Some(Duration::from_secs(7)));
        assert!(told(&head(500, "true")).to_string().contains("req_1"));
        assert!(!told(&Head { is_replay: true, ..head(500, "true") }).may_retry());
    }

    #[test]
    fn messages_name_the_parameter_are_bounded_and_never_show_a_key() {
        let param = json!({"error": {"type": "invalid_request_error", "param": "email", "message": "Invalid email"}});
        assert_eq!(failure(400, &param).message, "email: Invalid email");
        let long = json!({"error": {"message": "x".repeat(5_000)}});
        assert_eq!(failure(400, &long).message.len(), MAX_MESSAGE_CHARS);
        let key = json!({"error": {"message": "Invalid API Key provided: sk_test_51H****1234"}});
        assert!(!failure(401, &key).to_string().contains("sk_test"));
        let declined =
            json!({"error": {"code": "card_declined", "decline_code": "insufficient_funds", "message": "m"}});
        assert_eq!(failure(402, &declined).code.as_deref(), Some("insufficient_funds"));
    }

    #[test]
    fn a_payer_who_has_to_act_is_told_from_a_refused_card() {
        let with = |code: &str| failure(402, &json!({"error": {"type": "card_error", "code": code, "message": "m"}}));
        assert!(with("subscription_payment_intent_requires_action").wants_action());
        assert!(with("authentication_required").wants_action());
        assert!(!with("card_declined").wants_action());
    }
}
