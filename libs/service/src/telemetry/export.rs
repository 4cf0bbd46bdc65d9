//! Spans to an OpenTelemetry collector, by OTLP over HTTP, secrets redacted.

use std::time::Duration;

use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as Exporter,
};

use super::redact::{REDACTED, is_secret_name, scrub};
use super::{TelemetryError, TelemetrySettings};

/// Most spans that wait for export; more are dropped (and counted by the SDK): telemetry never slows the service.
const MAX_QUEUED: usize = 4096;

/// A provider for `settings`; `None` when traces are off.
pub(super) fn provider(
    settings: &TelemetrySettings,
    service: &str,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    if settings.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", settings.otlp_endpoint.trim_end_matches('/')))
        .with_timeout(Duration::from_secs(5))
        .build()?;
    let queue = BatchConfigBuilder::default().with_max_queue_size(MAX_QUEUED).build();
    let processor = BatchSpanProcessor::builder(Redacting(exporter)).with_batch_config(queue).build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample_ratio))))
        .with_resource(Resource::builder().with_service_name(service.to_owned()).build())
        .build();
    // For libraries that look for the process's propagator; our own code uses `TraceContext`.
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(Some(provider))
}

/// Redacts what the log layer redacts.
#[derive(Debug)]
struct Redacting<E>(E);

impl<E: Exporter> Exporter for Redacting<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        for span in &mut batch {
            span.attributes.iter_mut().for_each(redact);
            for event in &mut span.events.events {
                if let std::borrow::Cow::Owned(clean) = scrub(&event.name) {
                    event.name = clean.into();
                }
                event.attributes.iter_mut().for_each(redact);
            }
        }
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn redact(attribute: &mut KeyValue) {
    if is_secret_name(attribute.key.as_str()) {
        attribute.value = REDACTED.into();
    } else if let Value::String(text) = &attribute.value
        && let std::borrow::Cow::Owned(clean) = scrub(text.as_str())
    {
        attribute.value = clean.into();
    }
}
