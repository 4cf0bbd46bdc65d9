use serde::{Deserialize, Serialize};

/// A token bucket's size: `quota` calls at once, refilled evenly over `window_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in headers, statistics and the store: lower case and underscores.
    pub name: &'static str,
    /// Most tokens, 1 to 10,000,000.
    pub quota: u64,
    /// How long an empty bucket takes to fill, milliseconds, 1,000 to 86,400,000.
    pub window_ms: u64,
}

/// Most replicas that hold leases of one bucket; those beyond take token by token.
const MAX_LEASES: usize = 64;

/// How much longer than its holder the store counts a lease, milliseconds: as far as clocks may differ.
const SKEW_MS: u64 = 1_000;

/// One replica may take this part of what is left at once, so that others find something too.
const SHARE: u64 = 4;

/// A key's bucket as the store has it. Its level is counted in tokens × `window_ms`: then a millisecond refills exactly
/// `quota`, and nothing is ever rounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bucket {
    #[serde(rename = "l")]
    level: u64,
    #[serde(rename = "t")]
    at_ms: u64,
    #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
    leases: Vec<Lease>,
}

/// Tokens that a replica has and may still use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    #[serde(rename = "r")]
    replica: u64,
    #[serde(rename = "n")]
    tokens: u64,
    #[serde(rename = "u")]
    until_ms: u64,
}

/// What a replica asks of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) replica: u64,
    /// How many tokens it would like; the first is used at once.
    pub(super) tokens: u64,
    /// What is left of its last lease.
    pub(super) unused: u64,
    pub(super) lease_ms: u64,
}

/// What a bucket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// How many tokens; 0 means no.
    pub(super) tokens: u64,
    /// How many whole ones it still has.
    pub(super) left: u64,
    /// How long until it has another one, milliseconds; 0 while it has one.
    pub(super) next_ms: u64,
    /// How long until it is full, milliseconds.
    pub(super) full_ms: u64,
}

impl Policy {
    fn capacity(&self) -> u64 {
        self.quota.saturating_mul(self.window_ms)
    }

    /// How long `level` takes to come, milliseconds, rounded up.
    fn refill_ms(&self, level: u64) -> u64 {
        level.div_ceil(self.quota.max(1))
    }
}

impl Bucket {
    pub(super) fn full(policy: &Policy, now_ms: u64) -> Self {
        Self { level: policy.capacity(), at_ms: now_ms, leases: Vec::new() }
    }

    /// Brings the bucket up to `now_ms`, takes back what `wish.unused` says, and gives what may be given. A clock that
    /// is behind the last writer's refills nothing.
    pub(super) fn lease(&mut self, policy: &Policy, now_ms: u64, wish: Wish) -> Grant {
        let own = self.leases.iter().position(|lease| lease.replica == wish.replica);
        let own = own.map(|at| self.leases.swap_remove(at)).filter(|lease| lease.until_ms > now_ms);
        self.leases.retain(|lease| lease.until_ms > now_ms);
        let back = own.map_or(0, |lease| lease.tokens.min(wish.unused)).saturating_mul(policy.window_ms);
        self.refill(policy, now_ms, back);
        self.level = self.level.saturating_add(back).min(policy.capacity());
        let whole = self.level / policy.window_ms;
        let full = self.leases.len() >= MAX_LEASES;
        let tokens = if full { wish.tokens.min(1) } else { wish.tokens.min((whole / SHARE).max(1)) }.min(whole);
        self.level -= tokens * policy.window_ms;
        if tokens > 1 {
            let until_ms = now_ms.saturating_add(wish.lease_ms).saturating_add(SKEW_MS);
            self.leases.push(Lease { replica: wish.replica, tokens: tokens - 1, until_ms });
        }
        let left = self.level / policy.window_ms;
        let next_ms = if left > 0 { 0 } else { policy.refill_ms(policy.window_ms - self.level) };
        Grant { tokens, left, next_ms, full_ms: policy.refill_ms(policy.capacity() - self.level) }
    }

    fn refill(&mut self, policy: &Policy, now_ms: u64, held: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let leased: u64 = self.leases.iter().map(|lease| lease.tokens.saturating_mul(policy.window_ms)).sum();
        let room = policy.capacity().saturating_sub(leased).saturating_sub(held);
        // A policy that was made smaller meanwhile: what is too much is gone.
        self.level = self.level.saturating_add(elapsed_ms.saturating_mul(policy.quota)).min(room);
    }

    /// From when on the bucket says no more than an absent one: full, and without leases.
    pub(super) fn forget_at_ms(&self, policy: &Policy) -> u64 {
        let full_at = self.at_ms.saturating_add(policy.refill_ms(policy.capacity().saturating_sub(self.level)));
        // The refill stands still while leases hold its room: it is full a window after the last one at the latest.
        let leases_end = self.leases.iter().map(|lease| lease.until_ms).max().unwrap_or(0);
        if leases_end == 0 { full_at } else { full_at.max(leases_end.saturating_add(policy.window_ms)) }
    }

    /// Whole tokens that would be there at `now_ms`, and how many are leased.
    pub(super) fn look(&self, policy: &Policy, now_ms: u64) -> (u64, u64) {
        let mut copy = self.clone();
        copy.leases.retain(|lease| lease.until_ms > now_ms);
        copy.refill(policy, now_ms, 0);
        (copy.level / policy.window_ms, copy.leases.iter().map(|lease| lease.tokens).sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN_A_SECOND: Policy = Policy { name: "test", quota: 10, window_ms: 1_000 };

    fn one(replica: u64) -> Wish {
        Wish { replica, tokens: 1, unused: 0, lease_ms: 5_000 }
    }

    #[test]
    fn a_bucket_gives_its_quota_at_once_and_then_one_by_one() {
        let mut bucket = Bucket::full(&TEN_A_SECOND, 0);
        assert!((0..10).all(|_| bucket.lease(&TEN_A_SECOND, 0, one(1)).tokens == 1));
        let refused = bucket.lease(&TEN_A_SECOND, 0, one(1));
        assert_eq!(refused, Grant { tokens: 0, left: 0, next_ms: 100, full_ms: 1_000 });
        assert_eq!(bucket.lease(&TEN_A_SECOND, 99, one(1)).tokens, 0);
        assert_eq!(bucket.lease(&TEN_A_SECOND, 100, one(1)).tokens, 1);
        assert_eq!(bucket.lease(&TEN_A_SECOND, 100, one(1)).tokens, 0);
    }

    #[test]
    fn a_refusal_takes_nothing() {
        let mut bucket = Bucket::full(&TEN_A_SECOND, 0);
        (0..10).for_each(|_| assert_eq!(bucket.lease(&TEN_A_SECOND, 0, one(1)).tokens, 1));
        let empty = bucket.clone();
        (0..1_000).for_each(|_| assert_eq!(bucket.lease(&TEN_A_SECOND, 0, one(1)).tokens, 0));
        assert_eq!(bucket, empty);
    }

    #[test]
    fn a_lease_holds_its_room_until_it_ends_and_unused_tokens_come_back() {
        let mut bucket = Bucket::full(&TEN_A_SECOND, 0);
        let wish = Wish { tokens: 100, ..one(1) };
        assert_eq!(bucket.lease(&TEN_A_SECOND, 0, wish).tokens, 2, "a quarter of ten");
        // Full again but for the token that is out.
        assert_eq!(bucket.look(&TEN_A_SECOND, 5_999), (9, 1));
        assert_eq!(bucket.look(&TEN_A_SECOND, 6_000), (10, 0));
        let again = bucket.lease(&TEN_A_SECOND, 5_000, Wish { unused: 1, ..one(1) });
        assert_eq!((again.tokens, again.left), (1, 9));
    }

    #[test]
    fn a_clock_that_is_behind_refills_nothing() {
        let mut bucket = Bucket::full(&TEN_A_SECOND, 10_000);
        (0..10).for_each(|_| assert_eq!(bucket.lease(&TEN_A_SECOND, 10_000, one(1)).tokens, 1));
        assert_eq!(bucket.lease(&TEN_A_SECOND, 1_000, one(2)).tokens, 0);
        assert_eq!(bucket.lease(&TEN_A_SECOND, 10_100, one(2)).tokens, 1);
        assert_eq!(bucket.lease(&TEN_A_SECOND, 9_000, one(3)).tokens, 0);
    }

    #[test]
    fn it_is_forgotten_when_it_is_full_and_nobody_holds_of_it() {
        let mut bucket = Bucket::full(&TEN_A_SECOND, 0);
        bucket.lease(&TEN_A_SECOND, 0, one(1));
        assert_eq!(bucket.forget_at_ms(&TEN_A_SECOND), 100);
        bucket.lease(&TEN_A_SECOND, 0, Wish { tokens: 2, ..one(1) });
        assert!(bucket.forget_at_ms(&TEN_A_SECOND) >= 6_000);
    }

    proptest! {
        /// However replicas lease, use, keep and forget: no more passes than the policy says, in any period.
        #[test]
        fn never_more_than_the_policy(
            quota in 1_u64..200,
            steps in prop::collection::vec((0_u64..400, 0_u64..4, 1_u64..60, any::<bool>()), 1..200),
        ) {
            let policy = Policy { name: "test", quota, window_ms: 10_000 };
            let mut bucket = Bucket::full(&policy, 0);
            let (mut now_ms, mut passed): (u64, Vec<u64>) = (0, Vec::new());
            let mut held = [(0_u64, 0_u64); 4];
            for (wait_ms, replica, tokens, uses) in steps {
                now_ms += wait_ms;
                let slot = &mut held[replica as usize];
                if slot.1 <= now_ms {
                    slot.0 = 0;
                }
                if uses && slot.0 > 0 {
                    slot.0 -= 1;
                    passed.push(now_ms);
                    continue;
                }
                let grant = bucket.lease(&policy, now_ms, Wish { replica, tokens, unused: slot.0, lease_ms: 3_000 });
                if grant.tokens > 0 {
                    passed.push(now_ms);
                    *slot = (grant.tokens - 1, now_ms + 3_000);
                } else {
                    *slot = (0, 0);
                }
            }
            for (first, begin) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let allowed = policy.capacity() + (end - begin) * quota;
                    prop_assert!((last - first + 1) as u64 * policy.window_ms <= allowed);
                }
            }
        }
    }
}
