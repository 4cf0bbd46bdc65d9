use futures::FutureExt;
use store::{Action, Condition};

use super::flight::Row;
use super::pause::Rest;
use super::{Deleted, Shard};
use crate::Step;
use crate::lease::Lease;

/// Rows of one delete: a transaction takes 100 actions, one of them checks the lease.
const DELETE_MAX: usize = 99;

impl Shard {
    pub(super) fn start_deletes(&mut self) {
        while !self.settled.is_empty() && self.deleting.len() < self.deletes_max {
            // A few rows wait for company while another delete runs: fewer transactions.
            if self.settled.len() < DELETE_MAX && !self.deleting.is_empty() && !self.sending.is_empty() {
                return;
            }
            let rows: Vec<Row> = self.settled.drain(..self.settled.len().min(DELETE_MAX)).collect();
            let mut actions = vec![Lease::check(&self.lease_key, self.token)];
            actions.extend(rows.iter().map(|row| Action::Delete { key: row.at.clone(), condition: Condition::Any }));
            self.core.step(Step::AfterPublishBeforeDelete);
            let store = self.core.store.clone();
            self.deleting.push(
                async move {
                    // Should a power cut bring rows back, they are published again and the inboxes drop them.
                    let result = store.transact_unsynced(actions).await;
                    (rows, result)
                }
                .boxed(),
            );
        }
    }

    pub(super) fn on_deleted(&mut self, (rows, result): Deleted) {
        let gone = result.is_ok();
        if let Err(error) = result {
            // The rows stay and will be published once more; by whoever holds the lease now, if it was lost.
            tracing::warn!(shard = self.number, rows = rows.len(), %error, "published rows could not be deleted");
            metrics::counter!("outbox_delete_failures_total").increment(1);
            self.lost |= error.conflict().is_some();
            self.pause_shard();
            self.trouble.get_or_insert(error.into());
        } else {
            self.published += rows.len();
            self.pause = Rest::default();
        }
        for row in rows {
            if let Some(flight) = self.flights.get_mut(&row.key) {
                flight.deleted(gone);
                self.land(&row.key);
            }
        }
    }
}
