use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Validate};

/// Signaling's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A silent session is over after this time, milliseconds.
    pub idle_ms: u64,
    /// Largest SDP, bytes.
    pub max_sdp_bytes: usize,
    /// Largest candidate line, bytes.
    pub max_candidate_bytes: usize,
    /// How long to wait for presence's answer, milliseconds.
    pub lookup_timeout_ms: u64,
    /// Most peers whose place is kept; 0: none, presence is asked each time.
    pub max_cached_peers: usize,
    /// Longest time that a peer's place is kept, milliseconds.
    pub peer_cache_ttl_ms: u64,
    /// Most requests handled at once per kind.
    pub max_requests: usize,
    /// Most revoked subscriptions remembered.
    pub max_revocations: usize,
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("idle_ms", self.idle_ms, 10_000..=86_400_000);
        checks.range("max_sdp_bytes", self.max_sdp_bytes, 1_024..=1_048_576);
        checks.range("max_candidate_bytes", self.max_candidate_bytes, 128..=65_536);
        checks.range("lookup_timeout_ms", self.lookup_timeout_ms, 50..=30_000);
        checks.range("max_cached_peers", self.max_cached_peers, 0..=1_000_000);
        checks.range("peer_cache_ttl_ms", self.peer_cache_ttl_ms, 100..=300_000);
        checks.range("max_requests", self.max_requests, 1..=10_000);
        checks.range("max_revocations", self.max_revocations, 100..=10_000_000);
        checks.finish()
    }
}
