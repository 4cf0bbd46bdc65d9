//! One run, page by page: each page is worked through, then the run is written with where the next one begins.

use std::time::Duration;

use bus::Trail;
use contracts::events::subscription::{ReconciledV1, SubscriptionEvent};
use contracts::{SubscriptionId, TenantId};
use outbox::Unit;

use super::compare::{self, Difference, Named};
use super::desk::{Desk, Done, Kind, Row, Run};
use super::page::Phase;
use super::{Stopped, backfill, ours, repair};
use crate::Subscriptions;
use crate::stripe::SubscriptionObject;
use crate::subscription::Rules;

/// Rows looked through when a run ends; more are only counted.
const ROWS_PAGE: u32 = 500;

/// A run at work in this process.
pub(super) struct Work<'a> {
    pub(super) service: &'a Subscriptions,
    pub(super) desk: Desk,
    pub(super) run: Run,
    pub(super) trail: Trail,
}

/// Works until the run is finished.
pub(super) async fn work(service: &Subscriptions, run: Run) -> Result<Run, Stopped> {
    let trail = Trail::fresh(&service.platform.clock, &service.platform.entropy);
    let mut work = Work { service, desk: service.desk(), run, trail };
    let outcome = work.run_to_end().await;
    if let Err(error) = &outcome
        && !matches!(error, Stopped::Fenced)
    {
        work.run.trouble = Some(error.to_string());
        work.desk.release(&work.run).await;
    }
    outcome.map(|()| work.run)
}

impl Work<'_> {
    async fn run_to_end(&mut self) -> Result<(), Stopped> {
        self.run.trouble = None;
        let stop = self.service.platform.lifecycle.token();
        loop {
            let next = match self.run.phase.clone() {
                Phase::Stripes { after } => self.stripes_page(after).await?,
                Phase::Ours { tenants_after, tenants, records_after, is_last } => {
                    ours::page(self, tenants_after, tenants, records_after, is_last).await?
                }
                Phase::Events { after, looked_at } => backfill::page(self, after, looked_at).await?,
                Phase::Done => return self.finish().await,
            };
            self.run.phase = next;
            self.write(Unit::new()).await?;
            if stop.is_cancelled() {
                return Err(Stopped::Stopping);
            }
        }
    }

    /// A page of Stripe's subscriptions.
    async fn stripes_page(&mut self, after: Option<String>) -> Result<Phase, Stopped> {
        self.pace().await?;
        let page = self.service.stripe.list_all_subscriptions(after.as_deref()).await?;
        let mut met = Vec::new();
        for object in &page.found {
            self.run.counts.checked += 1;
            let Some(named) = compare::named(object, self.service.catalogue.is_live()) else { continue };
            self.look_at(&named, object).await?;
            met.push((named.tenant, named.id));
        }
        let mut tenants: Vec<&TenantId> = met.iter().map(|(tenant, _)| tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        for tenant in tenants {
            self.service.note_tenant(tenant).await?;
        }
        self.desk.saw(&self.run, &met, self.now_ms()).await?;
        Ok(page.next.map_or(Phase::OURS, |next| Phase::Stripes { after: Some(next) }))
    }

    /// Compares an object of Stripe's with ours and repairs what differs.
    pub(super) async fn look_at(&mut self, named: &Named, object: &SubscriptionObject) -> Result<(), Stopped> {
        let stored = self.service.records.find(&named.tenant, &named.id).await?;
        let rules = Rules {
            catalogue: &self.service.catalogue,
            tenant: &named.tenant,
            proof_ttl_ms: self.service.config.proofs.ttl_ms,
        };
        let record = stored.as_ref().map(|stored| &stored.record);
        let Some(difference) = compare::compare(record, object, self.now_ms(), rules) else { return Ok(()) };
        self.differs(&named.tenant, &named.id, &object.id, difference).await
    }

    /// Writes a difference down, repairs it where that is possible, writes down what came of it.
    pub(super) async fn differs(
        &mut self,
        tenant: &TenantId,
        id: &SubscriptionId,
        stripe_id: &str,
        difference: Difference,
    ) -> Result<(), Stopped> {
        let Difference { kind, ours, stripes, advice } = difference;
        let done = match advice {
            Some(_) => Done::Left,
            None if self.run.dry_run => Done::WouldRepair,
            None => Done::Repairing,
        };
        let note = advice.map(str::to_owned);
        let mut row = Row {
            kind,
            tenant: tenant.to_string(),
            subscription_id: id.to_string(),
            stripe_subscription_id: stripe_id.to_owned(),
            ours,
            stripes,
            done,
            note,
        };
        if let Some(known) = self.desk.row(&self.run, stripe_id).await? {
            // This page was begun before, by a process that died: it is counted already.
            if known.done != Done::Repairing {
                return Ok(());
            }
        } else {
            self.count(kind);
            self.put(stripe_id, &row).await?;
        }
        if done != Done::Repairing {
            return Ok(());
        }
        self.pace().await?;
        match repair::repair(self, tenant, id, stripe_id).await {
            Ok(()) => (row.done, self.run.counts.repaired) = (Done::Repaired, self.run.counts.repaired + 1),
            Err(repair::Unrepaired::Stop(stopped)) => return Err(stopped),
            Err(repair::Unrepaired::Failed(why)) => {
                tracing::warn!(tenant = %tenant, subscription = %id, stripe = stripe_id, why, "drift was not repaired");
                (row.done, row.note) = (Done::Failed, Some(why));
                self.run.counts.failed += 1;
            }
        }
        self.put(stripe_id, &row).await
    }

    fn count(&mut self, kind: Kind) {
        let counts = &mut self.run.counts;
        match kind {
            Kind::Missing => counts.missing += 1,
            Kind::Stale => counts.stale += 1,
            Kind::Extra => counts.extra += 1,
        }
        let dry_run = if self.run.dry_run { "true" } else { "false" };
        metrics::counter!("synapse_subscription_drift_total", "kind" => kind.name(), "dry_run" => dry_run).increment(1);
    }

    async fn put(&mut self, name: &str, row: &Row) -> Result<(), Stopped> {
        let mut unit = Unit::new();
        self.desk.put_row(&mut unit, &self.run, name, row, self.now_ms());
        self.write(unit).await
    }

    async fn write(&mut self, unit: Unit) -> Result<(), Stopped> {
        let now_ms = self.now_ms();
        if self.desk.commit(unit, &mut self.run, now_ms).await? { Ok(()) } else { Err(Stopped::Fenced) }
    }

    /// Closes the books: rows that a dead process left open are in order by now, or would have been found again.
    async fn finish(&mut self) -> Result<(), Stopped> {
        let mut after = None;
        loop {
            let (rows, next) = self.desk.rows(&self.run.id, ROWS_PAGE, after).await?;
            for (name, mut row) in rows.into_iter().filter(|(_, row)| row.done == Done::Repairing) {
                (row.done, self.run.counts.repaired) = (Done::Repaired, self.run.counts.repaired + 1);
                self.put(&name, &row).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let now_ms = self.now_ms();
        self.run.finished_at_ms = Some(now_ms);
        let mut unit = Unit::new();
        if !self.run.dry_run {
            let mut last = self.desk.last(now_ms).await?;
            last.reports += 1;
            match self.run.mode_name() {
                "backfill" => {
                    last.backfill_ms = now_ms;
                    last.events_until_s = self.run.started_at_ms / 1_000;
                }
                _ => last.sweep_ms = now_ms,
            }
            Desk::put_last(&mut unit, &last);
            let fact = SubscriptionEvent::from(self.report(now_ms));
            unit.publish(&service::platform_tenant(), last.reports, &self.trail, &fact);
        }
        self.write(unit).await?;
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        metrics::gauge!("synapse_subscription_reconciled_timestamp_seconds", "mode" => self.run.mode_name())
            .set((now_ms / 1_000) as f64);
        Ok(())
    }

    fn report(&self, now_ms: u64) -> ReconciledV1 {
        let (run, counts) = (&self.run, &self.run.counts);
        ReconciledV1 {
            run_id: run.id.clone(),
            mode: run.mode,
            checked: counts.checked,
            missing: counts.missing,
            stale: counts.stale,
            extra: counts.extra,
            repaired: counts.repaired,
            failed: counts.failed,
            started_at_ms: run.started_at_ms,
            finished_at_ms: now_ms,
        }
    }

    /// Waits for the budget's next call.
    pub(super) async fn pace(&self) -> Result<(), Stopped> {
        let spacing = Duration::from_secs(1) / self.service.config.reconcile.calls_per_second;
        let platform = &self.service.platform;
        match platform.lifecycle.token().run_until_cancelled(platform.clock.sleep(spacing)).await {
            Some(()) => Ok(()),
            None => Err(Stopped::Stopping),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.service.platform.clock.now_ms()
    }
}
