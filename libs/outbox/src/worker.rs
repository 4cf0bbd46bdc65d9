use std::sync::Arc;
use std::time::Duration;

use bus::{Delivery, Envelope, Malformed};
use sha2::{Digest, Sha256};
use store::{Query, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt::{Outcome, Task, Turn};
use crate::consume::Consumer;
use crate::gate::Gate;
use crate::letter::{DeadLetter, Reason, Standing};
use crate::outbox::Core;
use crate::retry::{Budget, full_jitter};
use crate::{ConsumeOptions, Order, Step, Subscription, keys};

/// Waits between tries when the store itself is in trouble; these tries are not counted.
const TROUBLE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Handles the work of one lane at a time; shared by all lanes.
pub(crate) struct Worker {
    pub(crate) core: Arc<Core>,
    pub(crate) consumer: Arc<dyn Consumer>,
    pub(crate) options: ConsumeOptions,
    pub(crate) budget: Budget,
    subscriptions: &'static [Subscription],
    stop: CancellationToken,
}

/// How the handling of an event ended.
enum Ended {
    Outcome(Outcome),
    /// To come again after a while; its order does not matter.
    Later(Duration),
    /// The service stops.
    Stopped,
}

impl Worker {
    pub(crate) fn new(
        core: Arc<Core>,
        subscriptions: &'static [Subscription],
        consumer: Arc<dyn Consumer>,
        options: ConsumeOptions,
        stop: CancellationToken,
    ) -> Self {
        let budget = Budget::new(options.retry_budget);
        Self { core, consumer, options, budget, subscriptions, stop }
    }

    /// Handles a delivery to its end and settles it.
    pub(crate) async fn deliver(&self, delivery: Delivery) {
        let envelope = match &delivery.incoming {
            Ok(envelope) => envelope,
            Err(malformed) => {
                let malformed = malformed.clone();
                return self.set_aside(delivery, &malformed).await;
            }
        };
        let Some(subscription) = self.subscription(&envelope.kind) else {
            metrics::counter!("inbox_events_total", "kind" => "unknown", "outcome" => "unknown").increment(1);
            return settled(delivery.ack().await);
        };
        let envelope = envelope.clone();
        let span = self.span(&envelope);
        let redelivered = delivery.attempt > 1;
        let gate = Gate::Open { lane: keys::lane(&envelope.source, &envelope.key) };
        let mut task = Task::new(&self.core.service, &envelope, subscription, gate, redelivered);
        async {
            match self.extending(&delivery, self.run(&mut task)).await {
                Ended::Outcome(outcome) => {
                    self.core.step(Step::AfterEffectBeforeAck);
                    settled(match outcome {
                        Outcome::Dead(reason) => delivery.term(reason.name()).await,
                        _ => delivery.ack().await,
                    });
                }
                Ended::Later(delay) => settled(delivery.nak(delay).await),
                Ended::Stopped => settled(delivery.nak(Duration::ZERO).await),
            }
        }
        .instrument(span)
        .await;
    }

    /// Handles the dead letters of a lane in order until none is left or one fails again.
    pub(crate) async fn redrive(&self, lane: &str) {
        let mut troubles = 0;
        while !self.stop.is_cancelled() {
            match self.next_letter(lane).await {
                Ok(None) => return,
                Ok(Some(gate)) => {
                    if !self.redrive_letter(gate).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%lane, %error, "dead letters can't be read; tried again");
                    troubles += 1;
                    self.pause(self.trouble(troubles)).await;
                }
            }
        }
    }

    /// Whether the next letter may follow.
    async fn redrive_letter(&self, gate: Gate) -> bool {
        let Gate::Redrive { letter, .. } = &gate else { return false };
        let Some(envelope) = letter.envelope.clone() else { return false };
        let unsubscribed = Subscription {
            kind: "unknown",
            retry: crate::RetryPolicy::DEFAULT,
            order: Order::Every,
            effects: crate::Effects::Local,
        };
        let known = self.subscription(&envelope.kind);
        let span = self.span(&envelope);
        let mut task = Task::new(&self.core.service, &envelope, known.unwrap_or(&unsubscribed), gate, true);
        task.unsubscribed = known.is_none();
        let ended = async { self.run(&mut task).await }.instrument(span).await;
        matches!(ended, Ended::Outcome(Outcome::Done | Outcome::Stale | Outcome::Moved))
    }

    /// The first letter of a lane that is being redriven.
    async fn next_letter(&self, lane: &str) -> Result<Option<Gate>, StoreError> {
        let Some(item) = self.core.store.get(&keys::marker(lane)).await? else { return Ok(None) };
        let standing = Standing::read(lane, &item)?;
        if !standing.marker.redriving {
            return Ok(None);
        }
        let first = self.core.store.query(&Query::prefix(keys::parked(lane), "letter#", 1)).await?.items.pop();
        let Some(item) = first else { return Ok(None) };
        let letter = Box::new(DeadLetter::read(&item)?);
        Ok(Some(Gate::Redrive { at: item.key, version: item.version, letter, standing }))
    }

    async fn run(&self, task: &mut Task<'_>) -> Ended {
        let mut troubles = 0;
        loop {
            let wait = match self.turn(task).await {
                Ok(Turn::Over(outcome)) => {
                    self.count(task, outcome);
                    return Ended::Outcome(outcome);
                }
                Ok(Turn::Again) => continue,
                Ok(Turn::Wait(wait)) => wait,
                Err(error) => {
                    tracing::warn!(event.id = %task.envelope.id, %error, "the store is in trouble; tried again");
                    task.look_again();
                    troubles += 1;
                    self.trouble(troubles)
                }
            };
            // A late try of such an event breaks nothing: should a newer one be handled meanwhile, it is stale.
            let may_go = task.subscription.order == Order::LatestWins && task.gate.is_open();
            if may_go && wait > self.options.lease / 3 {
                return Ended::Later(wait);
            }
            if !self.pause(wait).await {
                return Ended::Stopped;
            }
        }
    }

    fn count(&self, task: &Task<'_>, outcome: Outcome) {
        metrics::counter!("inbox_events_total", "kind" => task.subscription.kind, "outcome" => outcome.name())
            .increment(1);
    }

    /// A message that is no event: kept as it came, then refused.
    async fn set_aside(&self, delivery: Delivery, malformed: &Malformed) {
        let now_ms = self.core.clock.now_ms();
        let mut letter = DeadLetter::new(&self.core.entropy, now_ms, Reason::Malformed, &malformed.reason);
        letter.raw = Some(malformed.raw.clone());
        let at = keys::aside(&keys::hex(&Sha256::digest(&malformed.raw)));
        let write = async {
            let mut troubles = 0;
            loop {
                match self.core.store.transact(vec![letter.put(at.clone(), None)]).await {
                    Ok(()) => return true,
                    // The same message came before.
                    Err(error) if error.conflict().is_some() => return true,
                    Err(error) => {
                        tracing::warn!(%error, "a malformed message can't be stored; tried again");
                        troubles += 1;
                    }
                }
                if !self.pause(self.trouble(troubles)).await {
                    return false;
                }
            }
        };
        if self.extending(&delivery, write).await {
            tracing::error!(reason = %malformed.reason, "a message that is no event was set aside");
            metrics::counter!("inbox_events_total", "kind" => "unknown", "outcome" => "malformed").increment(1);
            settled(delivery.term(Reason::Malformed.name()).await);
        } else {
            settled(delivery.nak(Duration::ZERO).await);
        }
    }

    /// Does `work` and extends the delivery's lease each third of it.
    async fn extending<T>(&self, delivery: &Delivery, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            match self.core.clock.timeout(self.options.lease / 3, &mut work).await {
                Some(done) => return done,
                None => {
                    if let Err(error) = delivery.extend().await {
                        tracing::debug!(%error, "a lease was not extended; the event may come twice");
                    }
                }
            }
        }
    }

    /// Waits; false when the service stops meanwhile.
    async fn pause(&self, wait: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.core.clock.sleep(wait) => true,
        }
    }

    fn trouble(&self, troubles: u32) -> Duration {
        Duration::from_millis(full_jitter(TROUBLE.0, TROUBLE.1, troubles, &self.core.entropy).max(1))
    }

    fn subscription(&self, kind: &str) -> Option<&'static Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.kind == kind)
    }

    fn span(&self, envelope: &Envelope) -> tracing::Span {
        if let Some(make) = self.options.make_span {
            return make(envelope);
        }
        tracing::info_span!(
            "consume",
            otel.kind = "consumer",
            kind = envelope.kind,
            event.id = envelope.id.as_str(),
            correlation_id = envelope.trail.correlation_id,
            causation_id = envelope.trail.causation_id,
            traceparent = envelope.trail.traceparent,
        )
    }
}

fn settled(result: Result<(), bus::BusError>) {
    if let Err(error) = result {
        tracing::debug!(%error, "the broker was not told; the event comes again and the inbox knows it");
    }
}
