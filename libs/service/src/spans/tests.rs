use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::layer::SubscriberExt;

use super::*;

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("nobody panicked").extend(batch);
        Ok(())
    }
}

fn trail(trace: char) -> Trail {
    let trace = trace.to_string().repeat(32);
    Trail { traceparent: Some(format!("00-{trace}-00f067aa0ba902b7-01")), ..Trail::new("c-1") }
}

#[test]
fn a_publish_is_a_child_of_its_first_fact_and_linked_to_the_others() {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let trails = ['a', 'b', 'c'].map(trail);
    tracing::subscriber::with_default(tracing_subscriber::Registry::default().with(layer), || {
        drop(publish_span(&Publishing { bus: "nats", facts: 7, traces: &trails.each_ref() }));
    });
    let spans = kept.0.lock().expect("nobody panicked");
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(span.name, "publish events");
    assert_eq!(span.span_context.trace_id().to_string(), "a".repeat(32));
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    let linked: Vec<String> = span.links.iter().map(|link| link.span_context.trace_id().to_string()).collect();
    assert_eq!(linked, ["b".repeat(32), "c".repeat(32)]);
    let count = span.attributes.iter().find(|attribute| attribute.key.as_str() == "messaging.batch.message_count");
    assert_eq!(count.map(|attribute| attribute.value.to_string()).as_deref(), Some("7"));
}
