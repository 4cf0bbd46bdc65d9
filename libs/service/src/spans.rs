//! Spans around the handling of messages: children of whoever sent them, parents of what they cause.

use std::sync::Arc;

use async_trait::async_trait;
use bus::{Asked, Envelope, Trail};
use contracts::Answer;
use outbox::{Consumer, Failure, Publishing, Unit};
use tracing::{Instrument, Span, field};

use crate::telemetry::{TraceContext, add_link, current_trace, set_parent};
use crate::{Rejection, answer};

/// A span for the handling of a request, and the request with a trail that leads to it.
pub(crate) fn request_span(service: &'static str, kind: &'static str, mut asked: Asked) -> (Span, Asked) {
    let span = tracing::info_span!(
        "handle request",
        otel.name = kind,
        otel.kind = "server",
        otel.status_code = field::Empty,
        service,
        correlation_id = asked.trail.correlation_id,
    );
    adopt(&span, &asked.trail);
    if let Some(trace) = span.in_scope(current_trace) {
        lead_to(trace, &mut asked.trail);
    }
    (span, asked)
}

/// Handles it in that span.
pub(crate) async fn answer_in<T, R>(
    span: Span,
    handling: impl Future<Output = Result<T, Rejection<R>>>,
) -> Answer<T, R> {
    let handled = handling.instrument(span.clone()).await;
    if matches!(handled, Err(Rejection::Failed(_))) {
        span.record("otel.status_code", "ERROR");
    }
    answer(handled)
}

/// A span for the handling of an event, in the trace of whoever caused it.
pub(crate) fn consumer_span(event: &Envelope) -> Span {
    let span = tracing::info_span!(
        "handle event",
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        service = field::Empty,
        messaging.operation.type = "process",
        messaging.message.id = %event.id,
        event.kind = event.kind,
        correlation_id = event.trail.correlation_id,
    );
    adopt(&span, &event.trail);
    span
}

/// A span for the publishing of facts: a child of the first that is sampled, linked to where the others come from.
pub(crate) fn publish_span(publishing: &Publishing<'_>) -> Span {
    let span = tracing::info_span!(
        "publish events",
        otel.kind = "producer",
        otel.status_code = field::Empty,
        messaging.system = publishing.bus,
        messaging.operation.type = "send",
        messaging.batch.message_count = publishing.facts,
    );
    if let Some((first, others)) = publishing.traces.split_first() {
        adopt(&span, first);
        for trace in others.iter().filter_map(|trail| place_of(trail)) {
            add_link(&span, &trace);
        }
    }
    span
}

/// A consumer whose events lead to the span they are handled in, so that what follows from them hangs below it.
pub(crate) struct Traced {
    service: &'static str,
    consumer: Arc<dyn Consumer>,
}

impl Traced {
    pub(crate) fn new(service: &'static str, consumer: Arc<dyn Consumer>) -> Self {
        Self { service, consumer }
    }
}

#[async_trait]
impl Consumer for Traced {
    async fn handle(&self, event: &Envelope, unit: &mut Unit) -> Result<(), Failure> {
        let span = Span::current();
        span.record("service", self.service);
        let handled = match current_trace() {
            None => self.consumer.handle(event, unit).await,
            Some(trace) => {
                let mut event = event.clone();
                lead_to(trace, &mut event.trail);
                self.consumer.handle(&event, unit).await
            }
        };
        if handled.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        handled
    }
}

fn adopt(span: &Span, trail: &Trail) {
    if let Some(parent) = place_of(trail) {
        set_parent(span, &parent);
    }
}

fn place_of(trail: &Trail) -> Option<TraceContext> {
    TraceContext::parse(trail.traceparent.as_deref()?, trail.tracestate.as_deref())
}

fn lead_to(trace: TraceContext, trail: &mut Trail) {
    trail.traceparent = Some(trace.traceparent);
    trail.tracestate = trace.tracestate;
}

#[cfg(test)]
mod tests;
