//! `synapse tunnel`: public URLs for programs on this machine.

mod file;
mod plan;
mod printer;

use std::path::PathBuf;
use std::process::ExitCode;

use agent::{Agent, InspectOptions, Inspector, Redaction, Trace};
use anyhow::{Context, bail};
use clock::Clock;
use futures::future::join_all;

use self::plan::{Problems, Ready, Settings, Wanted, inspect_options};
use self::printer::{Output, Printer};
use crate::Api;

/// A public URL for a program on this machine.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// One program that speaks HTTP; WebSocket, Server-Sent Events and gRPC included.
    Http(Box<Http>),
    /// Several tunnels, as a file describes them.
    Start(Box<Start>),
}

#[derive(clap::Args)]
struct Http {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    shared: SharedArguments,
}

#[derive(clap::Args)]
struct Start {
    /// The file; docs/guide/tunnels.md has an example. Options given here win over it.
    #[arg(long, value_name = "FILE", default_value = "synapse.toml")]
    config: PathBuf,
    /// Only these of its tunnels.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    shared: SharedArguments,
}

#[derive(clap::Args)]
struct SharedArguments {
    #[command(flatten)]
    settings: Settings,
    /// An access token.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true)]
    token: String,
    /// Print the public URL and nothing else.
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// One JSON object a line: `{"event":"online","url":…}`, `{"event":"answered",…}`, ….
    #[arg(long)]
    json: bool,
    /// Tell every frame of the carrier and of HTTP/2, and every request's headers, on standard error. Secrets in headers
    /// are redacted; bodies are told by their length.
    #[arg(long)]
    debug: bool,
}

/// Keeps the tunnels open until Ctrl-C, or until the edge ends them.
///
/// # Errors
/// What is wrong with the arguments or the file, all of it at once, or why a tunnel can't be opened.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut problems = Problems::default();
    let (shared, settings, tunnels) = match arguments.kind {
        Kind::Http(http) => {
            let ready = http.wanted.ready(None, &mut problems);
            (http.shared, None, ready.into_iter().collect())
        }
        Kind::Start(start) => {
            let file = file::read(&start.config, &start.names)?;
            let mut tunnels = Vec::new();
            problems.extend(file.problems);
            for (name, wanted) in &file.tunnels {
                tunnels.extend(wanted.ready(Some(name), &mut problems));
            }
            plan::distinct(&tunnels, &mut problems);
            (start.shared, Some(file.settings), tunnels)
        }
    };
    let settings = shared.settings.clone().over(settings.unwrap_or_default());
    let inspect = inspect_options(&settings, &mut problems);
    problems.none()?;
    let wanted = inspect.as_ref().map(|options| options.listen);
    let inspector = match inspect {
        Some(options) => Some(start_inspector(options).await?),
        None => None,
    };
    let output = Output::new(shared.quiet, shared.json, tunnels.len() > 1);
    if let (Some(wanted), Some(inspector)) = (wanted, &inspector) {
        output.inspecting(wanted, inspector.address());
    }
    let redaction = Redaction::with(settings.redact.clone());
    let trace = shared.debug.then(|| Trace::new(Clock::system(), redaction, |line| eprintln!("{line}")));
    let opened = join_all(tunnels.iter().map(|ready| {
        let (inspector, trace) = (inspector.clone(), trace.clone());
        open(ready, &settings, &shared.token, inspector, trace)
    }));
    follow(&tunnels, opened.await, output).await
}

async fn start_inspector(options: InspectOptions) -> anyhow::Result<Inspector> {
    Inspector::start(options).await.context("the page for inspecting can't be opened; `--inspect off` does without")
}

async fn open(
    ready: &Ready,
    settings: &Settings,
    token: &str,
    inspector: Option<Inspector>,
    trace: Option<Trace>,
) -> anyhow::Result<Agent> {
    let agent_id = match &ready.agent_id {
        Some(id) => id.clone(),
        None => crate::agent_id::agent_id(ready.origin.address.as_str())?,
    };
    let prover = match &settings.subscription {
        Some(subscription) => {
            let subscription = subscription.parse().map_err(|error| anyhow::anyhow!("subscription: {error}"))?;
            let api = Api::new(settings.gateway.as_deref().unwrap_or(settings.edge()), token);
            Some(api.prover(subscription, agent_id.clone()))
        }
        None => None,
    };
    let base = agent::Options::new(settings.edge(), token, agent_id, ready.origin.clone());
    let (name, auth) = (ready.name.clone(), ready.auth.clone());
    Ok(agent::start(agent::Options { name, auth, prover, inspector, trace, ..base }).await?)
}

/// Tells what happens in all of them. One that can't be opened ends the others.
async fn follow(tunnels: &[Ready], opened: Vec<anyhow::Result<Agent>>, output: Output) -> anyhow::Result<ExitCode> {
    let (mut agents, mut failed) = (Vec::new(), Vec::new());
    for (ready, agent) in tunnels.iter().zip(opened) {
        match agent {
            Ok(agent) => agents.push((ready, agent)),
            Err(error) => failed.push(
                ready
                    .label
                    .as_ref()
                    .map_or_else(|| format!("{error:#}"), |label| format!("tunnels.{label}: {error:#}")),
            ),
        }
    }
    if !failed.is_empty() {
        join_all(agents.into_iter().map(|(_, agent)| agent.stop())).await;
        bail!("{}", failed.join("\n"));
    }
    let followed = agents.into_iter().map(|(ready, agent)| async move {
        let mut printer = Printer::new(output, ready);
        let ended = printer.follow(&agent).await;
        agent.stop().await;
        printer.finish(ended.as_deref());
        ended.is_none()
    });
    let all_well = join_all(followed).await.into_iter().all(|well| well);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
