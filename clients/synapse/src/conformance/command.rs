//! `synapse conformance`.

use std::process::ExitCode;

use clock::Clock;

use super::{Development, Format, Levers, Papers, Target, run};

/// Check a running system against the client protocol, rule by rule.
#[derive(clap::Args)]
pub struct Arguments {
    /// Its WebSocket, `ws://host:port/v1/ws`.
    #[arg(long)]
    url: String,
    /// An access token.
    #[arg(long, env = "SYNAPSE_TOKEN", hide_env_values = true)]
    token: String,
    /// A subscription proof: what one peer can see is checked with it.
    #[arg(long, conflicts_with = "development", required_unless_present = "development")]
    proof: Option<String>,
    /// A development system: proofs come from a subscription that is bought there, so everything can be checked.
    #[arg(long)]
    development: bool,
    /// With --development: a price on the allow-list.
    #[arg(long, default_value = "price_team_monthly")]
    price: String,
    /// With --development: its Stripe emulator; the suite cancels a subscription there.
    #[arg(long)]
    stripe: Option<String>,
    /// A key for it.
    #[arg(long, default_value = "sk_test_synapse")]
    stripe_key: String,
    /// Only cases of this rule (`F-3`) or section (`F-`), or with this in their name.
    #[arg(long, default_value = "")]
    only: String,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    report: Format,
}

/// Runs the suite and prints its report; the exit code says whether every rule held.
///
/// # Errors
/// When the suite could not begin.
pub async fn command(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let stripe = arguments.stripe.map(|url| (url.trim_end_matches('/').to_owned(), arguments.stripe_key));
    let papers = match arguments.proof {
        Some(proof) => Papers::Proof(proof),
        None => Papers::Development(Development { price: arguments.price, stripe }),
    };
    let target = Target { url: arguments.url, token: arguments.token, papers, levers: Levers::default() };
    let report = run(target, &Clock::system(), &arguments.only).await?;
    print!("{}", report.render(arguments.report));
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
