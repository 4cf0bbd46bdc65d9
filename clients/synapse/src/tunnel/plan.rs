//! What is wanted, checked: every problem is told at once, by its field and its rule.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use agent::{BasicAuth, HostHeader, InspectOptions, Origin, Redaction, Trust};
use contracts::PeerId;

/// Where the edge is when nobody says.
const EDGE: &str = "http://127.0.0.1:8080";

/// One tunnel as the command line or the file describes it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Wanted {
    /// Where the program listens: a port of this machine, host:port, or https://host:port.
    pub(super) origin: String,
    /// A vanity name for the address: 3 to 32 letters, digits and hyphens.
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Ask the public for a user and a password (basic auth). The program is not asked without, and never sees them.
    #[arg(long, value_name = "USER:PASSWORD")]
    pub(super) auth: Option<String>,
    /// What the program sees as its host: `public` (what was asked for, the default), `origin` (its own address, for
    /// development servers that answer to no other), or a fixed name.
    #[arg(long, value_name = "public|origin|NAME")]
    pub(super) host_header: Option<String>,
    /// For an https origin: believe certificates of this PEM file's authorities and no others. By default those that
    /// this machine believes.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure_origin")]
    pub(super) origin_ca: Option<PathBuf>,
    /// For an https origin: believe any certificate. Whoever answers at that address gets everything; for this machine
    /// alone.
    #[arg(long)]
    pub(super) insecure_origin: bool,
    /// Ask the program by HTTP/2: without TLS with prior knowledge (h2c), with TLS by ALPN.
    #[arg(long)]
    pub(super) origin_http2: bool,
    /// Who this agent is; the same agent gets the same address again. By default made of the origin, this machine and a
    /// seed in ~/.synapse/agent-seed.
    #[arg(long)]
    pub(super) agent_id: Option<String>,
}

/// What all tunnels share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// The edge [default: http://127.0.0.1:8080].
    #[arg(long, env = "SYNAPSE_EDGE")]
    pub(super) edge: Option<String>,
    /// The gateway, which issues subscription proofs; by default the edge.
    #[arg(long, env = "SYNAPSE_GATEWAY")]
    pub(super) gateway: Option<String>,
    /// The subscription that pays for the tunnel.
    #[arg(long, env = "SYNAPSE_SUBSCRIPTION")]
    pub(super) subscription: Option<String>,
    /// Where the page that shows requests listens: a port of this machine, an address of loopback, or `off`. The next
    /// free port is taken where that one is not [default: 127.0.0.1:4040].
    #[arg(long, value_name = "ADDR|off")]
    pub(super) inspect: Option<String>,
    /// Most requests that the page keeps [default: 500].
    #[arg(long, value_name = "COUNT")]
    pub(super) inspect_requests: Option<usize>,
    /// Most bytes that the page keeps in all [default: 67108864, 64 MiB].
    #[arg(long, value_name = "BYTES")]
    pub(super) inspect_bytes: Option<usize>,
    /// Most bytes that the page keeps of one body; four of them must fit into all [default: 1048576, 1 MiB].
    #[arg(long, value_name = "BYTES")]
    pub(super) inspect_body_bytes: Option<usize>,
    /// One more header or query parameter whose value is a secret, besides Authorization, Cookie, Set-Cookie and API
    /// keys; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(super) redact: Vec<String>,
}

/// One tunnel whose description holds.
#[derive(Debug)]
pub(super) struct Ready {
    /// Its name in the file.
    pub(super) label: Option<String>,
    pub(super) origin: Origin,
    pub(super) name: Option<String>,
    pub(super) auth: Option<BasicAuth>,
    pub(super) agent_id: Option<PeerId>,
}

/// What is wrong, each with its field.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, field: &str, rule: impl std::fmt::Display) {
        self.0.push(format!("{field}: {rule}"));
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// # Errors
    /// When there are any: all of them.
    pub(super) fn none(self) -> anyhow::Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => anyhow::bail!("{one}"),
            several => anyhow::bail!("{} problems:\n  {}", several.len(), several.join("\n  ")),
        }
    }
}

impl Settings {
    pub(super) fn edge(&self) -> &str {
        self.edge.as_deref().unwrap_or(EDGE)
    }

    /// These, and where they say nothing the others.
    pub(super) fn over(self, other: Self) -> Self {
        Self {
            edge: self.edge.or(other.edge),
            gateway: self.gateway.or(other.gateway),
            subscription: self.subscription.or(other.subscription),
            inspect: self.inspect.or(other.inspect),
            inspect_requests: self.inspect_requests.or(other.inspect_requests),
            inspect_bytes: self.inspect_bytes.or(other.inspect_bytes),
            inspect_body_bytes: self.inspect_body_bytes.or(other.inspect_body_bytes),
            redact: self.redact.into_iter().chain(other.redact).collect(),
        }
    }
}

/// How the page should be; `None` when it is off.
pub(super) fn inspect_options(settings: &Settings, problems: &mut Problems) -> Option<InspectOptions> {
    let mut options = InspectOptions { redaction: Redaction::with(settings.redact.clone()), ..Default::default() };
    match settings.inspect.as_deref() {
        Some("off") => return None,
        None => {}
        Some(given) => {
            match given.parse::<u16>().map(|port| (Ipv4Addr::LOCALHOST, port).into()).or_else(|_| given.parse()) {
                Ok(listen) => options.listen = listen,
                Err::<SocketAddr, _>(_) => {
                    problems.add("inspect", format!("{given:?} is no port, no address with a port, and not `off`"))
                }
            }
        }
    }
    if !options.listen.ip().is_loopback() {
        problems.add("inspect", format!("{} is not this machine alone; use 127.0.0.1 or [::1]", options.listen));
    }
    options.max_exchanges = settings.inspect_requests.unwrap_or(options.max_exchanges);
    options.max_bytes = settings.inspect_bytes.unwrap_or(options.max_bytes);
    options.max_body_bytes = settings.inspect_body_bytes.unwrap_or(options.max_body_bytes);
    if options.max_exchanges == 0 {
        problems.add("inspect_requests", "must be 1 at least; `--inspect off` keeps none");
    }
    if options.max_bytes / 4 < options.max_body_bytes {
        let rule = format!("must be four times inspect_body_bytes ({}) at least", options.max_body_bytes);
        problems.add("inspect_bytes", rule);
    }
    Some(options)
}

/// Two tunnels of one origin would be the same agent.
pub(super) fn distinct(tunnels: &[Ready], problems: &mut Problems) {
    for (at, one) in tunnels.iter().enumerate() {
        let same = |other: &&Ready| {
            other.agent_id == one.agent_id && (one.agent_id.is_some() || other.origin.address == one.origin.address)
        };
        if let (Some(other), Some(label)) = (tunnels[..at].iter().find(same), &one.label) {
            let earlier = other.label.as_deref().unwrap_or_default();
            problems.add(
                &format!("tunnels.{label}.agent_id"),
                format!("must be given and differ: it leads to the same program as tunnels.{earlier}"),
            );
        }
    }
}

impl Wanted {
    /// Checks it. `label` is its name in the file; without one the fields are named as options.
    pub(super) fn ready(&self, label: Option<&str>, problems: &mut Problems) -> Option<Ready> {
        let field = |key: &str| match label {
            Some(label) => format!("tunnels.{label}.{key}"),
            None if key == "origin" => key.to_owned(),
            None => format!("--{}", key.replace('_', "-")),
        };
        let before = problems.0.len();
        let mut origin = origin(&self.origin).unwrap_or_else(|rule| {
            problems.add(&field("origin"), rule);
            // Stands in for the one that can't be, so that the other fields are looked at.
            Origin::try_new("127.0.0.1:1").expect("a host and a port")
        });
        origin.tls = self.trust(self.origin.starts_with(HTTPS), &field, problems);
        origin.http2 = self.origin_http2;
        match self.host_header.as_deref().unwrap_or("public") {
            "public" => {}
            "origin" => origin.host = HostHeader::Origin,
            name => match (is_host(name), name.parse()) {
                (true, Ok(value)) => origin.host = HostHeader::Fixed(value),
                _ => problems.add(&field("host_header"), format!("{name:?} is neither `public`, `origin` nor a host")),
            },
        }
        if let Some(name) = self.name.as_deref().filter(|name| !is_name(name)) {
            problems.add(&field("name"), format!("{name:?} must have 3 to 32 letters, digits and inner hyphens"));
        }
        let auth = self
            .auth
            .as_deref()
            .and_then(|given| BasicAuth::try_new(given).map_err(|error| problems.add(&field("auth"), error)).ok());
        let agent_id = self
            .agent_id
            .as_deref()
            .and_then(|id| id.parse().map_err(|error| problems.add(&field("agent_id"), error)).ok());
        let ready = Ready { label: label.map(str::to_owned), origin, name: self.name.clone(), auth, agent_id };
        (problems.0.len() == before).then_some(ready)
    }

    fn trust(&self, has_tls: bool, field: &dyn Fn(&str) -> String, problems: &mut Problems) -> Option<Trust> {
        for (key, is_given) in [("origin_ca", self.origin_ca.is_some()), ("insecure_origin", self.insecure_origin)] {
            if is_given && !has_tls {
                problems
                    .add(&field(key), "means something for an origin behind TLS only; write the origin as https://…");
            }
        }
        if self.origin_ca.is_some() && self.insecure_origin {
            problems.add(&field("insecure_origin"), "contradicts origin_ca; leave one of them out");
        }
        if !has_tls {
            return None;
        }
        if self.insecure_origin {
            return Some(Trust::Anything);
        }
        let Some(file) = &self.origin_ca else { return Some(Trust::System) };
        match std::fs::read(file) {
            Ok(pem) => Some(Trust::Ca(pem)),
            Err(error) => {
                problems.add(&field("origin_ca"), format!("{} can't be read: {error}", file.display()));
                None
            }
        }
    }
}

/// What begins an origin behind TLS.
const HTTPS: &str = "https://";

/// The origin without its TLS.
fn origin(given: &str) -> Result<Origin, String> {
    let address = if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = given.parse::<u16>().ok().filter(|port| *port > 0);
        format!("127.0.0.1:{}", port.ok_or_else(|| format!("{given} is no port"))?)
    } else {
        let rest = given.strip_prefix(HTTPS).or_else(|| given.strip_prefix("http://")).unwrap_or(given);
        rest.trim_end_matches('/').to_owned()
    };
    let origin = Origin::try_new(&address).map_err(|_| format!("{address:?} is no host and port"))?;
    match origin.address.port() {
        Some(_) => Ok(origin),
        None => Err(format!("{address:?} names no port; write it like {address}:3000")),
    }
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

fn is_name(name: &str) -> bool {
    let is_edge = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = name.as_bytes();
    (3..=32).contains(&bytes.len())
        && bytes.iter().all(|byte| is_edge(byte) || *byte == b'-')
        && bytes.first().is_some_and(is_edge)
        && bytes.last().is_some_and(is_edge)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted(origin: &str) -> Wanted {
        Wanted { origin: origin.into(), ..Wanted::default() }
    }

    fn refused(wanted: &Wanted, label: Option<&str>) -> String {
        let mut problems = Problems::default();
        assert!(wanted.ready(label, &mut problems).is_none());
        problems.none().unwrap_err().to_string()
    }

    #[test]
    fn an_origin_is_a_port_or_a_host_and_a_port() {
        for (given, url) in [
            ("3000", "http://127.0.0.1:3000"),
            ("app.local:80", "http://app.local:80"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
            ("https://localhost:3000", "https://localhost:3000"),
        ] {
            let ready = wanted(given).ready(None, &mut Problems::default()).unwrap();
            assert_eq!(ready.origin.url(), url);
        }
        for (given, hint) in [
            ("70000", "is no port"),
            ("0", "is no port"),
            ("app.local", "names no port"),
            ("a b", "is no host"),
            ("", ""),
        ] {
            assert!(refused(&wanted(given), None).contains(hint));
        }
    }

    #[test]
    fn every_problem_is_told_at_once_by_its_field() {
        let bad = Wanted {
            name: Some("-x".into()),
            auth: Some("nopassword".into()),
            origin: "localhost".into(),
            host_header: Some("a b".into()),
            insecure_origin: true,
            agent_id: Some("no good".into()),
            ..Wanted::default()
        };
        let text = refused(&bad, Some("web"));
        assert!(text.starts_with("6 problems:"), "{text}");
        for field in ["origin", "name", "auth", "host_header", "insecure_origin", "agent_id"] {
            assert!(text.contains(&format!("\n  tunnels.web.{field}: ")), "{field} in {text}");
        }
        assert!(refused(&bad, None).contains("--host-header: "), "on the command line fields are options");
    }

    #[test]
    fn the_page_is_where_it_is_wanted_and_nowhere_else_than_here() {
        let options = |inspect: &str| {
            let mut problems = Problems::default();
            let settings = Settings { inspect: Some(inspect.into()), ..Settings::default() };
            let options = inspect_options(&settings, &mut problems);
            problems.none().map(|()| options.map(|options| options.listen.to_string()))
        };
        assert_eq!(options("off").unwrap(), None);
        assert_eq!(options("5050").unwrap().unwrap(), "127.0.0.1:5050");
        assert_eq!(options("[::1]:5050").unwrap().unwrap(), "[::1]:5050");
        for (given, hint) in [("0.0.0.0:4040", "not this machine alone"), ("on", "not `off`")] {
            assert!(options(given).unwrap_err().to_string().contains(hint), "{given}");
        }
        let mut problems = Problems::default();
        let small = Settings { inspect_bytes: Some(1_000), inspect_requests: Some(0), ..Settings::default() };
        inspect_options(&small, &mut problems);
        assert!(problems.none().unwrap_err().to_string().starts_with("2 problems:"));
    }

    #[test]
    fn two_tunnels_to_one_program_are_told_apart() {
        let ready = |label: &str, id: Option<&str>| {
            let wanted = Wanted { agent_id: id.map(str::to_owned), ..wanted("3000") };
            wanted.ready(Some(label), &mut Problems::default()).unwrap()
        };
        let told = |tunnels: &[Ready]| {
            let mut problems = Problems::default();
            distinct(tunnels, &mut problems);
            problems.0.len()
        };
        assert_eq!(told(&[ready("a", None), ready("b", None)]), 1);
        assert_eq!(told(&[ready("a", None), ready("b", Some("b"))]), 0);
        assert_eq!(told(&[ready("a", Some("b")), ready("b", Some("b"))]), 1);
    }
}
