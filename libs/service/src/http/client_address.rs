//! Who is at the other end: the socket's address, or what trusted proxies say.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Most hops that are looked at: longer chains are made up.
const MAX_HOPS: usize = 32;

/// The address of the client of a request; an extension that the shell adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// What limits count it under: the address, or of an IPv6 address its network of 64 bits, since one customer has at
    /// least that many addresses.
    pub fn key(&self) -> String {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}

/// Whether a request came over TLS, to us or to a trusted proxy; an extension that the listener or the shell adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure;

/// The header that proxies write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`, as most proxies do.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Proxies whose word counts. Only one header is read: a proxy that writes one passes the other on as the client made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Proxies in these networks (`10.0.0.0/8`, or single addresses).
    ///
    /// # Errors
    /// The text that is neither.
    pub fn parse(networks: &[String], header: ForwardedHeader) -> Result<Self, String> {
        let network = |text: &String| {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| address()).map_err(|_| text.clone())
        };
        Ok(Self { networks: networks.iter().map(network).collect::<Result<_, _>>()?, header })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `peer`, and whether a trusted proxy says it came over TLS. Read from the
    /// right: each trusted proxy vouches for the address before it, and nobody for what is left of that.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> (ClientAddress, bool) {
        let mut client = peer.ip().to_canonical();
        if !self.trusts(client) {
            return (ClientAddress(client), false);
        }
        let hops = match self.header {
            ForwardedHeader::XForwardedFor => x_forwarded(headers),
            ForwardedHeader::Forwarded => forwarded(headers),
        };
        // The nearest proxy took the connection; what it says of the scheme is about the hop before it.
        let secure = hops.first().is_some_and(|hop| hop.secure);
        for hop in hops {
            if !self.trusts(client) {
                break;
            }
            // A name or "unknown": the proxy that wrote it is the last address that is known.
            let Some(address) = hop.address else { break };
            client = address.to_canonical();
        }
        (ClientAddress(client), secure)
    }
}

/// One hop, as the proxy after it wrote it down.
struct Hop {
    address: Option<IpAddr>,
    secure: bool,
}

/// The values of a list header, last first.
fn backwards<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut values: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    values.reverse();
    values.into_iter().take(MAX_HOPS)
}

fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let secure =
        backwards(headers, "x-forwarded-proto").next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    backwards(headers, "x-forwarded-for").map(|text| Hop { address: address(text), secure }).collect()
}

fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let hop = |element: &str| {
        let pairs = || element.split(';').filter_map(|pair| pair.trim().split_once('='));
        let value = |wanted: &str| {
            let found = pairs().find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.trim().trim_matches('"'))
        };
        let secure = value("proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Hop { address: value("for").and_then(address), secure }
    };
    backwards(headers, "forwarded").map(hop).collect()
}

/// An address as proxies write them: bare, with a port, or (IPv6) in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    bare().or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies(header: ForwardedHeader) -> TrustedProxies {
        TrustedProxies::parse(&["10.0.0.0/8".into(), "::1".into()], header).unwrap()
    }

    fn client(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let (client, secure) = proxies(header).client(SocketAddr::new(peer.parse().unwrap(), 1), &headers);
        (client.0.to_string(), secure)
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_for_the_hop_before_them() {
        let xff = ForwardedHeader::XForwardedFor;
        let cases = [
            ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("10.0.0.1", "1.1.1.1, unknown", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("::1", "[2001:db8::7]:80", "2001:db8::7"),
            ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ];
        for (peer, line, expected) in cases {
            assert_eq!(client(xff, peer, &[("x-forwarded-for", line)]).0, expected, "{peer} {line}");
        }
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=9.9.9.9")];
        assert_eq!(client(xff, "10.0.0.1", &lines).0, "198.51.100.1", "two lines are one list");
    }

    #[test]
    fn the_standard_header_is_read_where_it_is_configured() {
        let standard = ForwardedHeader::Forwarded;
        let line = r#"for=1.1.1.1, For="[2001:db8::7]:4711";proto=https;by=10.0.0.1"#;
        let lines = [("forwarded", line), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(client(standard, "10.0.0.1", &lines), ("2001:db8::7".into(), true));
        assert_eq!(client(standard, "10.0.0.1", &[("forwarded", "for=_hidden")]), ("10.0.0.1".into(), false));
    }

    #[test]
    fn the_scheme_is_believed_of_proxies_alone() {
        let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "http, HTTPS")];
        assert!(client(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines).1);
        assert!(!client(ForwardedHeader::XForwardedFor, "203.0.113.9", &lines).1);
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let key = |text: &str| ClientAddress(text.parse().unwrap()).key();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::1"), key("2001:db8:1:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        assert_eq!(
            TrustedProxies::parse(&["10.0.0.0/33".into()], ForwardedHeader::default()),
            Err("10.0.0.0/33".into())
        );
    }

    proptest! {
        /// Whatever stands left of an address that is not trusted changes nothing.
        #[test]
        fn a_client_can_not_choose_its_address(made_up in "[ -~]{0,200}") {
            let line = format!("{made_up}, 198.51.100.1");
            let found = client(ForwardedHeader::XForwardedFor, "10.0.0.1", &[("x-forwarded-for", &line)]);
            prop_assert_eq!(found.0, "198.51.100.1");
        }
    }
}
