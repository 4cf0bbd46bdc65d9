//! Reconciliation: our subscriptions against Stripe's. Finds what is missing here, stale here, or extra on either side;
//! repairs what a look at Stripe can repair; tells what it found.
//!
//! ```text
//! sweep:    every subscription at Stripe, page by page ──▶ compare ──▶ repair      then every one of ours that Stripe
//!                                                                                   did not name ──▶ ask for it by id
//! backfill: Stripe's events since the last one ──▶ the newest of each subscription ──▶ compare ──▶ repair
//! ```
//!
//! - One run at a time across every process of the service: the run's item is its lease and its fence. Whoever writes
//!   it must have read its last version; a run whose process died is taken up where it stopped when the lease ends.
//! - A repair goes the way every news of Stripe goes: fetch the object, its answer wins. A page decides nothing.
//! - Budgeted: at most `calls_per_second` calls to Stripe, whatever it finds.

mod backfill;
mod compare;
mod desk;
mod ours;
pub(crate) mod page;
mod repair;
mod run;

use std::time::Duration;

use contracts::events::subscription::ReconcileMode;
use store::StoreError;

pub(crate) use desk::{Desk, Kind, Run, tenants};

use crate::Subscriptions;
use crate::stripe::StripeFailure;

/// Why a run stopped. It goes on when it is taken up again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stripe(#[from] StripeFailure),
    /// Another process took it up: this one's lease had ended.
    #[error("another process goes on with this run")]
    Fenced,
    /// The process is stopping.
    #[error("the process is stopping")]
    Stopping,
}

/// What asking for a run came to.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is this process's to do.
    Mine(Box<Run>),
    /// Another process is at one.
    Busy(Box<Run>),
}

impl Subscriptions {
    /// Begins what is due and goes on with what was left, until the process stops.
    pub(crate) async fn keep_reconciled(&self) {
        let (config, stop) = (&self.config.reconcile, self.platform.lifecycle.token());
        let interval = Duration::from_millis(config.check_interval_ms);
        while stop.run_until_cancelled(self.platform.clock.sleep(interval)).await.is_some() {
            match self.due_run().await {
                Ok(Some(run)) => self.reconcile(run).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "reconciliation could not be looked at; the next look tries again")
                }
            }
        }
    }

    /// A run that nobody is at, or one that is due.
    async fn due_run(&self) -> Result<Option<Run>, StoreError> {
        let (desk, now_ms) = (self.desk(), self.platform.clock.now_ms());
        if let Some(left) = desk.abandoned(now_ms).await? {
            tracing::info!(run = left.id, "a reconciliation that was cut off goes on");
            return Ok(Some(left));
        }
        let last = desk.last(now_ms).await?;
        let due = |interval_ms: u64, at_ms: u64| interval_ms > 0 && at_ms.saturating_add(interval_ms) <= now_ms;
        let mode = if due(self.config.reconcile.sweep_interval_ms, last.sweep_ms) {
            ReconcileMode::Sweep
        } else if due(self.config.reconcile.backfill_interval_ms, last.backfill_ms) {
            ReconcileMode::Backfill
        } else {
            return Ok(None);
        };
        Ok(match desk.begin(mode, false, now_ms).await? {
            Begun::Mine(run) => Some(*run),
            Begun::Busy(_) => None,
        })
    }

    /// Works at a run until it is finished or can't go on now.
    pub(crate) async fn reconcile(&self, run: Run) {
        let (id, mode) = (run.id.clone(), run.mode_name());
        let outcome = run::work(self, run).await;
        let word = match &outcome {
            Ok(_) => "finished",
            Err(_) => "stopped",
        };
        metrics::counter!("synapse_subscription_reconciliations_total", "mode" => mode, "outcome" => word).increment(1);
        match outcome {
            Ok(run) => tracing::info!(
                run = id,
                mode,
                dry_run = run.dry_run,
                checked = run.counts.checked,
                missing = run.counts.missing,
                stale = run.counts.stale,
                extra = run.counts.extra,
                repaired = run.counts.repaired,
                failed = run.counts.failed,
                "reconciled with Stripe"
            ),
            Err(error) => {
                tracing::warn!(run = id, mode, %error, "a reconciliation stopped; it goes on when its lease ends")
            }
        }
    }

    pub(crate) fn desk(&self) -> Desk {
        let platform = &self.platform;
        Desk::new(
            platform.outbox.clone(),
            platform.node_id.to_string(),
            platform.entropy.clone(),
            &self.config.reconcile,
        )
    }
}
