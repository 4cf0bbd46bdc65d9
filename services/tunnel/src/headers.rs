//! Which headers go through and which end here (RFC 9110 §7.6), and what tells the origin who asked (RFC 7239).

use std::net::IpAddr;

use http::header::{
    CONNECTION, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE, TRAILER];
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Removes what concerns one connection only, those that `Connection` names included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let trailers = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let trailers = trailers.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("trailers"));
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // `Trailer` announces what the body ends with, and bodies go through whole.
    let announced = headers.get_all(TRAILER).iter().cloned().collect::<Vec<_>>();
    for name in named.iter().chain(&HOP_BY_HOP).chain([&KEEP_ALIVE, &PROXY_CONNECTION]) {
        // Nobody takes the host or the length away by naming it a matter of the connection.
        if *name != HOST && *name != http::header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    for value in announced {
        headers.append(TRAILER, value);
    }
    // The one word of TE that an intermediary may pass on (RFC 9110 §10.1.4); gRPC demands it.
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocol that a request asks to switch to, where it is well-formed (RFC 9110 §7.8). Not `h2c`, which is obsolete
/// (RFC 9113 §3.1) and would be between the client and us, not the program.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked = asked.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = protocols.next()?;
    let is_ours = protocol.as_bytes().eq_ignore_ascii_case(b"h2c");
    (asked && protocols.next().is_none() && !protocol.is_empty() && !is_ours).then(|| protocol.clone())
}

/// Who asked, and for what.
pub(crate) struct Asker<'a> {
    pub(crate) address: IpAddr,
    pub(crate) host: Option<&'a HeaderValue>,
    pub(crate) secure: bool,
    pub(crate) prefix: &'a str,
    pub(crate) trusted_hops: usize,
}

/// Rewrites the forwarding headers: what trusted hops said stays, what strangers said goes, this hop is added.
pub(crate) fn forwarded(headers: &mut HeaderMap, asker: &Asker<'_>) {
    let before = trusted_addresses(headers, asker.trusted_hops);
    let proto = headers.get(X_FORWARDED_PROTO).filter(|_| asker.trusted_hops > 0).cloned();
    for name in [&FORWARDED, &X_FORWARDED_FOR, &X_FORWARDED_HOST, &X_FORWARDED_PROTO, &X_FORWARDED_PREFIX, &X_REAL_IP] {
        headers.remove(name);
    }
    let here = if asker.secure { "https" } else { "http" };
    let proto = proto.as_ref().and_then(|value| value.to_str().ok()).filter(|value| ["http", "https"].contains(value));
    let proto = proto.unwrap_or(here).to_owned();
    let chain: Vec<IpAddr> = before.into_iter().chain([asker.address]).collect();
    let list = chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut elements = Vec::with_capacity(chain.len());
    for (place, address) in chain.iter().enumerate() {
        let node = match address {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        let host = asker.host.and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\']));
        match host {
            Some(host) if place == chain.len() - 1 => elements.push(format!("{node};host=\"{host}\";proto={proto}")),
            _ => elements.push(node),
        }
    }
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(X_FORWARDED_FOR, &list);
    set(X_REAL_IP, &chain[0].to_string());
    set(X_FORWARDED_PROTO, &proto);
    set(FORWARDED, &elements.join(", "));
    if !asker.prefix.is_empty() {
        set(X_FORWARDED_PREFIX, asker.prefix);
    }
    if let Some(host) = asker.host {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
}

/// The rightmost addresses: those that trusted hops wrote.
fn trusted_addresses(headers: &HeaderMap, hops: usize) -> Vec<IpAddr> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let from = all.len().saturating_sub(hops);
    all[from..].iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let mut headers = map(&[
            ("connection", "close, x-secret, content-length, host"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=1, trailers"),
            ("transfer-encoding", "chunked"),
            ("trailer", "grpc-status"),
            ("content-length", "3"),
            ("host", "a"),
            ("x-kept", "1"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "host", "te", "trailer", "x-kept"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_one_protocol() {
        assert_eq!(
            upgrade(&map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).unwrap(),
            "websocket"
        );
        assert!(upgrade(&map(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&map(&[("connection", "upgrade")])).is_none());
        assert!(upgrade(&map(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")])).is_none());
        let mut two = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        two.append("upgrade", "h2c".parse().unwrap());
        assert!(upgrade(&two).is_none());
    }

    fn asker(host: &HeaderValue, hops: usize) -> Asker<'_> {
        Asker {
            address: "192.0.2.7".parse().unwrap(),
            host: Some(host),
            secure: false,
            prefix: "/t/blue",
            trusted_hops: hops,
        }
    }

    #[test]
    fn strangers_can_t_write_the_forwarding_headers() {
        let host = HeaderValue::from_static("tunnels.example.com");
        let mut headers = map(&[
            ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
        ]);
        forwarded(&mut headers, &asker(&host, 0));
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-real-ip"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-prefix"], "/t/blue");
        assert_eq!(headers["forwarded"], "for=192.0.2.7;host=\"tunnels.example.com\";proto=http");
    }

    #[test]
    fn trusted_hops_count_from_the_right() {
        let host = HeaderValue::from_static("a");
        let mut headers = map(&[("x-forwarded-for", "6.6.6.6, 2001:db8::1"), ("x-forwarded-proto", "https")]);
        forwarded(&mut headers, &asker(&host, 1));
        assert_eq!(headers["x-forwarded-for"], "2001:db8::1, 192.0.2.7");
        assert_eq!(headers["x-real-ip"], "2001:db8::1");
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::1]\", for=192.0.2.7;host=\"a\";proto=https");
    }
}
