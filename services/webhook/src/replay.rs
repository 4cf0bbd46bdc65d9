//! Publishes stored events again, for operators: after an outage of a reader, or once a setting or a fault that kept them
//! from acting was put right.
//!
//! Without `force`, facts that were published go out once more as they were: same ids, so whoever handled them drops
//! them. With `force` the event is mapped anew and its facts get new ids and numbers, so every reader acts once more.

use std::collections::BTreeMap;

use bus::Trail;
use contracts::Fact;
use outbox::Unit;
use serde::Serialize;
use serde_json::Value;
use store::{StoreError, StoreErrorKind};

use crate::Webhook;
use crate::intake::{Announcement, MAX_DECISIONS, Numbered, assess, contended};
use crate::judge::State;
use crate::record::{Published, Record, payload};
use crate::store::Stored;

/// How to replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Only say what would be done.
    pub(crate) dry_run: bool,
    /// Map anew, under new ids.
    pub(crate) force: bool,
}

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Its facts go out as they were.
    Resend,
    /// It becomes facts for the first time.
    Publish,
    /// It becomes facts anew, under new ids.
    PublishAnew,
    /// Its facts still wait in the outbox.
    Waiting,
    /// Nothing follows from it.
    Nothing,
}

/// What a replay does with one event.
#[derive(Debug, Serialize)]
pub(crate) struct Replayed {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) received_ms: u64,
    pub(crate) state: State,
    pub(crate) action: Action,
    /// What mapping it today gives, beside what was published.
    pub(crate) facts: Vec<Difference>,
    /// Why nothing follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A fact as it was published and as it would be today.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) kind: String,
    pub(crate) change: Change,
    /// Fields whose value is another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<FieldChange>,
}

/// How a fact differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Same,
    Changed,
    New,
    Gone,
}

/// A field of a fact with both values.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct FieldChange {
    pub(crate) field: String,
    pub(crate) was: Option<Value>,
    pub(crate) now: Option<Value>,
}

/// Replays one event.
///
/// # Errors
/// The store's.
pub(crate) async fn replay(webhook: &Webhook, stored: Stored, manner: Manner) -> Result<Replayed, StoreError> {
    let name = stored.record.name().to_owned();
    let mut stored = stored;
    for _ in 0..MAX_DECISIONS {
        match once(webhook, &stored, manner).await {
            Err(error) if error.conflict().is_some() => {}
            outcome => return outcome,
        }
        // Somebody wrote meanwhile: decide anew on what stands there now.
        let again = webhook.events.named(&name).await?;
        stored = again.ok_or_else(|| StoreError::new(StoreErrorKind::Contended, format!("{name} has expired")))?;
    }
    Err(StoreError::new(StoreErrorKind::Contended, format!("{name} is being written by many at once")))
}

async fn once(webhook: &Webhook, stored: &Stored, manner: Manner) -> Result<Replayed, StoreError> {
    let old = &stored.record;
    let body = webhook.events.body(old).await?;
    let fresh = Record::of_body(&body, &old.endpoint, old.received_ms);
    let (fresh, announcement) = assess(webhook, webhook.endpoint(&old.endpoint), fresh, &body).await?;
    let facts: Vec<_> = announcement.iter().flat_map(|one| &one.facts).collect();
    let today = facts.iter().map(|fact| (fact.kind(), payload(fact)));
    let mut replayed = Replayed {
        id: old.name().to_owned(),
        kind: old.kind.clone(),
        received_ms: old.received_ms,
        state: old.state,
        action: Action::Nothing,
        facts: differences(&old.published, today),
        why: None,
    };
    if old.state == State::Conflict {
        replayed.facts = Vec::new();
        replayed.why = Some("another event has its id; it never acts".to_owned());
        return Ok(replayed);
    }
    match announcement {
        None if manner.force || old.published.is_empty() => {
            replayed.why = Some(fresh.detail.unwrap_or_else(|| format!("it is {}", fresh.state.name())));
            return Ok(replayed);
        }
        Some(announcement) if manner.force || old.published.is_empty() => {
            let first = old.published.is_empty();
            replayed.action = if first { Action::Publish } else { Action::PublishAnew };
            if let Some(why) = publish(webhook, stored, fresh, &announcement, manner).await? {
                replayed.action = Action::Nothing;
                replayed.why = Some(why);
            }
        }
        _ => {
            replayed.action = Action::Resend;
            if !manner.dry_run && !resend(webhook, stored).await? {
                replayed.action = Action::Waiting;
            }
        }
    }
    Ok(replayed)
}

/// Publishes what was published, as it was; whether it was not still waiting in the outbox.
async fn resend(webhook: &Webhook, stored: &Stored) -> Result<bool, StoreError> {
    let old = &stored.record;
    let mut unit = Unit::new();
    webhook.events.rewrite(&mut unit, stored, &Record { replays: old.replays.saturating_add(1), ..old.clone() });
    let trail = trail(webhook, old.stripe_event_id.clone());
    for published in &old.published {
        let unreadable =
            || StoreError::new(StoreErrorKind::Corrupt, format!("{} can't be read any more", published.kind));
        let fact = published.fact().ok_or_else(unreadable)?;
        let tenant = old.tenant.as_ref().unwrap_or(&webhook.installation);
        unit.publish_as(published.event_id.clone(), tenant, published.sequence, &trail, &fact);
    }
    match webhook.events.commit(unit).await {
        Ok(()) => Ok(true),
        // Behind the unit's own write, the head, stand the outbox's rows.
        Err(error) if error.conflict().is_some_and(|number| number > 0) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Publishes what follows from an event today, unless it is a dry run; why it must not, if so.
async fn publish(
    webhook: &Webhook,
    stored: &Stored,
    fresh: Record,
    announcement: &Announcement,
    manner: Manner,
) -> Result<Option<String>, StoreError> {
    let old = &stored.record;
    let replays = old.replays.saturating_add(1);
    // Published for the first time: the ids that it would have had.
    let salt = if old.published.is_empty() { String::new() } else { format!("replay {replays}") };
    let causation = old.published.first().map(|published| published.event_id.to_string());
    let trail = trail(webhook, causation.or_else(|| old.stripe_event_id.clone()));
    let _turn = webhook.turns.take(announcement.whose.tenant(), &announcement.aggregate).await;
    for _ in 0..MAX_DECISIONS {
        let numbered = match Numbered::decide(&webhook.events, announcement, old, &salt).await? {
            Ok(numbered) => numbered,
            Err(why) => return Ok(Some(why)),
        };
        if manner.dry_run {
            return Ok(None);
        }
        let record = fresh.clone().publish(&announcement.whose, numbered.published.clone());
        let mut unit = Unit::new();
        webhook.events.rewrite(&mut unit, stored, &Record { replays, ..record });
        numbered.write(&mut unit, announcement, &trail);
        match webhook.events.commit(unit).await {
            Ok(()) => return Ok(None),
            // Not the head, which the caller reads again: the ledger has moved on.
            Err(error) if error.conflict().is_some_and(|number| number > 0) => {}
            Err(error) => return Err(error),
        }
    }
    Err(contended(announcement))
}

fn trail(webhook: &Webhook, causation_id: Option<String>) -> Trail {
    Trail { causation_id, ..Trail::fresh(&webhook.platform.clock, &webhook.platform.entropy) }
}

/// What was published beside what would be today, by kind.
fn differences<'a>(was: &[Published], now: impl Iterator<Item = (&'a str, Value)>) -> Vec<Difference> {
    let mut now: BTreeMap<&str, Value> = now.collect();
    let mut found = Vec::new();
    for old in was {
        let kind = old.kind.clone();
        found.push(match now.remove(kind.as_str()) {
            None => Difference { kind, change: Change::Gone, fields: Vec::new() },
            Some(new) => {
                let mut fields = Vec::new();
                compare("", Some(&old.payload), Some(&new), &mut fields);
                let change = if fields.is_empty() { Change::Same } else { Change::Changed };
                Difference { kind, change, fields }
            }
        });
    }
    let new = now.into_keys().map(|kind| Difference { kind: kind.to_owned(), change: Change::New, fields: Vec::new() });
    found.extend(new);
    found
}

/// Every field that differs, objects field by field. Payloads are two or three levels deep.
fn compare(at: &str, was: Option<&Value>, now: Option<&Value>, found: &mut Vec<FieldChange>) {
    if was == now {
        return;
    }
    let (Some(Value::Object(old)), Some(Value::Object(new))) = (was, now) else {
        found.push(FieldChange { field: at.to_owned(), was: was.cloned(), now: now.cloned() });
        return;
    };
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        compare(&at, old.get(name), new.get(name), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published(kind: &str, payload: Value) -> Published {
        let event_id = "e-1".parse().unwrap();
        Published { event_id, kind: kind.into(), key: "acme/subscription/s-1".into(), sequence: 1, payload }
    }

    #[test]
    fn a_difference_names_every_field_with_both_values() {
        let was = [published("a.v1", json!({"x": 1, "m": {"k": "v"}, "o": 1})), published("b.v1", json!({}))];
        let now = [("a.v1", json!({"x": 2, "m": {"k": "w"}, "n": 1})), ("c.v1", json!({}))];
        let found = differences(&was, now.into_iter());
        let changes: Vec<_> = found.iter().map(|one| (one.kind.as_str(), one.change)).collect();
        assert_eq!(changes, [("a.v1", Change::Changed), ("b.v1", Change::Gone), ("c.v1", Change::New)]);
        let fields: Vec<_> = found[0].fields.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["m.k", "n", "o", "x"]);
        assert_eq!((&found[0].fields[3].was, &found[0].fields[3].now), (&Some(json!(1)), &Some(json!(2))));
        assert_eq!(differences(&was[1..], [("b.v1", json!({}))].into_iter())[0].change, Change::Same);
    }
}
