//! Who reads what, from the services' own SUBSCRIPTIONS: the relay's routes, JetStream's streams and consumers, SQS's
//! queues.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use contracts::{Class, Entry};
use serde::Deserialize;
use serde_json::{Value, json};

/// One row of `synapsed topology`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Subscription {
    pub(super) service: String,
    pub(super) kind: String,
    pub(super) attempts: u32,
    /// The policy in words, for the page; brokers don't need it.
    #[serde(default)]
    pub(super) initial_ms: u64,
    #[serde(default)]
    pub(super) max_ms: u64,
    #[serde(default)]
    pub(super) attempt_timeout_ms: u64,
    #[serde(default)]
    pub(super) order: String,
    #[serde(default)]
    pub(super) effects: String,
}

/// What the subscriptions mean for the relay and the brokers.
#[derive(Debug, PartialEq)]
pub(super) struct Topology {
    /// Every subscription, sorted.
    pub(super) rows: Vec<Subscription>,
    /// Event kind → services that read it, sorted.
    pub(super) routes: BTreeMap<String, Vec<String>>,
    /// JetStream's streams and consumers, SQS's queues and routes.
    pub(super) deployment: Value,
}

/// The topology from what `synapsed topology` prints.
///
/// # Errors
/// The listing is not JSON of that form, a row names no event of the catalogue, or a service lists a kind twice.
pub(super) fn topology(listed: &str, entries: &[Entry]) -> Result<Topology> {
    let mut rows: Vec<Subscription> = serde_json::from_str(listed)
        .context("`synapsed topology` must print [{\"service\", \"kind\", \"attempts\"}]")?;
    rows.sort_unstable_by(|a, b| (&a.service, &a.kind).cmp(&(&b.service, &b.kind)));
    let events: BTreeSet<&str> =
        entries.iter().filter(|entry| entry.class == Class::Event).map(|entry| entry.kind).collect();
    let mut routes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Subscription { service, kind, attempts, .. } in &rows {
        ensure!(events.contains(kind.as_str()), "{service} subscribes to `{kind}`, which is no event of the catalogue");
        ensure!(*attempts > 0, "{service}: `{kind}` with 0 attempts would never be handled; use 1 or more");
        let readers = routes.entry(kind.clone()).or_default();
        ensure!(!readers.contains(service), "{service} subscribes to `{kind}` twice");
        readers.push(service.clone());
    }
    let deployment = deployment(&rows, &routes);
    Ok(Topology { rows, routes, deployment })
}

/// JetStream partitions of every service's consumption: the bus's default, part of the subjects' meaning.
const PARTITIONS: u32 = 16;

fn deployment(rows: &[Subscription], routes: &BTreeMap<String, Vec<String>>) -> Value {
    let services: BTreeSet<&str> = rows.iter().map(|row| row.service.as_str()).collect();
    let consumer = |service: &&str| {
        let read: Vec<_> = rows.iter().filter(|row| row.service == **service).collect();
        let filters: Vec<String> = read.iter().map(|row| format!("synapse.event.{}.{{partition}}", row.kind)).collect();
        let attempts: BTreeMap<&str, u32> = read.iter().map(|row| (row.kind.as_str(), row.attempts)).collect();
        json!({
            "stream": "SYNAPSE_EVENTS",
            "durable": format!("{service}-p{{partition}}"),
            "partitions": PARTITIONS,
            "filter_subjects": filters,
            "ack_policy": "explicit",
            "attempts": attempts,
        })
    };
    let queue = |service: &str| format!("synapse-{service}.fifo");
    let to_queues = |services: &Vec<String>| services.iter().map(|service| queue(service)).collect::<Vec<_>>();
    json!({
        "jetstream": {
            "streams": [stream()],
            "consumers": services.iter().map(consumer).collect::<Vec<_>>(),
        },
        "sqs": {
            "queues": services.iter().map(|service| json!({"name": queue(service), "fifo": true})).collect::<Vec<_>>(),
            "routes": routes.iter().map(|(kind, services)| (kind.as_str(), to_queues(services))).collect::<BTreeMap<_, _>>(),
        },
    })
}

/// The JetStream stream that keeps every event, as the bus makes it.
pub(super) fn stream() -> Value {
    json!({
        "name": "SYNAPSE_EVENTS",
        "subjects": ["synapse.event.>"],
        "retention": "limits",
        "storage": "file",
        "max_age": "7d",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = r#"[
        {"service": "subscription", "kind": "webhook.stripe_subscription_changed.v1", "attempts": 8, "backoff_ms": 200},
        {"service": "presence", "kind": "subscription.proof_revoked.v1", "attempts": 5},
        {"service": "gateway", "kind": "subscription.proof_revoked.v1", "attempts": 5},
        {"service": "gateway", "kind": "presence.peer_went_offline.v1", "attempts": 3}
    ]"#;

    fn made(listed: &str) -> Result<Topology> {
        topology(listed, &contracts::catalogue())
    }

    #[test]
    fn routes_name_each_kinds_services_in_order() {
        let routes = json!(made(LISTED).unwrap().routes);
        assert_eq!(
            routes,
            json!({
                "presence.peer_went_offline.v1": ["gateway"],
                "subscription.proof_revoked.v1": ["gateway", "presence"],
                "webhook.stripe_subscription_changed.v1": ["subscription"],
            })
        );
    }

    #[test]
    fn the_broker_gets_one_stream_consumers_per_service_and_a_queue_per_service() {
        let deployment = made(LISTED).unwrap().deployment;
        assert_eq!(deployment["jetstream"]["streams"][0]["name"], "SYNAPSE_EVENTS");
        assert_eq!(
            deployment["jetstream"]["consumers"][0],
            json!({
                "stream": "SYNAPSE_EVENTS", "durable": "gateway-p{partition}", "partitions": 16,
                "ack_policy": "explicit",
                "filter_subjects": [
                    "synapse.event.presence.peer_went_offline.v1.{partition}",
                    "synapse.event.subscription.proof_revoked.v1.{partition}",
                ],
                "attempts": {"presence.peer_went_offline.v1": 3, "subscription.proof_revoked.v1": 5},
            })
        );
        assert_eq!(deployment["jetstream"]["consumers"].as_array().unwrap().len(), 3);
        assert_eq!(deployment["sqs"]["queues"].as_array().unwrap().len(), 3);
        assert_eq!(
            deployment["sqs"]["routes"]["subscription.proof_revoked.v1"],
            json!(["synapse-gateway.fifo", "synapse-presence.fifo"])
        );
    }

    #[test]
    fn the_order_of_the_listing_does_not_matter() {
        let mut rows: Vec<Value> = serde_json::from_str(LISTED).unwrap();
        rows.reverse();
        assert_eq!(made(&json!(rows).to_string()).unwrap(), made(LISTED).unwrap());
    }

    #[test]
    fn bad_listings_are_refused_by_name() {
        for (listed, expected) in [
            (r#"[{"service": "a", "kind": "no.such.v1", "attempts": 1}]"#, "a subscribes to `no.such.v1`"),
            (r#"[{"service": "a", "kind": "presence.connect.v1", "attempts": 1}]"#, "no event of the catalogue"),
            (r#"[{"service": "a", "kind": "presence.peer_went_offline.v1", "attempts": 0}]"#, "0 attempts"),
            (
                r#"[{"service": "a", "kind": "presence.peer_went_offline.v1", "attempts": 1},
                    {"service": "a", "kind": "presence.peer_went_offline.v1", "attempts": 2}]"#,
                "twice",
            ),
            ("{}", "must print"),
        ] {
            let error = format!("{:#}", made(listed).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
