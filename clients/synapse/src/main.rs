//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use synapse::demo::{self, Reporter, Target};
use synapse::{Told, billing, conformance, contract, dead_letters, limits, tunnel, webhooks};

/// Talk to a Synapse-D installation.
#[derive(Parser)]
#[command(name = "synapse", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole main job against a running development system.
    Demo(DemoArguments),
    /// Hold a running system, its traffic or a set of contracts against the contracts.
    Contract(contract::Arguments),
    /// What a service could not handle: list, show, redrive, drop.
    DeadLetters(dead_letters::Arguments),
    /// Subscriptions, usage, plans, proofs' keys; reconcile with Stripe.
    Billing(billing::Arguments),
    /// Rate limits: list, show, reset.
    Limits(limits::Arguments),
    /// Give a program on this machine a public URL.
    Tunnel(tunnel::Arguments),
    /// What Stripe sent: list, show, replay, dead letters.
    Webhooks(webhooks::Arguments),
    /// Check a running system against the client protocol.
    Conformance(conformance::Arguments),
}

#[derive(clap::Args)]
struct DemoArguments {
    /// The gateway.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// The tunnel service, where it is not at the gateway's address.
    #[arg(long)]
    tunnels: Option<String>,
    /// An access token of a user who may buy.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true)]
    token: String,
    /// A price on the gateway's allow-list.
    #[arg(long, default_value = "price_team_monthly")]
    price: String,
    /// The Stripe emulator of that system; the demo cancels the subscription there.
    #[arg(long)]
    stripe: String,
    /// A key for it.
    #[arg(long, default_value = "sk_test_synapse")]
    stripe_key: String,
    /// What to call the bus in the report.
    #[arg(long, default_value = "remote")]
    bus: String,
    /// What to call the store in the report.
    #[arg(long, default_value = "remote")]
    store: String,
    /// One JSON object instead of the timeline.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let outcome = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match Arguments::parse().command {
                Command::Demo(arguments) => Ok(run_demo(arguments).await),
                Command::Billing(arguments) => billing::run(arguments).await.map(Told::print),
                Command::Tunnel(arguments) => tunnel::run(arguments).await,
                Command::Conformance(arguments) => conformance::command(arguments).await,
                Command::Contract(arguments) => Ok(contract::run(arguments).await),
                Command::Limits(arguments) => limits::run(arguments).await.map(Told::print),
                Command::DeadLetters(arguments) => dead_letters::run(arguments).await.map(Told::print),
                Command::Webhooks(arguments) => webhooks::run(arguments).await.map(Told::print),
            }
        })
    });
    outcome.unwrap_or_else(|error| {
        eprintln!("synapse: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run_demo(arguments: DemoArguments) -> ExitCode {
    let reporter = if arguments.json { Reporter::Quiet } else { Reporter::Timeline };
    let target = Target {
        gateway: arguments.gateway,
        tunnels: arguments.tunnels,
        token: arguments.token,
        price_id: arguments.price,
        stripe: arguments.stripe,
        stripe_key: arguments.stripe_key,
        bus: arguments.bus,
        store: arguments.store,
    };
    let report = demo::run(&target, &clock::Clock::system(), reporter).await;
    if arguments.json {
        println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
    }
    if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
