use bus::Trail;
use bytes::Bytes;
use clock::Entropy;
use contracts::{EventId, Fact, TenantId};
use store::{Action, Condition, Item, Key};

use crate::keys;
use crate::letter::{DeadLetter, Reason};

/// One transaction in the making: writes of a service's own items, and the facts that follow from them.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    pub(crate) actions: Vec<Action>,
    pub(crate) facts: Vec<Outgoing>,
}

/// What [`Unit::bury`] lays aside.
#[derive(Clone, Debug)]
pub struct Buried {
    /// Why it could not be done.
    pub error: String,
    /// Tries that failed.
    pub attempts: u32,
    /// A description, JSON.
    pub what: String,
    /// Until when it is kept, Unix milliseconds.
    pub keep_until_ms: u64,
}

/// A fact on its way into the outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Its event id; a fresh one where there is none.
    pub(crate) id: Option<EventId>,
    pub(crate) kind: &'static str,
    pub(crate) tenant: TenantId,
    pub(crate) aggregate: String,
    pub(crate) sequence: u64,
    pub(crate) trail: Trail,
    pub(crate) data: Vec<u8>,
}

impl Unit {
    /// An empty unit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an item if `condition` holds.
    pub fn put(&mut self, item: Item, condition: Condition) -> &mut Self {
        self.actions.push(Action::Put { item, condition });
        self
    }

    /// Removes an item if `condition` holds.
    pub fn delete(&mut self, key: Key, condition: Condition) -> &mut Self {
        self.actions.push(Action::Delete { key, condition });
        self
    }

    /// Requires `condition` without writing.
    pub fn check(&mut self, key: Key, condition: Condition) -> &mut Self {
        self.actions.push(Action::Check { key, condition });
        self
    }

    /// Adds to an item's counter.
    pub fn add(&mut self, key: Key, delta: i64) -> &mut Self {
        self.actions.push(Action::Add { key, delta, condition: Condition::Any });
        self
    }

    /// Publishes a fact once the unit is committed. `sequence` counts the aggregate's facts: it must grow by one with
    /// each fact of the aggregate (twins of one fact in two versions share it).
    pub fn publish(&mut self, tenant: &TenantId, sequence: u64, trail: &Trail, fact: &impl Fact) -> &mut Self {
        self.send(None, tenant, sequence, trail, fact)
    }

    /// [`Unit::publish`] under an event id of one's own. The same fact under the same id is dropped by whoever handled it
    /// already; another payload under an id that was used is a conflict there.
    pub fn publish_as(
        &mut self,
        id: EventId,
        tenant: &TenantId,
        sequence: u64,
        trail: &Trail,
        fact: &impl Fact,
    ) -> &mut Self {
        self.send(Some(id), tenant, sequence, trail, fact)
    }

    fn send(
        &mut self,
        id: Option<EventId>,
        tenant: &TenantId,
        sequence: u64,
        trail: &Trail,
        fact: &impl Fact,
    ) -> &mut Self {
        self.facts.push(Outgoing {
            id,
            kind: fact.kind(),
            tenant: tenant.clone(),
            aggregate: fact.aggregate(),
            sequence,
            trail: trail.clone(),
            data: fact.to_json().expect("contracts are plain data"),
        });
        self
    }

    /// Lays something that could not be done in time beside the dead letters, where operators look: `id` names it once and
    /// for all in this service, `what` describes it (JSON, without anything secret). It is kept until `keep_until_ms`.
    pub fn bury(&mut self, id: &str, entropy: &Entropy, now_ms: u64, buried: Buried) -> &mut Self {
        let mut letter = DeadLetter::new(entropy, now_ms, Reason::Expired, &buried.error);
        letter.attempts = buried.attempts;
        letter.raw = Some(Bytes::from(buried.what));
        let mut action = letter.put(keys::aside(&keys::digest(id)), None);
        if let Action::Put { item, condition } = &mut action {
            item.expires_at_ms = Some(buried.keep_until_ms);
            // The same again says nothing new.
            *condition = Condition::Any;
        }
        self.actions.push(action);
        self
    }

    /// Whether nothing would be written.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.facts.is_empty()
    }
}
