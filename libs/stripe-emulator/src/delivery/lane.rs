use std::collections::BTreeMap;
use std::sync::Arc;

use clock::Entropy;

use super::plan::{DeliveryPlan, Order};

/// One delivery of one event to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) event: String,
    pub(crate) event_type: String,
    pub(crate) body: Arc<[u8]>,
    /// Which copy this is, from 1.
    pub(crate) copy: u32,
    /// Which attempt comes next, from 1.
    pub(crate) attempt: u32,
}

/// What a lane's worker does next.
#[derive(Debug)]
pub(crate) enum Step {
    Send(Box<Job>),
    WaitUntil(u64),
    Idle,
}

/// One endpoint's deliveries: a window still being held, and the jobs whose order is settled. Pure; the worker around
/// it does the waiting and sending.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    held: Vec<Job>,
    held_since_ms: u64,
    settled: BTreeMap<(u64, u64), Job>,
    sequence: u64,
    seen: u64,
}

impl Lane {
    /// Deliveries that wait, each copy counted.
    pub(crate) fn waiting(&self, plan: &DeliveryPlan) -> usize {
        self.settled.len() + self.held.len() * plan.copies as usize
    }

    /// Takes a new event in; false when the plan says to lose it.
    pub(crate) fn offer(&mut self, job: Job, plan: &DeliveryPlan, now_ms: u64, entropy: &Entropy) -> bool {
        self.seen += 1;
        if plan.drop_every > 0 && self.seen.is_multiple_of(plan.drop_every) {
            return false;
        }
        if self.held.is_empty() {
            self.held_since_ms = now_ms;
        }
        self.held.push(job);
        if plan.order == Order::InOrder || self.held.len() >= plan.window {
            self.settle(plan, now_ms, entropy);
        }
        true
    }

    /// Puts a failed job back.
    pub(crate) fn again(&mut self, job: Job, due_ms: u64) {
        self.sequence += 1;
        self.settled.insert((due_ms, self.sequence), job);
    }

    /// What to do at `now_ms`.
    pub(crate) fn next(&mut self, plan: &DeliveryPlan, now_ms: u64, entropy: &Entropy) -> Step {
        let closes_ms = self.held_since_ms.saturating_add(plan.window_ms);
        if !self.held.is_empty() && (closes_ms <= now_ms || plan.order == Order::InOrder) {
            self.settle(plan, now_ms, entropy);
        }
        let due = self.settled.first_key_value().map(|((due_ms, _), _)| *due_ms);
        match due {
            Some(due_ms) if due_ms <= now_ms => match self.settled.pop_first() {
                Some((_, job)) => Step::Send(Box::new(job)),
                None => Step::Idle,
            },
            Some(due_ms) if self.held.is_empty() => Step::WaitUntil(due_ms),
            Some(due_ms) => Step::WaitUntil(due_ms.min(closes_ms)),
            None if self.held.is_empty() => Step::Idle,
            None => Step::WaitUntil(closes_ms),
        }
    }

    fn settle(&mut self, plan: &DeliveryPlan, now_ms: u64, entropy: &Entropy) {
        let mut events = std::mem::take(&mut self.held);
        if plan.order == Order::Reverse {
            events.reverse();
        }
        // Copies of one event stay together only in order: that is the mildest doubling Stripe shows.
        let mut jobs: Vec<Job> = if plan.order == Order::InOrder {
            events.iter().flat_map(|job| (1..=plan.copies).map(|copy| Job { copy, ..job.clone() })).collect()
        } else {
            (1..=plan.copies).flat_map(|copy| events.iter().map(move |job| Job { copy, ..job.clone() })).collect()
        };
        if plan.order == Order::Shuffle {
            for last in (1..jobs.len()).rev() {
                let other = usize::try_from(entropy.up_to(last as u64)).unwrap_or(last);
                jobs.swap(last, other);
            }
        }
        for job in jobs {
            self.again(job, now_ms.saturating_add(plan.delay_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(event: &str) -> Job {
        Job { event: event.to_owned(), event_type: "x".to_owned(), body: Arc::from([]), copy: 1, attempt: 1 }
    }

    fn drained(lane: &mut Lane, plan: &DeliveryPlan, now_ms: u64) -> String {
        let mut order = String::new();
        while let Step::Send(job) = lane.next(plan, now_ms, &Entropy::seeded(1)) {
            order += &job.event;
        }
        order
    }

    fn delivered(plan: &DeliveryPlan, events: &str, now_ms: u64) -> String {
        let mut lane = Lane::default();
        for event in events.chars() {
            lane.offer(job(&event.to_string()), plan, 0, &Entropy::seeded(1));
        }
        drained(&mut lane, plan, now_ms)
    }

    #[test]
    fn a_full_window_is_reversed_once_per_copy() {
        let plan = DeliveryPlan { copies: 2, order: Order::Reverse, window: 3, ..DeliveryPlan::default() };
        assert_eq!(delivered(&plan, "abc", 0), "cbacba");
        assert_eq!(delivered(&plan, "abcd", 0), "cbacba", "the fourth is held");
        assert_eq!(delivered(&plan, "abcd", 100), "cbacbadd", "until its window's time is up");
    }

    #[test]
    fn in_order_holds_nothing_and_copies_follow_each_other() {
        let plan = DeliveryPlan { copies: 2, ..DeliveryPlan::default() };
        assert_eq!(delivered(&plan, "ab", 0), "aabb");
    }

    #[test]
    fn a_shuffle_loses_nothing_and_repeats_with_its_seed() {
        let plan = DeliveryPlan { copies: 2, order: Order::Shuffle, window: 6, ..DeliveryPlan::default() };
        let once = delivered(&plan, "abcdef", 0);
        let mut sorted: Vec<_> = once.chars().collect();
        sorted.sort_unstable();
        assert_eq!(sorted, "aabbccddeeff".chars().collect::<Vec<_>>());
        assert_eq!(once, delivered(&plan, "abcdef", 0));
        assert_ne!(once, "abcdefabcdef");
    }

    #[test]
    fn delays_and_drops() {
        let plan = DeliveryPlan { delay_ms: 50, drop_every: 2, ..DeliveryPlan::default() };
        assert_eq!(delivered(&plan, "abcd", 49), "");
        assert_eq!(delivered(&plan, "abcd", 50), "ac");
    }
}
