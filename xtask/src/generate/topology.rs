//! Who reads what, from the services' own SUBSCRIPTIONS: the relay's routes, JetStream's streams and consumers, SQS's
//! queues.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use contracts::{Class, Entry, split_kind};
use serde::Deserialize;
use serde_json::{Value, json};

/// One row of `synapsed topology`. Other fields (back-off, …) are the service's own business.
#[derive(Clone, Debug, Deserialize)]
struct Subscription {
    service: String,
    kind: String,
    attempts: u32,
}

/// What the subscriptions mean for the relay and the brokers.
#[derive(Debug, PartialEq)]
pub(super) struct Topology {
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
    for Subscription { service, kind, attempts } in &rows {
        ensure!(events.contains(kind.as_str()), "{service} subscribes to `{kind}`, which is no event of the catalogue");
        ensure!(*attempts > 0, "{service}: `{kind}` with 0 attempts would never be handled; use 1 or more");
        let readers = routes.entry(kind.clone()).or_default();
        ensure!(!readers.contains(service), "{service} subscribes to `{kind}` twice");
        readers.push(service.clone());
    }
    let deployment = deployment(&rows, &routes, &events);
    Ok(Topology { routes, deployment })
}

fn deployment(rows: &[Subscription], routes: &BTreeMap<String, Vec<String>>, events: &BTreeSet<&str>) -> Value {
    let owners: BTreeSet<&str> = events.iter().filter_map(|kind| owner(kind)).collect();
    let services: BTreeSet<&str> = rows.iter().map(|row| row.service.as_str()).collect();
    let mut consumers = Vec::new();
    for service in &services {
        for from in &owners {
            let mut kinds: Vec<(&str, u32)> = rows
                .iter()
                .filter(|row| row.service == *service && owner(&row.kind) == Some(from))
                .map(|row| (row.kind.as_str(), row.attempts))
                .collect();
            kinds.sort_unstable();
            if !kinds.is_empty() {
                let filters: Vec<String> = kinds.iter().map(|(kind, _)| format!("synapse.event.{kind}.>")).collect();
                let attempts: BTreeMap<&str, u32> = kinds.into_iter().collect();
                consumers.push(json!({
                    "stream": format!("synapse-{from}"),
                    "durable": service,
                    "filter_subjects": filters,
                    "ack_policy": "explicit",
                    "attempts": attempts,
                }));
            }
        }
    }
    let queue = |service: &str| format!("synapse-{service}.fifo");
    let to_queues = |services: &Vec<String>| services.iter().map(|service| queue(service)).collect::<Vec<_>>();
    json!({
        "jetstream": {
            "streams": owners.iter().map(|owner| stream(owner)).collect::<Vec<_>>(),
            "consumers": consumers,
        },
        "sqs": {
            "queues": services.iter().map(|service| json!({"name": queue(service), "fifo": true})).collect::<Vec<_>>(),
            "routes": routes.iter().map(|(kind, services)| (kind.as_str(), to_queues(services))).collect::<BTreeMap<_, _>>(),
        },
    })
}

fn owner(kind: &str) -> Option<&str> {
    split_kind(kind).ok().map(|(owner, ..)| owner)
}

/// The JetStream stream that keeps an owner's events.
pub(super) fn stream(owner: &str) -> Value {
    json!({
        "name": format!("synapse-{owner}"),
        "subjects": [format!("synapse.event.{owner}.>")],
        "retention": "limits",
        "storage": "file",
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
    fn the_broker_gets_a_stream_per_owner_a_consumer_per_reader_and_a_queue_per_service() {
        let deployment = made(LISTED).unwrap().deployment;
        let streams: Vec<&Value> =
            deployment["jetstream"]["streams"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(streams, ["synapse-presence", "synapse-signaling", "synapse-subscription", "synapse-webhook"]);
        assert_eq!(
            deployment["jetstream"]["consumers"][1],
            json!({
                "stream": "synapse-subscription", "durable": "gateway", "ack_policy": "explicit",
                "filter_subjects": ["synapse.event.subscription.proof_revoked.v1.>"],
                "attempts": {"subscription.proof_revoked.v1": 5},
            })
        );
        assert_eq!(deployment["jetstream"]["consumers"].as_array().unwrap().len(), 4);
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
