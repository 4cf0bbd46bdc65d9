//! What every message of our tenant must be, whoever caused it.

use std::collections::BTreeMap;

use contracts::Class;

use super::asking::{NO_EVENTS, Run, event, line, signal};
use super::book::{Book, Offence};
use super::ear::{Heard, Road};
use crate::contract::schemas::Schemas;

/// How far a message's time may be from ours, milliseconds.
const MAX_SKEW_MS: u64 = 5 * 60 * 1_000;

/// Holds all that was heard against its contract.
pub(super) fn all(run: &Run<'_>) {
    let events = run.ear.events();
    for heard in &events {
        one_event(run.book, run.schemas, heard, run.clock.now_ms());
    }
    if run.ear.covers_events() {
        // A lease that ends while a step waits for what does not come is no second effect.
        run.ear.claim_all(Road::Event, |_, payload| {
            payload["peer_id"] == "verify-alice" && payload["reason"] == "timed_out"
        });
        let events = run.ear.events();
        together(run.book, &events);
        unexpected(run, &events);
    } else {
        for known in run.schemas.all().iter().filter(|known| known.class == Class::Event) {
            run.book.untestable(&event(known.kind), "it comes", NO_EVENTS);
        }
    }
    for heard in run.ear.signals() {
        one_signal(run.book, run.schemas, &heard);
    }
}

fn one_event(book: &Book, schemas: &Schemas, heard: &Heard, now_ms: u64) {
    let envelope = &heard.envelope;
    let promise = event(&envelope.kind);
    // Our own play of a broker's doubles is not the owner's word.
    if envelope.source == "/synapse/verify" {
        return;
    }
    let expect = |holds: bool, expected: String, got: String| {
        if holds { Ok(()) } else { Err(Offence::new(expected, got).with(line(heard))) }
    };
    let owner = promise.owner().to_owned();
    let fits = schemas.check(Class::Event, &envelope.kind, &envelope.data);
    let fits =
        fits.map(drop).map_err(|broken| Offence::new("a payload that fits its schema", broken).with(line(heard)));
    book.judge(&promise, "its payload fits its schema", fits);
    let source = format!("/synapse/{owner}");
    let outcome = expect(envelope.source == source, format!("source {source:?}"), format!("{:?}", envelope.source));
    book.judge(&promise, "its source is its owner", outcome);
    if let Some(aggregate) = schemas.find(Class::Event, &envelope.kind).and_then(|known| known.aggregate) {
        let outcome = match aggregate(&heard.payload) {
            Ok(aggregate) => {
                let key = format!("{}/{aggregate}", envelope.tenant);
                expect(envelope.key == key, format!("key {key:?}"), format!("{:?}", envelope.key))
            }
            Err(error) => Err(Offence::new("a payload that names its aggregate", error).with(line(heard))),
        };
        book.judge(&promise, "its key is its tenant and aggregate", outcome);
    }
    let skew = envelope.time_ms.abs_diff(now_ms);
    let outcome = expect(skew <= MAX_SKEW_MS, "the time it happened".to_owned(), format!("{skew} ms away from now"));
    book.judge(&promise, "its time is now", outcome);
    let has_trail = !envelope.trail.correlation_id.is_empty();
    let outcome = expect(has_trail, "a correlationid".to_owned(), "none".to_owned());
    book.judge(&promise, "it says what it belongs to", outcome);
}

/// Ids, numbers and order of all events together.
fn together(book: &Book, events: &[Heard]) {
    let mut by_id: BTreeMap<String, &Heard> = BTreeMap::new();
    // Whoever writes counts for itself.
    let mut by_key: BTreeMap<(&str, &str), (u64, &Heard)> = BTreeMap::new();
    for heard in events.iter().filter(|heard| heard.envelope.source != "/synapse/verify") {
        let envelope = &heard.envelope;
        let promise = event(&envelope.kind);
        let known = by_id.insert(envelope.unique_id(), heard);
        let outcome = match known {
            Some(first) if first.envelope != *envelope => {
                let expected = format!("the same content under the id {}", envelope.id);
                Err(Offence::new(expected, format!("{} and {}", line(first), line(heard))))
            }
            _ => Ok(()),
        };
        book.judge(&promise, "one id is one event", outcome);
        if known.is_some() {
            continue; // The same once more: at least once is what was promised.
        }
        let place = (envelope.source.as_str(), envelope.key.as_str());
        let before = by_key.get(&place).copied();
        let outcome = match before {
            None if envelope.sequence == 1 => Ok(()),
            None => Err(Offence::new("sequence 1 of a new key", format!("{}", envelope.sequence)).with(line(heard))),
            Some((last, _)) if envelope.sequence == last + 1 => Ok(()),
            // The same fact in two versions.
            Some((last, twin)) if envelope.sequence == last && twins(twin, heard) => Ok(()),
            Some((last, _)) => {
                let expected = format!("sequence {} of the key {}", last + 1, envelope.key);
                Err(Offence::new(expected, format!("{}", envelope.sequence)).with(line(heard)))
            }
        };
        book.judge(&promise, "its number follows the one before of its key", outcome);
        let last = before.map_or(0, |(last, _)| last).max(envelope.sequence);
        by_key.insert(place, (last, heard));
    }
}

fn twins(one: &Heard, other: &Heard) -> bool {
    let name = |heard: &Heard| heard.envelope.kind.rsplit_once('.').map(|(name, _)| name.to_owned());
    one.envelope.kind != other.envelope.kind && name(one) == name(other)
}

/// Events that nothing we did should have caused.
fn unexpected(run: &Run<'_>, events: &[Heard]) {
    for heard in events.iter().filter(|heard| heard.envelope.source != "/synapse/verify") {
        let promise = event(&heard.envelope.kind);
        let is_repeat = events.iter().any(|other| other.is_claimed && other.envelope.id == heard.envelope.id);
        let outcome = if heard.is_claimed || is_repeat {
            Ok(())
        } else {
            Err(Offence::new("one event for one effect", "one more than anything caused").with(line(heard)))
        };
        run.book.judge(&promise, "one effect is told once", outcome);
    }
}

fn one_signal(book: &Book, schemas: &Schemas, heard: &Heard) {
    let envelope = &heard.envelope;
    let promise = signal(&envelope.kind);
    let fits = schemas.check(Class::Signal, &envelope.kind, &envelope.data);
    let fits =
        fits.map(drop).map_err(|broken| Offence::new("a payload that fits its schema", broken).with(line(heard)));
    book.judge(&promise, "its payload fits its schema", fits);
    let ours = envelope.source.starts_with("/synapse/");
    let outcome =
        if ours { Ok(()) } else { Err(Offence::new("source /synapse/<service>", &envelope.source).with(line(heard))) };
    book.judge(&promise, "its source is a service", outcome);
    let has_trail = !envelope.trail.correlation_id.is_empty();
    let outcome = if has_trail { Ok(()) } else { Err(Offence::new("a correlationid", "none").with(line(heard))) };
    book.judge(&promise, "it says what it belongs to", outcome);
}
