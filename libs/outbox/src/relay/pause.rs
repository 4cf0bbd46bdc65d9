use std::sync::Arc;
use std::time::Duration;

use clock::Entropy;

use super::{RowKey, Shard};
use crate::lease::millis;
use crate::retry::full_jitter;

/// Keys that may wait after failures of their own; beyond that the whole shard waits.
const RESTS_MAX: usize = 10_000;

/// A wait after failures in a row.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) failures: u32,
    /// 0 while not waiting.
    pub(super) until_ms: u64,
}

impl Rest {
    pub(super) fn start(&mut self, now_ms: u64, (initial, max): (Duration, Duration), entropy: &Entropy) {
        if self.until_ms > now_ms {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.until_ms = now_ms.saturating_add(full_jitter(initial, max, self.failures, entropy).max(1));
    }
}

impl Shard {
    pub(super) fn rest(&mut self, key: &RowKey) {
        if !self.core.bus.is_connected() || self.rests.len() >= RESTS_MAX {
            return self.pause_shard();
        }
        let rest = self.rests.entry(Arc::clone(key)).or_default();
        rest.start(self.core.clock.now_ms(), self.core.options.retry, &self.core.entropy);
    }

    pub(super) fn pause_shard(&mut self) {
        self.pause.start(self.core.clock.now_ms(), self.core.options.retry, &self.core.entropy);
        self.scan.again();
    }

    pub(super) fn time_to_next(&self) -> Duration {
        let rests = self.rests.values().map(|rest| rest.until_ms).filter(|until_ms| *until_ms > 0).min();
        let pause = Some(self.pause.until_ms).filter(|until_ms| *until_ms > 0);
        let next_ms =
            [Some(self.next_sweep_ms), rests, pause].into_iter().flatten().min().unwrap_or(self.next_sweep_ms);
        Duration::from_millis(next_ms.saturating_sub(self.core.clock.now_ms()))
    }

    /// Sweeps, and lets those go on whose wait is over.
    pub(super) fn on_time(&mut self) {
        let now_ms = self.core.clock.now_ms();
        if self.next_sweep_ms <= now_ms {
            // Those that were let go on before and are not in the air have nothing left here.
            self.rests.retain(|key, rest| rest.until_ms > 0 || self.flights.contains_key(key));
        }
        for rest in self.rests.values_mut().chain([&mut self.pause]) {
            if rest.until_ms > 0 && rest.until_ms <= now_ms {
                rest.until_ms = 0;
                self.scan.again();
            }
        }
        if self.next_sweep_ms <= now_ms {
            self.next_sweep_ms = now_ms.saturating_add(millis(self.core.options.sweep_interval));
            self.scan.again();
        }
    }
}
