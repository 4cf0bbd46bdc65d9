//! `synapse contract watch`: live traffic held against the contracts, taken from nobody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bus::{Bus, Envelope, Incoming, Observation, Observe, Observed};
use clock::Clock;
use contracts::Class;
use serde::Serialize;

use super::schemas::Schemas;
use super::verify::{Sort, short};

/// Messages that may wait while others are judged; beyond it they are left out and counted.
const BUFFER: usize = 65_536;
/// Most different kinds that are told apart; kinds of nobody can be invented without end.
const MAX_KINDS: usize = 1_000;

/// One kind as it was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// What sort of message.
    pub sort: Sort,
    /// Its kind.
    pub kind: String,
    /// How many came.
    pub count: u64,
    /// How many broke their contract.
    pub broken: u64,
    /// The first that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offender: Option<Offender>,
}

/// The first message of a kind that broke its contract.
#[derive(Clone, Debug, Serialize)]
pub struct Offender {
    /// Which rule, and how.
    pub why: String,
    /// Who sent it (`ce-source`), where that could be read.
    pub source: String,
    /// Its id, where that could be read.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The message, shortened.
    pub message: String,
}

/// What was seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sightings {
    /// Whether no message broke its contract.
    pub ok: bool,
    /// How long it took, milliseconds.
    pub ms: u64,
    /// Messages left out because they came faster than they were judged.
    pub left_out: u64,
    /// Whether this installation's events could be seen.
    pub covers_events: bool,
    /// By sort and kind.
    pub kinds: Vec<Seen>,
}

/// Looks on until `stop`.
///
/// # Errors
/// No way to the bus.
pub async fn watch(bus: &Bus, clock: &Clock, stop: impl Future<Output = ()>) -> anyhow::Result<Sightings> {
    let schemas = Schemas::built_in()?;
    let mut observation = bus.observe(Observe::everything(BUFFER)).await?;
    let begun = clock.monotonic();
    let mut kinds: BTreeMap<(Sort, String), Seen> = BTreeMap::new();
    tokio::select! {
        () = stop => {}
        () = judge_all(&mut observation, &schemas, &mut kinds) => {}
    }
    let took: Duration = clock.monotonic().saturating_sub(begun);
    let kinds: Vec<Seen> = kinds.into_values().collect();
    Ok(Sightings {
        ok: kinds.iter().all(|seen| seen.broken == 0),
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        left_out: observation.left_out(),
        covers_events: observation.covers_events(),
        kinds,
    })
}

async fn judge_all(observation: &mut Observation, schemas: &Schemas, kinds: &mut BTreeMap<(Sort, String), Seen>) {
    while let Some(observed) = observation.next().await {
        let (class, incoming) = match observed {
            Observed::Event(incoming) => (Class::Event, incoming),
            Observed::Request(incoming) => (Class::Request, incoming),
            Observed::Reply { request, data } => (Class::Reply, Ok(Envelope { data, ..*request })),
            Observed::Signal { incoming, .. } => (Class::Signal, incoming),
        };
        note(schemas, kinds, class, &incoming);
    }
}

fn note(schemas: &Schemas, kinds: &mut BTreeMap<(Sort, String), Seen>, class: Class, incoming: &Incoming) {
    let kind = incoming.as_ref().map_or("(malformed)", |envelope| &envelope.kind).to_owned();
    let place = (Sort::from(class), kind.clone());
    if !kinds.contains_key(&place) && kinds.len() >= MAX_KINDS {
        return;
    }
    let sort = place.0;
    let seen = kinds.entry(place).or_insert(Seen { sort, kind, count: 0, broken: 0, offender: None });
    seen.count += 1;
    if let Err(offender) = judge(schemas, class, incoming) {
        seen.broken += 1;
        seen.offender.get_or_insert(offender);
    }
}

/// Which rule of its contract a message breaks.
fn judge(schemas: &Schemas, class: Class, incoming: &Incoming) -> Result<(), Offender> {
    let envelope = incoming.as_ref().map_err(|malformed| Offender {
        why: malformed.reason.clone(),
        source: String::new(),
        id: String::new(),
        tenant: String::new(),
        message: short(&String::from_utf8_lossy(&malformed.raw), 600),
    })?;
    let offender = |why: String| Offender {
        why,
        source: envelope.source.clone(),
        id: envelope.id.to_string(),
        tenant: envelope.tenant.to_string(),
        message: short(&String::from_utf8_lossy(&envelope.data), 600),
    };
    // A verification sends broken requests on purpose; what it gets for them is judged.
    if class == Class::Request && envelope.producer() == "verify" {
        return Ok(());
    }
    let value = schemas.check(class, &envelope.kind, &envelope.data).map_err(offender)?;
    if class != Class::Event {
        return Ok(());
    }
    let owner = envelope.kind.split('.').next().unwrap_or_default();
    // What a verification plays as the broker says so.
    if ![owner, "verify"].contains(&envelope.producer()) {
        return Err(offender(format!("source {:?}: only {owner} tells this", envelope.source)));
    }
    if let Some(aggregate) = schemas.find(class, &envelope.kind).and_then(|known| known.aggregate) {
        let key = format!("{}/{}", envelope.tenant, aggregate(&value).map_err(offender)?);
        if key != envelope.key {
            return Err(offender(format!("partitionkey {:?} instead of {key:?}", envelope.key)));
        }
    }
    Ok(())
}

impl Sightings {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("\n  {:<8} {:<44} {:>9} {:>7}\n", "sort", "kind", "count", "broken");
        for seen in &self.kinds {
            let _ = writeln!(out, "  {:<8} {:<44} {:>9} {:>7}", seen.sort.word(), seen.kind, seen.count, seen.broken);
        }
        for seen in self.kinds.iter().filter(|seen| seen.offender.is_some()) {
            let Some(offender) = &seen.offender else { continue };
            let _ = writeln!(out, "\n  ✗ first broken {} {}", seen.sort.word(), seen.kind);
            let _ = writeln!(out, "      why      {}", offender.why);
            let Offender { source, id, tenant, message, .. } = offender;
            let _ = writeln!(out, "      from     {source}   id {id}   tenant {tenant}");
            let _ = writeln!(out, "      message  {message}");
        }
        let total: u64 = self.kinds.iter().map(|seen| seen.count).sum();
        let broken: u64 = self.kinds.iter().map(|seen| seen.broken).sum();
        let seconds = self.ms as f64 / 1_000.0;
        let _ = writeln!(out, "\n  {total} messages in {seconds:.1} s, {broken} broken");
        if self.left_out > 0 {
            let _ = writeln!(out, "  {} more came too fast and were not judged", self.left_out);
        }
        if !self.covers_events {
            let _ = writeln!(out, "  events could not be seen: nobody reads this server's stream (do they go by SQS?)");
        }
        out
    }
}
