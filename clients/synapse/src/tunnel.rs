//! `synapse tunnel http 3000`: a public URL for a program on this machine.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use agent::{Agent, Event, HostHeader, Origin, Prover, Status};
use anyhow::{Context, ensure};
use clock::Clock;
use contracts::PeerId;
use contracts::tunnels::TunnelView;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::Api;

/// A public URL for a program on this machine.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// A program that speaks HTTP, WebSocket and gRPC without TLS included.
    Http(Http),
}

#[derive(clap::Args)]
struct Http {
    /// Where the program listens: a port of this machine, or host:port.
    origin: String,
    /// A vanity name for the address: 3 to 32 letters, digits and hyphens.
    #[arg(long)]
    name: Option<String>,
    /// What the program sees as its host: `public` (what was asked for), `origin` (its own address, for development
    /// servers that answer to no other), or a fixed name.
    #[arg(long, default_value = "public", value_name = "public|origin|NAME")]
    host_header: String,
    /// Who this agent is; the same agent gets the same address again. By default made of the origin, this machine and a
    /// seed in ~/.synapse/agent-seed.
    #[arg(long)]
    agent_id: Option<String>,
    /// The edge.
    #[arg(long, env = "SYNAPSE_EDGE", default_value = "http://127.0.0.1:8080")]
    edge: String,
    /// The gateway, which issues subscription proofs; by default the edge.
    #[arg(long, env = "SYNAPSE_GATEWAY")]
    gateway: Option<String>,
    /// An access token.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true)]
    token: String,
    /// The subscription that pays for the tunnel.
    #[arg(long, env = "SYNAPSE_SUBSCRIPTION")]
    subscription: Option<String>,
    /// Print the public URL and nothing else.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// One JSON object a line: `{"event":"online","url":…}`, `{"event":"answered",…}`, ….
    #[arg(long)]
    json: bool,
}

/// Keeps the tunnel open until Ctrl-C, or until the edge ends it.
///
/// # Errors
/// What is wrong with the arguments, or why the tunnel can't be opened.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Kind::Http(http) = arguments.kind;
    let options = options(&http)?;
    let origin = options.origin.address.clone();
    let agent = agent::start(options).await?;
    let mut printer = Printer { http: &http, origin: origin.to_string(), line: String::new(), exchanges: 0 };
    let ended = printer.follow(&agent).await;
    agent.stop().await;
    printer.finish(ended.as_deref());
    Ok(if ended.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(http: &Http) -> anyhow::Result<agent::Options> {
    let address = if http.origin.bytes().all(|byte| byte.is_ascii_digit()) {
        let port: u16 = http.origin.parse().with_context(|| format!("origin: {} is no port", http.origin))?;
        format!("127.0.0.1:{port}")
    } else {
        http.origin.trim_start_matches("http://").trim_end_matches('/').to_owned()
    };
    ensure!(!address.starts_with("https://"), "origin: a program behind TLS can't be asked yet; give its plain port");
    let origin = Origin::try_new(&address).with_context(|| format!("origin: {address:?} is no host and port"))?;
    ensure!(origin.address.port().is_some(), "origin: {address:?} names no port; write it like {address}:3000");
    let host = match http.host_header.as_str() {
        "public" => HostHeader::Public,
        "origin" => HostHeader::Origin,
        name => HostHeader::Fixed(name.parse().with_context(|| format!("--host-header: {name:?} is no host"))?),
    };
    let agent_id: PeerId = match &http.agent_id {
        Some(id) => id.parse().map_err(|error| anyhow::anyhow!("--agent-id: {error}"))?,
        None => crate::agent_id::agent_id(&address)?,
    };
    let base = agent::Options::new(&http.edge, &http.token, agent_id.clone(), Origin { host, ..origin });
    Ok(agent::Options { name: http.name.clone(), prover: prover(http, agent_id)?, ..base })
}

fn prover(http: &Http, agent_id: PeerId) -> anyhow::Result<Option<Prover>> {
    let Some(subscription) = &http.subscription else { return Ok(None) };
    let subscription = subscription.parse().map_err(|error| anyhow::anyhow!("--subscription: {error}"))?;
    let api = Api::new(http.gateway.as_ref().unwrap_or(&http.edge), &http.token);
    Ok(Some(api.prover(subscription, agent_id)))
}

struct Printer<'a> {
    http: &'a Http,
    origin: String,
    /// The last status that was told.
    line: String,
    exchanges: u64,
}

impl Printer<'_> {
    /// Tells what happens until Ctrl-C (`None`) or until the edge ends the tunnel (why).
    async fn follow(&mut self, agent: &Agent) -> Option<String> {
        let (mut status, mut events) = (agent.status(), agent.events());
        let mut requests = std::collections::HashMap::new();
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let now = status.borrow_and_update().clone();
            if let Status::Ended(error) = &now {
                return Some(error.as_ref().map_or("it was stopped".to_owned(), ToString::to_string));
            }
            self.status(&now);
            tokio::select! {
                _ = &mut interrupted => return None,
                changed = status.changed() => if changed.is_err() { return Some("the agent ended".to_owned()) },
                event = events.recv() => match event {
                    Ok(Event::Began { number, method, path }) => {
                        if requests.len() < MAX_OPEN {
                            requests.insert(number, (method, path));
                        }
                    }
                    Ok(Event::Answered { number, status, took }) => {
                        if let Some((method, path)) = requests.remove(&number) {
                            self.exchange(method.as_str(), &path, status.as_u16(), took.as_secs_f64() * 1_000.0);
                        }
                    }
                    Err(RecvError::Lagged(missed)) => self.missed(missed),
                    Err(RecvError::Closed) => return Some("the agent ended".to_owned()),
                },
            }
        }
    }

    fn status(&mut self, status: &Status) {
        match status {
            Status::Online { tunnel, round_trip } => {
                let url = tunnel.urls.first().cloned().unwrap_or_default();
                if self.line != url {
                    self.line.clone_from(&url);
                    self.online(tunnel, &url);
                } else if let Some(round_trip) = round_trip {
                    self.title(&format!(
                        "{url} · {} requests · {:.0} ms",
                        self.exchanges,
                        round_trip.as_secs_f64() * 1e3
                    ));
                }
            }
            Status::Reconnecting { reason } if self.line != *reason => {
                self.line.clone_from(reason);
                self.print(&json!({"event": "reconnecting", "reason": reason}), &format!("  … reconnecting: {reason}"));
            }
            Status::Reconnecting { .. } | Status::Ended(_) => {}
        }
    }

    fn online(&self, tunnel: &TunnelView, url: &str) {
        let event = json!({"event": "online", "url": url, "urls": tunnel.urls, "tunnel_id": tunnel.tunnel_id});
        if self.http.quiet {
            println!("{url}");
            return;
        }
        let origin = &self.origin;
        self.print(&event, &format!("\n  {url}\n  leads to http://{origin}  ·  Ctrl-C stops\n"));
    }

    fn exchange(&mut self, method: &str, path: &str, status: u16, ms: f64) {
        self.exchanges += 1;
        let time = clock_text(Clock::system().now_ms());
        let event = json!({"event": "answered", "method": method, "path": path, "status": status, "ms": ms});
        self.print(&event, &format!("  {time}  {status}  {ms:>8.1} ms  {method:<7} {path}"));
    }

    fn missed(&self, count: u64) {
        let event = json!({"event": "missed", "count": count});
        self.print(&event, &format!("  … {count} lines were skipped: requests come faster than they can be shown"));
    }

    fn finish(&self, ended: Option<&str>) {
        match ended {
            Some(reason) => self.print(&json!({"event": "ended", "reason": reason}), &format!("\n  ended: {reason}")),
            None => self.print(&json!({"event": "stopped"}), "\n  stopped"),
        }
        self.title("");
    }

    fn print(&self, event: &serde_json::Value, text: &str) {
        if self.http.json {
            println!("{event}");
        } else if !self.http.quiet {
            println!("{text}");
        }
    }

    /// The terminal's title shows how it goes without moving the list.
    fn title(&self, text: &str) {
        if !self.http.json && !self.http.quiet && std::io::stdout().is_terminal() {
            print!("\x1b]0;{text}\x07");
            let _ = std::io::stdout().flush();
        }
    }
}

/// Requests under way whose answers are waited for; of more only the later ones are shown.
const MAX_OPEN: usize = 10_000;

/// Hours, minutes and seconds, UTC.
fn clock_text(now_ms: u64) -> String {
    let seconds = now_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn http(origin: &str) -> Http {
        Http {
            origin: origin.into(),
            name: None,
            host_header: "public".into(),
            agent_id: Some("laptop".into()),
            edge: "http://127.0.0.1:1".into(),
            gateway: None,
            token: "t".into(),
            subscription: None,
            quiet: true,
            json: false,
        }
    }

    #[test]
    fn an_origin_is_a_port_or_a_host_and_a_port() {
        for (given, address) in
            [("3000", "127.0.0.1:3000"), ("app.local:80", "app.local:80"), ("http://[::1]:3000/", "[::1]:3000")]
        {
            assert_eq!(options(&http(given)).unwrap().origin.address.as_str(), address);
        }
        for (given, hint) in [("70000", "is no port"), ("app.local", "names no port"), ("a b", "is no host")] {
            let error = format!("{:#}", options(&http(given)).err().unwrap());
            assert!(error.contains(hint), "{error}");
        }
    }
}
