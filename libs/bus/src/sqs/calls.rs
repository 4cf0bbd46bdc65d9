//! The calls about received messages, ten to a batch.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
};
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::{Sqs, failed};
use crate::{BusError, BusErrorKind};

/// SQS takes at most ten at once.
const BATCH: usize = 10;
/// SQS hides a message for at most 12 hours.
const MAX_HIDE: Duration = Duration::from_secs(12 * 3600);

/// One message to delete and who waits for it.
pub(super) type Delete = (String, oneshot::Sender<Result<(), BusError>>);

/// The calls to one queue.
pub(super) struct Calls {
    pub(super) sqs: Arc<Sqs>,
    pub(super) url: String,
}

impl Calls {
    /// Sets anew after what time messages can be received again. All batches go at once: leases don't wait.
    pub(super) async fn hide(&self, receipts: &[&str], time: Duration) -> Result<(), BusError> {
        // Whole seconds are all that SQS counts.
        let seconds = time.min(MAX_HIDE).as_millis().div_ceil(1000) as i32;
        let calls = receipts.chunks(BATCH).map(|receipts| self.hide_batch(receipts, seconds));
        join_all(calls).await.into_iter().collect()
    }

    async fn hide_batch(&self, receipts: &[&str], seconds: i32) -> Result<(), BusError> {
        let what = "can't change a message's visibility";
        let mut entries = Vec::with_capacity(receipts.len());
        for (index, receipt) in receipts.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(*receipt)
                .visibility_timeout(seconds);
            entries.push(entry.build().map_err(|error| failed(what, error))?);
        }
        let _turn = self.sqs.turn().await;
        let client = &self.sqs.client;
        let calling = client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries)).send();
        match self.sqs.clock.timeout(self.sqs.options.call_timeout, calling).await {
            Some(Ok(output)) => output.failed().first().map_or(Ok(()), |refused| Err(refusal(what, refused))),
            Some(Err(error)) => Err(failed(what, error)),
            None => Err(late(what)),
        }
    }

    /// Deletes what comes, as many at once as wait.
    pub(super) async fn delete_all(self: Arc<Self>, mut deletes: mpsc::Receiver<Delete>) {
        let mut batch = Vec::with_capacity(BATCH);
        while deletes.recv_many(&mut batch, BATCH).await > 0 {
            self.delete(std::mem::take(&mut batch)).await;
        }
    }

    async fn delete(&self, batch: Vec<Delete>) {
        let what = "can't delete a message";
        let entries: Result<Vec<_>, _> = batch
            .iter()
            .enumerate()
            .map(|(index, (receipt, _))| {
                DeleteMessageBatchRequestEntry::builder().id(index.to_string()).receipt_handle(receipt).build()
            })
            .collect();
        let _turn = self.sqs.turn().await;
        let calling = self.sqs.client.delete_message_batch().queue_url(&self.url).set_entries(entries.ok()).send();
        let outcome = self.sqs.clock.timeout(self.sqs.options.call_timeout, calling).await;
        for (index, (_, done)) in batch.into_iter().enumerate() {
            let result = match &outcome {
                Some(Ok(output)) => {
                    let refused = output.failed().iter().find(|refused| refused.id() == index.to_string());
                    refused.map_or(Ok(()), |refused| Err(refusal(what, refused)))
                }
                Some(Err(error)) => {
                    let text = aws_sdk_sqs::error::DisplayErrorContext(error);
                    Err(BusError::new(BusErrorKind::Unavailable, format!("{what}: {text}")))
                }
                None => Err(late(what)),
            };
            let _ = done.send(result);
        }
    }
}

fn refusal(what: &str, refused: &BatchResultErrorEntry) -> BusError {
    let text = format!("{what}: {} {}", refused.code(), refused.message().unwrap_or_default());
    BusError::new(BusErrorKind::Unavailable, text)
}

fn late(what: &str) -> BusError {
    BusError::new(BusErrorKind::Unavailable, format!("{what}: no answer in time"))
}
