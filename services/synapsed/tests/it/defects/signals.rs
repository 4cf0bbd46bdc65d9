//! Signals that do not come, or not as promised.

use bus::Envelope;
use serde_json::json;

use super::Defect;
use super::interposer::{Faults, payload};

const CHANGED: &str = "presence.changed.v1";
const DELIVER: &str = "signaling.deliver.v1";

fn of(kind: &'static str, change: impl Fn(Envelope) -> Option<Envelope> + Send + Sync + 'static) -> Faults {
    let signal = move |signal: Envelope| if signal.kind == kind { change(signal) } else { Some(signal) };
    Faults { signal: Box::new(signal), ..Faults::default() }
}

pub(super) fn defects() -> Vec<Defect> {
    let schema = "its payload fits its schema";
    vec![
        Defect::new("a signal is not sent", CHANGED, "it is signalled when a peer comes", of(CHANGED, |_| None)),
        Defect::new(
            "a signal lost a field",
            CHANGED,
            schema,
            of(CHANGED, |signal| {
                Some(payload(signal, |value| {
                    value["peer"].as_object_mut().map(|peer| peer.remove("lease_until_ms"));
                }))
            }),
        ),
        Defect::new(
            "a signal lost its correlation id",
            CHANGED,
            "it says what it belongs to",
            of(CHANGED, |mut signal| {
                signal.trail.correlation_id.clear();
                Some(signal)
            }),
        ),
        Defect::new(
            "a heartbeat renews nothing",
            "presence.heartbeat.v1",
            "it renews the lease",
            Faults {
                reply: Box::new(|asked, data| {
                    if asked.kind != "presence.lookup.v1" {
                        return data;
                    }
                    let mut value: serde_json::Value = serde_json::from_slice(&data).unwrap_or_default();
                    if value["ok"].is_object() {
                        value["ok"]["lease_until_ms"] = json!(1);
                    }
                    value.to_string().into()
                }),
                ..Faults::default()
            },
        ),
        Defect::new(
            "a signal goes to the wrong address",
            DELIVER,
            "a offer reaches the peer's gateway",
            of(DELIVER, |_| None),
        )
        .paid(&["signaling"]),
        Defect::new(
            "a signal names another sender",
            DELIVER,
            "who sends and who yields is signaling's word",
            of(DELIVER, |signal| Some(payload(signal, |value| value["from"] = json!("verify-mallory")))),
        )
        .paid(&["signaling"]),
        Defect::new(
            "gateways do not learn of a lost entitlement",
            "gateway.entitlement_lost.v1",
            "every gateway is told when an entitlement ends",
            of("gateway.entitlement_lost.v1", |_| None),
        )
        .paid(&["gateway"]),
    ]
}
