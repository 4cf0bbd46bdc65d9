//! What a signal may look like: enough of SDP (RFC 8866) and of the candidate grammar (RFC 8839 §5.1) to refuse what
//! can't be either, with every violation told at once. Browsers' and libraries' extensions pass.

use contracts::signals::signaling::PeerSignal;

/// Largest parts of a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) sdp_bytes: usize,
    pub(crate) candidate_bytes: usize,
}

/// Longest text of a bye, characters.
const MAX_REASON_CHARS: usize = 200;
/// Longest media section name (RFC 8843 gives no bound; browsers use a few characters).
const MAX_MID_BYTES: usize = 64;

/// Every rule that the signal breaks: `field: rule`.
pub(crate) fn violations(signal: &PeerSignal, limits: Limits) -> Vec<String> {
    let mut found = Vec::new();
    match signal {
        PeerSignal::Offer { sdp, generation } | PeerSignal::Answer { sdp, generation } => {
            check_sdp(sdp, limits.sdp_bytes, &mut found);
            check_generation(*generation, &mut found);
        }
        PeerSignal::Candidate { candidate, sdp_mid, generation } => {
            check_candidate(candidate, limits.candidate_bytes, &mut found);
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
    found
}

fn check_generation(generation: u32, found: &mut Vec<String>) {
    if generation == 0 {
        found.push("generation: negotiations are counted from 1".into());
    }
}

fn check_sdp(sdp: &str, max_bytes: usize, found: &mut Vec<String>) {
    if sdp.len() > max_bytes {
        found.push(format!("sdp: {} bytes, at most {max_bytes} are allowed", sdp.len()));
        return;
    }
    let mut lines = sdp.lines();
    if lines.next() != Some("v=0") {
        found.push("sdp: the first line must be `v=0` (RFC 8866 §5.1)".into());
    }
    for required in ["o=", "s=", "t="] {
        if !sdp.lines().any(|line| line.starts_with(required)) {
            found.push(format!("sdp: a `{required}` line is missing (RFC 8866 §5)"));
        }
    }
    let shaped = |line: &str| line.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && line[1..].starts_with('=');
    if let Some((number, _)) = lines.enumerate().find(|(_, line)| !line.is_empty() && !shaped(line)) {
        found.push(format!("sdp: line {} is not `<letter>=<value>` (RFC 8866 §5)", number + 2));
    }
}

fn check_candidate(candidate: &str, max_bytes: usize, found: &mut Vec<String>) {
    if candidate.len() > max_bytes {
        found.push(format!("candidate: {} bytes, at most {max_bytes} are allowed", candidate.len()));
        return;
    }
    if candidate.is_empty() {
        return; // no more candidates
    }
    let fields: Vec<&str> = candidate.strip_prefix("a=").unwrap_or(candidate).split(' ').collect();
    let numeric =
        |at: usize, max: u64| fields.get(at).and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n <= max);
    let foundation = fields[0].strip_prefix("candidate:").unwrap_or("");
    let rules = [
        ((1..=32).contains(&foundation.len()), "must begin with `candidate:` and a foundation of 1 to 32 characters"),
        (numeric(1, 256), "its second field is the component id, 1 to 256"),
        (fields.get(2).is_some_and(|transport| !transport.is_empty()), "its third field is the transport"),
        (numeric(3, 0xFFFF_FFFF), "its fourth field is the priority, up to 4294967295"),
        (fields.get(4).is_some_and(|address| !address.is_empty()), "its fifth field is the address"),
        (numeric(5, 65_535), "its sixth field is the port"),
        (fields.get(6) == Some(&"typ") && fields.len() > 7, "its seventh and eighth fields are `typ` and the type"),
    ];
    found
        .extend(rules.iter().filter(|(holds, _)| !holds).map(|(_, rule)| format!("candidate: {rule} (RFC 8839 §5.1)")));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { sdp_bytes: 1_024, candidate_bytes: 256 };

    fn candidate(text: &str) -> Vec<String> {
        violations(&PeerSignal::Candidate { candidate: text.into(), sdp_mid: None, generation: 1 }, LIMITS)
    }

    fn offer(sdp: &str) -> Vec<String> {
        violations(&PeerSignal::Offer { sdp: sdp.into(), generation: 1 }, LIMITS)
    }

    #[test]
    fn real_candidates_pass() {
        for good in [
            "",
            "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host",
            "a=candidate:842163049 1 udp 1677729535 203.0.113.7 61000 typ srflx raddr 10.0.0.2 rport 61000 generation 0",
            "candidate:1 1 UDP 1 d5cf3b4e-4b7b-4d3a-9c29-1f2d1c3b4a5e.local 9 typ host",
            "candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
        ] {
            assert_eq!(candidate(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn every_broken_field_is_told_at_once() {
        assert_eq!(candidate("nonsense").len(), 7);
        assert_eq!(candidate("candidate:1 1 udp 1 127.0.0.1 70000 typ host").len(), 1);
        assert_eq!(candidate(&"x".repeat(257)), ["candidate: 257 bytes, at most 256 are allowed"]);
    }

    #[test]
    fn sdp_needs_its_session_lines() {
        assert_eq!(offer("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"), Vec::<String>::new());
        assert_eq!(offer("").len(), 4);
        assert_eq!(offer("v=0\no=-\ns=-\nt=0 0\nnot sdp").len(), 1);
        assert_eq!(offer(&"v".repeat(2_000)), ["sdp: 2000 bytes, at most 1024 are allowed"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = (candidate(&text), offer(&text));
        }
    }
}
