//! Asking as a service asks: raw bodies in our own tenant, at a bounded pace, every answer held against its contract.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError, BusErrorKind, Envelope, Trail};
use bytes::Bytes;
use clock::{Clock, Entropy};
use contracts::{Class, EventId, NodeId, TenantId};
use serde_json::{Value, json};

use super::book::{Book, Offence, Promise, Sort, Verdict, short};
use super::ear::{Ear, Heard, Road};
use super::{Limits, Stripe};
use crate::contract::schemas::Schemas;

/// Requests of one service that may go unanswered before the rest is not asked any more.
const MAX_SILENCES: u32 = 2;

/// Everything a scenario needs.
pub(super) struct Run<'a> {
    pub(super) bus: &'a Bus,
    pub(super) tenant: TenantId,
    /// The gateway process that we pretend to be.
    pub(super) node: NodeId,
    pub(super) book: &'a Book,
    pub(super) schemas: &'a Schemas,
    pub(super) ear: Ear,
    pub(super) clock: Clock,
    pub(super) entropy: Entropy,
    pub(super) limits: Limits,
    pub(super) stripe: Option<&'a Stripe>,
    pub(super) services: &'a [String],
    pub(super) pace: Mutex<Duration>,
    pub(super) silences: Mutex<BTreeMap<String, u32>>,
    /// Kinds that were waited for in vain, and how often.
    pub(super) misses: Mutex<BTreeMap<String, u32>>,
    /// What has to be put in order at the end.
    pub(super) traces: Mutex<Traces>,
}

/// What the run left behind so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Traces {
    /// Peers that are here, with their generation.
    pub(super) peers: BTreeMap<String, u64>,
    /// Subscriptions at Stripe that are not canceled.
    pub(super) stripe: Vec<String>,
    /// What is being bought, until the answer is there.
    pub(super) order: Option<Value>,
}

/// A request and what came back.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: &'static str,
    pub(super) id: EventId,
    pub(super) trail: Trail,
    pub(super) answer: Answer,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Ok(Value),
    Refused(Value),
    Failed(Value),
    /// No answer, and why.
    Silent(String),
    /// Nobody was asked, because this service did not answer before.
    Unasked(String),
    /// Not one of the three forms.
    Odd(String),
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// As long as the run waits.
    Ample,
    /// It passed a while ago.
    Passed,
}

pub(super) fn request(kind: &str) -> Promise {
    Promise::new(Sort::Request, kind)
}

pub(super) fn event(kind: &str) -> Promise {
    Promise::new(Sort::Event, kind)
}

pub(super) fn signal(kind: &str) -> Promise {
    Promise::new(Sort::Signal, kind)
}

impl Run<'_> {
    /// Whether this service is to be looked at.
    pub(super) fn wants(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|name| name == service)
    }

    /// Asks with a good deadline.
    pub(super) async fn ask(&self, kind: &'static str, body: &Value) -> Asked {
        self.ask_raw(kind, body.to_string().into(), Deadline::Ample).await
    }

    /// Sends any bytes as a request.
    pub(super) async fn ask_raw(&self, kind: &'static str, data: Bytes, deadline: Deadline) -> Asked {
        let owner = kind.split('.').next().unwrap_or_default();
        let trail = self.trail();
        let mut envelope = self.envelope(kind, data, trail.clone());
        let patience = self.limits.patience;
        let wait_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        envelope.expires_at_ms = Some(match deadline {
            Deadline::Ample => envelope.time_ms.saturating_add(wait_ms),
            Deadline::Passed => envelope.time_ms.saturating_sub(1_000),
        });
        let id = envelope.id.clone();
        let answer = if self.is_given_up(owner) {
            Answer::Unasked(format!("{owner} did not answer before; not asked again"))
        } else {
            self.wait_turn().await;
            let answer = self.bus.request(envelope, patience).await;
            self.note_silence(owner, deadline, &answer);
            self.read(kind, answer)
        };
        Asked { kind, id, trail, answer }
    }

    fn read(&self, kind: &'static str, answer: Result<Bytes, BusError>) -> Answer {
        let data = match answer {
            Ok(data) => data,
            Err(error) => return Answer::Silent(error.to_string()),
        };
        let promise = Promise::new(Sort::Reply, kind);
        let text = short(&String::from_utf8_lossy(&data), 600);
        let value = match self.schemas.check(Class::Reply, kind, &data) {
            Ok(value) => {
                self.book.note(&promise, "every answer fits its schema", Verdict::Held);
                value
            }
            Err(broken) => {
                let offence = Offence::new("an answer that fits the schema of its contract", broken).with(&text);
                self.book.note(&promise, "every answer fits its schema", Verdict::Broken(offence));
                serde_json::from_slice(&data).unwrap_or_default()
            }
        };
        let Some((form, content)) =
            value.as_object().filter(|form| form.len() == 1).and_then(|form| form.iter().next())
        else {
            return Answer::Odd(text);
        };
        match form.as_str() {
            "ok" => Answer::Ok(content.clone()),
            "refused" => Answer::Refused(content.clone()),
            "failed" => Answer::Failed(content.clone()),
            _ => Answer::Odd(text),
        }
    }

    fn is_given_up(&self, owner: &str) -> bool {
        let silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        silences.get(owner).is_some_and(|count| *count >= MAX_SILENCES)
    }

    fn note_silence(&self, owner: &str, deadline: Deadline, answer: &Result<Bytes, BusError>) {
        let mut silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            // Nobody has to answer a request that came too late.
            _ if deadline == Deadline::Passed => {}
            Ok(_) => drop(silences.remove(owner)),
            Err(error) if error.kind() == BusErrorKind::NoResponder => {
                silences.insert(owner.to_owned(), MAX_SILENCES);
            }
            Err(_) => *silences.entry(owner.to_owned()).or_default() += 1,
        }
    }

    /// Whether a service stopped answering during the run.
    pub(super) fn gone_services(&self) -> Vec<String> {
        let silences = self.silences.lock().unwrap_or_else(PoisonError::into_inner);
        silences.iter().filter(|(_, count)| **count >= MAX_SILENCES).map(|(name, _)| name.clone()).collect()
    }

    /// Waits until the pace allows another message.
    pub(super) async fn wait_turn(&self) {
        let wait = {
            let mut next = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.clock.monotonic();
            let begin = (*next).max(now);
            *next = begin + self.limits.interval();
            begin.saturating_sub(now)
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }

    /// A trail of its own, in a trace that is not sampled: watching must not fill anybody's traces.
    pub(super) fn trail(&self) -> Trail {
        let trail = Trail::fresh(&self.clock, &self.entropy);
        let (high, low, span) = (self.entropy.next_u64() | 1, self.entropy.next_u64(), self.entropy.next_u64() | 1);
        Trail { traceparent: Some(format!("00-{high:016x}{low:016x}-{span:016x}-00")), ..trail }
    }

    /// A message of ours.
    pub(super) fn envelope(&self, kind: &str, data: Bytes, trail: Trail) -> Envelope {
        let time_ms = self.clock.now_ms();
        Envelope {
            id: self.entropy.uuid_v7(time_ms).to_string().parse().expect("a UUID is a valid id"),
            source: "/synapse/verify".to_owned(),
            kind: kind.to_owned(),
            tenant: self.tenant.clone(),
            key: self.tenant.to_string(),
            sequence: 0,
            time_ms,
            trail,
            expires_at_ms: None,
            data,
        }
    }

    /// How long to wait for a message of this kind: one that never comes is not waited for again and again.
    fn patience_for(&self, kind: &str) -> Duration {
        let misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = misses.get(kind).is_some_and(|count| *count >= MAX_SILENCES);
        if is_lost { self.limits.quiet } else { self.limits.patience }
    }

    fn note_miss(&self, kind: &str) {
        let mut misses = self.misses.lock().unwrap_or_else(PoisonError::into_inner);
        *misses.entry(kind.to_owned()).or_default() += 1;
    }

    /// Expects an event that `asked` caused; notes whether it came, and whether it carries on the trail.
    pub(super) async fn expect_event(
        &self,
        kind: &str,
        name: &str,
        asked: Option<&Asked>,
        fits: impl Fn(&Value) -> bool,
    ) -> Option<Heard> {
        let promise = event(kind);
        if !self.ear.covers_events() {
            self.book.untestable(&promise, name, NO_EVENTS);
            return None;
        }
        let matches = |envelope: &Envelope, payload: &Value| envelope.kind == kind && fits(payload);
        let heard = self.ear.claim(Road::Event, &self.clock, self.patience_for(kind), matches).await;
        let Some(heard) = heard else {
            self.note_miss(kind);
            let others: Vec<String> = self.ear.events().iter().filter(|heard| !heard.is_claimed).map(line).collect();
            let got = if others.is_empty() { "no event".to_owned() } else { format!("only {}", others.join(", ")) };
            let got = short(&got, 600);
            let expected = format!("{kind} within {} ms", self.limits.patience.as_millis());
            self.book.note(&promise, name, Verdict::Broken(Offence::new(expected, got)));
            return None;
        };
        self.book.note(&promise, name, Verdict::Held);
        if let Some(asked) = asked {
            self.book.judge(&promise, "it carries on the trail of its cause", follows(asked, &heard));
        }
        Some(heard)
    }

    /// Expects a signal.
    pub(super) async fn expect_signal(&self, kind: &str, name: &str, fits: impl Fn(&Value) -> bool) -> Option<Heard> {
        let promise = signal(kind);
        let matches = |envelope: &Envelope, payload: &Value| envelope.kind == kind && fits(payload);
        let heard = self.ear.claim(Road::Signal, &self.clock, self.patience_for(kind), matches).await;
        if heard.is_none() {
            self.note_miss(kind);
        }
        let verdict = match &heard {
            Some(_) => Verdict::Held,
            None => {
                let expected = format!("{kind} within {} ms", self.limits.patience.as_millis());
                let heard = self.ear.signals();
                let last = heard.iter().rev().find(|heard| heard.envelope.kind == kind);
                let got = last.map_or("no such signal".to_owned(), |heard| format!("last came {}", line(heard)));
                Verdict::Broken(Offence::new(expected, got))
            }
        };
        self.book.note(&promise, name, verdict);
        heard
    }
}

/// Why events can't be looked at.
pub(super) const NO_EVENTS: &str =
    "this installation's events do not travel by this server's stream (nobody reads it: do they go by SQS?)";

/// A message in a few words.
pub(super) fn line(heard: &Heard) -> String {
    let Heard { envelope, payload, .. } = heard;
    short(&format!("{} #{} {payload}", envelope.kind, envelope.sequence), 300)
}

/// Whether an event says what caused it.
fn follows(asked: &Asked, heard: &Heard) -> Result<(), Offence> {
    let (wanted, found) = (&asked.trail, &heard.envelope.trail);
    let expect = |what: &str, expected: &str, got: &str| {
        if expected == got {
            return Ok(());
        }
        Err(Offence::new(format!("{what} {expected:?}, of the request that caused it"), format!("{got:?}"))
            .with(line(heard)))
    };
    expect("correlationid", &wanted.correlation_id, &found.correlation_id)?;
    expect("causationid", asked.id.as_str(), found.causation_id.as_deref().unwrap_or_default())?;
    let trace = |parent: &Option<String>| parent.as_deref().and_then(|text| text.get(3..35)).map(str::to_owned);
    let (expected, got) = (trace(&wanted.traceparent), trace(&found.traceparent));
    expect("traceparent with the trace", &expected.unwrap_or_default(), &got.unwrap_or_default())
}

impl Asked {
    /// A message of ours that is handed over as the broker would: what follows from it names it as its cause.
    pub(super) fn played(kind: &'static str, envelope: &Envelope) -> Self {
        let answer = Answer::Silent(String::new());
        Self { kind, id: envelope.id.clone(), trail: envelope.trail.clone(), answer }
    }

    /// The good answer.
    pub(super) fn ok(&self) -> Result<Value, Offence> {
        match &self.answer {
            Answer::Ok(value) => Ok(value.clone()),
            _ => Err(self.instead("a good answer (`ok`)")),
        }
    }

    /// A refusal of this code.
    pub(super) fn refused(&self, code: &str) -> Result<Value, Offence> {
        match &self.answer {
            Answer::Refused(value) if value["code"] == code => Ok(value.clone()),
            _ => Err(self.instead(format!("the refusal `{code}`"))),
        }
    }

    /// A failure for good: the request itself is wrong.
    pub(super) fn failed(&self) -> Result<(), Offence> {
        match &self.answer {
            Answer::Failed(value) if value["retryable"] == json!(false) => Ok(()),
            _ => Err(self.instead("a failure that is not retryable")),
        }
    }

    /// No effect and no late answer: a failure, or silence.
    pub(super) fn too_late(&self) -> Result<(), Offence> {
        match &self.answer {
            Answer::Failed(_) | Answer::Silent(_) => Ok(()),
            _ => Err(self.instead("a failure or silence: its deadline had passed")),
        }
    }

    /// What came instead.
    fn instead(&self, expected: impl Into<String>) -> Offence {
        let owner = self.kind.split('.').next().unwrap_or_default();
        match &self.answer {
            Answer::Ok(value) => Offence::new(expected, "`ok`").with(value),
            Answer::Refused(value) => Offence::new(expected, format!("the refusal {}", value["code"])).with(value),
            Answer::Failed(value) => Offence::new(expected, format!("a failure: {}", value["message"])).with(value),
            Answer::Silent(why) => Offence::new(expected, format!("no answer of {owner}: {why}")),
            Answer::Unasked(why) => Offence::unasked(expected, why),
            Answer::Odd(text) => Offence::new(expected, "an answer of no known form").with(text),
        }
    }

    /// A form of the answer that two askers can compare.
    pub(super) fn shape(&self) -> String {
        match &self.answer {
            Answer::Ok(_) => "ok".to_owned(),
            Answer::Refused(value) => format!("refused {}", value["code"]),
            Answer::Failed(value) => format!("failed {}", value["message"]),
            Answer::Silent(why) | Answer::Unasked(why) => format!("no answer: {why}"),
            Answer::Odd(_) => "an answer of no known form".to_owned(),
        }
    }
}
