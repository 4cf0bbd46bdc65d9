use std::time::Instant;

use super::{CloseReason, Options};

/// The waits of a connection's life, each with its bound.
pub(super) struct Lifetime {
    options: Options,
    phase: Phase,
    phase_began: Instant,
    last_heard: Instant,
    disconnected: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    AwaitingAnswer,
    Connecting,
    Open,
}

impl Lifetime {
    pub(super) fn new(options: Options, phase: Phase, now: Instant) -> Self {
        Self { options, phase, phase_began: now, last_heard: now, disconnected: None }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.phase_began, self.last_heard) = (phase, now, now);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Whether the pair in use failed its checks: datagrams may still come in, but none gets out.
    pub(super) fn path(&mut self, usable: bool, now: Instant) {
        self.disconnected = if usable { None } else { self.disconnected.or(Some(now)) };
    }

    /// When this connection is over if nothing happens, and why.
    pub(super) fn end(&self) -> (Instant, CloseReason) {
        match self.phase {
            Phase::AwaitingAnswer => (self.phase_began + self.options.answer_timeout, CloseReason::AnswerTimeout),
            Phase::Connecting => (self.phase_began + self.options.connect_timeout, CloseReason::ConnectTimeout),
            Phase::Open => {
                let since = self.disconnected.map_or(self.last_heard, |since| since.min(self.last_heard));
                (since + self.options.ice_timeout, CloseReason::ConnectionLost)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_phase_has_its_own_end() {
        let now = super::super::time::now();
        let options = Options::default();
        let mut life = Lifetime::new(options.clone(), Phase::AwaitingAnswer, now);
        assert_eq!(life.end(), (now + options.answer_timeout, CloseReason::AnswerTimeout));
        life.enter(Phase::Connecting, now);
        assert_eq!(life.end(), (now + options.connect_timeout, CloseReason::ConnectTimeout));
        life.enter(Phase::Open, now);
        life.heard(now + Duration::from_secs(5));
        assert_eq!(life.end(), (now + Duration::from_secs(15), CloseReason::ConnectionLost));
    }

    #[test]
    fn a_path_that_only_receives_counts_as_lost_and_one_that_recovers_does_not() {
        let now = super::super::time::now();
        let mut life = Lifetime::new(Options::default(), Phase::Open, now);
        life.path(false, now + Duration::from_secs(1));
        life.path(false, now + Duration::from_secs(2));
        life.heard(now + Duration::from_secs(5));
        assert_eq!(life.end().0, now + Duration::from_secs(11));
        life.path(true, now + Duration::from_secs(6));
        assert_eq!(life.end().0, now + Duration::from_secs(15));
    }
}
