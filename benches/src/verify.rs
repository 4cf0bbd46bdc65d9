//! **verify**: is it Stripe's, and what is it: signature and envelope of an event of 4.7 KB, one thread.
//!
//! - `verify`: limit 10 µs.
//! - `verify.node`: against `stripe.webhooks.constructEvent` of Stripe's official Node library, after it has warmed up.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use clock::Clock;
use service::config::Secret;
use testkit::servers;
use webhook::{Event, Verifier};

use crate::report::{Better, Report, Title};
use crate::rounds::{Rounds, Side, quantile};
use crate::stripe::{SECRET, event, header};

const LIMIT_US: f64 = 10.0;
/// A round is the median of so many batches: one that was interrupted by another program does not count.
const BATCHES: usize = 100;
const BATCH: u32 = 200;

pub(crate) async fn run(clock: &Clock, report: &mut Report) -> Result<()> {
    let body = event(1, 1);
    let header = header(&body, clock.now_ms() / 1_000);
    let verifier = Verifier::try_new(Secret::new(SECRET), 300)?;
    let ours = || -> Result<f64> {
        let mut batches = Vec::new();
        for _ in 0..BATCHES {
            let (started, now_ms) = (clock.monotonic(), clock.now_ms());
            for _ in 0..BATCH {
                let body = black_box(body.as_bytes());
                verifier.verify(header.as_bytes(), body, now_ms)?;
                black_box(Event::parse(body).map_err(|error| anyhow!(error))?);
            }
            batches.push(clock.monotonic().saturating_sub(started).as_secs_f64() * 1e6 / f64::from(BATCH));
        }
        Ok(quantile(&batches, 0.5))
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("event.json");
    std::fs::write(&file, &body)?;
    let mut figures = Vec::new();
    let beside = Rounds::interleaved(async |side| match side {
        Side::Reference => node(&file, &header),
        Side::Ours => {
            let figure = ours()?;
            figures.push(figure);
            Ok(figure)
        }
    });
    let beside = beside.await?;
    let title = |name| Title { name, goal: 1.0, better: Better::Lower, unit: "µs" };
    // The first round warms up.
    report.add(&title("verify"), &Rounds::against(LIMIT_US, figures.split_off(1)));
    report.add(&title("verify.node"), &beside);
    Ok(())
}

/// Microseconds that Stripe's Node library takes for one event.
fn node(file: &Path, header: &str) -> Result<f64> {
    let library = servers::program("stripe-node", "node_modules/stripe");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verify.cjs");
    let output = Command::new("node").arg(script).arg(library).arg(file).args([SECRET, header]).output();
    let output = output.context("node ≥ 20 is needed")?;
    ensure!(output.status.success(), "node: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
