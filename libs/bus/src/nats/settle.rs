use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Subject;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Link;
use crate::BusError;
use crate::backend::Settle;
use crate::meter::Consumed;

/// What a delivery tells the worker of its partition.
pub(super) enum Told {
    /// Settled for good.
    Done { key: String, position: u128 },
    /// To come again after a delay, which the worker keeps: a crash then never leaves more than a lease to wait for.
    Again { position: u128, reply: Subject, delay: Duration },
    /// Dropped unsettled: the server brings it again when its lease ends.
    Dropped { position: u128 },
}

pub(super) struct Handle {
    pub(super) link: Arc<Link>,
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) consumed: Arc<Consumed>,
    pub(super) key: String,
    pub(super) position: u128,
    pub(super) reply: Subject,
    pub(super) is_settled: AtomicBool,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Handle {
    fn done(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
        let _ = self.told.send(Told::Done { key: self.key.clone(), position: self.position });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.is_settled.load(Ordering::Relaxed) {
            let _ = self.told.send(Told::Dropped { position: self.position });
        }
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        // The effect is there, whatever the server hears: the key may go on.
        self.done();
        self.consumed.acked.increment(1);
        self.link.tell(&self.reply, Bytes::from_static(b"+ACK")).await
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.is_settled.store(true, Ordering::Relaxed);
        self.consumed.nakked.increment(1);
        let told = self.told.send(Told::Again { position: self.position, reply: self.reply.clone(), delay });
        match told {
            Ok(()) => Ok(()),
            // The worker has ended in a drain: now the server keeps the delay.
            Err(_) => self.link.tell(&self.reply, nak(delay)).await,
        }
    }

    async fn term(&self, reason: &str) -> Result<(), BusError> {
        self.done();
        self.consumed.terminated.increment(1);
        tracing::info!(key = self.key, reason, "an event was given up");
        let text: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let message = match self.link.features.term_reason && !text.is_empty() {
            true => Bytes::from(format!("+TERM {text}")),
            false => Bytes::from_static(b"+TERM"),
        };
        self.link.tell(&self.reply, message).await
    }

    async fn extend(&self) -> Result<(), BusError> {
        self.link.tell(&self.reply, Bytes::from_static(b"+WPI")).await
    }
}

pub(super) fn nak(delay: Duration) -> Bytes {
    if delay.is_zero() {
        return Bytes::from_static(b"-NAK");
    }
    Bytes::from(format!("-NAK {{\"delay\":{}}}", delay.as_nanos()))
}
