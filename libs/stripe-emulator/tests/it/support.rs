use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use clock::{Clock, Entropy, ManualClock};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use stripe_emulator::{Options, SeedPrice, StripeEmulator};
use tokio::sync::mpsc;

pub(crate) const START_MS: u64 = 1_760_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()["error"].clone()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A client of one emulator.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    pub(crate) version: Option<&'static str>,
}

impl Api {
    pub(crate) fn of(emulator: &StripeEmulator) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: emulator.base_url().to_owned(), http, version: None }
    }

    pub(crate) fn at(&self, version: &'static str) -> Self {
        Self { version: Some(version), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], None).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.call("POST", path, form, None).await.unwrap()
    }

    pub(crate) async fn post_once(&self, path: &str, form: &[(&str, &str)], key: &str) -> Reply {
        self.call("POST", path, form, Some(key)).await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, &[], None).await.unwrap()
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&str>,
    ) -> reqwest::Result<Reply> {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.base));
        request = request.header("authorization", "Bearer sk_test_123");
        if let Some(version) = self.version {
            request = request.header("stripe-version", version);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if !form.is_empty() {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        finish(request).await
    }

    /// A control endpoint.
    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}/_emulator/{path}", self.base)).json(&body);
        finish(request).await.unwrap().ok()
    }

    pub(crate) async fn seen(&self, path: &str) -> Value {
        finish(self.http.get(format!("{}/_emulator/{path}", self.base))).await.unwrap().ok()
    }

    pub(crate) async fn customer(&self) -> String {
        let customer = self.post("/v1/customers", &[("email", "a@example.org")]).await.ok();
        customer["id"].as_str().unwrap().to_owned()
    }

    /// Creates a subscription to the seeded price, with more parameters.
    pub(crate) async fn subscribe(&self, customer: &str, more: &[(&str, &str)]) -> Reply {
        let mut form = vec![("customer", customer), ("items[0][price]", "price_demo")];
        form.extend_from_slice(more);
        self.post("/v1/subscriptions", &form).await
    }

    /// The types of the events so far, oldest first.
    pub(crate) async fn event_types(&self) -> Vec<String> {
        let events = self.get("/v1/events?limit=100").await.ok();
        let types = events["data"].as_array().unwrap().iter().rev();
        types.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn status_of(&self, subscription: &str) -> String {
        let found = self.get(&format!("/v1/subscriptions/{subscription}")).await.ok();
        found["status"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn finish(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Reply { status, headers, text: response.text().await? })
}

pub(crate) fn demo_price() -> SeedPrice {
    SeedPrice {
        id: "price_demo".to_owned(),
        unit_amount: 900,
        currency: "eur".to_owned(),
        interval: "month".to_owned(),
        nickname: "Demo".to_owned(),
    }
}

/// Options with the demo price and repeatable ids.
pub(crate) fn options() -> Options {
    Options { prices: vec![demo_price()], entropy: Entropy::seeded(7), ..Options::default() }
}

pub(crate) async fn start(options: Options) -> (StripeEmulator, Api) {
    let emulator = StripeEmulator::start(options).await.unwrap();
    let api = Api::of(&emulator);
    (emulator, api)
}

pub(crate) fn manual() -> (Clock, ManualClock) {
    Clock::manual(START_MS)
}

/// A webhook as it arrived.
pub(crate) struct Hook {
    pub(crate) signature: String,
    pub(crate) body: Bytes,
}

impl Hook {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn event_type(&self) -> String {
        self.event()["type"].as_str().unwrap().to_owned()
    }
}

/// A receiver of webhooks that answers what it is told to, then 200.
pub(crate) struct Receiver {
    pub(crate) url: String,
    hooks: mpsc::UnboundedReceiver<Hook>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

type Shared = (mpsc::UnboundedSender<Hook>, Arc<Mutex<VecDeque<u16>>>);

impl Receiver {
    pub(crate) async fn start() -> Self {
        let (sender, hooks) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let router = Router::new().route("/hook", post(receive)).with_state((sender, Arc::clone(&answers)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, hooks, answers }
    }

    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) async fn next(&mut self) -> Hook {
        let hook = tokio::time::timeout(PATIENCE, self.hooks.recv()).await;
        hook.expect("a webhook arrives in time").expect("the receiver runs")
    }

    pub(crate) async fn take(&mut self, count: usize) -> Vec<Hook> {
        let mut hooks = Vec::new();
        while hooks.len() < count {
            hooks.push(self.next().await);
        }
        hooks
    }

    pub(crate) fn nothing_more(&mut self) {
        assert!(self.hooks.try_recv().is_err(), "a webhook nobody expected");
    }

    /// Registers this receiver; returns the endpoint's id and secret.
    pub(crate) async fn register(&self, api: &Api, events: &[&str]) -> (String, String) {
        let mut form = vec![("url", self.url.as_str())];
        form.extend(events.iter().map(|event| ("enabled_events[]", *event)));
        let endpoint = api.post("/v1/webhook_endpoints", &form).await.ok();
        let text = |field: &str| endpoint[field].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }
}

async fn receive(State((sender, answers)): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers["stripe-signature"].to_str().unwrap().to_owned();
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    let _ = sender.send(Hook { signature, body });
    let status = answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(status).unwrap()
}

/// Asks until the answer satisfies, for at most 20 seconds; each question is a round trip over HTTP.
pub(crate) async fn eventually(api: &Api, path: &str, good: impl Fn(&Value) -> bool) -> Value {
    let mut last = json!(null);
    let asking = async {
        loop {
            last = api.seen(path).await;
            if good(&last) {
                return;
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, asking).await;
    assert!(done.is_ok(), "still not as wanted: {last:#}");
    last
}
