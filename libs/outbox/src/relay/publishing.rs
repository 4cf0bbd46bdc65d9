use std::collections::HashSet;

use bus::{Envelope, Trail};
use tracing::Span;

use crate::options::Publishing;
use crate::outbox::Core;

/// Most traces that one publish is tied to: OpenTelemetry's default limit of a span's links.
const TRACES_MAX: usize = 128;

/// The span of a publish; none where nobody samples any of its facts.
pub(super) fn span(core: &Core, batch: &[Envelope]) -> Span {
    let Some(make) = core.options.make_publish_span else { return Span::none() };
    let sampled = batch.iter().map(|envelope| &envelope.trail).filter(|trail| is_sampled(trail));
    let mut known = HashSet::new();
    let traces: Vec<&Trail> =
        sampled.filter(|trail| known.insert(trail.traceparent.as_deref())).take(TRACES_MAX).collect();
    if traces.is_empty() {
        return Span::none();
    }
    make(&Publishing { bus: core.bus.capabilities().name, facts: batch.len(), traces: &traces })
}

/// The lowest bit of the flags, which end a `traceparent` (W3C Trace Context §3.2.2.5).
fn is_sampled(trail: &Trail) -> bool {
    let flags = trail.traceparent.as_deref().and_then(|parent| parent.get(53..55));
    flags.and_then(|flags| u8::from_str_radix(flags, 16).ok()).is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_flag_decides() {
        let trail = |parent: &str| Trail { traceparent: Some(parent.to_owned()), ..Trail::default() };
        let with = |flags: &str| trail(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"));
        assert!(is_sampled(&with("01")) && is_sampled(&with("03")));
        assert!(!is_sampled(&with("00")) && !is_sampled(&with("02")) && !is_sampled(&with("zz")));
        assert!(!is_sampled(&trail("00-zz")) && !is_sampled(&Trail::default()));
    }
}
