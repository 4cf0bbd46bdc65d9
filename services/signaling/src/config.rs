use contracts::requests::signaling::SendRefusal;
use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Secret, Validate};

use crate::ice;
use crate::mailbox::Rules;
use crate::session::Patience;
use crate::signal::Limits;

/// Signaling's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct Config {
    pub idle_ms: u64,
    pub setup_ms: u64,
    pub peer_grace_ms: u64,
    pub max_session_peers: u32,
    pub max_sdp_bytes: usize,
    pub max_candidate_bytes: usize,
    pub lookup_timeout_ms: u64,
    pub take_within_ms: u64,
    pub mailbox_signals: u32,
    pub mailbox_bytes: u64,
    pub mailbox_ttl_ms: u64,
    pub mailbox_retry_min_ms: u64,
    pub mailbox_retry_max_ms: u64,
    pub expired_keep_ms: u64,
    pub max_cached_peers: usize,
    pub peer_cache_ttl_ms: u64,
    pub max_requests: usize,
    pub max_revocations: usize,
    pub stun_urls: Vec<String>,
    pub default_stun_url: String,
    pub turn_urls: Vec<String>,
    pub turn_secret: Secret,
    pub turn_secret_next: Secret,
    pub turn_ttl_s: u64,
}

/// What a claim on a mailbox lasts longer than what is waited for during it, milliseconds: slow stores.
const CLAIM_SLACK_MS: u64 = 5_000;

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        Limits { sdp_bytes: self.max_sdp_bytes, candidate_bytes: self.max_candidate_bytes }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { setup_ms: self.setup_ms, idle_ms: self.idle_ms }
    }

    pub(crate) fn mailbox_rules(&self) -> Rules {
        Rules {
            max_signals: self.mailbox_signals,
            max_bytes: self.mailbox_bytes,
            ttl_ms: self.mailbox_ttl_ms,
            retry_ms: (self.mailbox_retry_min_ms, self.mailbox_retry_max_ms),
        }
    }

    pub(crate) fn mailbox_full(&self) -> SendRefusal {
        let retry_after_ms = self.mailbox_retry_max_ms;
        SendRefusal::MailboxFull { signals: self.mailbox_signals, bytes: self.mailbox_bytes, retry_after_ms }
    }

    /// How long one process has a mailbox for itself: longer than a lookup and a wait for a gateway take.
    pub(crate) fn claim_ms(&self) -> u64 {
        self.lookup_timeout_ms + self.take_within_ms + CLAIM_SLACK_MS
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("idle_ms", self.idle_ms, 10_000..=86_400_000);
        checks.range("setup_ms", self.setup_ms, 5_000..=3_600_000);
        checks.range("peer_grace_ms", self.peer_grace_ms, 0..=3_600_000);
        checks.range("max_session_peers", self.max_session_peers, 2..=8);
        checks.range("max_sdp_bytes", self.max_sdp_bytes, 1_024..=1_048_576);
        checks.range("max_candidate_bytes", self.max_candidate_bytes, 128..=65_536);
        checks.range("lookup_timeout_ms", self.lookup_timeout_ms, 50..=30_000);
        checks.range("take_within_ms", self.take_within_ms, 50..=30_000);
        checks.range("mailbox_signals", self.mailbox_signals, 1..=10_000);
        checks.range("mailbox_bytes", self.mailbox_bytes, 1_024..=1_073_741_824);
        checks.range("mailbox_ttl_ms", self.mailbox_ttl_ms, 1_000..=86_400_000);
        checks.range("mailbox_retry_min_ms", self.mailbox_retry_min_ms, 100..=60_000);
        checks.range("mailbox_retry_max_ms", self.mailbox_retry_max_ms, 100..=600_000);
        let ordered = self.mailbox_retry_min_ms <= self.mailbox_retry_max_ms;
        let rule = "is above mailbox_retry_max_ms";
        checks.require(ordered, "mailbox_retry_min_ms", rule, "make it the smaller of the two");
        checks.range("expired_keep_ms", self.expired_keep_ms, 60_000..=2_592_000_000);
        checks.range("max_cached_peers", self.max_cached_peers, 0..=1_000_000);
        checks.range("peer_cache_ttl_ms", self.peer_cache_ttl_ms, 100..=300_000);
        checks.range("max_requests", self.max_requests, 1..=10_000);
        checks.range("max_revocations", self.max_revocations, 100..=10_000_000);
        ice::check(self, &mut checks);
        checks.finish()
    }
}
