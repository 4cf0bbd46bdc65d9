use serde::{Deserialize, Serialize};
use service::TokenSettings;
use service::config::{Checks, ConfigProblem, Validate};

/// The tunnel service's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct Config {
    #[serde(flatten)]
    pub tokens: TokenSettings,
    pub proof_required: bool,
    pub domain: String,
    pub public_url: String,
    pub trusted_hops: usize,
    pub connections: u32,
    pub window_bytes: usize,
    pub resume_within_ms: u64,
    pub ping_every_ms: u64,
    pub dead_after_ms: u64,
    pub open_within_ms: u64,
    pub answer_within_ms: u64,
    pub max_agents: usize,
    pub max_requests_per_agent: usize,
    pub max_revocations: usize,
    pub usage_interval_ms: u64,
    pub quota_reload_ms: u64,
    pub max_used_up: usize,
    pub name_grace_ms: u64,
    pub drain_ms: u64,
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("trusted_hops", self.trusted_hops, 0..=16);
        checks.range("connections", self.connections, 1..=8);
        checks.range("window_bytes", self.window_bytes, 65_536..=16_777_216);
        checks.range("resume_within_ms", self.resume_within_ms, 1_000..=600_000);
        checks.range("ping_every_ms", self.ping_every_ms, 100..=60_000);
        checks.range("dead_after_ms", self.dead_after_ms, 200..=300_000);
        checks.range("open_within_ms", self.open_within_ms, 100..=120_000);
        checks.range("answer_within_ms", self.answer_within_ms, 100..=3_600_000);
        checks.range("max_agents", self.max_agents, 1..=1_000_000);
        checks.range("max_requests_per_agent", self.max_requests_per_agent, 1..=100_000);
        checks.range("max_revocations", self.max_revocations, 100..=10_000_000);
        checks.range("usage_interval_ms", self.usage_interval_ms, 100..=60_000);
        checks.range("quota_reload_ms", self.quota_reload_ms, 100..=60_000);
        checks.range("max_used_up", self.max_used_up, 100..=10_000_000);
        checks.range("name_grace_ms", self.name_grace_ms, 1_000..=86_400_000);
        checks.range("drain_ms", self.drain_ms, 0..=600_000);
        let twice = self.dead_after_ms >= 2 * self.ping_every_ms;
        let rule = "is less than twice ping_every_ms";
        checks.require(twice, "dead_after_ms", rule, "one lost ping must not end a connection: raise it");
        checks.extend(self.tokens.problems());
        let host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let good = self.domain.len() <= 200 && self.domain.bytes().all(host) && !self.domain.starts_with('.');
        checks.require(good, "domain", "is no domain", "write it in lower case without scheme and port: example.com");
        let scheme = self.public_url.starts_with("https://") || self.public_url.starts_with("http://");
        let good = self.public_url.is_empty() || scheme && !self.public_url.ends_with('/');
        checks.require(good, "public_url", "is no address", "write it like https://tunnels.example.com");
        checks.finish()
    }
}
