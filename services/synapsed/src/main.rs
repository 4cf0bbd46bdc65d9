//! `synapsed`: every service in one process. `serve` (the default) runs until Ctrl-C; `demo` shows the main job.

mod demo;
mod serve;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use clock::{Clock, Entropy};
use service::config::{self, Mode};
use synapsed::development;

/// Connects peers and sells them the connection: gateway, presence, signaling, subscriptions and webhooks in one process.
#[derive(Parser)]
#[command(name = "synapsed", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until Ctrl-C (the default). State is kept in the data folder.
    Serve,
    /// Show the main job on free ports and a temporary data folder.
    Demo(demo::Arguments),
    /// Print who reads which events, as JSON.
    Topology,
    /// Print the page of all problem codes (Markdown).
    ErrorsPage,
    /// Print the OpenAPI document of the gateway's HTTP API (JSON).
    OpenApi,
    /// Print an access token that the gateway's configured HS256 secret signs. Refused in production.
    DevelopmentToken,
    /// Print every environment variable that sets something, of all services or of one.
    ConfigKeys {
        /// Only this service (or `platform`).
        #[arg(long)]
        service: Option<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => run(serve::serve()),
        Command::Demo(arguments) => run(demo::run(arguments)),
        Command::Topology => {
            println!("{:#}", synapsed::catalogue::topology());
            Ok(ExitCode::SUCCESS)
        }
        Command::ErrorsPage => {
            print!("{}", service::http::problem::codes_page());
            Ok(ExitCode::SUCCESS)
        }
        Command::OpenApi => {
            print!("{}", gateway::openapi::document_text());
            Ok(ExitCode::SUCCESS)
        }
        Command::DevelopmentToken => development_token(),
        Command::ConfigKeys { service } => config_keys(service.as_deref()),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("synapsed: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Runtime::new()?.block_on(work)
}

fn development_token() -> anyhow::Result<ExitCode> {
    let platform: service::PlatformConfig = service::load(service::PLATFORM, service::PLATFORM_DEFAULTS)?;
    anyhow::ensure!(platform.common.mode == Mode::Development, "tokens of production come from its identity provider");
    let gateway: gateway::Config = service::load(gateway::NAME, &[gateway::DEFAULTS])?;
    let secret = gateway.tokens.secrets().into_iter().next();
    let secret = secret.context("token_secret: is not set; start the system once, or set it")?;
    println!("{}", development::mint(&gateway, secret, &Clock::system(), &Entropy::system())?);
    Ok(ExitCode::SUCCESS)
}

fn config_keys(only: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut known = vec![(service::PLATFORM, service::PLATFORM_DEFAULTS.to_vec())];
    known.extend(synapsed::catalogue::SERVICES.iter().map(|service| (service.name, vec![service.defaults])));
    known.retain(|(name, _)| only.is_none_or(|only| only == *name));
    anyhow::ensure!(!known.is_empty(), "--service: there is no such service");
    for (name, defaults) in known {
        config::keys(name, &defaults).into_iter().for_each(|key| println!("{}", key.variable));
    }
    Ok(ExitCode::SUCCESS)
}
