//! What the bus counts. Handles are made once, so that counting costs an atomic add.

use metrics::{Counter, Gauge, counter, gauge};

/// `bus_published_total{bus,outcome}`: events by whether the broker took them.
#[derive(Clone)]
pub(crate) struct Published {
    pub(crate) ok: Counter,
    pub(crate) failed: Counter,
}

impl Published {
    pub(crate) fn new(bus: &'static str) -> Self {
        Self {
            ok: counter!("bus_published_total", "bus" => bus, "outcome" => "ok"),
            failed: counter!("bus_published_total", "bus" => bus, "outcome" => "failed"),
        }
    }
}

/// What one subscribing service gets and does: `bus_delivered_total`, `bus_redelivered_total`,
/// `bus_settled_total{outcome}`, `bus_malformed_total`.
#[derive(Clone)]
pub(crate) struct Consumed {
    pub(crate) delivered: Counter,
    pub(crate) redelivered: Counter,
    pub(crate) acked: Counter,
    pub(crate) nakked: Counter,
    pub(crate) terminated: Counter,
    pub(crate) malformed: Counter,
}

impl Consumed {
    pub(crate) fn new(bus: &'static str, service: &str) -> Self {
        let settled = |outcome: &'static str| counter!("bus_settled_total", "bus" => bus, "service" => service.to_owned(), "outcome" => outcome);
        Self {
            delivered: counter!("bus_delivered_total", "bus" => bus, "service" => service.to_owned()),
            redelivered: counter!("bus_redelivered_total", "bus" => bus, "service" => service.to_owned()),
            acked: settled("ack"),
            nakked: settled("nak"),
            terminated: settled("term"),
            malformed: counter!("bus_malformed_total", "bus" => bus, "service" => service.to_owned()),
        }
    }

    /// Counts one handing out.
    pub(crate) fn deliver(&self, attempt: u32, is_malformed: bool) {
        self.delivered.increment(1);
        if attempt > 1 {
            self.redelivered.increment(1);
        }
        if is_malformed {
            self.malformed.increment(1);
        }
    }
}

/// `bus_signals_dropped_total{bus,kind}`: signals that a slow listener lost.
pub(crate) fn dropped_signals(bus: &'static str, kind: &str) -> Counter {
    counter!("bus_signals_dropped_total", "bus" => bus, "kind" => kind.to_owned())
}

/// `bus_connected{bus}`: 1 while the broker can be reached.
pub(crate) fn connected(bus: &'static str) -> Gauge {
    gauge!("bus_connected", "bus" => bus)
}
