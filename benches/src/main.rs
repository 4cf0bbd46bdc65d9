//! How fast the bus, the outbox, the envelope, proofs and the intake of webhooks are, against references measured in the
//! same run.
//!
//! `cargo xtask bench` builds and runs this. Each bench gives rows; a row's name begins with its bench. What each one
//! measures stands at the head of its file and in docs/performance.md.

mod consume;
mod cpu;
mod envelope;
mod ingest;
mod latency;
mod load;
mod proof;
mod relay;
mod report;
mod revocation;
mod rounds;
mod stripe;
mod verify;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use clock::Clock;

use report::Report;

#[derive(Parser)]
#[command(name = "cargo xtask bench", about = "Measures against references in the same run.")]
struct Arguments {
    /// Only these benches: envelope, proof, relay, consume, latency, verify, ingest, revocation (default: all).
    names: Vec<String>,
    /// Writes the rows as JSON to this file; without a file to standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Runs this side alone, for a profiler; there is no ratio then.
    #[arg(long)]
    only: Option<rounds::Side>,
}

const BENCHES: [&str; 8] = ["envelope", "proof", "relay", "consume", "latency", "verify", "ingest", "revocation"];

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.names.iter().find(|name| !BENCHES.contains(&name.as_str())) {
        bail!("there is no bench `{unknown}`; there are {}", BENCHES.join(", "));
    }
    if let Some(side) = arguments.only {
        let _ = rounds::ONLY.set(side);
    }
    let clock = Clock::system();
    let mut report = Report::new(arguments.json);
    for name in BENCHES {
        if !arguments.names.is_empty() && !arguments.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        match name {
            "envelope" => envelope::run(&clock, &mut report)?,
            "proof" => proof::run(&clock, &mut report).await?,
            "revocation" => revocation::run(&clock, &mut report).await?,
            "relay" => relay::run(&clock, &mut report).await?,
            "consume" => consume::run(&clock, &mut report).await?,
            "verify" => verify::run(&clock, &mut report).await?,
            "ingest" => ingest::run(&clock, &mut report).await?,
            _ => latency::run(&clock, &mut report).await?,
        }
    }
    report.finish()
}
