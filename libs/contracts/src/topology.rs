//! Who reads what: generated from every service's subscriptions by `cargo xtask bless` and compiled in, so that a
//! relay knows which queues an event goes to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static ROUTES: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../topology.json")).expect("topology.json is generated and checked")
});

/// The services that subscribe to an event kind, sorted; empty when nobody does.
pub fn subscribers(kind: &str) -> &'static [String] {
    ROUTES.get(kind).map_or(&[], Vec::as_slice)
}

/// The event kinds a service subscribes to, sorted.
pub fn subscriptions(service: &str) -> Vec<&'static str> {
    ROUTES
        .iter()
        .filter(|(_, services)| services.iter().any(|name| name == service))
        .map(|(kind, _)| kind.as_str())
        .collect()
}
