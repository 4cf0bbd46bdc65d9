//! What happens in a tunnel, in lines.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use agent::{Agent, Event, Status, Trust};
use clock::Clock;
use contracts::tunnels::TunnelView;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::plan::Ready;

/// Requests under way whose answers are waited for; of more only the later ones are shown.
const MAX_OPEN: usize = 10_000;
/// Room for a tunnel's name before its lines.
const LABEL_WIDTH: usize = 10;

/// How to tell it.
#[derive(Clone, Copy)]
pub(super) struct Output {
    quiet: bool,
    json: bool,
    /// Lines of several tunnels say which they are of.
    several: bool,
}

impl Output {
    pub(super) fn new(quiet: bool, json: bool, several: bool) -> Self {
        Self { quiet, json, several }
    }

    /// The page is open.
    pub(super) fn inspecting(self, wanted: SocketAddr, address: SocketAddr) {
        let moved =
            if wanted.port() == 0 || wanted == address { "" } else { ", as another program has the port before it" };
        let event = json!({"event": "inspecting", "url": format!("http://{address}")});
        self.print(&event, &format!("\n  requests are shown at http://{address}{moved}"));
    }

    fn print(self, event: &Value, text: &str) {
        if self.json {
            println!("{event}");
        } else if !self.quiet {
            println!("{text}");
        }
    }
}

/// Tells one tunnel.
pub(super) struct Printer<'a> {
    output: Output,
    ready: &'a Ready,
    /// The last status that was told.
    line: String,
    exchanges: u64,
}

impl<'a> Printer<'a> {
    pub(super) fn new(output: Output, ready: &'a Ready) -> Self {
        Self { output, ready, line: String::new(), exchanges: 0 }
    }

    /// Tells what happens until Ctrl-C (`None`) or until the edge ends the tunnel (why).
    pub(super) async fn follow(&mut self, agent: &Agent) -> Option<String> {
        let (mut status, mut events) = (agent.status(), agent.events());
        let mut requests = HashMap::new();
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        if matches!(self.ready.origin.tls, Some(Trust::Anything)) {
            let url = self.ready.origin.url();
            eprintln!("warning: the certificate of {url} is not checked; whoever answers there gets every request");
        }
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
                    Ok(Event::Began { number, method, path, replay }) => {
                        if requests.len() < MAX_OPEN {
                            requests.insert(number, (method, path, replay));
                        }
                    }
                    Ok(Event::Answered { number, status, took }) => {
                        if let Some((method, path, replay)) = requests.remove(&number) {
                            let ms = took.as_secs_f64() * 1_000.0;
                            self.exchange(method.as_str(), &path, status.as_u16(), ms, replay);
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
                    let ms = round_trip.as_secs_f64() * 1e3;
                    self.title(&format!("{url} · {} requests · {ms:.0} ms", self.exchanges));
                }
            }
            Status::Reconnecting { reason } if self.line != *reason => {
                self.line.clone_from(reason);
                let event = json!({"event": "reconnecting", "reason": reason});
                self.print(event, &format!("… reconnecting: {reason}"));
            }
            Status::Reconnecting { .. } | Status::Ended(_) => {}
        }
    }

    fn online(&self, tunnel: &TunnelView, url: &str) {
        if self.output.quiet {
            println!("{url}");
            return;
        }
        let event = json!({"event": "online", "url": url, "urls": tunnel.urls, "tunnel_id": tunnel.tunnel_id});
        let origin = self.ready.origin.url();
        let guarded = if self.ready.auth.is_some() { "  ·  asks for a password" } else { "" };
        if self.output.several {
            self.print(event, &format!("{url} leads to {origin}{guarded}"));
        } else {
            self.print(event, &format!("\n  {url}\n  leads to {origin}{guarded}  ·  Ctrl-C stops\n"));
        }
    }

    fn exchange(&mut self, method: &str, path: &str, status: u16, ms: f64, replay: bool) {
        self.exchanges += 1;
        let time = clock_text(Clock::system().now_ms());
        let mut event = json!({"event": "answered", "method": method, "path": path, "status": status, "ms": ms});
        if replay {
            event["replay"] = true.into();
        }
        let mark = if replay { "  (replay)" } else { "" };
        self.print(event, &format!("{time}  {status}  {ms:>8.1} ms  {method:<7} {path}{mark}"));
    }

    fn missed(&self, count: u64) {
        let event = json!({"event": "missed", "count": count});
        self.print(event, &format!("… {count} lines were skipped: requests come faster than they can be shown"));
    }

    /// The last line.
    pub(super) fn finish(&self, ended: Option<&str>) {
        match ended {
            Some(reason) => self.print(json!({"event": "ended", "reason": reason}), &format!("ended: {reason}")),
            None => self.print(json!({"event": "stopped"}), "stopped"),
        }
        self.title("");
    }

    /// Of several tunnels, each line says its own.
    fn print(&self, mut event: Value, text: &str) {
        let label = self.ready.label.as_deref().filter(|_| self.output.several);
        let Some(label) = label else { return self.output.print(&event, &format!("  {text}")) };
        event["tunnel"] = label.into();
        self.output.print(&event, &format!("  {label:<LABEL_WIDTH$}  {text}"));
    }

    /// The terminal's title shows how it goes without moving the list.
    fn title(&self, text: &str) {
        let output = self.output;
        if !output.json && !output.quiet && !output.several && std::io::stdout().is_terminal() {
            print!("\x1b]0;{text}\x07");
            let _ = std::io::stdout().flush();
        }
    }
}

/// Hours, minutes and seconds, UTC.
fn clock_text(now_ms: u64) -> String {
    let seconds = now_ms / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}
