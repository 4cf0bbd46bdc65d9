//! A black-box suite of the client protocol: every case names its rule in `docs/protocol.md` and talks to a running
//! system as a client would. It serves our own tests, authors of SDKs and whoever checks an installation.
//!
//! Every frame that a case receives is watched on the way: outcomes must answer a frame and come once, numbered frames
//! must follow each other without a hole. What is lost, doubled or out of order breaks whichever case reads it.

mod cases;
mod client;
mod command;
mod http;
mod report;
mod suite;

pub use cases::{Case, Needs, all};
pub use command::{Arguments, command};
pub use report::{Format, Report, Verdict, Word};
pub use suite::{Development, Drain, Levers, MintToken, Papers, Target};

use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, ensure};
use clock::Clock;
use futures::StreamExt;

use suite::Suite;

/// Longest that one case may take; the longest wait for a silent connection to be closed (twice a heartbeat).
const CASE_TIMEOUT: Duration = Duration::from_secs(120);

/// Runs the cases of the rule `only` (`F-3`), of a section (`F-`), or with this in their name; all of them when it is
/// empty.
///
/// # Errors
/// When no case is meant, or the papers for the cases can't be had; what a case finds is in the report.
pub async fn run(target: Target, clock: &Clock, only: &str) -> anyhow::Result<Report> {
    let begun = clock.monotonic();
    let section = only.ends_with('-');
    let mut chosen = all();
    chosen.retain(|case| case.rule == only || case.name.contains(only) || section && case.rule.starts_with(only));
    ensure!(!chosen.is_empty(), "no case is of the rule {only:?}, or has it in its name");
    let at_once = target.papers.at_once();
    let suite = Arc::new(Suite::start(target, clock.clone()).await?);
    // What ends the system comes when everything else is done.
    let (last, first): (Vec<Case>, Vec<Case>) = chosen.into_iter().partition(|case| case.needs == Needs::Drain);
    let mut verdicts: Vec<Verdict> =
        futures::stream::iter(first).map(|case| judge(&suite, case)).buffer_unordered(at_once).collect().await;
    for case in last {
        verdicts.push(judge(&suite, case).await);
    }
    verdicts
        .sort_by(|one, two| (one.section(), one.number(), &one.name).cmp(&(two.section(), two.number(), &two.name)));
    Ok(Report { verdicts, took_ms: millis(clock.monotonic().saturating_sub(begun)) })
}

async fn judge(suite: &Arc<Suite>, case: Case) -> Verdict {
    let begun = suite.clock.monotonic();
    let word = match suite.lacks(&case) {
        Some(reason) => Word::NotRun(reason),
        None => {
            let running = suite.clock.timeout(CASE_TIMEOUT, (case.run)(Arc::clone(suite))).await;
            match running.unwrap_or_else(|| Err(anyhow!("it did not end within {} s", CASE_TIMEOUT.as_secs()))) {
                Ok(()) => Word::Held,
                Err(error) => Word::Broke(format!("{error:#}")),
            }
        }
    };
    let took_ms = millis(suite.clock.monotonic().saturating_sub(begun));
    Verdict { rule: case.rule.to_owned(), name: case.name, word, took_ms }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
