use std::time::Instant;

/// The moment handed to the sans-IO library, which takes `Instant` and so can't be driven by a `clock::Clock`; its
/// timers are those of ICE, DTLS and SCTP, and tests shorten them through [`super::Options`] instead.
#[allow(clippy::disallowed_methods)]
pub(super) fn now() -> Instant {
    Instant::now()
}
