//! The public API as a customer speaks it: routes, problems, headers, frames.

mod billing;
mod http;
mod socket;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use clock::{Clock, Entropy};
use contracts::frames::ServerFrame;
use contracts::http::Problem;
use contracts::requests::presence::{PeerPage, PeerView};
use contracts::requests::subscription::{ProofIssued, SubscriptionView};
use jsonschema::Validator;
use reqwest::{Method, RequestBuilder};
use schemars::JsonSchema;
use serde_json::Value;

use super::book::{Book, Offence, Promise, Sort, short};
use super::{Limits, Stripe};
use crate::contract::schemas;

/// Calls about one thing that may go unanswered before it is not asked about any more.
const MAX_SILENCES: u32 = 2;

/// The gateway and a token for it.
#[derive(Clone, Debug)]
pub struct Public {
    client: reqwest::Client,
    gateway: String,
    token: String,
}

/// Every promise of the public API.
pub(super) fn promises() -> Vec<Promise> {
    let http =
        ["problem", "GET /v1/peers", "GET /v1/peers/{id}", "POST /v1/subscriptions", "GET /v1/subscriptions/{id}"];
    let http = http.into_iter().chain(["POST /v1/subscriptions/{id}/verify", "GET /v1/ws"]);
    let frames = ["hello", "outcome", "auth", "ping", "presence", "session", "signal", "closing"];
    http.map(|name| Promise::new(Sort::Http, name))
        .chain(billing::promises())
        .chain(frames.into_iter().map(|name| Promise::new(Sort::Frame, name)))
        .collect()
}

/// Everything that a customer may see, as schemas.
pub(super) struct Forms {
    problem: Validator,
    page: Validator,
    peer: Validator,
    subscription: Validator,
    proof: Validator,
    frame: Validator,
}

impl Forms {
    /// Compiles them.
    pub(super) fn new() -> Self {
        Self {
            problem: form::<Problem>(),
            page: form::<PeerPage>(),
            peer: form::<PeerView>(),
            subscription: form::<SubscriptionView>(),
            proof: form::<ProofIssued>(),
            frame: form::<ServerFrame>(),
        }
    }
}

fn form<T: JsonSchema>() -> Validator {
    jsonschema::validator_for(&schemars::schema_for!(T).to_value()).expect("schemas of our own types compile")
}

/// What the scenarios of the public part share.
pub(super) struct Visit<'a> {
    pub(super) public: &'a Public,
    pub(super) book: &'a Book,
    pub(super) stripe: Option<&'a Stripe>,
    pub(super) limits: Limits,
    pub(super) clock: &'a Clock,
    pub(super) entropy: &'a Entropy,
    /// Begins every name that the run makes up.
    pub(super) name: &'a str,
    pub(super) forms: Forms,
    /// What has to be canceled at the end.
    pub(super) open: &'a Mutex<Open>,
    /// Calls that were not answered, by what they were about.
    pub(super) silences: Mutex<BTreeMap<String, u32>>,
}

/// What was bought and is not canceled.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Subscriptions at Stripe.
    ids: Vec<String>,
    /// The Idempotency-Key and the order of what is being bought, until the answer is there.
    order: Option<(String, Value)>,
}

/// Subscriptions at Stripe that a visit left, whose order it may have been interrupted at.
pub(super) async fn left(visit: &Visit<'_>, open: Open) -> Vec<String> {
    let Open { mut ids, order } = open;
    if let Some((key, order)) = order {
        ids.extend(http::ordered(visit, &key, &order).await);
    }
    ids
}

/// Visits the API.
pub(super) async fn check(visit: &Visit<'_>) {
    http::check(visit).await;
    billing::check(visit).await;
    socket::check(visit).await;
    match http::buy(visit).await {
        Some(bought) => {
            if let Some(stripe) = visit.stripe {
                billing::live(visit, &bought, &stripe.price).await;
            }
            socket::live(visit, &bought).await;
            http::cancel(visit, &bought).await;
        }
        None => {
            let why = match visit.stripe {
                None => super::subscriptions::WOULD_CHARGE,
                Some(_) => "needs a subscription, and none could be bought: see POST /v1/subscriptions",
            };
            for promise in ["presence", "session", "signal"] {
                visit.book.untestable(&Promise::new(Sort::Frame, promise), "with a proof", why);
            }
        }
    }
}

/// An answer of the API.
pub(super) struct Answered {
    status: u16,
    content_type: String,
    headers: reqwest::header::HeaderMap,
    body: Value,
    text: String,
}

impl Public {
    /// A customer of the gateway at `http://host:port`.
    ///
    /// # Errors
    /// An address that is none.
    pub fn try_new(gateway: &str, token: &str) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(gateway).map_err(|error| anyhow::anyhow!("--gateway {gateway}: {error}"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "--gateway {gateway}: use http://host:port");
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, gateway: gateway.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.gateway))
    }

    fn socket_url(&self) -> String {
        format!("{}/v1/ws", self.gateway.replacen("http", "ws", 1))
    }
}

impl Visit<'_> {
    /// Sends a request with the token.
    async fn call(
        &self,
        method: Method,
        path: &str,
        change: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answered, Offence> {
        let request = self.public.request(method, path).bearer_auth(&self.public.token);
        self.send(change(request)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answered, Offence> {
        let (client, request) = request.timeout(self.limits.patience * 2).build_split();
        let request = request.map_err(|error| Offence::new("a request that can be sent", error.to_string()))?;
        // `/v1/subscriptions/…`: what hangs there may be fine elsewhere.
        let about = request.url().path().split('/').nth(2).unwrap_or_default().to_owned();
        let silences = || self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        if silences().get(&about).is_some_and(|count| *count >= MAX_SILENCES) {
            let why = format!("the gateway did not answer about {about} before; not asked again");
            return Err(Offence::unasked("an answer of the gateway", why));
        }
        self.clock.sleep(self.limits.interval()).await;
        let failed = |error: reqwest::Error| {
            *silences().entry(about.clone()).or_default() += 1;
            let why = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Offence::new("an answer of the gateway", format!("none: {error}{why}"))
        };
        let response = client.execute(request).await.map_err(failed)?;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, content_type) = (response.status().as_u16(), header("content-type").to_owned());
        let headers = response.headers().clone();
        let text = response.text().await.map_err(failed)?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Answered { status, content_type, headers, body, text })
    }

    fn unique(&self, what: &str) -> String {
        format!("{}-{what}-{:08x}", self.name, self.entropy.next_u64() as u32)
    }
}

impl Answered {
    /// A problem of this status and code, whole.
    fn problem(&self, forms: &Forms, status: u16, code: &str) -> Result<(), Offence> {
        let expected = format!("{status} application/problem+json {code}");
        let got =
            format!("{} {} {}", self.status, self.content_type, self.body["code"].as_str().unwrap_or("without a code"));
        if got != expected {
            return Err(Offence::new(expected, got).with(&self.text));
        }
        if self.body["status"] != status {
            return Err(Offence::new(format!("`status` {status} in the body"), self.body["status"].to_string()));
        }
        self.fits(&forms.problem, "a problem as RFC 9457 and the docs have it")
    }

    /// A body of this status and schema.
    fn good(&self, form: &Validator, status: u16) -> Result<(), Offence> {
        if self.status != status {
            return Err(Offence::new(format!("status {status}"), self.status.to_string()).with(&self.text));
        }
        if !self.content_type.starts_with("application/json") {
            return Err(Offence::new("application/json", format!("{:?}", self.content_type)));
        }
        self.fits(form, "a body that fits its schema")
    }

    fn fits(&self, form: &Validator, expected: &str) -> Result<(), Offence> {
        schemas::check(form, &self.body).map_err(|broken| Offence::new(expected, broken).with(short(&self.text, 600)))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
