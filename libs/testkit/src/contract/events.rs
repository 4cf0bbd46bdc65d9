//! Each event a service owns, from its real code path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, Envelope, Subscribe, Trail};
use contracts::Class;
use serde_json::Value;

use super::goldens::{entry, fits, owned};
use super::{Place, SOON, trail};
use crate::eventually;

/// Reads every event of one owner, as another service would, and keeps each once.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Mutex<Vec<Envelope>>>);

impl Observer {
    /// Subscribes under the name `observer`.
    ///
    /// # Panics
    /// When the bus does not let it.
    pub async fn start(bus: &Bus, owner: &str) -> Self {
        let subscribe = Subscribe {
            service: "observer".into(),
            kinds: owned(Class::Event, owner).into_iter().map(str::to_owned).collect(),
            max_in_flight: 256,
            lease: Duration::from_secs(30),
        };
        let mut deliveries = bus.subscribe(subscribe).await.expect("anybody may subscribe");
        let seen = Arc::new(Mutex::new(Vec::<Envelope>::new()));
        let taken = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(delivery) = deliveries.next().await {
                let envelope = delivery.incoming.clone().expect("services write well-formed events");
                {
                    let mut taken = taken.lock().expect("nobody panics with the lock");
                    if taken.iter().all(|known| known.id != envelope.id) {
                        taken.push(envelope);
                    }
                }
                // A bus that is closing brings it again to nobody.
                let _ = delivery.ack().await;
            }
        });
        Self(seen)
    }

    /// Every event until now, in the order they came.
    pub fn seen(&self) -> Vec<Envelope> {
        self.0.lock().expect("nobody panics with the lock").clone()
    }
}

/// Shows that each event of an owner is produced as promised. A kind that was not shown fails [`Events::finish`].
pub struct Events<'a> {
    owner: &'static str,
    place: &'a Place,
    observer: &'a Observer,
    taken: usize,
    number: u64,
    shown: BTreeSet<String>,
}

impl<'a> Events<'a> {
    /// A suite over what `observer` (started before the service acts) sees.
    pub fn of(owner: &'static str, place: &'a Place, observer: &'a Observer) -> Self {
        let number = 1_000;
        Self { owner, place, observer, taken: observer.seen().len(), number, shown: BTreeSet::new() }
    }

    /// `act`, called on the trail it gets, makes exactly these events, and carries that trail into them. What the
    /// service told before is not counted.
    ///
    /// # Panics
    /// When other events come, or one breaks what was promised of it.
    pub async fn produces(&mut self, kinds: &[&str], act: impl AsyncFnOnce(&Trail)) -> Vec<Envelope> {
        self.taken = self.observer.seen().len();
        self.number += 1;
        let trail = trail(self.number);
        act(&trail).await;
        let made = self.made(kinds).await;
        for event in &made {
            self.promised(event);
            let of = &event.trail;
            assert_eq!(of.correlation_id, trail.correlation_id, "{}: the correlation id of what caused it", event.kind);
            assert!(of.causation_id.is_some(), "{}: the id of what caused it", event.kind);
            assert_eq!(trace_id(of), trace_id(&trail), "{}: the trace of what caused it", event.kind);
        }
        made
    }

    /// The same where time or a start makes the events, which then begin trails of their own.
    ///
    /// # Panics
    /// As [`Events::produces`].
    pub async fn makes_by_itself(&mut self, kinds: &[&str], act: impl AsyncFnOnce()) -> Vec<Envelope> {
        self.taken = self.observer.seen().len();
        act().await;
        self.made_by_itself(kinds).await
    }

    /// Checks events that came before the suite began, such as those of the start.
    ///
    /// # Panics
    /// As [`Events::produces`].
    pub async fn made_at_start(&mut self, kinds: &[&str]) -> Vec<Envelope> {
        self.taken = 0;
        self.made_by_itself(kinds).await
    }

    async fn made_by_itself(&mut self, kinds: &[&str]) -> Vec<Envelope> {
        let made = self.made(kinds).await;
        for event in &made {
            self.promised(event);
            assert!(!event.trail.correlation_id.is_empty(), "{}: a correlation id", event.kind);
        }
        made
    }

    /// `act` makes no event: a command that was carried out already, or that was refused.
    ///
    /// # Panics
    /// When one comes.
    pub async fn nothing_follows(&mut self, what: &str, act: impl AsyncFnOnce(&Trail)) {
        self.taken = self.observer.seen().len();
        self.number += 1;
        act(&trail(self.number)).await;
        self.place.quiet().await;
        let seen = self.observer.seen();
        assert!(seen[self.taken..].is_empty(), "{what}: {:?}", &seen[self.taken..]);
    }

    async fn made(&mut self, kinds: &[&str]) -> Vec<Envelope> {
        let mut expected: Vec<&str> = kinds.to_vec();
        expected.sort_unstable();
        let what = format!("{expected:?}");
        eventually(SOON, &what, async || {
            let made = self.observer.seen().split_off(self.taken);
            let kinds: Vec<String> = made.iter().map(|event| event.kind.clone()).collect();
            if kinds.len() >= expected.len() { Ok(()) } else { Err(format!("{kinds:?}")) }
        })
        .await;
        self.place.quiet().await;
        let made = self.observer.seen().split_off(self.taken);
        let mut kinds: Vec<&str> = made.iter().map(|event| event.kind.as_str()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, expected, "these events and no others");
        made
    }

    // What every event promises, whoever caused it.
    fn promised(&mut self, event: &Envelope) {
        let kind = event.kind.as_str();
        assert!(owned(Class::Event, self.owner).contains(&kind), "{kind} is no event of {}", self.owner);
        let payload: Value = serde_json::from_slice(&event.data).unwrap_or_else(|error| panic!("{kind}: {error}"));
        fits(Class::Event, kind, &payload);
        let entry = entry(Class::Event, kind);
        let whole = (entry.reparse)(&payload).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(whole, payload, "{kind}: the type of the contract reads everything that was told");
        let aggregate = entry.aggregate.expect("events have keys")(&payload).expect("it is of its type");
        assert_eq!(event.key, format!("{}/{aggregate}", event.tenant), "{kind}: its key");
        assert_eq!(event.source, format!("/synapse/{}", self.owner), "{kind}: its source");
        assert!(event.sequence > 0 && event.time_ms > 0, "{kind}: sequence {}, time {}", event.sequence, event.time_ms);
        self.shown.insert(kind.to_owned());
    }

    /// Checks what only all events together show, and keeps one of each kind in `folder` (the test's
    /// `env!("CARGO_TARGET_TMPDIR")`) for the cross-version suite.
    ///
    /// # Panics
    /// When an event of the owner was not shown, an id came twice, or numbers of a key did not rise.
    pub fn finish(self, folder: &str) {
        let seen = self.observer.seen();
        let ids: BTreeSet<&str> = seen.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids.len(), seen.len(), "every event has an id of its own");
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let mut last_of_kind: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for event in &seen {
            let (kind, key) = (event.kind.as_str(), event.key.as_str());
            let before = last.insert(key, event.sequence).unwrap_or(0);
            assert!(event.sequence >= before, "{kind} of {key}: {} after {before}", event.sequence);
            let before = last_of_kind.insert((kind, key), event.sequence).unwrap_or(0);
            assert!(event.sequence > before, "{kind} of {key}: {} after {before}", event.sequence);
        }
        let missing: Vec<&str> =
            owned(Class::Event, self.owner).into_iter().filter(|kind| !self.shown.contains(*kind)).collect();
        assert!(missing.is_empty(), "no case shows these events of {}: {missing:?}", self.owner);
        capture(self.owner, folder, &seen);
    }
}

fn trace_id(trail: &Trail) -> Option<&str> {
    trail.traceparent.as_deref()?.split('-').nth(1)
}

fn capture(owner: &str, folder: &str, seen: &[Envelope]) {
    let captured: Vec<Value> = seen
        .iter()
        .map(|event| {
            let payload: Value = serde_json::from_slice(&event.data).expect("it was read before");
            serde_json::json!({"message": event.kind, "payload": payload})
        })
        .collect();
    let folder = Path::new(folder).join("captured");
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    // Suites on two buses run at once: a name of its own first, then in place.
    let draft = folder.join(format!("{owner}.{}", captured.len() + std::process::id() as usize));
    std::fs::write(&draft, Value::Array(captured).to_string()).expect("the target folder is writable");
    let _ = std::fs::rename(&draft, folder.join(format!("{owner}.json")));
}
