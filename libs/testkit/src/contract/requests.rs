//! Each request a service serves: answered as promised, good or bad, twice or too late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bus::{Bus, Envelope};
use clock::Clock;
use contracts::{Answer, Class, Request};
use serde_json::{Value, json};

use super::goldens::{fits, owned, schema};
use super::{SOON, envelope, trail};

/// What must be shown of every request kind besides its refusals.
const ALWAYS: [&str; 4] = ["the good case", "bad bodies", "a deadline that has passed", "asking twice"];

/// Shows that each request of an owner is answered as promised. What was not shown fails [`Requests::finish`].
pub struct Requests<'a> {
    bus: &'a Bus,
    clock: &'a Clock,
    owner: &'static str,
    missing: BTreeMap<&'static str, BTreeSet<String>>,
}

impl<'a> Requests<'a> {
    /// A suite for a service that runs on `bus`.
    pub fn of(owner: &'static str, bus: &'a Bus, clock: &'a Clock) -> Self {
        let always: BTreeSet<String> = ALWAYS.map(str::to_owned).into();
        let missing = owned(Class::Request, owner).into_iter().map(|kind| {
            let refusals = codes(kind).into_iter().map(|code| format!("the refusal `{code}`"));
            (kind, always.iter().cloned().chain(refusals).collect())
        });
        Self { bus, clock, owner, missing: missing.collect() }
    }

    fn shown<R: Request>(&mut self, what: &str) {
        let missing = self.missing.get_mut(R::KIND);
        let missing = missing.unwrap_or_else(|| panic!("{} is no request of {}", R::KIND, self.owner));
        missing.remove(what);
    }

    fn envelope<R: Request>(&self, body: &Value) -> Envelope {
        let mut envelope = envelope(self.clock, "gateway", R::KIND, &trail(1), body.to_string());
        envelope.expires_at_ms = Some(self.clock.now_ms() + 600_000);
        envelope
    }

    async fn answer<R: Request>(&self, envelope: Envelope) -> Value {
        let asked = envelope.data.clone();
        let answer = self.bus.request(envelope, SOON).await;
        let answer = answer.unwrap_or_else(|error| panic!("{} {asked:?}: {error}", R::KIND));
        let answer: Value = serde_json::from_slice(&answer).expect("answers are JSON");
        fits(Class::Reply, R::KIND, &answer);
        answer
    }

    /// Asks, checks the answer against its golden schema, and gives it as the contract's type reads it.
    ///
    /// # Panics
    /// When no answer comes, or one that breaks its contract.
    pub async fn ask<R: Request>(&self, ask: &R) -> Answer<R::Reply, R::Refusal> {
        let body = serde_json::to_value(ask).expect("requests are plain data");
        serde_json::from_value(self.answer::<R>(self.envelope::<R>(&body)).await).expect("it fits its schema")
    }

    /// The good case.
    ///
    /// # Panics
    /// When it is not answered well.
    pub async fn good<R: Request>(&mut self, ask: &R) -> R::Reply {
        self.shown::<R>(ALWAYS[0]);
        match self.ask(ask).await {
            Answer::Ok(reply) => reply,
            other => panic!("{} {ask:?}: {other:?}", R::KIND),
        }
    }

    /// Asks what is refused with this code.
    ///
    /// # Panics
    /// When it is answered otherwise.
    pub async fn refused<R: Request>(&mut self, code: &str, ask: &R) {
        let body = serde_json::to_value(ask).expect("requests are plain data");
        let answer = self.answer::<R>(self.envelope::<R>(&body)).await;
        assert_eq!(answer["refused"]["code"], code, "{} {body}: {answer}", R::KIND);
        self.shown::<R>(&format!("the refusal `{code}`"));
    }

    /// Bodies that break the contract are told so by kind, once and for all; a field from a newer version is ignored.
    /// `ask` is a good body; it is asked once.
    ///
    /// # Panics
    /// When one is answered otherwise.
    pub async fn bodies<R: Request>(&mut self, ask: &R) {
        let good = serde_json::to_value(ask).expect("requests are plain data");
        let mut bad: Vec<(String, String)> =
            ["", "not JSON", "[]", "7", "\"text\"", "null"].map(|text| (text.to_owned(), text.to_owned())).into();
        let required = schema(Class::Request, R::KIND)["required"].as_array().cloned().unwrap_or_default();
        // serde reads a struct from a list of its fields as well: of none, where it has none.
        bad.retain(|(body, _)| body != "[]" || !required.is_empty());
        for name in required.iter().filter_map(Value::as_str) {
            let mut without = good.clone();
            without.as_object_mut().map(|fields| fields.remove(name));
            bad.push((format!("without {name}"), without.to_string()));
            let mut retyped = good.clone();
            retyped[name] = if good[name].is_array() { json!("text") } else { json!([]) };
            bad.push((format!("{name} of another type"), retyped.to_string()));
        }
        for (what, body) in bad {
            let mut envelope = self.envelope::<R>(&good);
            envelope.data = body.into();
            let answer = self.answer::<R>(envelope).await;
            let failed = &answer["failed"];
            assert_eq!(failed["retryable"], false, "{} {what}: {answer}", R::KIND);
            let message = failed["message"].as_str().unwrap_or_default();
            assert!(message.starts_with(R::KIND), "{} {what}: the failure names the kind: {answer}", R::KIND);
        }
        let mut newer = good.clone();
        newer["from_a_newer_version"] = json!({"a": [1, null]});
        let answer = self.answer::<R>(self.envelope::<R>(&newer)).await;
        assert!(answer.get("ok").is_some(), "{} with an unknown field: {answer}", R::KIND);
        self.shown::<R>(ALWAYS[1]);
    }

    /// A request whose deadline has passed is not carried out: `state` (what the service holds and told, in any form)
    /// stays as it is, and nobody is told that it was done.
    ///
    /// # Panics
    /// When it is.
    pub async fn late<R: Request, S: PartialEq + Debug>(&mut self, ask: &R, state: impl AsyncFn() -> S) {
        let before = state().await;
        let body = serde_json::to_value(ask).expect("requests are plain data");
        let mut late = self.envelope::<R>(&body);
        late.expires_at_ms = Some(self.clock.now_ms().saturating_sub(1));
        let answer = self.answer::<R>(late).await;
        let message = answer["failed"]["message"].as_str().unwrap_or_default();
        assert!(message.contains("deadline"), "{} after its deadline: {answer}", R::KIND);
        assert_eq!(state().await, before, "{} after its deadline had an effect", R::KIND);
        self.shown::<R>(ALWAYS[2]);
    }

    /// The same request again (under its idempotency key, where it has one) gets the same answer and has one effect.
    ///
    /// # Panics
    /// When it does not.
    pub async fn twice<R: Request, S: PartialEq + Debug>(&mut self, ask: &R, state: impl AsyncFn() -> S) {
        let body = serde_json::to_value(ask).expect("requests are plain data");
        let first = self.answer::<R>(self.envelope::<R>(&body)).await;
        let after = state().await;
        let second = self.answer::<R>(self.envelope::<R>(&body)).await;
        assert_eq!(second, first, "{}: the same answer again", R::KIND);
        assert_eq!(state().await, after, "{}: the second time changed something", R::KIND);
        self.shown::<R>(ALWAYS[3]);
    }

    /// The same request again has no second effect; its answer may differ, and `why` says how.
    ///
    /// # Panics
    /// When something changed.
    pub async fn one_effect<R: Request, S: PartialEq + Debug>(
        &mut self,
        ask: &R,
        state: impl AsyncFn() -> S,
        why: &str,
    ) {
        assert!(!why.is_empty(), "say how the answers differ");
        self.ask(ask).await;
        let after = state().await;
        self.ask(ask).await;
        assert_eq!(state().await, after, "{}: the second time changed something", R::KIND);
        self.shown::<R>(ALWAYS[3]);
    }

    /// The kind has no idempotency key, so nobody may ask again after a lost answer; `why` says what each asking does.
    pub fn never_asked_twice<R: Request>(&mut self, why: &str) {
        assert!(!why.is_empty(), "say what each asking does");
        self.shown::<R>(ALWAYS[3]);
    }

    /// Fails when something was not shown.
    ///
    /// # Panics
    /// With everything that lacks a case.
    pub fn finish(self) {
        let missing: Vec<String> = self
            .missing
            .into_iter()
            .flat_map(|(kind, missing)| missing.into_iter().map(move |what| format!("{kind}: {what}")))
            .collect();
        assert!(missing.is_empty(), "{} has no case for:\n  {}", self.owner, missing.join("\n  "));
    }
}

/// Every refusal's code that a kind documents: its samples. `unknown` stands for what a reader does not know.
fn codes(kind: &str) -> BTreeSet<String> {
    let samples = (super::goldens::entry(Class::Reply, kind).samples)();
    let codes = samples.iter().filter_map(|sample| sample["refused"]["code"].as_str());
    codes.filter(|code| *code != "unknown").map(str::to_owned).collect()
}
