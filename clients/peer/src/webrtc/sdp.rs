use std::net::IpAddr;

use str0m::Candidate;

use super::{Error, MAX_CANDIDATE_BYTES, MAX_SDP_BYTES};

/// The rules for the other side's description that come before parsing: size, a data channel, a certificate, and the
/// expected one if given. Returns how many candidates it carries.
pub(super) fn check(sdp: &str, expected_fingerprint: Option<&str>) -> Result<usize, Error> {
    if sdp.len() > MAX_SDP_BYTES {
        return Err(Error::Sdp(format!("{} bytes, the limit is {MAX_SDP_BYTES}", sdp.len())));
    }
    if !sdp.starts_with("v=0") {
        return Err(Error::Sdp("must begin with `v=0`; pass the text of the description, without JSON".to_owned()));
    }
    if !sdp.lines().any(|line| line.starts_with("m=application ")) {
        return Err(Error::Sdp("has no `m=application` line; the other side must add a data channel".to_owned()));
    }
    let mut found = sdp.lines().filter_map(|line| line.strip_prefix("a=fingerprint:")).map(str::trim).peekable();
    if found.peek().is_none() {
        return Err(Error::Sdp("has no `a=fingerprint` line; without a certificate nothing is encrypted".to_owned()));
    }
    // Every line, not the first: which one the handshake uses must not matter.
    if let Some(expected) = expected_fingerprint
        && let Some(other) = found.find(|print| !print.eq_ignore_ascii_case(expected.trim()))
    {
        return Err(Error::FingerprintMismatch { expected: expected.to_owned(), found: shorten(other) });
    }
    Ok(sdp.lines().filter(|line| line.starts_with("a=candidate:")).count())
}

/// Reads a candidate line, with or without `a=`. `None` for what is valid and of no use here: the empty
/// end-of-candidates mark (RFC 8838 §13) and host names that only multicast DNS resolves (browsers hide their
/// addresses behind them and are reached through the checks they send themselves).
pub(super) fn candidate(line: &str) -> Result<Option<Candidate>, Error> {
    if line.len() > MAX_CANDIDATE_BYTES {
        return Err(Error::Candidate(format!("{} bytes, the limit is {MAX_CANDIDATE_BYTES}", line.len())));
    }
    let line = line.trim();
    let line = line.strip_prefix("a=").unwrap_or(line);
    let address = line.split_ascii_whitespace().nth(4).unwrap_or_default();
    if line.is_empty() || (line.starts_with("candidate:") && address.ends_with(".local")) {
        return Ok(None);
    }
    let candidate = Candidate::from_sdp_string(line)
        .map_err(|error| Error::Candidate(format!("{}; the form is RFC 8839 §5.1's", shorten(&error.to_string()))))?;
    if candidate.addr().port() == 0 || !reachable(candidate.addr().ip()) {
        let address = candidate.addr();
        return Err(Error::Candidate(format!(
            "{address} is no address of one peer; send unicast addresses with a port"
        )));
    }
    Ok(Some(candidate))
}

fn reachable(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

// What came from outside goes into an error message only so far.
fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}
