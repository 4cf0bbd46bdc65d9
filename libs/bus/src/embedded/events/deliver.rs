//! Handing out: what a subscriber gets, and what its deliveries say back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Events, Group, closed};
use crate::BusError;
use crate::backend::{Deliveries, Delivery, Settle, Subscribe};

pub(in crate::embedded) fn subscribe(events: &Arc<Events>, subscribe: Subscribe) -> Result<Deliveries, BusError> {
    if events.is_closed() {
        return Err(closed());
    }
    let (sender, receiver) = mpsc::channel(1);
    let member = {
        let mut state = events.state();
        state.next += 1;
        let member = state.next;
        let service = &subscribe.service;
        let group = state.groups.entry(service.clone()).or_insert_with(|| Group::new(service));
        group.members.insert(member, subscribe.kinds.iter().cloned().collect());
        if !std::mem::replace(&mut state.is_timed, true) {
            tokio::spawn(keep_time(Arc::clone(events)));
        }
        member
    };
    tokio::spawn(hand_out(Arc::clone(events), subscribe, member, sender));
    Ok(Deliveries { receiver })
}

/// Brings back what nobody settled in time, until the bus closes.
async fn keep_time(events: Arc<Events>) {
    loop {
        let next = events.fire();
        let sleep = async {
            match next {
                Some(wait) => events.clock.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events.closed.cancelled() => return,
            () = events.timer.notified() => {}
            () = sleep => {}
        }
    }
}

async fn hand_out(events: Arc<Events>, subscribe: Subscribe, member: u64, sender: mpsc::Sender<Delivery>) {
    let permits = Arc::new(Semaphore::new(subscribe.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)));
    let service: Arc<str> = subscribe.service.as_str().into();
    let wake = events.state().groups.get(&*service).map(|group| Arc::clone(&group.wake));
    let work = async {
        let Some(wake) = wake else { return };
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let Ok(slot) = sender.reserve().await else { return };
            let taken = loop {
                let woken = wake.notified();
                tokio::pin!(woken);
                woken.as_mut().enable();
                match events.take(&service, member, subscribe.lease) {
                    Some(taken) => break taken,
                    None => woken.await,
                }
            };
            let (position, generation, item, key) = taken;
            let settle = Box::new(Handle {
                events: Arc::clone(&events),
                service: Arc::clone(&service),
                key,
                position,
                generation,
                _permit: permit,
            });
            slot.send(Delivery { incoming: Ok((*item.envelope).clone()), attempt: item.attempts, settle });
        }
    };
    tokio::select! {
        () = events.draining.cancelled() => {}
        () = sender.closed() => {}
        () = work => {}
    }
    events.leave(&service, member);
}

struct Handle {
    events: Arc<Events>,
    service: Arc<str>,
    key: String,
    position: u128,
    generation: u64,
    _permit: OwnedSemaphorePermit,
}

impl Handle {
    fn finish(&self, is_ack: bool) {
        if self.events.finish(&self.service, &self.key, self.position)
            && let Some(group) = self.events.state().groups.get(&*self.service)
        {
            let counter = if is_ack { &group.consumed.acked } else { &group.consumed.terminated };
            counter.increment(1);
        }
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(&self) -> Result<(), BusError> {
        self.finish(true);
        Ok(())
    }

    async fn nak(&self, delay: Duration) -> Result<(), BusError> {
        self.events.delay(&self.service, self.position, self.generation, delay);
        Ok(())
    }

    async fn term(&self, reason: &str) -> Result<(), BusError> {
        tracing::info!(service = &*self.service, key = self.key, reason, "an event was given up");
        self.finish(false);
        Ok(())
    }

    async fn extend(&self) -> Result<(), BusError> {
        self.events.extend(&self.service, self.position, self.generation)
    }
}
