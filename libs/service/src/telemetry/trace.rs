//! W3C Trace Context: from a header to a span and back.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Longest `tracestate` that is passed on (W3C Trace Context §3.3.1.5 asks for at least 512 characters).
const MAX_STATE_LEN: usize = 512;

/// A place in a trace, as it travels in headers and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>` (W3C Trace Context §3.2), checked.
    pub traceparent: String,
    /// What vendors add, at most 512 characters.
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// Takes over what a message carries; `None` unless `traceparent` is valid. A bad `tracestate` is left out.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        if !is_traceparent(traceparent) {
            return None;
        }
        let good =
            |state: &&str| state.len() <= MAX_STATE_LEN && state.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        let tracestate = tracestate.filter(good).filter(|state| !state.is_empty()).map(str::to_owned);
        Some(Self { traceparent: traceparent.to_owned(), tracestate })
    }

    /// The same from HTTP headers.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        Self::parse(text(TRACEPARENT)?, text(TRACESTATE))
    }

    /// Puts it into the headers of a request to somebody else.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put(TRACEPARENT, &self.traceparent);
        if let Some(state) = &self.tracestate {
            put(TRACESTATE, state);
        }
    }

    fn to_otel(&self) -> opentelemetry::Context {
        let mut carrier = HashMap::from([(TRACEPARENT.to_owned(), self.traceparent.clone())]);
        if let Some(state) = &self.tracestate {
            carrier.insert(TRACESTATE.to_owned(), state.clone());
        }
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &carrier)
    }
}

/// The current span's place in its trace; `None` where traces are off.
pub fn current_trace() -> Option<TraceContext> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    TraceContext::parse(carrier.get(TRACEPARENT)?, carrier.get(TRACESTATE).map(String::as_str))
}

/// Makes `span` a child of `parent`. Call it before the span is entered; without effect where traces are off.
pub fn set_parent(span: &Span, parent: &TraceContext) {
    // The error says that no layer listens, or that the span has begun: nothing a caller could do about either.
    let _ = span.set_parent(parent.to_otel());
}

/// Ties `span` to a place in another trace; without effect where traces are off.
pub fn add_link(span: &Span, other: &TraceContext) {
    span.add_link(other.to_otel().span().span_context().clone());
}

fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return false };
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && !zero(trace)
        && hex(span, 16)
        && !zero(span)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_valid_traces_are_taken_over() {
        assert_eq!(TraceContext::parse(GOOD, Some("a=b")).expect("valid").tracestate.as_deref(), Some("a=b"));
        assert_eq!(TraceContext::parse(GOOD, Some(&"x".repeat(513))).expect("valid").tracestate, None);
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-02",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn what_goes_into_headers_comes_out_again() {
        let trace = TraceContext::parse(GOOD, Some("vendor=1")).expect("valid");
        let mut headers = HeaderMap::new();
        trace.inject(&mut headers);
        assert_eq!(TraceContext::from_headers(&headers), Some(trace));
    }

    #[test]
    fn without_a_layer_there_is_no_trace() {
        assert_eq!(current_trace(), None);
    }
}
