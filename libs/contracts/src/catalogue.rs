use schemars::Schema;
use serde_json::Value;

use crate::{Answer, Contract, Deprecation, Event, Failure, Request, Signal};

/// Which of the three kinds of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A durable fact.
    Event,
    /// A question to one owner.
    Request,
    /// Its answer.
    Reply,
    /// Ephemeral and addressed.
    Signal,
}

/// What is generated and checked for one kind: everything the type itself knows.
#[derive(Clone)]
pub struct Entry {
    /// `owner.name.version`; replies have their request's kind.
    pub kind: &'static str,
    /// Event, request, reply or signal.
    pub class: Class,
    /// Its deprecation, if it is on its way out.
    pub deprecation: Option<Deprecation>,
    /// JSON Schema (draft 2020-12) of the Rust type. Its description is the type's doc comment.
    pub schema: fn() -> Schema,
    /// Samples as JSON.
    pub samples: fn() -> Vec<Value>,
    /// Parses with the real type and writes it again: what a reader of today sees in `value`.
    pub reparse: fn(&Value) -> Result<Value, String>,
    /// The ordering key of a payload without its tenant; only events have one.
    pub aggregate: Option<Aggregate>,
}

/// Reads the aggregate (`peer/alice`) off a payload; fails where the payload is not of its type.
pub type Aggregate = fn(&Value) -> Result<String, String>;

/// Every kind there is, in the order of the owners' files.
pub fn catalogue() -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(crate::events::webhook::WebhookEvent::entries());
    entries.extend(crate::events::subscription::SubscriptionEvent::entries());
    entries.extend(crate::events::presence::PresenceEvent::entries());
    entries.extend(crate::events::signaling::SignalingEvent::entries());
    entries.extend(crate::events::gateway::GatewayEvent::entries());
    entries.extend(crate::events::tunnel::TunnelEvent::entries());
    entries.extend(crate::requests::entries());
    entries.extend(crate::signals::entries());
    entries
}

impl Entry {
    pub(crate) fn event<E: Event>() -> Self {
        Self {
            aggregate: Some(|value| {
                let event: E = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
                Ok(event.aggregate())
            }),
            ..Self::of::<E>(Class::Event)
        }
    }

    pub(crate) fn signal<S: Signal>() -> Self {
        Self::of::<S>(Class::Signal)
    }

    pub(crate) fn request<R: Request>() -> [Self; 2] {
        let reply = Self {
            kind: R::KIND,
            class: Class::Reply,
            deprecation: R::DEPRECATION,
            schema: || schemars::schema_for!(Answer<R::Reply, R::Refusal>),
            samples: || {
                let replies = R::replies().into_iter().map(Answer::<_, R::Refusal>::Ok);
                let refusals = R::refusals().into_iter().map(Answer::<R::Reply, _>::Refused);
                let failed = Answer::<R::Reply, R::Refusal>::Failed(Failure::sample());
                replies.chain(refusals).chain([failed]).filter_map(|answer| serde_json::to_value(answer).ok()).collect()
            },
            reparse: reparse::<Answer<R::Reply, R::Refusal>>,
            aggregate: None,
        };
        [Self::of::<R>(Class::Request), reply]
    }

    fn of<C: Contract>(class: Class) -> Self {
        Self {
            kind: C::KIND,
            class,
            deprecation: C::DEPRECATION,
            schema: || schemars::schema_for!(C),
            samples: || C::samples().into_iter().filter_map(|sample| serde_json::to_value(sample).ok()).collect(),
            reparse: reparse::<C>,
            aggregate: None,
        }
    }
}

fn reparse<T: serde::Serialize + serde::de::DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let parsed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(parsed).map_err(|error| error.to_string())
}
