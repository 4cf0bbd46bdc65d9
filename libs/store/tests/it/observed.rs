//! What a call leaves in metrics and traces.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clock::Clock;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key as MetricKey, KeyName, Metadata, Recorder, SharedString, Unit,
};
use store::{Action, Backend, Condition, Item, Key, Page, Query, Store, StoreError, StoreErrorKind};
use tracing_subscriber::fmt::format::FmtSpan;

/// A backend on which a call takes 250 ms of its clock, and writes conflict.
struct Slow(clock::ManualClock);

#[async_trait::async_trait]
impl Backend for Slow {
    fn system(&self) -> &'static str {
        "slow"
    }

    async fn get(&self, _key: &Key) -> Result<Option<Item>, StoreError> {
        self.0.advance(Duration::from_millis(250));
        Ok(None)
    }

    async fn query(&self, _query: &Query) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    async fn query_index(&self, _query: &Query) -> Result<Page, StoreError> {
        Ok(Page::default())
    }

    async fn transact(&self, _actions: Vec<Action>) -> Result<(), StoreError> {
        Err(StoreError::new(StoreErrorKind::Conflict { action: 0 }, "always"))
    }
}

type Seen = Arc<Mutex<Vec<(String, f64)>>>;

/// Keeps every value of every histogram.
struct Kept(Seen);

struct Values(String, Seen);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        self.1.lock().unwrap().push((self.0.clone(), value));
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &MetricKey, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &MetricKey, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &MetricKey, _: &Metadata<'_>) -> Histogram {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Histogram::from_arc(Arc::new(Values(name, Arc::clone(&self.0))))
    }
}

#[tokio::test]
async fn durations_by_operation_and_outcome() {
    let seen = Seen::default();
    let kept = Kept(Arc::clone(&seen));
    let _recording = metrics::set_default_local_recorder(&kept);
    let (clock, hand) = Clock::manual(1_000);
    let store = Store::on(Arc::new(Slow(hand)), "slow things", clock);
    store.get(&Key::new("p", "s")).await.unwrap();
    store.delete(Key::new("p", "s"), Condition::Any).await.unwrap_err();
    let seen = seen.lock().unwrap();
    let name = "store_operation_duration_seconds";
    let expected = [
        (format!("{name}{{system=slow,operation=get,outcome=ok}}"), 0.25),
        (format!("{name}{{system=slow,operation=transact,outcome=conflict}}"), 0.0),
    ];
    assert_eq!(*seen, expected);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_span_with_the_names_of_opentelemetry() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _tracing = tracing::subscriber::set_default(subscriber);
    let (clock, hand) = Clock::manual(1_000);
    let store = Store::on(Arc::new(Slow(hand)), "slow things", clock);
    let check = |sort: &str| Action::Check { key: Key::new("p", sort), condition: Condition::Any };
    store.transact(vec![check("a"), check("b")]).await.unwrap_err();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let span = &line["span"];
    for (field, value) in [
        ("name", "store"),
        ("otel.kind", "client"),
        ("db.system.name", "slow"),
        ("db.operation.name", "transact"),
        ("db.collection.name", "slow things"),
        ("error.type", "conflict"),
    ] {
        assert_eq!(span[field], value, "{field} in {span}");
    }
    assert_eq!(span["db.operation.batch.size"], 2);
}
