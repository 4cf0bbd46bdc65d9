use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail, ensure};
use clock::{Clock, Entropy};
use serde::{Deserialize, Serialize};

use crate::delivery::{DeliveryPlan, RetryPolicy};
use crate::resources::payment_methods::is_test_card;

/// Where the program around the emulator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A developer's machine, the demo or a test.
    Development,
    /// Anything with real customers. The emulator refuses to start.
    Production,
}

/// A price that exists from the start, with a product of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedPrice {
    /// The price's id, for example `price_demo`.
    pub id: String,
    /// In the currency's smallest unit (cents); not negative.
    pub unit_amount: i64,
    /// Three lower-case letters (ISO 4217).
    pub currency: String,
    /// `day`, `week`, `month` or `year`.
    pub interval: String,
    /// The price's nickname; its product is named after it. May be empty.
    pub nickname: String,
}

/// A webhook endpoint that exists from the start, with a secret its receiver already knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedWebhook {
    /// Where events are posted: `http` or `https`, on a loopback address.
    pub url: String,
    /// The signing secret, `whsec_…`.
    pub secret: String,
    /// Event types, a group such as `invoice.*`, or `*`.
    pub enabled_events: Vec<String>,
}

/// What happens to a subscription whose renewal cannot be paid. At Stripe this is a setting of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dunning {
    /// How many days after each failed attempt the next one follows, at most 20 attempts of at most 60 days. Default
    /// 3, 5 and 7.
    pub retry_days: Vec<u32>,
    /// What becomes of the subscription when the last attempt has failed. Default: it is canceled.
    pub after_retries: AfterRetries,
}

/// The end of dunning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRetries {
    /// Canceled.
    #[default]
    Cancel,
    /// Unpaid: it goes on, its further invoices stay drafts.
    Unpaid,
    /// It stays past due.
    PastDue,
}

impl Default for Dunning {
    fn default() -> Self {
        Self { retry_days: vec![3, 5, 7], after_retries: AfterRetries::Cancel }
    }
}

impl Dunning {
    /// What is wrong with it, naming field and rule.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.retry_days.len() > 20 || self.retry_days.iter().any(|days| !(1..=60).contains(days)) {
            return Err("retry_days: at most 20 numbers of 1 to 60 days".to_owned());
        }
        Ok(())
    }
}

/// Upper bounds. What they cost at most is dominated by events, at roughly 20 KB each.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Objects kept per kind; one more is refused with `emulator_full`. Default 20,000.
    pub objects: usize,
    /// Events kept; the oldest go first. Default 5,000.
    pub events: usize,
    /// Webhook endpoints, and as many event destinations. Default 16, as at Stripe.
    pub webhook_endpoints: usize,
    /// Idempotency keys kept (each for 24 hours); the oldest go first. Default 20,000.
    pub idempotency_keys: usize,
    /// Deliveries waiting per endpoint; more are dropped and recorded as `overflow`. Default 10,000.
    pub delivery_queue: usize,
    /// Delivery attempts kept for `GET /_emulator/deliveries`; the oldest go first. Default 10,000.
    pub deliveries_kept: usize,
    /// Paths and keys counted for `GET /_emulator/requests`; later ones count as `other`. Default 20,000.
    pub requests_counted: usize,
    /// Faults waiting to strike. Default 100.
    pub faults: usize,
    /// Connected accounts, each with objects of its own. Default 16.
    pub accounts: usize,
    /// Changes that time brings (renewals, retries, expiries) made at one go; more follow at the next. Default 2,000.
    pub steps: usize,
    /// API requests answered in one second of the emulator's clock, as Stripe's limiter does; more get a 429. 0 (the
    /// default) sets no limit.
    pub requests_per_s: u32,
    /// Open connections; more wait in the kernel's backlog. Default 1,024.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects: 20_000,
            events: 5_000,
            webhook_endpoints: 16,
            idempotency_keys: 20_000,
            delivery_queue: 10_000,
            deliveries_kept: 10_000,
            requests_counted: 20_000,
            faults: 100,
            accounts: 16,
            steps: 2_000,
            requests_per_s: 0,
            connections: 1_024,
        }
    }
}

/// Everything an emulator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Has to be [`Mode::Development`]. Default: development.
    pub mode: Mode,
    /// A loopback address; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The only API key accepted; `None` (the default) accepts every `sk_test_…` and `rk_test_…`.
    pub api_key: Option<String>,
    /// The account's API version: used for requests without `Stripe-Version` and for events. Default
    /// `2025-11-17.clover`.
    pub api_version: String,
    /// Time of objects, signatures, retries, delays and key expiry. Default: the system's.
    pub clock: Clock,
    /// Randomness of ids, secrets and shuffles. Default: the system's.
    pub entropy: Entropy,
    /// Prices that exist from the start. Default none.
    pub prices: Vec<SeedPrice>,
    /// Webhook endpoints that exist from the start. Default none.
    pub webhooks: Vec<SeedWebhook>,
    /// How events are delivered until `POST /_emulator/delivery` says otherwise. Default: once, in order, at once.
    pub delivery: DeliveryPlan,
    /// How failed deliveries are tried again.
    pub retry: RetryPolicy,
    /// The test card of customers without a payment method. Default `pm_card_visa`; with `None` a charge without a
    /// payment method is refused, as Stripe does.
    pub default_card: Option<String>,
    /// Whether `payment_behavior=default_incomplete` is followed by the payer's confirmation without anybody asking,
    /// right after the response. Default true; with false, call `POST /v1/payment_intents/{id}/confirm`.
    pub auto_confirm: bool,
    /// What happens when renewals fail.
    pub dunning: Dunning,
    /// How often the emulator looks at its clock for renewals, trials' ends and expiries, in milliseconds of that
    /// clock. Every request looks too. Default 1,000.
    pub tick_ms: u64,
    /// Upper bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Development,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: None,
            api_version: "2025-11-17.clover".to_owned(),
            clock: Clock::system(),
            entropy: Entropy::system(),
            prices: Vec::new(),
            webhooks: Vec::new(),
            delivery: DeliveryPlan::default(),
            retry: RetryPolicy::default(),
            default_card: Some("pm_card_visa".to_owned()),
            auto_confirm: true,
            dunning: Dunning::default(),
            tick_ms: 1_000,
            limits: Limits::default(),
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.mode == Mode::Production {
            bail!(
                "the Stripe emulator never runs in production mode: point the Stripe base URL at https://api.stripe.com"
            );
        }
        let listen = self.listen;
        ensure!(
            listen.ip().is_loopback(),
            "listen: {listen} is not a loopback address; the emulator has no real authentication, use 127.0.0.1 or ::1"
        );
        crate::version::ApiVersion::parse(&self.api_version)
            .with_context(|| format!("api_version: `{}` is not like 2025-11-17.clover", self.api_version))?;
        if let Some(key) = &self.api_key {
            ensure!(is_test_key(key), "api_key: has to begin with sk_test_ or rk_test_; live keys are never accepted");
        }
        for price in &self.prices {
            price.check()?;
        }
        if let Some(card) = &self.default_card {
            ensure!(is_test_card(card), "default_card: `{card}` is not a test card such as pm_card_visa");
        }
        ensure!(self.tick_ms > 0, "tick_ms: has to be at least 1");
        self.dunning.check().map_err(|problem| anyhow::anyhow!("dunning: {problem}"))?;
        self.delivery.check().map_err(|problem| anyhow::anyhow!("delivery: {problem}"))
    }
}

impl SeedPrice {
    fn check(&self) -> anyhow::Result<()> {
        let id = &self.id;
        ensure!(!id.is_empty(), "prices: a price needs an id, for example price_demo");
        ensure!(self.unit_amount >= 0, "prices: {id}: unit_amount is negative");
        let currency = self.currency.len() == 3 && self.currency.bytes().all(|byte| byte.is_ascii_lowercase());
        ensure!(currency, "prices: {id}: currency `{}` is not three lower-case letters", self.currency);
        let interval = ["day", "week", "month", "year"].contains(&self.interval.as_str());
        ensure!(interval, "prices: {id}: interval `{}` is not day, week, month or year", self.interval);
        Ok(())
    }
}

/// Whether this is a test key; live keys have no business here.
pub(crate) fn is_test_key(key: &str) -> bool {
    key.starts_with("sk_test_") || key.starts_with("rk_test_")
}
