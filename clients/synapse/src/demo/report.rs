use std::time::Duration;

use clock::Clock;
use serde::Serialize;

use super::{STEP_TIMEOUT, Target};

/// How the run is told while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// A timeline for people on standard output.
    Timeline,
    /// Nothing; the report is printed by the caller.
    Quiet,
}

/// One step as it went.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Its name; stable.
    pub name: &'static str,
    /// Whether it did what it should.
    pub ok: bool,
    /// How long it took, milliseconds.
    pub ms: f64,
    /// What happened, for people.
    pub what: String,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every step did what it should.
    pub ok: bool,
    /// The steps, in order; after a failed one none follows.
    pub steps: Vec<StepReport>,
    /// What carried messages.
    pub bus: String,
    /// What held state.
    pub store: String,
    /// Which step failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<&'static str>,
    #[serde(skip)]
    clock: Clock,
    #[serde(skip)]
    reporter: Reporter,
}

/// What a step says when it is done: a sentence, and what the next steps need.
pub(super) type Said<T> = (String, T);

impl Report {
    pub(super) fn new(target: &Target, clock: Clock, reporter: Reporter) -> Self {
        if reporter == Reporter::Timeline {
            println!("\n  Synapse-D, start to end   bus: {}   store: {}\n", target.bus, target.store);
        }
        Self {
            ok: false,
            steps: Vec::new(),
            bus: target.bus.clone(),
            store: target.store.clone(),
            failed: None,
            clock,
            reporter,
        }
    }

    /// Runs a step under a time limit and notes how it went. The error is the step's name.
    pub(super) async fn step<T>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = anyhow::Result<Said<T>>>,
    ) -> Result<T, &'static str> {
        let begun = self.clock.monotonic();
        let outcome = self
            .clock
            .timeout(STEP_TIMEOUT, work)
            .await
            .unwrap_or_else(|| Err(anyhow::anyhow!("not done within {} s", STEP_TIMEOUT.as_secs())));
        let took = self.clock.monotonic().saturating_sub(begun);
        match outcome {
            Ok((what, value)) => {
                self.note(name, true, took, what);
                Ok(value)
            }
            Err(error) => {
                self.note(name, false, took, format!("{error:#}"));
                Err(name)
            }
        }
    }

    fn note(&mut self, name: &'static str, ok: bool, took: Duration, what: String) {
        let ms = (took.as_secs_f64() * 10_000.0).round() / 10.0;
        if self.reporter == Reporter::Timeline {
            let mark = if ok { "✓" } else { "✗" };
            println!("  {mark} {name:<22} {ms:>8.1} ms   {what}");
        }
        self.steps.push(StepReport { name, ok, ms, what });
    }

    pub(super) fn finish(&mut self) {
        self.ok = self.failed.is_none();
        if self.reporter == Reporter::Timeline {
            let total: f64 = self.steps.iter().map(|step| step.ms).sum();
            match self.failed {
                None => println!("\n  all {} steps done in {total:.0} ms\n", self.steps.len()),
                Some(step) => println!("\n  failed at: {step}\n"),
            }
        }
    }
}
