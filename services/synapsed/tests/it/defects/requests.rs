//! Owners that do not do what they are asked, or answer as they should not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Envelope, Trail};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Defect;
use super::interposer::{Faults, payload};

const CONNECT: &str = "presence.connect.v1";
const DISCONNECT: &str = "presence.disconnect.v1";
const LOOKUP: &str = "presence.lookup.v1";
const SET_STATUS: &str = "presence.set_status.v1";
const ANSWER: &str = "every answer fits its schema";
const FIRST: &str = "a peer's first connection is generation 1";

/// Changes what the owner of one kind gets.
fn asked(kind: &'static str, change: impl Fn(Envelope) -> Envelope + Send + Sync + 'static) -> Faults {
    let request = move |request: Envelope| if request.kind == kind { change(request) } else { request };
    Faults { request: Box::new(request), ..Faults::default() }
}

/// Changes what it answers.
fn answered(kind: &'static str, change: impl Fn(&Envelope, Value) -> Value + Send + Sync + 'static) -> Faults {
    let reply = move |asked: &Envelope, data: Bytes| {
        if asked.kind != kind {
            return data;
        }
        change(asked, serde_json::from_slice(&data).unwrap_or_default()).to_string().into()
    };
    Faults { reply: Box::new(reply), ..Faults::default() }
}

fn body(asked: &Envelope) -> Value {
    serde_json::from_slice(&asked.data).unwrap_or_default()
}

fn is_failure(reply: &Value) -> bool {
    reply.get("failed").is_some()
}

pub(super) fn defects() -> Vec<Defect> {
    [answers(), bodies(), effects(), outcomes(), of_money()].into_iter().flatten().collect()
}

fn answers() -> Vec<Defect> {
    let late = |asked: Envelope| if asked.kind == CONNECT { Duration::from_secs(4) } else { Duration::ZERO };
    vec![
        Defect::new("a reply comes late", CONNECT, FIRST, Faults { delay: Box::new(late), ..Faults::default() }),
        Defect::new(
            "a reply lost a field",
            CONNECT,
            ANSWER,
            answered(CONNECT, |_, mut reply| {
                reply["ok"].as_object_mut().map(|fields| fields.remove("lease_ms"));
                reply
            }),
        ),
        Defect::new(
            "a reply tells a number as text",
            LOOKUP,
            ANSWER,
            answered(LOOKUP, |_, mut reply| {
                if reply["ok"].is_object() {
                    reply["ok"]["generation"] = json!("1");
                }
                reply
            }),
        ),
        Defect::new(
            "a refusal has no documented name",
            CONNECT,
            ANSWER,
            answered(CONNECT, |_, mut reply| {
                if reply["refused"].is_object() {
                    reply["refused"]["code"] = json!("go_away");
                }
                reply
            }),
        ),
        Defect::new(
            "a failure is a text",
            LOOKUP,
            ANSWER,
            answered(LOOKUP, |_, reply| if is_failure(&reply) { json!({"failed": "no"}) } else { reply }),
        ),
        Defect::new(
            "a refusal is told as a failure",
            SET_STATUS,
            "an older connection is refused",
            answered(SET_STATUS, |_, reply| {
                let failed = json!({"failed": {"retryable": true, "message": "no"}});
                if reply["refused"].is_object() { failed } else { reply }
            }),
        ),
        Defect::new(
            "a reply is not marked as one",
            CONNECT,
            FIRST,
            answered(CONNECT, |_, reply| if reply["ok"].is_object() { reply["ok"].clone() } else { reply }),
        ),
    ]
}

fn bodies() -> Vec<Defect> {
    vec![
        Defect::new(
            "an unknown field is refused",
            LOOKUP,
            "an unknown field changes nothing",
            answered(LOOKUP, |asked, reply| {
                let known = body(asked).get("x_verify_unknown").is_none();
                if known { reply } else { json!({"failed": {"retryable": false, "message": "an unknown field"}}) }
            }),
        ),
        Defect::new(
            "a broken body is taken",
            LOOKUP,
            "a body that is no JSON fails for good",
            answered(LOOKUP, |asked, reply| {
                let broken = serde_json::from_slice::<Value>(&asked.data).is_err();
                if broken { json!({"refused": {"code": "unknown_peer"}}) } else { reply }
            }),
        ),
        Defect::new(
            "a field's type is not looked at",
            DISCONNECT,
            "a field of another type fails for good",
            asked(DISCONNECT, |request| {
                payload(request, |value| {
                    if value["generation"].is_string() {
                        value["generation"] = json!(1);
                    }
                })
            }),
        ),
        Defect::new(
            "a broken body is called a passing trouble",
            SET_STATUS,
            "a body that is no JSON fails for good",
            answered(SET_STATUS, |_, mut reply| {
                if is_failure(&reply) {
                    reply["failed"]["retryable"] = json!(true);
                }
                reply
            }),
        ),
    ]
}

fn effects() -> Vec<Defect> {
    let counter = AtomicU64::new(0);
    vec![
        Defect::new(
            "the idempotency key is ignored",
            CONNECT,
            "the same connection again changes nothing",
            asked(CONNECT, move |request| {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                payload(request, |value| value["connection_id"] = json!(format!("c-{number}")))
            }),
        ),
        Defect::new(
            "a stale leave is taken",
            DISCONNECT,
            "a leave of an older connection changes nothing",
            asked(DISCONNECT, |request| {
                payload(request, |value| {
                    if value["peer_id"] == "verify-alice" {
                        value["generation"] = json!(2);
                    }
                })
            }),
        ),
        Defect::new(
            "a stale connection may set a status",
            SET_STATUS,
            "an older connection is refused",
            asked(SET_STATUS, |request| {
                payload(request, |value| {
                    if value["peer_id"] == "verify-alice" {
                        value["generation"] = json!(2);
                    }
                })
            }),
        ),
    ]
}

fn outcomes() -> Vec<Defect> {
    let refused_and_done = |asked: &Envelope, reply: &Bytes| {
        let stale = asked.kind == DISCONNECT && reply.starts_with(b"{\"ok\":{\"went_offline\":false");
        stale.then(|| Envelope {
            kind: "presence.peer_went_offline.v1".into(),
            source: "/synapse/presence".into(),
            key: format!("{}/peer/verify-alice", asked.tenant),
            sequence: 3,
            trail: Trail::new("c"),
            data: json!({"peer_id": "verify-alice", "generation": 1, "reason": "left"}).to_string().into(),
            ..asked.clone()
        })
    };
    vec![
        Defect::new(
            "a deadline is not looked at",
            CONNECT,
            "after its deadline nothing is done",
            asked(CONNECT, |request| Envelope { expires_at_ms: None, ..request }),
        ),
        Defect::new(
            "whose a peer is is not looked at",
            CONNECT,
            "another user's peer is refused",
            asked(CONNECT, |request| payload(request, |value| value["user_id"] = json!("verify"))),
        ),
        Defect::new(
            "it is answered and not done",
            "presence.peer_status_changed.v1",
            "it is told when a peer changes its status",
            asked(SET_STATUS, |request| {
                // Asks for the status that is there already.
                payload(request, |value| {
                    if value["status"] == "away" && value["peer_id"] == "verify-alice" && value["generation"] == 2 {
                        value["status"] = json!("online");
                    }
                })
            })
            .dressed(SET_STATUS, |mut reply| {
                if reply["ok"].is_object() {
                    reply["ok"]["status"] = json!("away");
                }
                reply
            }),
        ),
        Defect::new(
            "it is told although it was not done",
            "presence.peer_went_offline.v1",
            "one effect is told once",
            Faults { extra: Box::new(refused_and_done), ..Faults::default() },
        ),
        Defect::new(
            "a page does not follow the one before",
            "presence.list.v1",
            "pages follow each other, by id, of this tenant alone",
            asked("presence.list.v1", |request| {
                payload(request, |value| {
                    if value["after"] != "!" {
                        value.as_object_mut().map(|fields| fields.remove("after"));
                    }
                })
            }),
        ),
    ]
}

fn of_money() -> Vec<Defect> {
    let counter = AtomicU64::new(0);
    vec![
        Defect::new(
            "an Idempotency-Key makes a second subscription",
            "subscription.create.v1",
            "the same idempotency key gives the same subscription",
            asked("subscription.create.v1", move |request| {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                payload(request, |value| {
                    if value["idempotency_key"] != "verify-refused" {
                        value["idempotency_key"] = json!(format!("k-{number}"));
                    }
                })
            }),
        )
        .paid(&["subscription"]),
        Defect::new("a reader has no inbox", "subscription.transition_rejected.v1", "one effect is told once", {
            let counter = AtomicU64::new(0);
            let publish = move |event: Envelope| {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                if number == 0 {
                    return event;
                }
                Envelope { id: format!("{}-{number}", event.id).parse().unwrap(), ..event }
            };
            Faults { publish: Box::new(publish), ..Faults::default() }
        })
        .paid(&["subscription"]),
        Defect::new(
            "old news ends a newer session",
            "presence.peer_went_offline.v1",
            "told twice, it ends no newer session",
            {
                let publish = |event: Envelope| {
                    let now_ms = clock::Clock::system().now_ms() + 1_000;
                    Envelope { id: format!("{}-late", event.id).parse().unwrap(), time_ms: now_ms, ..event }
                };
                Faults { publish: Box::new(publish), ..Faults::default() }
            },
        )
        .paid(&["presence", "signaling"]),
    ]
}

impl Faults {
    /// With other answers as well.
    fn dressed(self, kind: &'static str, change: impl Fn(Value) -> Value + Send + Sync + 'static) -> Self {
        Self { reply: answered(kind, move |_, reply| change(reply)).reply, ..self }
    }
}
