use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use service::breaker::BreakerSettings;
use service::config::{Checks, ConfigProblem, Mode, Secret, Validate};
use url::Url;

use crate::catalogue::{self, Catalogue, Plan};
use crate::return_urls;
use crate::vault;

/// The subscription service's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most requests handled at once per kind.
    pub max_requests: usize,
    /// How long an Idempotency-Key is remembered, days.
    pub operation_memory_days: u64,
    /// What may be bought.
    pub plans: Vec<Plan>,
    /// Where Stripe's pages may send a browser.
    pub return_urls: Vec<String>,
    /// How Stripe is called.
    pub stripe: StripeConfig,
    /// How proofs are issued.
    pub proofs: ProofConfig,
    /// How usage is counted.
    pub usage: UsageConfig,
    /// How ours are compared with Stripe's.
    pub reconcile: ReconcileConfig,
}

/// How Stripe is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct StripeConfig {
    pub base_url: String,
    pub secret_key: Secret,
    pub api_version: String,
    pub connect_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub total_timeout_ms: u64,
    pub max_retries: usize,
    pub backoff_ms: u64,
    pub backoff_max_ms: u64,
    pub concurrency: usize,
    pub rate_per_endpoint: u64,
    pub rate_wait_ms: u64,
    pub share_interval_ms: u64,
    pub fetch_spacing_ms: u64,
    pub fetch_memory: usize,
    pub breaker: BreakerSettings,
}

/// How proofs are issued.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct ProofConfig {
    pub ttl_ms: u64,
    pub renewal_leeway_ms: u64,
    pub refresh_wait_ms: u64,
    pub rotation_interval_ms: u64,
    pub publish_ahead_ms: u64,
    pub check_interval_ms: u64,
    pub sealing_secret: Secret,
}

/// How usage is counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct UsageConfig {
    pub sweep_interval_ms: u64,
}

/// How ours are compared with Stripe's.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct ReconcileConfig {
    pub sweep_interval_ms: u64,
    pub backfill_interval_ms: u64,
    pub check_interval_ms: u64,
    pub lease_ms: u64,
    pub calls_per_second: u32,
    pub max_rows: u64,
}

impl ReconcileConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("reconcile.sweep_interval_ms", self.sweep_interval_ms, 0..=2_592_000_000);
        checks.range("reconcile.backfill_interval_ms", self.backfill_interval_ms, 0..=86_400_000);
        checks.range("reconcile.check_interval_ms", self.check_interval_ms, 100..=600_000);
        checks.range("reconcile.lease_ms", self.lease_ms, 30_000..=3_600_000);
        checks.range("reconcile.calls_per_second", self.calls_per_second, 1..=20);
        checks.range("reconcile.max_rows", self.max_rows, 100..=100_000);
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("max_requests", self.max_requests, 1..=10_000);
        checks.range("operation_memory_days", self.operation_memory_days, 1..=365);
        catalogue::check(&self.plans, &mut checks);
        return_urls::check(&self.return_urls, &mut checks);
        self.stripe.check(&mut checks);
        checks.range("usage.sweep_interval_ms", self.usage.sweep_interval_ms, 100..=600_000);
        self.reconcile.check(&mut checks);
        let proofs = &self.proofs;
        checks.range("proofs.ttl_ms", proofs.ttl_ms, 10_000..=3_600_000);
        checks.range("proofs.renewal_leeway_ms", proofs.renewal_leeway_ms, 0..=86_400_000);
        checks.range("proofs.refresh_wait_ms", proofs.refresh_wait_ms, 0..=60_000);
        checks.range("proofs.rotation_interval_ms", proofs.rotation_interval_ms, 60_000..=7_776_000_000);
        checks.range("proofs.publish_ahead_ms", proofs.publish_ahead_ms, 1_000..=86_400_000);
        check_sealing_secret(&proofs.sealing_secret, &mut checks);
        checks.range("proofs.check_interval_ms", proofs.check_interval_ms, 100..=3_600_000);
        checks.require(
            proofs.publish_ahead_ms < proofs.rotation_interval_ms,
            "proofs.publish_ahead_ms",
            "it is not below proofs.rotation_interval_ms",
            "publish a key less than one rotation before its first use",
        );
        checks.finish()
    }
}

fn check_sealing_secret(secret: &Secret, checks: &mut Checks) {
    let text = secret.current();
    let secrets: Vec<&str> = vault::secrets(text.expose_secret()).collect();
    let key = "proofs.sealing_secret";
    let fix =
        "set SYNAPSE_SUBSCRIPTION__PROOFS__SEALING_SECRET, or …_SECRET_FILE; make one with `openssl rand -base64 32`";
    checks.require(!secrets.is_empty(), key, "there is none", fix);
    let long = secrets.iter().all(|secret| secret.len() >= vault::MIN_SECRET_CHARS);
    checks.require(long, key, "one is shorter than 32 characters", "make one with `openssl rand -base64 32`");
    checks.require(secrets.len() <= vault::MAX_SECRETS, key, "there are more than 4", "remove the oldest, at the end");
}

impl StripeConfig {
    fn check(&self, checks: &mut Checks) {
        let url = Url::parse(&self.base_url).ok();
        let is_http = url.as_ref().is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        checks.require(is_http, "stripe.base_url", "it is not an http or https URL", "use https://api.stripe.com");
        let rule = "there is none";
        let fix = "set SYNAPSE_SUBSCRIPTION__STRIPE__SECRET_KEY, or secret_key_file";
        checks.require(self.secret_key.is_set(), "stripe.secret_key", rule, fix);
        let is_version = (10..=40).contains(&self.api_version.len())
            && self.api_version.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        let fix = "use one of Stripe's, like 2025-11-17.clover";
        checks.require(is_version, "stripe.api_version", "it is not an API version", fix);
        checks.range("stripe.connect_timeout_ms", self.connect_timeout_ms, 100..=60_000);
        checks.range("stripe.request_timeout_ms", self.request_timeout_ms, 100..=120_000);
        checks.range("stripe.total_timeout_ms", self.total_timeout_ms, 100..=300_000);
        checks.range("stripe.max_retries", self.max_retries, 0..=10);
        checks.range("stripe.backoff_ms", self.backoff_ms, 1..=60_000);
        checks.range("stripe.backoff_max_ms", self.backoff_max_ms, 1..=60_000);
        checks.range("stripe.concurrency", self.concurrency, 1..=1_000);
        checks.range("stripe.rate_per_endpoint", self.rate_per_endpoint, 1..=100);
        checks.range("stripe.rate_wait_ms", self.rate_wait_ms, 0..=60_000);
        checks.range("stripe.share_interval_ms", self.share_interval_ms, 1_000..=60_000);
        checks.range("stripe.fetch_spacing_ms", self.fetch_spacing_ms, 0..=60_000);
        checks.range("stripe.fetch_memory", self.fetch_memory, 16..=1_000_000);
        let breaker = self.breaker.problems().into_iter();
        checks.extend(
            breaker.map(|problem| ConfigProblem { key: format!("stripe.{}", problem.key), ..problem }).collect(),
        );
    }
}

/// Whether a key may be used in this kind of installation; the error says what to do and never shows the key.
///
/// # Errors
/// A live key in development, a test key or plain HTTP in production, or something that is no secret key.
pub(crate) fn check_key(config: &StripeConfig, mode: Mode) -> Result<(), &'static str> {
    let key = config.secret_key.current();
    let key = key.expose_secret();
    let starts = |prefixes: [&str; 2]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    let is_printable = key.bytes().all(|byte| byte.is_ascii_graphic());
    match mode {
        _ if key.is_empty() => Err("stripe.secret_key: there is none; set it or secret_key_file"),
        _ if !is_printable => Err("stripe.secret_key: it has spaces or other odd characters; copy it again"),
        Mode::Production if !config.base_url.starts_with("https://") => {
            Err("stripe.base_url: production needs https; use https://api.stripe.com")
        }
        Mode::Production if starts(["sk_live_", "rk_live_"]) => Ok(()),
        Mode::Development if starts(["sk_test_", "rk_test_"]) => Ok(()),
        Mode::Production => Err("stripe.secret_key: production needs a live key (sk_live_… or rk_live_…)"),
        Mode::Development => Err("stripe.secret_key: development takes only test keys (sk_test_… or rk_test_…)"),
    }
}

impl Config {
    /// What can only be checked where the installation's mode is known; every problem at once.
    ///
    /// # Errors
    /// When the key or the catalogue does not fit the mode.
    pub(crate) fn check_mode(&self, mode: Mode) -> anyhow::Result<Catalogue> {
        let catalogue = Catalogue::new(&self.plans, mode);
        let mut problems: Vec<String> = catalogue.mode_problems().iter().map(ToString::to_string).collect();
        problems.extend(check_key(&self.stripe, mode).err().map(str::to_owned));
        anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(catalogue)
    }

    pub(crate) fn operation_memory_ms(&self) -> u64 {
        self.operation_memory_days * 24 * 60 * 60 * 1_000
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
pub(crate) mod tests;
