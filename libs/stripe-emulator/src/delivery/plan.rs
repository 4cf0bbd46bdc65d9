use serde::{Deserialize, Serialize};

/// The order in which a window of events is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they happened.
    #[default]
    InOrder,
    /// The newest of a window first, one round per copy.
    Reverse,
    /// At random, copies among each other.
    Shuffle,
}

/// How events reach the webhook endpoints. All fields have defaults, so JSON may name only some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryPlan {
    /// How many times each event is delivered, 1 to 10. Default 1.
    pub copies: u32,
    /// The order within a window. Default: in order.
    pub order: Order,
    /// Events held back and then delivered in another order, 1 to 1,000; unused when in order. Default 8.
    pub window: usize,
    /// The longest a window that does not fill is held, in milliseconds, up to a minute. Default 100.
    pub window_ms: u64,
    /// Waiting time before each delivery, in milliseconds, up to an hour. Default 0.
    pub delay_ms: u64,
    /// Every how many events one is never delivered, as if the webhook were lost for good; 0 loses none. Default 0.
    pub drop_every: u64,
}

impl Default for DeliveryPlan {
    fn default() -> Self {
        Self { copies: 1, order: Order::InOrder, window: 8, window_ms: 100, delay_ms: 0, drop_every: 0 }
    }
}

impl DeliveryPlan {
    /// What is wrong with the plan, naming field and rule.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=10).contains(&self.copies) {
            return Err(format!("copies: {} is not in 1..=10", self.copies));
        }
        if !(1..=1_000).contains(&self.window) {
            return Err(format!("window: {} is not in 1..=1000 events", self.window));
        }
        if self.window_ms > 60_000 {
            return Err(format!("window_ms: {} is over 60000", self.window_ms));
        }
        if self.delay_ms > 3_600_000 {
            return Err(format!("delay_ms: {} is over 3600000", self.delay_ms));
        }
        Ok(())
    }
}

/// How a delivery that got no 2xx is tried again. Stripe retries for three days; these defaults fit a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all. Default 8.
    pub max_attempts: u32,
    /// Waiting time after the first failure, in milliseconds; doubles each time. Default 250.
    pub base_ms: u64,
    /// The longest waiting time, in milliseconds. Default 30,000.
    pub cap_ms: u64,
    /// How long a receiver may take to answer, in milliseconds of real time. Default 10,000.
    pub timeout_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 8, base_ms: 250, cap_ms: 30_000, timeout_ms: 10_000 }
    }
}

impl RetryPolicy {
    /// The wait after failed attempt number `attempt` (from 1); `None` when there are no more.
    pub(crate) fn wait_ms(&self, attempt: u32) -> Option<u64> {
        let doubled = self.base_ms.saturating_mul(1_u64.checked_shl(attempt - 1).unwrap_or(u64::MAX));
        (attempt < self.max_attempts).then(|| doubled.min(self.cap_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_cap_and_end() {
        let policy = RetryPolicy { max_attempts: 70, base_ms: 100, cap_ms: 350, timeout_ms: 1 };
        let waits: Vec<_> = [1, 2, 3, 66, 69, 70].map(|attempt| policy.wait_ms(attempt)).into();
        assert_eq!(waits, [Some(100), Some(200), Some(350), Some(350), Some(350), None]);
    }
}
