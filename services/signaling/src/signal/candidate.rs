//! The candidate grammar of RFC 8839 §5.1, with TCP types (RFC 6544 §4.5), mDNS names
//! (draft-ietf-mmusic-mdns-ice-candidates) and extensions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::is_ice_char;

const TYPES: [&str; 4] = ["host", "srflx", "prflx", "relay"];
const TCP_TYPES: [&str; 3] = ["active", "passive", "so"];
const RFC: &str = "(RFC 8839 §5.1)";
/// Most extension pairs; browsers send four.
const MAX_EXTENSIONS: usize = 32;

/// Adds every rule that a candidate line breaks. Empty text says that there are no more.
pub(super) fn check(candidate: &str, max_bytes: usize, found: &mut Vec<String>) {
    if candidate.len() > max_bytes {
        found.push(format!("candidate: {} bytes, at most {max_bytes} are allowed", candidate.len()));
        return;
    }
    if candidate.is_empty() {
        return;
    }
    let line = candidate.strip_prefix("a=").unwrap_or(candidate);
    if line.bytes().any(|byte| byte.is_ascii_control()) {
        found.push("candidate: it has line ends or other control characters; send one line".into());
        return;
    }
    let mut say = |rule: &str| found.push(format!("candidate: {rule} {RFC}"));
    let fields: Vec<&str> = line.split(' ').collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let foundation = field(0).strip_prefix("candidate:").unwrap_or_default();
    if !(1..=32).contains(&foundation.len()) || !foundation.bytes().all(is_ice_char) {
        say("must begin with `candidate:` and a foundation of 1 to 32 characters of A-Z a-z 0-9 + /");
    }
    if !number(field(1), 5).is_some_and(|id| (1..=256).contains(&id)) {
        say("its second field is the component id, 1 to 256");
    }
    let transport = field(2).to_ascii_lowercase();
    if transport != "udp" && transport != "tcp" {
        say("its third field is the transport, udp or tcp");
    }
    if !number(field(3), 10).is_some_and(|priority| (1..=0x7FFF_FFFF).contains(&priority) || priority == 0xFFFF_FFFF) {
        say("its fourth field is the priority, 1 to 2147483647");
    }
    if !is_address(field(4)) {
        say("its fifth field is the address: IPv4, IPv6 or a name such as one of mDNS, `….local`");
    }
    if number(field(5), 5).is_none_or(|port| port > 65_535) {
        say("its sixth field is the port, 0 to 65535");
    }
    if field(6) != "typ" || !TYPES.contains(&field(7)) {
        say("its seventh and eighth fields are `typ` and host, srflx, prflx or relay");
    }
    extensions(fields.get(8..).unwrap_or_default(), field(7), &transport, &mut say);
}

/// What follows the type: `raddr`, `rport` and any pair of a name and a value.
fn extensions(fields: &[&str], kind: &str, transport: &str, say: &mut impl FnMut(&str)) {
    if fields.len() > 2 * MAX_EXTENSIONS {
        say("has more than 32 extensions");
        return;
    }
    if !fields.len().is_multiple_of(2) || fields.iter().step_by(2).any(|name| name.is_empty()) {
        say("after its type come pairs of a name and a value, one space between");
        return;
    }
    let value = |name: &str| fields.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
    if value("raddr").is_some_and(|address| !is_address(address)) {
        say("raddr is the related address: IPv4, IPv6 or a name");
    }
    if value("rport").is_some_and(|port| number(port, 5).is_none_or(|port| port > 65_535)) {
        say("rport is the related port, 0 to 65535");
    }
    if value("raddr").is_some() != value("rport").is_some() {
        say("raddr and rport come together");
    }
    if kind == "host" && value("raddr").is_some() {
        say("a host candidate has no related address");
    }
    match value("tcptype") {
        Some(word) if !TCP_TYPES.contains(&word) => say("tcptype is active, passive or so (RFC 6544 §4.5)"),
        Some(_) if transport == "udp" => say("tcptype fits only the transport tcp (RFC 6544 §4.5)"),
        _ => {}
    }
    let good = |text: &str| (4..=256).contains(&text.len()) && text.bytes().all(is_ice_char);
    if value("ufrag").is_some_and(|ufrag| !good(ufrag)) {
        say("ufrag has 4 to 256 characters of A-Z a-z 0-9 + /");
    }
}

/// A decimal number of at most `digits` digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    let good = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| text.parse().ok())?
}

/// `connection-address`: IPv4, IPv6 (a zone id tells others nothing and is refused) or a name.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() || is_name(text)
}

/// A host name (RFC 1123 §2.1) that can't be mistaken for an IPv4 address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check(text, 512, &mut found);
        found
    }

    #[test]
    fn real_candidates_pass() {
        for good in [
            "",
            "candidate:1 1 udp 2130706431 127.0.0.1 49152 typ host",
            "a=candidate:842163049 1 udp 1677729535 203.0.113.7 61000 typ srflx raddr 10.0.0.2 rport 61000 generation 0",
            "candidate:1 1 UDP 1 d5cf3b4e-4b7b-4d3a-9c29-1f2d1c3b4a5e.local 9 typ host",
            "candidate:2 1 tcp 1518280447 2001:db8::1 9 typ host tcptype active",
            "candidate:1467250027 1 udp 2122260223 192.168.0.196 46243 typ host generation 0 ufrag Ut+7 network-id 1",
            "candidate:3 1 udp 41885695 198.51.100.1 50000 typ relay raddr 0.0.0.0 rport 0 network-cost 50",
            "candidate:4 1 tcp 1 192.0.2.1 4444 typ prflx raddr 192.0.2.9 rport 9 tcptype so",
        ] {
            assert_eq!(broken(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn every_broken_field_is_told_at_once_in_words_of_its_own() {
        let found = broken("nonsense");
        assert_eq!(found.len(), 7);
        let distinct: std::collections::BTreeSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), 7, "{found:?}");
        assert_eq!(broken(&"x".repeat(513)), ["candidate: 513 bytes, at most 512 are allowed"]);
    }

    #[test]
    fn each_rule_is_told_by_itself() {
        let head = "candidate:1 1 udp 1 192.0.2.1 9 typ";
        for (bad, word) in [
            ("candidate: 1 udp 1 192.0.2.1 9 typ host".to_owned(), "foundation"),
            ("candidate:1_ 1 udp 1 192.0.2.1 9 typ host".to_owned(), "foundation"),
            ("candidate:1 257 udp 1 192.0.2.1 9 typ host".to_owned(), "component"),
            ("candidate:1 0 udp 1 192.0.2.1 9 typ host".to_owned(), "component"),
            ("candidate:1 1 sctp 1 192.0.2.1 9 typ host".to_owned(), "transport"),
            ("candidate:1 1 udp 0 192.0.2.1 9 typ host".to_owned(), "priority"),
            ("candidate:1 1 udp 1 192.0.2.256 9 typ host".to_owned(), "address"),
            ("candidate:1 1 udp 1 -a.local 9 typ host".to_owned(), "address"),
            ("candidate:1 1 udp 1 fe80::1%eth0 9 typ host".to_owned(), "address"),
            ("candidate:1 1 udp 1 192.0.2.1 70000 typ host".to_owned(), "port"),
            (format!("{head} guess"), "eighth"),
            (format!("{head} host raddr 192.0.2.2 rport 9"), "no related address"),
            (format!("{head} srflx raddr 192.0.2.2"), "together"),
            (format!("{head} srflx raddr x_y rport 9"), "raddr is"),
            (format!("{head} srflx raddr 192.0.2.2 rport 99999"), "rport is"),
            (format!("{head} host tcptype active"), "only the transport tcp"),
            ("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype both".to_owned(), "active, passive or so"),
            (format!("{head} host ufrag abc"), "ufrag"),
            (format!("{head} host lonely"), "pairs"),
            (format!("{head} host{}", " a b".repeat(33)), "32 extensions"),
            (format!("{head} host\r\na=x:y"), "control characters"),
        ] {
            let found = broken(&bad);
            assert_eq!(found.len(), 1, "{bad}: {found:?}");
            assert!(found[0].contains(word), "{bad}: {found:?}");
        }
    }
}
