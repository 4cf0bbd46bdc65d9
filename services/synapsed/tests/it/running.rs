//! The fleet inside the test's process, on free ports and a folder of its own.

use std::path::Path;

use aws_lc_rs::hmac;
use clock::{Clock, Entropy};
use reqwest::Response;
use serde_json::{Value, json};
use stripe_emulator::StripeEmulator;
use synapsed::Fleet;
use synapsed::development::{PRICE, Secrets, start_stripe};
use synapsed::fleet::{Overrides, Settings};
use tempfile::TempDir;

use crate::child::PATIENCE;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) struct Running {
    pub(crate) secrets: Secrets,
    pub(crate) stripe: StripeEmulator,
    pub(crate) http: reqwest::Client,
    fleet: Fleet,
    _folder: TempDir,
}

/// `SYNAPSE_<key>`, as environment variables are written.
pub(crate) fn set(overrides: &mut Overrides, key: &str, value: &str) {
    let name = format!("SYNAPSE_{key}");
    overrides.retain(|(known, _)| *known != name);
    overrides.push((name, value.to_owned()));
}

impl Running {
    /// `change` sees the development settings before the start, and the folder.
    pub(crate) async fn start(change: impl FnOnce(&mut Overrides, &Path)) -> Self {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::generate(&entropy);
        let stripe = start_stripe(&clock, &entropy).await.unwrap();
        let mut overrides = secrets.overrides(stripe.base_url());
        for (key, value) in [
            ("PLATFORM__STORE", format!("sqlite:{}", folder.path().join("data").display())),
            ("PLATFORM__HTTP_LISTEN", "127.0.0.1:0".into()),
            ("PLATFORM__ADMIN__LISTEN", "127.0.0.1:0".into()),
        ] {
            set(&mut overrides, key, &value);
        }
        change(&mut overrides, folder.path());
        let fleet = Fleet::start(Settings::load(&overrides).unwrap()).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { secrets, stripe, http, fleet, _folder: folder }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.fleet.public)
    }

    pub(crate) fn bus(&self) -> bus::Bus {
        self.fleet.bus()
    }

    pub(crate) fn token(&self) -> String {
        self.secrets.token(&Clock::system(), &Entropy::system()).unwrap()
    }

    /// Has the emulator send its webhooks here.
    pub(crate) async fn point_webhooks(&self) {
        self.secrets.point_webhooks(self.stripe.base_url(), self.fleet.public).await.unwrap();
    }

    /// Has the emulator lose every webhook from now on.
    pub(crate) async fn lose_webhooks(&self) {
        let url = format!("{}/_emulator/delivery", self.stripe.base_url());
        let answer = self.http.post(url).json(&json!({"drop_every": 1})).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    pub(crate) fn admin(&self) -> std::net::SocketAddr {
        self.fleet.admin
    }

    /// `POST /v1/subscriptions`, within the trace of `traceparent`.
    pub(crate) async fn create(&self, key: &str, traceparent: &str) -> Response {
        let request = self.http.post(self.url("/v1/subscriptions")).bearer_auth(self.token());
        let request = request.header("idempotency-key", key).header("traceparent", traceparent);
        request.json(&json!({"price_id": PRICE, "email": "ada@example.com"})).send().await.unwrap()
    }

    /// `POST /stripe/webhook`, signed with `secret` now.
    pub(crate) async fn webhook(&self, secret: &str, event: &Value, traceparent: &str) -> Response {
        let body = event.to_string();
        let time_s = Clock::system().now_ms() / 1_000;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{time_s}.{body}").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self.http.post(self.url("/stripe/webhook")).header("traceparent", traceparent);
        request.header("stripe-signature", format!("t={time_s},v1={tag}")).body(body).send().await.unwrap()
    }

    /// A proof of a peer under the subscription that `key` buys.
    pub(crate) async fn proof(&self, key: &str, peer: &str) -> String {
        let created: Value = self.create(key, TRACE).await.json().await.unwrap();
        let id = created["subscription_id"].as_str().unwrap();
        let url = self.url(&format!("/v1/subscriptions/{id}/verify"));
        testkit::eventually(PATIENCE, "the subscription to become active", async || {
            let request = self.http.post(&url).bearer_auth(self.token()).json(&json!({"peer_id": peer}));
            let body: Value = request.send().await.unwrap().json().await.unwrap();
            body["proof"].as_str().map(str::to_owned).ok_or(body.to_string())
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.fleet.drain().await;
        self.stripe.shutdown().await;
    }
}
