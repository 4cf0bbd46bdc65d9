use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clock::{Clock, Entropy};
use store::{Action, Condition, Item, Key, Store, StoreError, StoreErrorKind};

use super::bucket::{Bucket, Grant, Policy, Wish};
use super::settings::{FailMode, LimiterSettings};
use super::statistics::{Outcome, Statistics};

/// Most tokens in one lease.
const MAX_BATCH: u64 = 1_000;
/// How often a lease is tried when others write the same bucket; each loss is somebody else's gain.
const ATTEMPTS: usize = 12;
/// How long a "no" is believed without a look into the store, milliseconds: so long may an operator's reset take.
const BELIEVE_NO_MS: u64 = 1_000;
/// How long nobody asks a store that failed, milliseconds.
const REST_MS: u64 = 1_000;

/// Where a caller stands with a policy, for the `RateLimit` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which policy.
    pub policy: Policy,
    /// Calls that would pass now, as far as this process knows.
    pub remaining: u64,
    /// Milliseconds until all of the quota is there again.
    pub full_ms: u64,
    /// Milliseconds until a call would pass; 0 while one would.
    pub wait_ms: u64,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes and was counted.
    Allowed(Standing),
    /// It was too many, and was not counted.
    Refused(Standing),
    /// The store did not answer; whether it passes is configured.
    Unknown {
        /// Whether it passes.
        passes: bool,
    },
}

/// Token buckets by policy and key, shared with every process on the same store. Cheap to clone.
#[derive(Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: Clock,
    settings: LimiterSettings,
    /// This process, among those that lease.
    replica: u64,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// Until when the store is left alone, Unix milliseconds.
    rest_until_ms: AtomicU64,
    statistics: Statistics,
}

/// What this process knows of one key.
struct Slot {
    /// On the clock's monotonic reading, milliseconds.
    used_ms: AtomicU64,
    state: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Leased tokens that are left, and until when they are good, on the clock's monotonic reading.
    tokens: u64,
    until: Duration,
    /// How many to lease next time.
    batch: u64,
    /// Until when the answer is no, and what it was.
    no: Option<(Duration, Standing)>,
    /// What this process wrote last: saves the read while nobody else writes.
    seen: Option<(Bucket, u64)>,
    /// As of the last lease.
    left: u64,
    full_ms: u64,
}

impl Limiter {
    /// A limiter on this store.
    pub fn new(store: Store, clock: Clock, entropy: &Entropy, settings: LimiterSettings) -> Self {
        let statistics = Statistics::new(store.clone(), clock.clone());
        let (slots, rest_until_ms) = (Mutex::default(), AtomicU64::new(0));
        let inner = Inner { store, clock, settings, replica: entropy.next_u64(), slots, rest_until_ms, statistics };
        Self { inner: Arc::new(inner) }
    }

    /// Takes a token of the key's bucket, if there is one.
    pub async fn take(&self, policy: &Policy, key: &str) -> Verdict {
        let inner = &*self.inner;
        let slot = inner.slot(policy, key);
        let wait = Duration::from_millis(inner.settings.wait_ms);
        let decided = match inner.at_once(&slot, policy) {
            Some(verdict) => Ok(verdict),
            None if inner.rests() => Err(None),
            None => match inner.clock.timeout(wait, inner.lease(&slot, policy, key)).await {
                Some(decided) => decided.map_err(Some),
                None => Err(Some(StoreError::new(StoreErrorKind::Unavailable, "no answer in time"))),
            },
        };
        let (verdict, outcome) = match decided {
            Ok(Verdict::Refused(standing)) => (Verdict::Refused(standing), Outcome::Blocked),
            Ok(verdict) => (verdict, Outcome::Allowed),
            Err(error) => (inner.failed(policy, error), Outcome::Error),
        };
        inner.statistics.record(policy.name, outcome);
        verdict
    }

    /// Forgets what a key used: its bucket is full again, here at once and at other processes within a second.
    ///
    /// # Errors
    /// The store's.
    pub async fn reset(&self, policy: &Policy, key: &str) -> Result<(), StoreError> {
        self.inner.store.delete(place(policy, key), Condition::Any).await?;
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&name(policy, key));
        Ok(())
    }

    /// Whole tokens in a key's bucket, and those that processes have leased from it.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self, policy: &Policy, key: &str) -> Result<(u64, u64), StoreError> {
        let now_ms = self.inner.clock.now_ms();
        Ok(self.inner.read(policy, key, now_ms).await?.0.look(policy, now_ms))
    }

    /// What was allowed, blocked and not decided.
    pub fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// How many keys this process remembers.
    pub fn keys(&self) -> usize {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Inner {
    fn slot(&self, policy: &Policy, key: &str) -> Arc<Slot> {
        let name = name(policy, key);
        let now_ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&name) {
            slot.used_ms.store(now_ms, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        let max = self.settings.max_keys.max(1);
        if slots.len() >= max {
            make_room(&mut slots, max, now_ms.saturating_sub(self.settings.lease_ms));
        }
        let slot = Arc::new(Slot { used_ms: AtomicU64::new(now_ms), state: tokio::sync::Mutex::default() });
        slots.insert(name, Arc::clone(&slot));
        slot
    }

    /// What can be said without the store.
    fn at_once(&self, slot: &Slot, policy: &Policy) -> Option<Verdict> {
        slot.state.try_lock().ok()?.say(self.clock.monotonic(), policy)
    }

    fn rests(&self) -> bool {
        self.rest_until_ms.load(Ordering::Relaxed) > self.clock.now_ms()
    }

    /// The decision when the store did not help. Without an error it was not asked.
    fn failed(&self, policy: &Policy, error: Option<StoreError>) -> Verdict {
        if let Some(error) = error {
            // One busy or broken bucket says nothing about the others.
            if !matches!(error.kind(), StoreErrorKind::Contended | StoreErrorKind::Corrupt) {
                self.rest_until_ms.store(self.clock.now_ms() + REST_MS, Ordering::Relaxed);
            }
            tracing::warn!(policy = policy.name, %error, "a rate limit could not be asked");
        }
        Verdict::Unknown { passes: self.settings.when_unknown == FailMode::Open }
    }

    /// Takes a batch of tokens out of the bucket. Who comes meanwhile waits for the same answer.
    async fn lease(&self, slot: &Slot, policy: &Policy, key: &str) -> Result<Verdict, StoreError> {
        let mut held = slot.state.lock().await;
        if let Some(verdict) = held.say(self.clock.monotonic(), policy) {
            return Ok(verdict);
        }
        let used_up = held.tokens == 0 && held.until > self.clock.monotonic();
        let largest = (policy.quota / 4).clamp(1, MAX_BATCH);
        held.batch = if used_up { held.batch * 2 } else { held.batch / 2 }.clamp(1, largest);
        // Once it is in the store's hands again, it is not in ours.
        let unused = std::mem::take(&mut held.tokens);
        for _ in 0..ATTEMPTS {
            let now_ms = self.clock.now_ms();
            let (mut bucket, version) = match held.seen.take() {
                Some(seen) => seen,
                None => self.read(policy, key, now_ms).await?,
            };
            let wish = Wish { replica: self.replica, tokens: held.batch, unused, lease_ms: self.settings.lease_ms };
            let grant = bucket.lease(policy, now_ms, wish);
            if grant.tokens == 0 {
                return Ok(held.refuse(self.clock.monotonic(), policy, grant));
            }
            // Never a version that stood before an expiry: who remembers that one must not write over this.
            let next = now_ms.max(version + 1);
            match self.write(policy, key, &bucket, version, next).await {
                Ok(()) => {
                    let until = self.clock.monotonic() + Duration::from_millis(self.settings.lease_ms);
                    return Ok(held.fill(until, policy, grant, (bucket, next)));
                }
                Err(error) if error.conflict().is_some() => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Contended, format!("the bucket {} is written too often", key)))
    }

    async fn read(&self, policy: &Policy, key: &str, now_ms: u64) -> Result<(Bucket, u64), StoreError> {
        let Some(item) = self.store.get(&place(policy, key)).await? else {
            return Ok((Bucket::full(policy, now_ms), 0));
        };
        let corrupt = |error| StoreError::new(StoreErrorKind::Corrupt, "a bucket is not one").with_source(error);
        let bucket = serde_json::from_str(&item.body).map_err(|error: serde_json::Error| corrupt(error))?;
        Ok((bucket, item.version))
    }

    async fn write(
        &self,
        policy: &Policy,
        key: &str,
        bucket: &Bucket,
        version: u64,
        next: u64,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_string(bucket).expect("numbers are JSON");
        let item =
            Item { expires_at_ms: Some(bucket.forget_at_ms(policy)), ..Item::new(place(policy, key), next, body) };
        let condition = if version == 0 { Condition::Absent } else { Condition::Version(version) };
        // A power cut may give back what was taken in the last moment: not worth a disk's time for every call.
        self.store.transact_unsynced(vec![Action::Put { item, condition }]).await
    }
}

impl Held {
    fn say(&mut self, now: Duration, policy: &Policy) -> Option<Verdict> {
        if self.tokens > 0 && self.until > now {
            self.tokens -= 1;
            return Some(Verdict::Allowed(self.standing(policy)));
        }
        match self.no {
            Some((until, standing)) if until > now => Some(Verdict::Refused(standing)),
            _ => None,
        }
    }

    fn standing(&self, policy: &Policy) -> Standing {
        let remaining = (self.left + self.tokens).min(policy.quota);
        Standing { policy: *policy, remaining, full_ms: self.full_ms, wait_ms: 0 }
    }

    fn fill(&mut self, until: Duration, policy: &Policy, grant: Grant, seen: (Bucket, u64)) -> Verdict {
        (self.tokens, self.until, self.no, self.seen) = (grant.tokens - 1, until, None, Some(seen));
        (self.left, self.full_ms) = (grant.left, grant.full_ms);
        Verdict::Allowed(self.standing(policy))
    }

    fn refuse(&mut self, now: Duration, policy: &Policy, grant: Grant) -> Verdict {
        let standing = Standing { policy: *policy, remaining: 0, full_ms: grant.full_ms, wait_ms: grant.next_ms };
        self.no = Some((now + Duration::from_millis(grant.next_ms.min(BELIEVE_NO_MS)), standing));
        Verdict::Refused(standing)
    }
}

/// Drops what was not used lately, and beyond that whatever comes first: an eighth, so that it is not done for every key.
fn make_room(slots: &mut HashMap<String, Arc<Slot>>, max: usize, before_ms: u64) {
    slots.retain(|_, slot| slot.used_ms.load(Ordering::Relaxed) >= before_ms);
    let excess = slots.len().saturating_sub(max - max.div_ceil(8));
    let dropped: Vec<String> = slots.keys().take(excess).cloned().collect();
    for name in dropped {
        slots.remove(&name);
    }
}

fn name(policy: &Policy, key: &str) -> String {
    format!("limit#{}#{key}", policy.name)
}

/// Every key is a partition of its own: busy ones are spread.
fn place(policy: &Policy, key: &str) -> Key {
    Key::new(name(policy, key), "bucket")
}
