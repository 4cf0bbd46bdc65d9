use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::Envelope;
use crate::lanes::Lanes;
use crate::meter::Consumed;

/// What one subscribing service has to do: what waits, what is out, who takes it.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) lanes: Lanes<Item>,
    pub(super) out: HashMap<u128, Out>,
    pub(super) members: HashMap<u64, HashSet<String>>,
    pub(super) wake: Arc<Notify>,
    pub(super) consumed: Consumed,
}

/// One event for one service.
pub(super) struct Item {
    /// Which publish waits for it.
    pub(super) tracked: u64,
    pub(super) envelope: Arc<Envelope>,
    pub(super) attempts: u32,
}

/// One event that was handed out, or that a nak delays.
pub(super) struct Out {
    pub(super) key: String,
    pub(super) item: Item,
    /// Tells a delivery from an earlier one of the same event, whose lease is over.
    pub(super) generation: u64,
    pub(super) lease: Duration,
    /// When it comes again, on the monotonic clock.
    pub(super) due: Duration,
    /// The timer's entry for it; older than `due` once it was extended.
    pub(super) scheduled: Duration,
    pub(super) is_delayed: bool,
}

impl Group {
    pub(super) fn new(service: &str) -> Self {
        Self {
            name: service.into(),
            lanes: Lanes::new(),
            out: HashMap::new(),
            members: HashMap::new(),
            wake: Arc::new(Notify::new()),
            consumed: Consumed::new("embedded", service),
        }
    }

    /// Whether somebody here reads this kind.
    pub(super) fn reads(&self, kind: &str) -> bool {
        self.members.values().any(|kinds| kinds.contains(kind))
    }

    /// How much of it is in the hands of consumers.
    pub(super) fn in_hands(&self) -> usize {
        self.out.values().filter(|out| !out.is_delayed).count()
    }
}
