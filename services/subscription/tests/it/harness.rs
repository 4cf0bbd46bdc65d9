//! A running service with everything around it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bus::{Envelope, Sender, Trail};
use clock::{Clock, Entropy, ManualClock};
use contracts::events::subscription::SubscriptionEvent;
use contracts::events::webhook::{StripeSubscriptionChangedV1, WebhookEvent};
use contracts::requests::subscription::{CreateRefusal, CreateV1, GetV1, SubscriptionView, VerifyV1};
use contracts::{Answer, Contract, Fact, Request, TenantId};
use outbox::Unit;
use reqwest::Method;
use serde_json::{Value, json};
use service::config::{Sources, load};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, Platform};
use stripe_emulator::{Options, SeedPrice, StripeEmulator};
use subscription::{Config, DEFAULTS, NAME};
use testkit::contract::{Observer, On, Place, hold_to_reads};
use testkit::eventually;
use tokio::runtime::Runtime;

/// Longest any test waits for something to come true.
pub(crate) const SOON: Duration = Duration::from_secs(20);
pub(crate) const PRICE: &str = "price_team_monthly";
/// Another plan's, the same plan's by the year, and one that another tenant alone may buy.
pub(crate) const GOLD: &str = "price_gold_monthly";
pub(crate) const YEAR: &str = "price_team_yearly";
pub(crate) const FOREIGN: &str = "price_of_beta";
pub(crate) const APP: &str = "https://app.example.com";

const PLANS: &str = r#"[
  { name = "team", price_ids = { test = ["price_team_monthly", "price_team_yearly"], live = ["price_live"] }, limits = { peers = 50 } },
  { name = "gold", price_ids = { test = ["price_gold_monthly"] }, limits = { peers = 500 }, features = ["relay"] },
  { name = "own", price_ids = { test = ["price_of_beta"] }, tenants = ["beta"] },
]"#;

/// Settings on top of the defaults: `("stripe.max_retries", "0")`.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct World {
    pub(crate) stripe: StripeEmulator,
    pub(crate) service: Running,
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    clock: Clock,
    on: On,
}

/// One life of the service, from start to stop.
pub(crate) struct Running {
    pub(crate) platform: Platform,
    pub(crate) webhook: Platform,
    admin: SocketAddr,
    pub(crate) observer: Observer,
    pub(crate) place: Place,
    /// Of its own, so that it can be killed with everything that runs on it.
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    pub(crate) async fn start(settings: Settings<'_>) -> Self {
        Self::on(Clock::system(), settings, Options::default()).await
    }

    pub(crate) async fn at(now_ms: u64, settings: Settings<'_>) -> (Self, ManualClock) {
        let (clock, hand) = Clock::manual(now_ms);
        (Self::on(clock, settings, Options::default()).await, hand)
    }

    pub(crate) async fn on(clock: Clock, settings: Settings<'_>, options: Options) -> Self {
        Self::on_bus(On::Embedded, clock, settings, options).await
    }

    pub(crate) async fn on_bus(on: On, clock: Clock, settings: Settings<'_>, options: Options) -> Self {
        let price = |id: &str, unit_amount, interval: &str| SeedPrice {
            id: id.into(),
            unit_amount,
            currency: "eur".into(),
            interval: interval.into(),
            nickname: id.into(),
        };
        let prices = vec![price(PRICE, 900, "month"), price(GOLD, 2_900, "month"), price(YEAR, 9_900, "year")];
        let options = Options { prices, clock: clock.clone(), ..options };
        let stripe = StripeEmulator::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let quick = [
            ("stripe.base_url", stripe.base_url()),
            ("stripe.secret_key", "sk_test_secret_of_the_tests"),
            ("proofs.sealing_secret", "sealing-secret-of-the-tests-0123456789"),
            ("stripe.backoff_ms", "5"),
            ("stripe.request_timeout_ms", "3000"),
            ("stripe.fetch_spacing_ms", "20"),
            ("plans", PLANS),
            ("return_urls", APP),
        ];
        let settings: Vec<_> =
            quick.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let service = Running::start(on, folder.path(), &settings, clock.clone()).await;
        Self { stripe, service, folder, settings, clock, on }
    }

    /// Has another value for a setting from the next start on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// A call to the admin listener; the body, whatever the status.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.service.admin);
        let answer = http().request(method, url).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A call to Stripe that makes something.
    pub(crate) async fn make_at_stripe(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.stripe.base_url());
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http().post(url).bearer_auth("sk_test_looking");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Ends the service without letting anything finish, as a crash would, and starts it again on the same store.
    pub(crate) async fn crash_and_restart(&mut self) {
        if let Some(runtime) = self.service.runtime.take() {
            runtime.shutdown_background();
        }
        self.service = Running::start(self.on, self.folder.path(), &self.settings, self.clock.clone()).await;
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.stripe.base_url());
        let answer = http().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.post("/_emulator/faults", fault).await;
    }

    pub(crate) async fn stripe_get(&self, path: &str) -> Value {
        let request = http().get(format!("{}{path}", self.stripe.base_url())).bearer_auth("sk_test_looking");
        request.send().await.unwrap().json().await.unwrap()
    }

    pub(crate) async fn cancel_at_stripe(&self, id: &str) {
        self.delete_at_stripe(&format!("/v1/subscriptions/{id}")).await;
    }

    pub(crate) async fn delete_at_stripe(&self, path: &str) {
        let url = format!("{}{path}", self.stripe.base_url());
        let answer = http().delete(url).bearer_auth("sk_test_looking").send().await.unwrap();
        assert!(answer.status().is_success());
    }

    /// Changes something at Stripe as its dashboard would.
    pub(crate) async fn form(&self, path: &str, form: &str) -> Value {
        let request = http().post(format!("{}{path}", self.stripe.base_url())).bearer_auth("sk_test_looking");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Every subscription there is at Stripe.
    pub(crate) async fn at_stripe(&self) -> Vec<Value> {
        let list = self.stripe_get("/v1/subscriptions?status=all&limit=100").await;
        list["data"].as_array().unwrap().clone()
    }

    /// How often a line such as `POST /v1/subscriptions` was asked of Stripe.
    pub(crate) async fn asked(&self, line: &str) -> u64 {
        self.stripe_get("/_emulator/requests").await["by_path"][line].as_u64().unwrap_or(0)
    }

    pub(crate) async fn set_status(&self, view: &SubscriptionView, status: &str) {
        let path = format!("/_emulator/subscriptions/{}/status", view.stripe_subscription_id);
        self.post(&path, json!({"status": status})).await;
    }
}

impl Running {
    async fn start(on: On, folder: &Path, settings: &[(String, String)], clock: Clock) -> Self {
        let runtime = Runtime::new().unwrap();
        let (folder, settings) = (folder.to_owned(), settings.to_vec());
        let started = runtime.spawn(async move { Self::start_here(on, &folder, &settings, clock).await });
        let mut running = started.await.unwrap();
        running.runtime = Some(runtime);
        running
    }

    async fn start_here(on: On, folder: &Path, settings: &[(String, String)], clock: Clock) -> Self {
        let store = format!("sqlite:{}", folder.display());
        let admin = ("SYNAPSE_PLATFORM__ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        let env = [("SYNAPSE_PLATFORM__STORE".to_owned(), store), admin];
        let platform = Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() };
        hold_to_reads(env!("CARGO_MANIFEST_DIR"));
        let mut place = Place::start(on).await;
        let bus = place.bus(BTreeMap::new(), &clock, None).await;
        let host = Host::on(load(platform).unwrap(), bus, clock, Entropy::system());
        let observer = Observer::start(&host.bus, NAME).await;
        let (platform, webhook) = (host.platform(NAME).await.unwrap(), host.platform("webhook").await.unwrap());
        let public = subscription::start(config(settings), platform.clone()).await.unwrap();
        assert!(!public.has_routes(), "it has no public HTTP");
        let admin = host.serve_admin().await.unwrap();
        Self { platform, webhook, admin, observer, place, runtime: None }
    }

    pub(crate) async fn ask<R: Request>(&self, tenant: &str, request: &R) -> Answer<R::Reply, R::Refusal> {
        self.ask_on(&Trail::new("test"), tenant, request).await
    }

    pub(crate) async fn ask_on<R: Request>(
        &self,
        trail: &Trail,
        tenant: &str,
        request: &R,
    ) -> Answer<R::Reply, R::Refusal> {
        let sender = Sender::new("gateway", self.platform.clock.clone(), self.platform.entropy.clone());
        self.platform.bus.ask(&sender, &tenant.parse().unwrap(), trail, request, Duration::from_secs(60)).await.unwrap()
    }

    pub(crate) async fn create(&self, ask: &CreateV1) -> Result<SubscriptionView, CreateRefusal> {
        match self.ask("acme", ask).await {
            Answer::Ok(view) => Ok(view),
            Answer::Refused(refusal) => Err(refusal),
            Answer::Failed(failure) => panic!("{failure:?}"),
        }
    }

    pub(crate) async fn get(&self, view: &SubscriptionView) -> SubscriptionView {
        match self.ask("acme", &GetV1 { subscription_id: view.subscription_id.clone() }).await {
            Answer::Ok(view) => view,
            other => panic!("{other:?}"),
        }
    }

    /// Says what the webhook service would say, and waits until it is on its way.
    pub(crate) async fn hint(&self, view: &SubscriptionView, status: &str, number: u64) {
        let hint = StripeSubscriptionChangedV1 {
            subscription_id: view.subscription_id.clone(),
            stripe_subscription_id: view.stripe_subscription_id.clone(),
            stripe_event_id: format!("evt_{number}"),
            hinted_status: Some(status.to_owned()),
            ..StripeSubscriptionChangedV1::samples().remove(0)
        };
        self.hint_with(hint, number).await;
    }

    pub(crate) async fn hint_with(&self, hint: impl Into<WebhookEvent>, number: u64) {
        self.publish(&Trail::new("hint"), number, &hint.into()).await;
    }

    /// Publishes a fact of the webhook service.
    pub(crate) async fn publish(&self, trail: &Trail, number: u64, fact: &impl Fact) {
        let mut unit = Unit::new();
        unit.publish(&tenant(), number, trail, fact);
        self.webhook.outbox.commit(unit).await.unwrap();
    }

    /// The facts published until now, in the order they came.
    pub(crate) async fn facts(&self) -> Vec<(u64, SubscriptionEvent)> {
        self.settled().await;
        let facts = self.observer.seen();
        let decode = |fact: &Envelope| SubscriptionEvent::decode(&fact.kind, &fact.data).unwrap().unwrap();
        facts.iter().map(|fact| (fact.sequence, decode(fact))).collect()
    }

    /// Waits until nothing waits in an outbox.
    pub(crate) async fn settled(&self) {
        until("the outboxes are drained", async || {
            self.platform.outbox.pending().await.unwrap() + self.webhook.outbox.pending().await.unwrap() == 0
        })
        .await;
    }
}

fn config(settings: &[(String, String)]) -> Config {
    let variable = |key: &str| format!("SYNAPSE_SUBSCRIPTION__{}", key.replace('.', "__").to_uppercase());
    let env = settings.iter().map(|(key, value)| (variable(key), value.clone()));
    load(Sources { service: NAME, defaults: &[DEFAULTS], file: None, env }).unwrap()
}

/// Waits until `look` says yes.
pub(crate) async fn until(what: &str, look: impl AsyncFn() -> bool) {
    eventually(SOON, what, async || look().await.then_some(())).await;
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub(crate) fn wish(user: &str, key: &str) -> CreateV1 {
    CreateV1 {
        user_id: user.parse().unwrap(),
        price_id: PRICE.into(),
        payment_method_id: Some("pm_card_visa".into()),
        email: Some(format!("{user}@example.com")),
        metadata: BTreeMap::from([("team".into(), "blue".into())]),
        idempotency_key: key.into(),
    }
}

pub(crate) fn prove(view: &SubscriptionView, user: &str) -> VerifyV1 {
    VerifyV1 {
        subscription_id: view.subscription_id.clone(),
        peer_id: "alice".parse().unwrap(),
        user_id: user.parse().unwrap(),
        peer_key: None,
    }
}
