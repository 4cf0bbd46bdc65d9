//! Vanity names and how a request names its tunnel.

use http::Uri;
use http::uri::PathAndQuery;

/// Names nobody may take: they would pass for the house's own hosts.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "app",
    "auth",
    "billing",
    "blog",
    "cdn",
    "console",
    "dashboard",
    "dev",
    "docs",
    "ftp",
    "help",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "ns1",
    "ns2",
    "oauth",
    "portal",
    "public",
    "root",
    "security",
    "smtp",
    "sso",
    "staging",
    "static",
    "status",
    "stripe",
    "support",
    "synapse",
    "system",
    "test",
    "tunnel",
    "webhook",
    "www",
];

/// The path below which tunnels are reached without a domain of their own.
pub(crate) const PATH_PREFIX: &str = "/t/";

/// Why a name can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    Length,
    Characters,
    Edges,
    Reserved,
}

impl NameError {
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::Length => "must have 3 to 32 characters",
            Self::Characters => "may consist of a-z, 0-9 and hyphens",
            Self::Edges => "must begin and end with a letter or digit and have no two hyphens in the third place",
            Self::Reserved => "is reserved; choose another",
        }
    }
}

/// A name as it is kept: lower case.
pub(crate) fn parse(name: &str) -> Result<String, NameError> {
    let name = name.to_ascii_lowercase();
    if !(3..=32).contains(&name.len()) {
        return Err(NameError::Length);
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(NameError::Characters);
    }
    // Two hyphens there mark encoded international names (RFC 5891 §4.2.3.1).
    if name.starts_with('-') || name.ends_with('-') || name.get(2..4) == Some("--") {
        return Err(NameError::Edges);
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(NameError::Reserved);
    }
    Ok(name)
}

/// Which tunnel a request is for, and what is left of its address for the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// A name or an id.
    pub(crate) label: String,
    pub(crate) path: PathAndQuery,
    /// Where the tunnel begins in the public address; empty with a host of its own.
    pub(crate) prefix: String,
}

/// The tunnel that an address belongs to; `None` when it belongs to no tunnel.
pub(crate) fn target(domain: &str, host: Option<&str>, uri: &Uri) -> Option<Target> {
    let whole = || uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Some(label) = host.and_then(|host| label_of_host(domain, host)) {
        return Some(Target { label, path: whole(), prefix: String::new() });
    }
    let text = uri.path_and_query()?.as_str();
    let rest = text.strip_prefix(PATH_PREFIX)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (label, rest) = rest.split_at(end);
    if label.is_empty() {
        return None;
    }
    let path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    Some(Target {
        label: label.to_ascii_lowercase(),
        path: path.parse().ok()?,
        prefix: format!("{PATH_PREFIX}{label}"),
    })
}

fn label_of_host(domain: &str, host: &str) -> Option<String> {
    if domain.is_empty() {
        return None;
    }
    let has_port = |(_, port): &(&str, &str)| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = host.rsplit_once(':').filter(has_port).map_or(host, |(host, _)| host);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let label = host.strip_suffix(domain)?.strip_suffix('.')?;
    (!label.is_empty() && !label.contains('.')).then(|| label.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_hosts() {
        assert_eq!(parse("Blue-Whale-7"), Ok("blue-whale-7".to_owned()));
        for (bad, error) in [
            ("ab", NameError::Length),
            (&"a".repeat(33), NameError::Length),
            ("a_b", NameError::Characters),
            ("bläu", NameError::Characters),
            ("-ab", NameError::Edges),
            ("ab-", NameError::Edges),
            ("xn--80ak6aa92e", NameError::Edges),
            ("WWW", NameError::Reserved),
        ] {
            assert_eq!(parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn a_request_names_its_tunnel_by_host_or_path() {
        let by = |host: &str, uri: &str| target("example.com", Some(host), &uri.parse().unwrap());
        let found = by("blue.example.com:8443", "/a?b=1").unwrap();
        assert_eq!((found.label.as_str(), found.path.as_str(), found.prefix.as_str()), ("blue", "/a?b=1", ""));
        let found = by("example.com", "/t/blue/a/b?c").unwrap();
        assert_eq!((found.label.as_str(), found.path.as_str(), found.prefix.as_str()), ("blue", "/a/b?c", "/t/blue"));
        assert_eq!(by("example.com", "/t/blue").unwrap().path, "/");
        assert_eq!(by("example.com", "/t/blue?x").unwrap().path, "/?x");
        assert_eq!(by("blue.example.com.", "/").unwrap().label, "blue");
        for (host, uri) in [
            ("example.com", "/"),
            ("a.b.example.com", "/"),
            ("blue.example.com.evil.test", "/"),
            ("blueexample.com", "/"),
            ("example.com", "/t/"),
            ("example.com", "/tt/blue"),
        ] {
            assert_eq!(by(host, uri), None, "{host}{uri}");
        }
        assert_eq!(target("", Some("blue.example.com"), &"/".parse().unwrap()), None);
    }
}
