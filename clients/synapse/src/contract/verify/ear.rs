//! What the run's own tenant hears: events as an observer, signals as one more listener.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError, Envelope, Observation, Observe, Observed, Sender, Signals};
use clock::{Clock, Entropy};
use contracts::signals::EVERYBODY;
use contracts::signals::signaling::{DeliverV1, TakenV1};
use contracts::{Contract, NodeId, TenantId};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Most messages of our tenant that are kept; a run makes some hundred.
const MAX_HEARD: usize = 20_000;
/// Messages that may wait while others are read.
const BUFFER: usize = 4_096;

/// A message of our tenant.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) envelope: Envelope,
    /// Its payload; null where it is not JSON.
    pub(super) payload: Value,
    /// Whether some check expected it.
    pub(super) is_claimed: bool,
}

#[derive(Default)]
struct State {
    events: Vec<Heard>,
    signals: Vec<Heard>,
}

/// Listens for as long as it lives.
pub(super) struct Ear {
    state: Arc<Mutex<State>>,
    news: watch::Receiver<u64>,
    covers_events: bool,
    _listening: JoinSet<()>,
}

/// Which list a message is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    Event,
    Signal,
}

impl Ear {
    /// Begins to listen. `node` is the gateway process that the run pretends to be.
    pub(super) async fn open(
        bus: &Bus,
        tenant: &TenantId,
        node: &NodeId,
        clock: &Clock,
        entropy: &Entropy,
    ) -> Result<Self, BusError> {
        let observation = bus.observe(Observe::events(BUFFER)).await?;
        let covers_events = observation.covers_events();
        let (sender, news) = watch::channel(0);
        let (state, sender) = (Arc::<Mutex<State>>::default(), Arc::new(sender));
        let mut listening = JoinSet::new();
        listening.spawn(hear_events(observation, tenant.clone(), Arc::clone(&state), Arc::clone(&sender)));
        let addresses = [
            ("presence.changed.v1", tenant.as_str()),
            ("signaling.deliver.v1", node.as_str()),
            ("gateway.entitlement_lost.v1", EVERYBODY),
        ];
        for (kind, address) in addresses {
            let signals = bus.listen(kind, Some(address), None, BUFFER).await?;
            let hearing = hear_signals(signals, tenant.clone(), Arc::clone(&state), sender.clone());
            listening.spawn(hearing);
        }
        let signals = bus.listen(DeliverV1::KIND, Some(node.as_str()), None, BUFFER).await?;
        let gateway = Sender::new("gateway", clock.clone(), entropy.clone());
        listening.spawn(take_signals(signals, bus.clone(), gateway, tenant.clone()));
        Ok(Self { state, news, covers_events, _listening: listening })
    }

    /// Whether events of this installation can be seen from here.
    pub(super) fn covers_events(&self) -> bool {
        self.covers_events
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All events of our tenant so far, in the order they came.
    pub(super) fn events(&self) -> Vec<Heard> {
        self.state().events.clone()
    }

    /// All signals of our tenant so far.
    pub(super) fn signals(&self) -> Vec<Heard> {
        self.state().signals.clone()
    }

    /// Claims the first message that fits, waiting for it.
    pub(super) async fn claim(
        &self,
        road: Road,
        clock: &Clock,
        patience: Duration,
        fits: impl Fn(&Envelope, &Value) -> bool,
    ) -> Option<Heard> {
        let mut news = self.news.clone();
        let waiting = async {
            loop {
                news.mark_unchanged();
                if let Some(found) = self.take(road, &fits) {
                    return Some(found);
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        };
        clock.timeout(patience, waiting).await.flatten()
    }

    fn take(&self, road: Road, fits: &impl Fn(&Envelope, &Value) -> bool) -> Option<Heard> {
        let mut state = self.state();
        let State { events, signals } = &mut *state;
        let list = if road == Road::Event { events } else { signals };
        let found = list.iter_mut().find(|heard| !heard.is_claimed && fits(&heard.envelope, &heard.payload))?;
        found.is_claimed = true;
        Some(found.clone())
    }

    /// Claims every message that fits and is there.
    pub(super) fn claim_all(&self, road: Road, fits: impl Fn(&Envelope, &Value) -> bool) -> usize {
        std::iter::from_fn(|| self.take(road, &fits)).count()
    }
}

async fn hear_events(
    mut observation: Observation,
    tenant: TenantId,
    state: Arc<Mutex<State>>,
    news: Arc<watch::Sender<u64>>,
) {
    while let Some(observed) = observation.next().await {
        let Observed::Event(Ok(envelope)) = observed else { continue };
        if envelope.tenant == tenant {
            keep(&state, Road::Event, envelope);
            news.send_modify(|count| *count += 1);
        }
    }
}

/// Says, as a gateway does, that each signal was taken: else signaling would keep it and send it again.
async fn take_signals(mut signals: Signals, bus: Bus, gateway: Sender, tenant: TenantId) {
    while let Some(envelope) = signals.next().await {
        let Ok(deliver) = serde_json::from_slice::<DeliverV1>(&envelope.data) else { continue };
        let Some((reply_to, signal_id)) = deliver.reply_to.zip(deliver.signal_id) else { continue };
        if envelope.tenant == tenant {
            let taken = TakenV1 { signal_id, taken: true };
            // Who does not hear it sends the signal again, which is heard as such.
            let _ = bus.tell(&gateway, reply_to.as_str(), &tenant, &envelope.follow(), &taken).await;
        }
    }
}

async fn hear_signals(mut signals: Signals, tenant: TenantId, state: Arc<Mutex<State>>, news: Arc<watch::Sender<u64>>) {
    while let Some(envelope) = signals.next().await {
        if envelope.tenant == tenant {
            keep(&state, Road::Signal, envelope);
            news.send_modify(|count| *count += 1);
        }
    }
}

fn keep(state: &Mutex<State>, road: Road, envelope: Envelope) {
    let payload = serde_json::from_slice(&envelope.data).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let State { events, signals } = &mut *state;
    let list = if road == Road::Event { events } else { signals };
    if list.len() < MAX_HEARD {
        list.push(Heard { envelope, payload, is_claimed: false });
    }
}
