//! Events that are not as promised.

use std::sync::Mutex;

use bus::Envelope;
use contracts::EventId;
use serde_json::json;

use super::Defect;
use super::interposer::{Faults, payload};

const ONLINE: &str = "presence.peer_went_online.v1";
const OFFLINE: &str = "presence.peer_went_offline.v1";
const STATUS: &str = "presence.peer_status_changed.v1";
const CONNECTS: &str = "it is told when a peer connects";
const SCHEMA: &str = "its payload fits its schema";
const ONCE: &str = "one effect is told once";
const NUMBER: &str = "its number follows the one before of its key";
const TRAIL: &str = "it carries on the trail of its cause";
const PAID: &[&str] = &["subscription", "webhook", "gateway"];

/// Changes events of one kind.
fn of(kind: &'static str, change: impl Fn(Envelope) -> Vec<Envelope> + Send + Sync + 'static) -> Faults {
    let event = move |event: Envelope| if event.kind == kind { change(event) } else { vec![event] };
    Faults { event: Box::new(event), ..Faults::default() }
}

fn one(kind: &'static str, change: impl Fn(&mut Envelope) + Send + Sync + 'static) -> Faults {
    of(kind, move |mut event| {
        change(&mut event);
        vec![event]
    })
}

fn field(kind: &'static str, change: fn(&mut serde_json::Value)) -> Faults {
    of(kind, move |event| vec![payload(event, change)])
}

fn other_id(event: &Envelope) -> EventId {
    format!("{}-again", event.id).parse().unwrap()
}

pub(super) fn defects() -> Vec<Defect> {
    [contents(), envelopes(), doubles_and_order()].into_iter().flatten().collect()
}

fn contents() -> Vec<Defect> {
    vec![
        Defect::new(
            "an event lost a field",
            ONLINE,
            SCHEMA,
            field(ONLINE, |value| {
                value.as_object_mut().unwrap().remove("node_id");
            }),
        ),
        Defect::new(
            "an event's enum was widened",
            STATUS,
            SCHEMA,
            field(STATUS, |value| value["status"] = json!("flying")),
        ),
        Defect::new(
            "an event tells a number as text",
            OFFLINE,
            SCHEMA,
            field(OFFLINE, |value| {
                value["generation"] = json!(value["generation"].to_string());
            }),
        ),
        Defect::new(
            "an event's field has another type",
            ONLINE,
            SCHEMA,
            field(ONLINE, |value| value["peer_id"] = json!({})),
        ),
        Defect::new(
            "an event's field was renamed",
            OFFLINE,
            SCHEMA,
            field(OFFLINE, |value| {
                let reason = value.as_object_mut().unwrap().remove("reason").unwrap();
                value["why"] = reason;
            }),
        ),
        Defect::new(
            "an event tells what is not so",
            ONLINE,
            CONNECTS,
            field(ONLINE, |value| value["generation"] = json!(77)),
        ),
        Defect::new("an event's payload is no JSON", ONLINE, SCHEMA, one(ONLINE, |event| event.data = "{".into())),
    ]
}

fn envelopes() -> Vec<Defect> {
    vec![
        Defect::new(
            "an event's kind was renamed",
            ONLINE,
            CONNECTS,
            one(ONLINE, |event| {
                event.kind = "presence.peer_came_online.v1".into();
            }),
        ),
        Defect::new(
            "an event has another key",
            OFFLINE,
            "its key is its tenant and aggregate",
            one(OFFLINE, |event| {
                event.key = format!("{}/peers", event.tenant);
            }),
        ),
        Defect::new(
            "an event lost its traceparent",
            ONLINE,
            TRAIL,
            one(ONLINE, |event| event.trail.traceparent = None),
        ),
        Defect::new(
            "an event lost its correlation id",
            STATUS,
            "it says what it belongs to",
            one(STATUS, |event| {
                event.trail.correlation_id.clear();
            }),
        ),
        Defect::new(
            "an event's correlation id is made up",
            STATUS,
            TRAIL,
            one(STATUS, |event| {
                event.trail.correlation_id = "made-up".into();
            }),
        ),
        Defect::new(
            "an event does not say what caused it",
            OFFLINE,
            TRAIL,
            one(OFFLINE, |event| {
                event.trail.causation_id = None;
            }),
        ),
        Defect::new(
            "an event names another source",
            ONLINE,
            "its source is its owner",
            one(ONLINE, |event| {
                event.source = "/synapse/gateway".into();
            }),
        ),
        Defect::new(
            "an event belongs to another tenant",
            ONLINE,
            CONNECTS,
            one(ONLINE, |event| {
                event.tenant = "somebody-else".parse().unwrap();
            }),
        ),
        Defect::new(
            "an event's time is its sender's birth",
            STATUS,
            "its time is now",
            one(STATUS, |event| event.time_ms = 0),
        ),
    ]
}

fn doubles_and_order() -> Vec<Defect> {
    let held: Mutex<Vec<Envelope>> = Mutex::default();
    let swapped = move |event: Envelope| {
        // The change waits until the revocation that follows it is out.
        let mut held = held.lock().unwrap();
        if event.kind.starts_with("subscription.status_changed.") && event.sequence > 1 {
            held.push(event);
            return Vec::new();
        }
        let is_last = event.kind == "subscription.proof_revoked.v1";
        let waiting = if is_last { std::mem::take(&mut *held) } else { Vec::new() };
        std::iter::once(event).chain(waiting).collect()
    };
    vec![
        Defect::new("an event is missing", OFFLINE, "it is told when a peer leaves", of(OFFLINE, |_| Vec::new())),
        Defect::new(
            "an event is told twice under two ids",
            STATUS,
            ONCE,
            of(STATUS, |event| {
                let again = Envelope { id: other_id(&event), ..event.clone() };
                vec![event, again]
            }),
        ),
        Defect::new(
            "one id carries two contents",
            STATUS,
            "one id is one event",
            of(STATUS, |event| {
                let again = payload(event.clone(), |value| value["generation"] = json!(9));
                vec![event, again]
            }),
        ),
        Defect::new("an event's number does not rise", ONLINE, NUMBER, one(ONLINE, |event| event.sequence = 1)),
        Defect::new("a number was left out", OFFLINE, NUMBER, one(OFFLINE, |event| event.sequence += 1)),
        Defect::new(
            "two events of a key changed places",
            "subscription.status_changed.v2",
            NUMBER,
            Faults { event: Box::new(swapped), ..Faults::default() },
        )
        .paid(PAID),
        Defect::new(
            "a version that is still read is not told any more",
            "subscription.status_changed.v1",
            "it is told in the old form while that is read",
            of("subscription.status_changed.v1", |_| Vec::new()),
        )
        .paid(PAID),
        Defect::new(
            "a quota that is used up is not told",
            "subscription.quota_exceeded.v1",
            "it is told when a quota is used up",
            of("subscription.quota_exceeded.v1", |_| Vec::new()),
        )
        .paid(PAID),
        Defect::new(
            "a lost entitlement is not told",
            "subscription.proof_revoked.v1",
            "proofs are revoked when the entitlement ends",
            of("subscription.proof_revoked.v1", |_| Vec::new()),
        )
        .paid(PAID),
    ]
}
