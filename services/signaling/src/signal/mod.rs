//! What a signal may look like, with every violation told at once, each in words of its own. Browsers' and libraries'
//! extensions pass.

mod binding;
mod candidate;
mod sdp;

pub(crate) use binding::{KnownKeys, Signed, check_binding};

use contracts::signals::signaling::PeerSignal;

/// Largest parts of a signal.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of an SDP.
    pub sdp_bytes: usize,
    /// Of a candidate line.
    pub candidate_bytes: usize,
}

/// Longest text of a bye, characters.
const MAX_REASON_CHARS: usize = 200;
/// Longest media section name (RFC 8843 gives no bound; browsers use a few characters).
const MAX_MID_BYTES: usize = 64;

/// What was found out about a signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Every rule that it breaks: `field: rule`.
    pub violations: Vec<String>,
    /// The certificate of its SDP, where it has one: `sha-256 AA:BB:…`.
    pub fingerprint: Option<String>,
}

/// Checks a signal. Nothing that it says makes this panic.
pub fn check(signal: &PeerSignal, limits: Limits) -> Checked {
    let (mut found, mut fingerprint) = (Vec::new(), None);
    match signal {
        PeerSignal::Offer { sdp, generation } => {
            fingerprint = sdp::check(sdp, sdp::Side::Offer, limits.sdp_bytes, &mut found);
            check_generation(*generation, &mut found);
        }
        PeerSignal::Answer { sdp, generation } => {
            fingerprint = sdp::check(sdp, sdp::Side::Answer, limits.sdp_bytes, &mut found);
            check_generation(*generation, &mut found);
        }
        PeerSignal::Candidate { candidate, sdp_mid, generation } => {
            candidate::check(candidate, limits.candidate_bytes, &mut found);
            check_generation(*generation, &mut found);
            if sdp_mid.as_ref().is_some_and(|mid| mid.len() > MAX_MID_BYTES) {
                found.push(format!("sdp_mid: longer than {MAX_MID_BYTES} bytes"));
            }
        }
        PeerSignal::Restart { generation } => check_generation(*generation, &mut found),
        PeerSignal::Unknown => found.push("type: must be one of: offer, answer, candidate, restart, bye".into()),
        PeerSignal::Bye { reason } => {
            if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON_CHARS) {
                found.push(format!("reason: longer than {MAX_REASON_CHARS} characters"));
            }
        }
    }
    Checked { violations: found, fingerprint }
}

/// The name of a signal's type, for people.
pub(crate) fn name(signal: &PeerSignal) -> &'static str {
    match signal {
        PeerSignal::Offer { .. } => "offer",
        PeerSignal::Answer { .. } => "answer",
        PeerSignal::Candidate { .. } => "candidate",
        PeerSignal::Restart { .. } => "restart",
        PeerSignal::Bye { .. } => "bye",
        PeerSignal::Unknown => "unknown",
    }
}

fn check_generation(generation: u32, found: &mut Vec<String>) {
    if generation == 0 {
        found.push("generation: negotiations are counted from 1".into());
    }
}

/// `token` of RFC 8866 §9 and the `ice-char`s of RFC 8839 §5.1 that are more than letters and digits.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}
