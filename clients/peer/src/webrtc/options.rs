use std::net::IpAddr;
use std::time::Duration;

use str0m::crypto::Fingerprint;

use super::{Error, Identity, MAX_MESSAGE_BYTES};

/// Messages that may wait between a caller and the connection's task, one more being in the task's hands.
pub(super) const OUTBOX_MESSAGES: usize = 3;

const OUTBOX_BYTES: usize = (OUTBOX_MESSAGES + 1) * MAX_MESSAGE_BYTES;
const MAX_BIND: usize = 16;

/// Settings of a [`super::Connection`]. `Options::default()` suits two peers on the internet.
#[derive(Clone, Debug)]
pub struct Options {
    /// The addresses to open UDP sockets on, at most 16. Empty (the default): the machine's own addresses without
    /// loopback and link-local ones, or 127.0.0.1 if there are none.
    pub bind: Vec<IpAddr>,
    /// The certificate of this side. Default: a new one per connection.
    pub identity: Option<Identity>,
    /// The fingerprint the other side must have (`sha-256 AB:CD:…`). A description with another one is refused.
    /// Default: the fingerprint in the description is believed, which is as safe as the signaling is.
    pub expected_fingerprint: Option<String>,
    /// Bytes taken by `send` and not yet acknowledged by the other side; `send` waits while there are that many.
    /// Default 1 MiB, at least 128 KiB. Throughput is at most this much per round trip.
    pub send_buffer_bytes: usize,
    /// Bytes received and not yet taken by the owner; above it the other side is made to wait. Default 1 MiB, at
    /// least 16 KiB. What the other side already has under way comes on top: up to 1 MiB as datagrams, 1 MiB as
    /// messages (SCTP's receive window).
    pub receive_buffer_bytes: usize,
    /// Candidates taken from the other side, those in its description included. Default 64, 1 to 1,000.
    pub max_remote_candidates: usize,
    /// How long an offer waits for its answer. Default 30 s.
    pub answer_timeout: Duration,
    /// From both descriptions being known to the channel being open. Default 10 s.
    pub connect_timeout: Duration,
    /// Silence of the other side after which an open connection counts as lost. It is asked three times within it,
    /// at least every 3 s. Default 10 s, at least 300 ms.
    pub ice_timeout: Duration,
    /// How long `close` waits for what was sent to be acknowledged. Default 2 s.
    pub close_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Vec::new(),
            identity: None,
            expected_fingerprint: None,
            send_buffer_bytes: 1024 * 1024,
            receive_buffer_bytes: 1024 * 1024,
            max_remote_candidates: 64,
            answer_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            ice_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Options {
    pub(super) fn validate(&self) -> Result<(), Error> {
        let fingerprint_ok = self.expected_fingerprint.as_deref().is_none_or(|text| {
            text.parse::<Fingerprint>()
                .is_ok_and(|print| print.hash_func.eq_ignore_ascii_case("sha-256") && print.bytes.len() == 32)
        });
        let rules = [
            (self.bind.len() <= MAX_BIND, "bind", "at most 16 addresses"),
            (fingerprint_ok, "expected_fingerprint", "must read `sha-256 ` and 32 hexadecimal bytes with colons"),
            (self.send_buffer_bytes >= 128 * 1024, "send_buffer_bytes", "at least 131072 (128 KiB)"),
            (self.receive_buffer_bytes >= 16 * 1024, "receive_buffer_bytes", "at least 16384 (16 KiB)"),
            ((1..=1_000).contains(&self.max_remote_candidates), "max_remote_candidates", "1 to 1000"),
            (!self.answer_timeout.is_zero(), "answer_timeout", "more than zero"),
            (!self.connect_timeout.is_zero(), "connect_timeout", "more than zero"),
            (self.ice_timeout >= Duration::from_millis(300), "ice_timeout", "at least 300 ms"),
        ];
        match rules.into_iter().find(|(ok, ..)| !ok) {
            Some((_, field, rule)) => Err(Error::Option { field, rule }),
            None => Ok(()),
        }
    }

    /// What the SCTP layer may hold, so that it and the outbox together stay within `send_buffer_bytes`.
    pub(super) fn sctp_buffer_bytes(&self) -> usize {
        self.send_buffer_bytes - OUTBOX_BYTES
    }

    /// How often a path in use is checked.
    pub(super) fn check_interval(&self) -> Duration {
        (self.ice_timeout / 3).min(Duration::from_secs(3))
    }

    /// Checks of one pair before it is given up: enough to last through `connect_timeout` (the other side may get
    /// our description late), never fewer than the library's own 9.
    pub(super) fn max_checks(&self) -> usize {
        let checks = self.connect_timeout.as_millis() / self.check_interval().as_millis().max(1);
        usize::try_from(checks).unwrap_or(usize::MAX).clamp(8, 199) + 1
    }
}
