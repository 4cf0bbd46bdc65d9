//! The log layer: one line an event, with the fields of the spans around it, secrets redacted.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use clock::Clock;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::redact::{REDACTED, is_secret_name, scrub};

/// Where log lines go; each ends with a line feed.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// Longest text of one field, in bytes; the rest is cut off.
const MAX_TEXT_LEN: usize = 8192;

/// Standard error, one write a line. A full or closed pipe loses lines rather than stopping the service.
pub(super) fn standard_error() -> Sink {
    Arc::new(|line| {
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    })
}

pub(super) struct LogLayer {
    format: LogFormat,
    service: String,
    clock: Clock,
    sink: Sink,
    dispatch: OnceLock<WeakDispatch>,
}

/// A span's or an event's fields, already redacted.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl LogLayer {
    pub(super) fn new(format: LogFormat, service: &str, clock: Clock, sink: Sink) -> Self {
        Self { format, service: service.to_owned(), clock, sink, dispatch: OnceLock::new() }
    }

    /// Trace and span id of a span, where traces are on.
    fn trace_of(&self, span: &Id) -> Option<(String, String)> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let context = tracing_opentelemetry::get_otel_context(span, &dispatch)?;
        let context = context.span().span_context().clone();
        context.is_valid().then(|| (context.trace_id().to_string(), context.span_id().to_string()))
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        let mut span_id = None;
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                // `otel.…` fields are instructions to the exporter.
                let own = fields.0.iter().filter(|(name, _)| !name.starts_with("otel."));
                line.extend(own.map(|(name, value)| (name.clone(), value.clone())));
            }
            span_id = Some(span.id());
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.extend(fields.0);
        if let Some((trace, span)) = span_id.and_then(|id| self.trace_of(&id)) {
            line.insert("trace_id".into(), trace.into());
            line.insert("span_id".into(), span.into());
        }
        let metadata = event.metadata();
        let time = crate::time::rfc3339(self.clock.now_ms());
        let text = match self.format {
            LogFormat::Json => {
                line.insert("timestamp".into(), time.into());
                line.insert("level".into(), metadata.level().as_str().into());
                line.insert("target".into(), metadata.target().into());
                line.entry("service").or_insert_with(|| self.service.clone().into());
                Value::Object(line).to_string() + "\n"
            }
            LogFormat::Human => human(&time, metadata.level().as_str(), &line),
        };
        (self.sink)(&text);
    }
}

fn human(time: &str, level: &str, line: &Map<String, Value>) -> String {
    let message = line.get("message").and_then(Value::as_str).unwrap_or_default();
    // Hours to milliseconds: the date is on the machine's clock.
    let mut text = format!("{} {level:5} {message}", time.get(11..23).unwrap_or(time));
    for (name, value) in line.iter().filter(|(name, _)| *name != "message") {
        let _ = match value {
            Value::String(value) => write!(text, " {name}={}", value.escape_debug()),
            other => write!(text, " {name}={other}"),
        };
    }
    text + "\n"
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        let value = if is_secret_name(name) { REDACTED.into() } else { value.into() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, scrub(cut(value)).into_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.put(field, scrub(cut(&text)).into_owned());
    }
}

/// The beginning of a text, cut between characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_LEN)]
}

#[cfg(test)]
mod tests {
    use super::super::{TelemetrySettings, build, memory_sink};
    use super::*;

    fn lines(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        let (sink, lines) = memory_sink();
        let settings = TelemetrySettings { log_format: format, ..TelemetrySettings::default() };
        let clock = Clock::manual(1_790_000_000_007).0;
        let (dispatch, _telemetry) = build(&settings, "presence", &clock, sink).expect("starts");
        tracing::dispatcher::with_default(&dispatch, log);
        lines.lock().expect("not poisoned").clone()
    }

    #[test]
    fn a_json_line_has_time_level_service_and_the_fields_of_its_spans() {
        let lines = lines(LogFormat::Json, || {
            let span = tracing::info_span!("outer", request_id = "r-1", later = tracing::field::Empty);
            let _outer = span.enter();
            span.record("later", 7);
            let _inner = tracing::info_span!("inner", peer = "alice").entered();
            tracing::warn!(count = 2, ok = true, "slow {}", "thing");
            tracing::debug!("filtered out");
        });
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).expect("JSON");
        let expected = serde_json::json!({
            "timestamp": "2026-09-21T14:13:20.007Z", "level": "WARN", "target": "service::telemetry::logs::tests",
            "service": "presence", "message": "slow thing", "count": 2, "ok": true, "request_id": "r-1", "later": 7,
            "peer": "alice",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn secrets_are_redacted_in_fields_spans_and_messages() {
        for format in [LogFormat::Json, LogFormat::Human] {
            let lines = lines(format, || {
                let _span = tracing::info_span!("s", authorization = "hunter2").entered();
                let token = "hunter2";
                tracing::info!(token, password = ?Some(token), cookie = token, "login with Bearer hunter2hunter2");
            });
            assert!(!lines[0].contains("hunter2"), "{}", lines[0]);
            assert_eq!(lines[0].matches(REDACTED).count(), 5, "{}", lines[0]);
        }
    }

    #[test]
    fn a_human_line_is_one_line_and_long_texts_are_cut() {
        let lines = lines(LogFormat::Human, || tracing::info!(text = "a\nb", long = "é".repeat(9000), "hello"));
        assert!(lines[0].starts_with("14:13:20.007 INFO  hello "), "{}", lines[0]);
        assert!(lines[0].contains("text=a\\nb") && !lines[0].contains('\n'));
        assert!(lines[0].len() < 8192 + 200);
    }
}
