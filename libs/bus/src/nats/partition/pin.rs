//! The pin: which process reads a partition, when it passes on, and what a newcomer waits for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::header::NATS_PIN_ID;
use async_nats::jetstream;

use super::{TAKEOVER_LOOK, Worker};
use crate::nats::consume::GROUP;

impl Worker {
    /// A new pin means that somebody else may have been here before.
    pub(super) fn see_pin(&mut self, message: &jetstream::Message) {
        let pin = message.headers.as_ref().and_then(|headers| headers.get_last(NATS_PIN_ID)).map(|pin| pin.as_str());
        if !self.reader.link.features.pinned || pin.is_none() || self.pin.as_deref() == pin {
            return;
        }
        if self.pin.is_none() {
            self.reader.pins.fetch_add(1, Ordering::Relaxed);
        }
        self.pin = pin.map(str::to_owned);
        let now = self.reader.link.clock.monotonic();
        self.takeover_until = Some(now + self.reader.lease + self.reader.link.options.takeover);
        self.look_at = now;
    }

    /// Hands out nothing before all that is unsettled at the server has come here.
    pub(super) async fn look(&mut self, now: Duration) {
        self.look_at = now + TAKEOVER_LOOK;
        let is_over = self.takeover_until.is_some_and(|until| until <= now);
        let is_complete = match self.consumer.get_info().await {
            Ok(info) => info.num_ack_pending <= self.lanes.unsettled(),
            Err(_) => false,
        };
        if is_complete || is_over {
            self.takeover_until = None;
        }
    }

    /// Gives the pin up when other processes wait and this one holds more than its share.
    pub(super) async fn share(&mut self) {
        if self.pin.is_none() {
            return;
        }
        let Ok(info) = self.consumer.get_info().await else { return };
        let holder = info.priority_groups.first().and_then(|group| group.pinned_client_id.as_deref());
        let is_mine = holder == self.pin.as_deref();
        // Each process has one pull waiting.
        if is_mine && !self.reader.give_up_pin(info.num_waiting as u64) {
            return;
        }
        if is_mine {
            self.unpin().await;
        } else {
            self.reader.pins.fetch_sub(1, Ordering::Relaxed);
        }
        self.pin = None;
    }

    pub(super) async fn unpin(&self) {
        let link = &self.reader.link;
        let Ok(stream) = link.jetstream.get_stream_no_info(&link.options.stream).await else { return };
        if let Err(error) = stream.unpin_consumer(&self.name(), GROUP).await {
            tracing::debug!(consumer = self.name(), %error, "the pin will end by itself");
        }
    }
}
