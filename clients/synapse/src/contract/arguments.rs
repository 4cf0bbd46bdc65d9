//! The commands' arguments, and their exit codes: 0 all well, 1 something is broken, 2 it could not be found out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bus::{Bus, NatsOptions};
use clap::{Args, Subcommand, ValueEnum};
use clock::{Clock, Entropy};

use super::verify::{Limits, Public, Report, Stripe, Target};
use super::{diff, verify, watch};

/// Hold a running system, its traffic or a set of contracts against the contracts.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Hold a running system against every contract, in a tenant of its own.
    Verify(VerifyArguments),
    /// Hold live traffic against the contracts; takes and acknowledges nothing.
    Watch(WatchArguments),
    /// Say what changed between two sets of contracts, and whom it breaks.
    Diff(DiffArguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Junit,
}

#[derive(Args)]
struct VerifyArguments {
    /// The installation's NATS server: its bus contracts are verified. Whoever reaches it is trusted inside.
    #[arg(long, env = "SYNAPSE_NATS", hide_env_values = true)]
    nats: Option<String>,
    /// The gateway: its public API is verified.
    #[arg(long)]
    gateway: Option<String>,
    /// An access token for the gateway, best of a tenant made for this.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Stripe's test mode (https://api.stripe.com) or its emulator: allows buying and cancelling there.
    #[arg(long)]
    stripe: Option<String>,
    /// A key of its test mode.
    #[arg(long, env = "SYNAPSE_STRIPE_KEY", hide_env_values = true, default_value = "sk_test_synapse")]
    stripe_key: String,
    /// The price to buy there.
    #[arg(long, default_value = "price_team_monthly")]
    price: String,
    /// Only the contracts of this service; may be given several times.
    #[arg(long)]
    service: Vec<String>,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    report: Format,
    /// Longest time of the whole run, seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Longest wait for one answer, event or signal, milliseconds: as long as a gateway waits for a service.
    #[arg(long, default_value_t = 10_000)]
    patience_ms: u64,
    /// How long to look for what must not come, milliseconds.
    #[arg(long, default_value_t = 500)]
    quiet_ms: u64,
    /// Most requests a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
}

#[derive(Args)]
struct WatchArguments {
    /// The installation's NATS server.
    #[arg(long, env = "SYNAPSE_NATS", hide_env_values = true, default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// How long: 30s, 5m, 2h. Without it until Ctrl-C.
    #[arg(long = "for", value_parser = duration)]
    period: Option<Duration>,
    /// One JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct DiffArguments {
    /// The older set: `built-in`, a checkout, a folder of goldens, or a release (tests/contract/released/<version>).
    old: String,
    /// The newer set.
    new: String,
    /// One JSON object instead of words.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?}: use 30s, 5m or 2h"))?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(format!("{text:?}: use 30s, 5m or 2h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

/// Does what was asked and prints what it came to.
pub async fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.action {
        Action::Verify(arguments) => run_verify(arguments).await,
        Action::Watch(arguments) => run_watch(arguments).await,
        Action::Diff(arguments) => run_diff(&arguments),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("synapse: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn connect(url: &str, clock: &Clock) -> anyhow::Result<Bus> {
    let options = NatsOptions {
        url: url.to_owned(),
        client_name: "synapse contract".to_owned(),
        // A guest: what is not there is not made.
        create_streams: false,
        ..NatsOptions::default()
    };
    Bus::nats(options, clock.clone()).await.context("the bus can't be used")
}

/// Ctrl-C, or SIGTERM: what build servers send to a step that is canceled or takes too long.
async fn interrupted() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

async fn run_verify(arguments: VerifyArguments) -> anyhow::Result<u8> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let public = match (&arguments.gateway, &arguments.token) {
        (Some(gateway), Some(token)) => Some(Public::try_new(gateway, token)?),
        (Some(_), None) => bail!("--gateway needs --token (or SYNAPSE_TOKEN)"),
        (None, _) => None,
    };
    let stripe = arguments.stripe.as_deref();
    let stripe = stripe.map(|url| Stripe::try_new(url, &arguments.stripe_key, &arguments.price)).transpose()?;
    let bus = match &arguments.nats {
        Some(url) => Some(connect(url, &clock).await?),
        None => None,
    };
    let limits = Limits {
        total: Duration::from_secs(arguments.timeout),
        patience: Duration::from_millis(arguments.patience_ms),
        quiet: Duration::from_millis(arguments.quiet_ms),
        rate_per_s: arguments.rate,
    };
    let target = Target { bus, public, stripe, services: arguments.service };
    let report: Report = verify(&target, limits, &clock, &entropy, interrupted()).await?;
    match arguments.report {
        Format::Text => print!("{}", report.text()),
        Format::Json => println!("{}", report.json()),
        Format::Junit => print!("{}", report.junit()),
    }
    Ok(report.exit_code())
}

async fn run_watch(arguments: WatchArguments) -> anyhow::Result<u8> {
    let clock = Clock::system();
    let bus = connect(&arguments.nats, &clock).await?;
    let stop = async {
        match arguments.period {
            Some(period) => tokio::select! {
                () = clock.sleep(period) => {}
                () = interrupted() => {}
            },
            None => interrupted().await,
        }
    };
    let sightings = watch(&bus, &clock, stop).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&sightings)?);
    } else {
        print!("{}", sightings.text());
    }
    Ok(u8::from(!sightings.ok))
}

fn run_diff(arguments: &DiffArguments) -> anyhow::Result<u8> {
    let difference = diff(&arguments.old, &arguments.new)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&difference)?);
    } else {
        print!("{}", difference.text());
    }
    Ok(u8::from(!difference.ok))
}
