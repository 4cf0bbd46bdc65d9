//! What there is: the services, their settings and their subscriptions.

use outbox::Subscription;
use serde_json::{Value, json};

/// A service as tools see it.
pub struct Service {
    /// Its name.
    pub name: &'static str,
    /// Its settings and their defaults.
    pub defaults: &'static str,
    /// The events it reads.
    pub subscriptions: &'static [Subscription],
}

/// Every service.
pub const SERVICES: [Service; 6] = [
    Service { name: gateway::NAME, defaults: gateway::DEFAULTS, subscriptions: gateway::SUBSCRIPTIONS },
    Service { name: presence::NAME, defaults: presence::DEFAULTS, subscriptions: presence::SUBSCRIPTIONS },
    Service { name: signaling::NAME, defaults: signaling::DEFAULTS, subscriptions: signaling::SUBSCRIPTIONS },
    Service { name: subscription::NAME, defaults: subscription::DEFAULTS, subscriptions: subscription::SUBSCRIPTIONS },
    Service { name: tunnel::NAME, defaults: tunnel::DEFAULTS, subscriptions: tunnel::SUBSCRIPTIONS },
    Service { name: webhook::NAME, defaults: webhook::DEFAULTS, subscriptions: webhook::SUBSCRIPTIONS },
];

/// Who reads what and how it deals with trouble: what `cargo xtask bless` makes the topology from.
pub fn topology() -> Value {
    let rows = SERVICES.iter().flat_map(|service| {
        service.subscriptions.iter().map(|subscription| {
            json!({
                "service": service.name,
                "kind": subscription.kind,
                "attempts": subscription.retry.max_attempts,
                "initial_ms": subscription.retry.initial.as_millis(),
                "max_ms": subscription.retry.max.as_millis(),
                "attempt_timeout_ms": subscription.retry.attempt_timeout.as_millis(),
                "order": format!("{:?}", subscription.order),
                "effects": format!("{:?}", subscription.effects),
            })
        })
    });
    Value::Array(rows.collect())
}
