use std::time::Duration;

use contracts::requests::presence::MAX_ROOMS;
use serde::{Deserialize, Serialize};
use service::config::{Checks, ConfigProblem, Validate};
use service::{PeerBookOptions, TokenSettings};

use crate::edge::LimitsConfig;
use crate::journal::Limits;

/// The gateway's settings; `config.toml` explains each and holds the defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // config.toml is their documentation
pub struct Config {
    #[serde(flatten)]
    pub tokens: TokenSettings,
    pub allowed_origins: Vec<String>,
    pub request_timeout_ms: u64,
    pub auth_within_ms: u64,
    pub heartbeat_ms: u64,
    pub presence_beat_ms: u64,
    pub max_connections: usize,
    pub max_tenant_connections: usize,
    pub max_user_connections: usize,
    pub max_frame_bytes: usize,
    pub max_outbound_frames: usize,
    pub max_outbound_bytes: usize,
    pub max_bad_frames: u32,
    pub max_pending_messages: usize,
    pub ack_within_ms: u64,
    pub max_rooms: usize,
    pub history_frames: usize,
    pub history_bytes: usize,
    pub history_ttl_ms: u64,
    pub history_total_bytes: usize,
    pub max_detached: usize,
    pub handover_on_drain_ms: u64,
    pub max_tickets: usize,
    pub ticket_ttl_ms: u64,
    pub max_cached_peers: usize,
    pub peer_cache_ttl_ms: u64,
    pub max_revocations: usize,
    pub jwks_max_age_s: u64,
    pub limits: LimitsConfig,
}

impl Config {
    /// What bounds what is kept of peers elsewhere.
    pub(crate) fn peer_book(&self) -> PeerBookOptions {
        PeerBookOptions {
            max_peers: self.max_cached_peers,
            ttl: Duration::from_millis(self.peer_cache_ttl_ms),
            timeout: Duration::from_millis(self.request_timeout_ms),
        }
    }

    /// What bounds the journals of peers.
    pub(crate) fn journal_limits(&self) -> Limits {
        Limits {
            history_frames: self.history_frames,
            history_bytes: self.history_bytes,
            history_ttl_ms: self.history_ttl_ms,
            history_total_bytes: self.history_total_bytes,
            waiting_frames: self.max_outbound_frames,
            waiting_bytes: self.max_outbound_bytes,
        }
    }
}

impl Validate for Config {
    fn problems(&self) -> Vec<ConfigProblem> {
        let mut checks = Checks::default();
        checks.range("request_timeout_ms", self.request_timeout_ms, 100..=60_000);
        checks.range("auth_within_ms", self.auth_within_ms, 100..=120_000);
        checks.range("heartbeat_ms", self.heartbeat_ms, 1_000..=300_000);
        checks.range("presence_beat_ms", self.presence_beat_ms, 500..=60_000);
        checks.range("max_connections", self.max_connections, 1..=1_000_000);
        checks.range("max_tenant_connections", self.max_tenant_connections, 1..=1_000_000);
        checks.range("max_user_connections", self.max_user_connections, 1..=1_000_000);
        checks.range("max_frame_bytes", self.max_frame_bytes, 1_024..=1_048_576);
        checks.range("max_outbound_frames", self.max_outbound_frames, 8..=10_000);
        checks.range("max_outbound_bytes", self.max_outbound_bytes, 65_536..=1_073_741_824);
        checks.range("max_bad_frames", self.max_bad_frames, 1..=1_000);
        checks.range("max_pending_messages", self.max_pending_messages, 1..=1_000);
        checks.range("ack_within_ms", self.ack_within_ms, 100..=60_000);
        checks.range("max_rooms", self.max_rooms, 1..=MAX_ROOMS);
        checks.range("history_frames", self.history_frames, 0..=10_000);
        checks.range("history_bytes", self.history_bytes, 0..=393_216);
        checks.range("history_ttl_ms", self.history_ttl_ms, 1_000..=3_600_000);
        checks.range("history_total_bytes", self.history_total_bytes, 0..=1_099_511_627_776);
        checks.range("max_detached", self.max_detached, 0..=1_000_000);
        checks.range("handover_on_drain_ms", self.handover_on_drain_ms, 0..=60_000);
        checks.range("max_tickets", self.max_tickets, 1..=1_000_000);
        checks.range("ticket_ttl_ms", self.ticket_ttl_ms, 1_000..=60_000);
        checks.range("max_cached_peers", self.max_cached_peers, 0..=1_000_000);
        checks.range("peer_cache_ttl_ms", self.peer_cache_ttl_ms, 100..=300_000);
        checks.range("max_revocations", self.max_revocations, 100..=10_000_000);
        checks.range("jwks_max_age_s", self.jwks_max_age_s, 1..=86_400);
        checks.extend(self.limits.problems());
        checks.extend(self.tokens.problems());
        for origin in &self.allowed_origins {
            let scheme = origin.starts_with("https://") || origin.starts_with("http://");
            let good = scheme && !origin.ends_with('/') && !origin.contains('*');
            let rule = format!("{origin:?} is no origin");
            checks.require(good, "allowed_origins", &rule, "write it as browsers do: https://app.example.com");
        }
        checks.finish()
    }
}
