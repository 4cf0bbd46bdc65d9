use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use bus::{Bus, Deliveries, EmbeddedOptions, Envelope, Subscribe};
use clock::{Clock, Entropy, ManualClock};
use contracts::Contract;
use contracts::events::subscription::{StatusChangedV1, StatusChangedV2};
use contracts::events::webhook::{
    StripeCatalogueChangedV1, StripeCheckoutChangedV1, StripeCustomerChangedV1, StripeEntitlementsChangedV1,
    StripeInvoiceChangedV1, StripeSubscriptionChangedV1,
};
use outbox::Outbox;
use serde_json::{Value, json};
use service::config::{Secret, Sources, load};
use service::{Host, PLATFORM, PLATFORM_DEFAULTS, Platform, PlatformConfig};
use store::Key;
use testkit::contract::{On, Place, hold_to_reads};
use testkit::eventually;
use webhook::Config;

pub(crate) const SECRET: &str = "whsec_test_0123456789";
pub(crate) const NOW_S: u64 = 1_790_000_000;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Every kind the service publishes.
pub(crate) const KINDS: [&str; 6] = [
    StripeSubscriptionChangedV1::KIND,
    StripeInvoiceChangedV1::KIND,
    StripeCheckoutChangedV1::KIND,
    StripeCustomerChangedV1::KIND,
    StripeEntitlementsChangedV1::KIND,
    StripeCatalogueChangedV1::KIND,
];

/// A running webhook service and who reads from it.
pub(crate) struct Running {
    pub(crate) host: Host,
    pub(crate) platform: Platform,
    pub(crate) hand: ManualClock,
    pub(crate) address: SocketAddr,
    /// The admin listener.
    pub(crate) admin: SocketAddr,
    pub(crate) client: reqwest::Client,
    pub(crate) place: Place,
}

/// What a test changes before the start.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: Option<fn(&mut Config)>,
    pub(crate) production: bool,
    /// The table of the service, in place of its own SQLite file. Its facts are not relayed then.
    pub(crate) store: Option<Arc<dyn store::Backend>>,
    /// Which bus.
    pub(crate) on: On,
}

pub(crate) fn config() -> Config {
    let sources =
        Sources { service: webhook::NAME, defaults: &[webhook::DEFAULTS], file: None, env: std::iter::empty() };
    Config { secrets: Secret::new(SECRET), ..load(sources).unwrap() }
}

pub(crate) fn platform_config(folder: &Path, production: bool) -> PlatformConfig {
    let set = |key: &str, value: String| (format!("SYNAPSE_PLATFORM__{key}"), value);
    let env = [
        set("STORE", format!("sqlite:{}", folder.display())),
        set("HTTP_LISTEN", "127.0.0.1:0".into()),
        set("ADMIN__LISTEN", "127.0.0.1:0".into()),
        set("MODE", if production { "production" } else { "development" }.into()),
    ];
    load(Sources { service: PLATFORM, defaults: PLATFORM_DEFAULTS, file: None, env: env.into_iter() }).unwrap()
}

pub(crate) fn host(folder: &Path, production: bool) -> (Host, ManualClock) {
    let (clock, hand) = Clock::manual(NOW_S * 1_000);
    let options = EmbeddedOptions { routes: Some(routes()), ..EmbeddedOptions::default() };
    let bus = Bus::embedded(options, clock.clone());
    (Host::on(platform_config(folder, production), bus, clock, Entropy::system()), hand)
}

fn routes() -> BTreeMap<String, Vec<String>> {
    let status = [(StatusChangedV1::KIND, "webhook"), (StatusChangedV2::KIND, "gateway")];
    let routes = KINDS.into_iter().map(|kind| (kind, "subscription")).chain(status);
    routes.map(|(kind, reader)| (kind.to_owned(), vec![reader.to_owned()])).collect()
}

impl Running {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::with(folder, Setup::default()).await
    }

    pub(crate) async fn with(folder: &Path, setup: Setup) -> Self {
        let (clock, hand) = Clock::manual(NOW_S * 1_000);
        hold_to_reads(env!("CARGO_MANIFEST_DIR"));
        let mut place = Place::start(setup.on).await;
        let bus = place.bus(routes(), &clock, Some(&hand)).await;
        let host = Host::on(platform_config(folder, setup.production), bus, clock, Entropy::system());
        let mut config = config();
        setup.config.unwrap_or(|_| ())(&mut config);
        Self { place, ..Self::on(host, hand, config, setup.store).await }
    }

    pub(crate) async fn on(
        host: Host,
        hand: ManualClock,
        config: Config,
        table: Option<Arc<dyn store::Backend>>,
    ) -> Self {
        let mut platform = host.platform(webhook::NAME).await.unwrap();
        if let Some(backend) = table {
            let table = store::Store::on(backend, "test", host.clock.clone());
            let (bus, clock, entropy) = (host.bus.clone(), host.clock.clone(), host.entropy.clone());
            platform.outbox = Outbox::new(webhook::NAME, table, bus, clock, entropy, outbox::Options::default());
        }
        let router = webhook::start(config, platform.clone()).await.unwrap();
        let address = host.serve_public(webhook::NAME, router).await.unwrap();
        let admin = host.serve_admin().await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let place = Place::start(On::Embedded).await;
        Self { host, platform, hand, address, admin, client, place }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.host.clock.now_ms() / 1_000
    }

    /// Posts a body with these signature headers; status, headers and text of the answer.
    pub(crate) async fn post_with(&self, body: impl Into<Vec<u8>>, signatures: &[&str]) -> Answer {
        self.post_to("/stripe/webhook", body, signatures).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: impl Into<Vec<u8>>, signatures: &[&str]) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address)).body(body.into());
        for signature in signatures {
            request = request.header("Stripe-Signature", *signature);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status,
            code: header("x-error-code"),
            retry_after: header("retry-after"),
            text: response.text().await.unwrap(),
        }
    }

    /// Posts a body as Stripe does.
    pub(crate) async fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        self.post_with(body, &[&signed(SECRET, self.now_s(), body)]).await
    }

    /// The head item of an event.
    pub(crate) async fn event(&self, id: &str) -> Option<Value> {
        self.item(&Key::new(format!("event#{id}"), "head")).await
    }

    pub(crate) async fn item(&self, key: &Key) -> Option<Value> {
        let item = self.platform.outbox.store().get(key).await.unwrap()?;
        Some(serde_json::from_str(&item.body).unwrap())
    }

    /// An operator's call: status and JSON.
    pub(crate) async fn operate(&self, method: &str, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.admin);
        let response = self.client.request(method.parse().unwrap(), url).send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// What is listed with this state, oldest first.
    pub(crate) async fn listed(&self, state: &str) -> Vec<Value> {
        let (status, page) = self.operate("GET", &format!("/webhooks?limit=500&state={state}")).await;
        assert_eq!((status, &page["next"]), (200, &Value::Null), "{page}");
        let mut events = page["events"].as_array().unwrap().clone();
        events.reverse();
        events
    }

    pub(crate) async fn subscribe(&self, service: &str, kinds: &[&str]) -> Deliveries {
        let subscribe = Subscribe {
            service: service.to_owned(),
            kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
            max_in_flight: 256,
            lease: Duration::from_secs(30),
        };
        self.host.bus.subscribe(subscribe).await.unwrap()
    }

    /// Reads facts as the subscription service would, and acknowledges each.
    pub(crate) async fn reader(&self) -> Facts {
        let mut deliveries = self.subscribe("subscription", &KINDS).await;
        let facts = Facts::default();
        let seen = facts.clone();
        tokio::spawn(async move {
            while let Some(delivery) = deliveries.next().await {
                seen.take(delivery.incoming.clone().unwrap());
                delivery.ack().await.unwrap();
            }
        });
        facts
    }

    /// Waits until nothing waits in the outbox: then every fact was read and acknowledged.
    pub(crate) async fn drained(&self) {
        eventually(PATIENCE, "the outbox to be empty", async || match self.platform.outbox.pending().await.unwrap() {
            0 => Ok(()),
            rows => Err(format!("{rows} rows left")),
        })
        .await;
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(&self) {
        assert_eq!((self.status, self.text.as_str()), (200, r#"{"received":true}"#));
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code.as_deref()), (status, Some(code)), "{}", self.text);
        assert!(self.text.contains(code), "{}", self.text);
    }
}

/// The facts that were read so far.
#[derive(Clone, Default)]
pub(crate) struct Facts(Arc<Mutex<Vec<Envelope>>>);

impl Facts {
    /// Every delivery counts: nothing crashed here, so a fact that comes twice is a fault.
    fn take(&self, envelope: Envelope) {
        self.0.lock().unwrap().push(envelope);
    }

    /// Every fact, of whatever kind.
    pub(crate) fn all(&self) -> Vec<Envelope> {
        self.0.lock().unwrap().clone()
    }

    /// Those about subscriptions.
    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.of(StripeSubscriptionChangedV1::KIND)
    }

    pub(crate) fn of(&self, kind: &str) -> Vec<Envelope> {
        self.all().into_iter().filter(|envelope| envelope.kind == kind).collect()
    }

    pub(crate) fn payloads(&self) -> Vec<StripeSubscriptionChangedV1> {
        self.envelopes().iter().map(|envelope| serde_json::from_slice(&envelope.data).unwrap()).collect()
    }
}

pub(crate) fn v1(secret: &str, time_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [format!("{time_s}.").as_bytes(), body].concat();
    hmac::sign(&key, &signed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header as Stripe sends it in test mode: with a `v0` that is not to be used.
pub(crate) fn signed(secret: &str, time_s: u64, body: &[u8]) -> String {
    format!("t={time_s},v1={},v0={}", v1(secret, time_s, body), "0".repeat(64))
}

/// An event as Stripe writes it: indented.
pub(crate) fn event(id: &str, kind: &str, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2025-03-31.basil", "created": NOW_S - 2,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": "key-1"}, "type": kind,
    })
}

/// A change of our subscription `s-1` of the tenant `acme`.
pub(crate) fn subscription_event(id: &str, status: &str) -> Value {
    let object = json!({
        "id": "sub_1", "object": "subscription", "customer": "cus_1", "status": status,
        "metadata": {"synapse_tenant": "acme", "synapse_subscription": "s-1", "team": "blue"},
        "items": {"object": "list", "data": [{"id": "si_1", "current_period_end": NOW_S + 1_000}]},
    });
    event(id, "customer.subscription.updated", &object)
}

pub(crate) fn pretty(event: &Value) -> String {
    serde_json::to_string_pretty(event).unwrap()
}
