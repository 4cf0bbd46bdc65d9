//! The grammar of STUN and TURN addresses (RFC 7064 §3.1, RFC 7065 §3.1).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest address, bytes: a host name of 253, and what stands around it.
const MAX_BYTES: usize = 300;

/// How one is written.
pub(crate) fn example(is_turn: bool) -> &'static str {
    if is_turn { "write turn:turn.example.com:3478?transport=udp" } else { "write stun:stun.example.com:3478" }
}

/// Checks an address.
///
/// # Errors
/// Which rule it breaks.
pub(crate) fn check_url(url: &str, is_turn: bool) -> Result<(), String> {
    if url.len() > MAX_BYTES {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    let Some((scheme, rest)) = url.split_once(':') else { return Err("has no scheme".into()) };
    let schemes = if is_turn { ["turn", "turns"] } else { ["stun", "stuns"] };
    if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(format!("has the scheme {scheme:?}, not {} or {}", schemes[0], schemes[1]));
    }
    if rest.starts_with("//") {
        return Err("has slashes, which these addresses have not".into());
    }
    if rest.contains('@') {
        return Err("names a user; credentials are made for each peer".into());
    }
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    check_query(query, is_turn)?;
    let (host, port) = split_host(place)?;
    if let Some(port) = port {
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(format!("has the port {port:?}, not one of 1 to 65535"));
        }
    }
    if is_host(host) { Ok(()) } else { Err(format!("has the host {host:?}, which is no name and no address")) }
}

fn check_query(query: Option<&str>, is_turn: bool) -> Result<(), String> {
    match query {
        None => Ok(()),
        Some(_) if !is_turn => Err("has a query, which stun addresses have not".into()),
        Some("transport=udp" | "transport=tcp") => Ok(()),
        Some(other) => Err(format!("has the query {other:?}, not transport=udp or transport=tcp")),
    }
}

/// The host, without the brackets of an IPv6 address, and the port.
fn split_host(place: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = place.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return Err("has a bracket that is not closed".into());
        };
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("has {address:?} in brackets, which is no IPv6 address"));
        }
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((address, None)),
            (_, Some(port)) => Ok((address, Some(port))),
            _ => Err("has something other than a port behind the bracket".into()),
        };
    }
    Ok(place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))))
}

fn is_host(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() || host.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number would be read as an IPv4 address by some and not by others.
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(label) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_rfcs_pass() {
        for good in [
            "stun:example.org",
            "stuns:example.org",
            "stun:example.org:8000",
            "stun:192.0.2.1",
            "stun:[2001:db8::1]:3478",
            "STUN:x",
            "stun:localhost",
        ] {
            assert_eq!(check_url(good, false), Ok(()), "{good}");
        }
        for good in [
            "turn:example.org",
            "turns:example.org",
            "turn:example.org:8000",
            "turn:example.org?transport=udp",
            "turn:example.org:8000?transport=tcp",
            "turns:[2001:db8::1]?transport=tcp",
        ] {
            assert_eq!(check_url(good, true), Ok(()), "{good}");
        }
    }

    #[test]
    fn each_rule_has_its_own_words() {
        let long = format!("stun:{}", "a.".repeat(200));
        for (bad, is_turn, words) in [
            ("", false, "no scheme"),
            ("example.org", false, "no scheme"),
            ("http://example.org", false, "the scheme"),
            ("turn:example.org", false, "the scheme"),
            ("stun:example.org", true, "the scheme"),
            ("stun://example.org", false, "slashes"),
            ("turn:me@example.org", true, "a user"),
            ("stun:example.org?transport=udp", false, "a query, which"),
            ("turn:example.org?transport=sctp", true, "the query"),
            ("turn:example.org?transport=udp&x=1", true, "the query"),
            ("stun:example.org:0", false, "the port"),
            ("stun:example.org:65536", false, "the port"),
            ("stun:example.org:", false, "the port"),
            ("stun:example.org:+1", false, "the port"),
            ("stun:[::1", false, "not closed"),
            ("stun:[192.0.2.1]", false, "no IPv6"),
            ("stun:[::1]x", false, "behind the bracket"),
            ("stun:", false, "the host"),
            ("stun:a_b.example", false, "the host"),
            ("stun:192.0.2.300", false, "the host"),
            ("stun:-a.example", false, "the host"),
            ("stun:a..example", false, "the host"),
            (long.as_str(), false, "longer than"),
        ] {
            let error = check_url(bad, is_turn).expect_err(bad);
            assert!(error.contains(words), "{bad}: {error}");
        }
    }
}
