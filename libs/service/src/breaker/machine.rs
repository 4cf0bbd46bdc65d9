use super::{BreakerSettings, BreakerState, BreakerStats};

/// Parts of the rolling window: it forgets a tenth at a time.
pub(super) const BUCKETS: u64 = 10;

/// The state machine: pure, driven by `now_ms`.
pub(super) struct Machine {
    settings: BreakerSettings,
    state: State,
    /// Counts changes of state, so that a call that began before one does not count after it.
    epoch: u64,
    window: [Bucket; BUCKETS as usize],
    consecutive: u32,
    stats: BreakerStats,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open { until_ms: u64 },
    HalfOpen { under_way: u32, succeeded: u32 },
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Which tenth of a window since the clock's zero it counts.
    number: u64,
    calls: u32,
    failures: u32,
}

/// Which state a call was begun in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    epoch: u64,
}

impl Machine {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        let stats = BreakerStats {
            state: BreakerState::Closed,
            successes: 0,
            failures: 0,
            slow: 0,
            rejected: 0,
            opened: 0,
            window_calls: 0,
            window_failures: 0,
            consecutive_failures: 0,
        };
        Self { settings, state: State::Closed, epoch: 0, window: [Bucket::default(); 10], consecutive: 0, stats }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Leave for a call, or in how many milliseconds to ask again.
    pub(super) fn acquire(&mut self, now_ms: u64) -> Result<Ticket, u64> {
        if let State::Open { until_ms } = self.state {
            if now_ms < until_ms {
                self.stats.rejected += 1;
                return Err(until_ms - now_ms);
            }
            self.go(State::HalfOpen { under_way: 0, succeeded: 0 });
        }
        if let State::HalfOpen { under_way, succeeded } = &mut self.state {
            if *under_way + *succeeded >= self.settings.probes {
                self.stats.rejected += 1;
                // Until the probes come back; they are slow by then at the latest.
                return Err(self.settings.slow_call_ms.max(1));
            }
            *under_way += 1;
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// How a call went.
    pub(super) fn report(&mut self, ticket: Ticket, success: bool, slow: bool, now_ms: u64) {
        self.stats.successes += u64::from(success);
        self.stats.failures += u64::from(!success);
        self.stats.slow += u64::from(slow);
        if ticket.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed => self.count(success, now_ms),
            State::HalfOpen { .. } if !success => self.open(now_ms),
            State::HalfOpen { under_way, succeeded } => {
                *under_way -= 1;
                *succeeded += 1;
                if *succeeded >= self.settings.probes {
                    self.close();
                }
            }
            State::Open { .. } => {}
        }
    }

    /// A call that nobody knows the end of: its place among the probes is free again.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        if let State::HalfOpen { under_way, .. } = &mut self.state
            && ticket.epoch == self.epoch
        {
            *under_way -= 1;
        }
    }

    pub(super) fn stats(&mut self, now_ms: u64) -> BreakerStats {
        let (window_calls, window_failures) = self.in_window(now_ms);
        let (state, consecutive_failures) = (self.state(), self.consecutive);
        BreakerStats { state, window_calls, window_failures, consecutive_failures, ..self.stats.clone() }
    }

    fn count(&mut self, success: bool, now_ms: u64) {
        let number = self.bucket_number(now_ms);
        let bucket = &mut self.window[(number % BUCKETS) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, calls: 0, failures: 0 };
        }
        bucket.calls = bucket.calls.saturating_add(1);
        bucket.failures = bucket.failures.saturating_add(u32::from(!success));
        self.consecutive = if success { 0 } else { self.consecutive.saturating_add(1) };
        let (calls, failures) = self.in_window(now_ms);
        let rate = f64::from(failures) / f64::from(calls.max(1));
        let too_often = calls >= self.settings.min_requests && rate >= self.settings.failure_rate;
        if !success && (self.consecutive >= self.settings.failure_threshold || too_often) {
            self.open(now_ms);
        }
    }

    fn in_window(&self, now_ms: u64) -> (u32, u32) {
        let now = self.bucket_number(now_ms);
        let fresh = self.window.iter().filter(|bucket| bucket.number + BUCKETS > now && bucket.number <= now);
        fresh.fold((0, 0), |(calls, failures), bucket| {
            (calls.saturating_add(bucket.calls), failures.saturating_add(bucket.failures))
        })
    }

    fn bucket_number(&self, now_ms: u64) -> u64 {
        now_ms / (self.settings.window_ms / BUCKETS).max(1)
    }

    fn open(&mut self, now_ms: u64) {
        self.stats.opened += 1;
        self.go(State::Open { until_ms: now_ms.saturating_add(self.settings.recovery_ms) });
    }

    fn close(&mut self) {
        self.window = [Bucket::default(); 10];
        self.consecutive = 0;
        self.go(State::Closed);
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}
