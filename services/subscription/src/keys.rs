//! The keys that proofs are signed with: kept in our own store, published before their first use, rotated.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `proof-keys` | `head` | counts the keys made; whoever makes the next one must have seen the last |
//! | `proof-keys` | `key#<kid>` | a [`StoredKey`], private half included; expires with the key |
//!
//! Whoever can read the table can issue proofs: guard it like Stripe's key.

use std::sync::{Arc, Mutex, PoisonError};

use auth::{Entitlement, IssueError, ProofSigner, SKEW_MS, SignerRules, SigningKey};
use bus::Trail;
use clock::{Clock, Entropy};
use contracts::events::subscription::{ProofKey, ProofKeyPublishedV1, SubscriptionEvent};
use contracts::requests::subscription::ProofIssued;
use outbox::{Outbox, Unit};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, Query, StoreError, StoreErrorKind};

use crate::config::ProofConfig;

const PARTITION: &str = "proof-keys";
const HEAD: &str = "head";
/// Keys read at once; a rotation a minute leaves fewer than this unexpired.
const PAGE: u32 = 100;

/// When a key is used, Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    use_from_ms: u64,
    not_after_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    kid: String,
    seed: String,
    use_from_ms: u64,
    not_after_ms: u64,
}

struct HeldKey {
    times: Times,
    signer: ProofSigner,
}

/// The keys, in the store and in memory.
pub(crate) struct Keys {
    outbox: Outbox,
    clock: Clock,
    entropy: Entropy,
    config: ProofConfig,
    held: Mutex<Arc<Vec<HeldKey>>>,
}

/// The times of the key to make now, if one is due.
fn due(keys: &[Times], now_ms: u64, config: &ProofConfig) -> Option<Times> {
    let starting_at = |use_from_ms: u64| Times {
        use_from_ms,
        // One more rotation than it is used for, so that a store that is away for a while stops nothing.
        not_after_ms: use_from_ms.saturating_add(2 * config.rotation_interval_ms).saturating_add(config.ttl_ms),
    };
    let Some(current) = keys.iter().filter(|key| is_usable(**key, now_ms, config)).max_by_key(|key| key.use_from_ms)
    else {
        // Nothing to sign with: used at once. Verifiers that miss its event ask for the keys when they meet it.
        return Some(starting_at(now_ms));
    };
    let successor_from_ms = current.use_from_ms.saturating_add(config.rotation_interval_ms);
    let is_due = successor_from_ms.saturating_sub(config.publish_ahead_ms) <= now_ms;
    let has_successor = keys.iter().any(|key| key.use_from_ms > now_ms);
    (is_due && !has_successor)
        .then(|| starting_at(successor_from_ms.max(now_ms.saturating_add(config.publish_ahead_ms))))
}

/// Whether a key may sign now and its proofs live as long as they should.
fn is_usable(key: Times, now_ms: u64, config: &ProofConfig) -> bool {
    key.use_from_ms <= now_ms && now_ms.saturating_add(config.ttl_ms) < key.not_after_ms
}

impl Keys {
    pub(crate) fn new(outbox: Outbox, clock: Clock, entropy: Entropy, config: ProofConfig) -> Self {
        Self { outbox, clock, entropy, config, held: Mutex::default() }
    }

    /// Reads the keys and makes the next one when it is due. Other processes of the service may do the same at once.
    pub(crate) async fn maintain(&self) -> Result<(), StoreError> {
        for _ in 0..8 {
            let head = self.outbox.store().get(&Key::new(PARTITION, HEAD)).await?.map_or(0, |item| item.version);
            self.load().await?;
            let times: Vec<_> = self.held().iter().map(|key| key.times).collect();
            let Some(next) = due(&times, self.clock.now_ms(), &self.config) else { return Ok(()) };
            if self.make(head, next).await? {
                self.load().await?;
                return Ok(());
            }
        }
        Err(StoreError::new(StoreErrorKind::Contended, "proof keys are being made by many at once; try again"))
    }

    /// Signs a proof with the newest key in use.
    pub(crate) fn issue(&self, entitlement: Entitlement) -> Result<ProofIssued, IssueError> {
        let now_ms = self.clock.now_ms();
        let held = self.held();
        let in_use = held.iter().filter(|key| key.times.use_from_ms <= now_ms);
        match in_use.max_by_key(|key| key.times.use_from_ms) {
            Some(key) => key.signer.issue(entitlement, now_ms),
            None => Err(IssueError::KeyRetired { kid: "(none)".to_owned() }),
        }
    }

    /// Every key that may verify now, those not used yet included, as any process of the service made them.
    pub(crate) async fn public(&self) -> Result<Vec<ProofKey>, StoreError> {
        self.load().await?;
        let now_ms = self.clock.now_ms();
        let held = self.held();
        let good = held.iter().filter(|key| now_ms < key.times.not_after_ms.saturating_add(SKEW_MS));
        Ok(good.map(|key| key.signer.public()).collect())
    }

    fn held(&self) -> Arc<Vec<HeldKey>> {
        Arc::clone(&self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn load(&self) -> Result<(), StoreError> {
        let page = self.outbox.store().query(&Query::prefix(PARTITION, "key#", PAGE)).await?;
        let keys = page.items.iter().map(|item| self.read(item)).collect::<Result<Vec<_>, _>>()?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    fn read(&self, item: &Item) -> Result<HeldKey, StoreError> {
        // No source: it might show a part of the key.
        let corrupt = || StoreError::new(StoreErrorKind::Corrupt, format!("the key at {} can't be read", item.key));
        let stored: StoredKey = serde_json::from_str(&item.body).map_err(|_| corrupt())?;
        let seed = SecretString::from(stored.seed);
        let key = SigningKey::from_secret(&stored.kid, &seed).map_err(|_| corrupt())?;
        let times = Times { use_from_ms: stored.use_from_ms, not_after_ms: stored.not_after_ms };
        Ok(HeldKey { times, signer: ProofSigner::new(key, times.not_after_ms, self.rules()) })
    }

    fn rules(&self) -> SignerRules {
        let installation = service::proof_rules();
        SignerRules { ttl_ms: self.config.ttl_ms, ..SignerRules::new(&installation.issuer, &installation.audience) }
    }

    /// Makes a key and publishes it in the same transaction; false when somebody else made one first.
    async fn make(&self, head: u64, times: Times) -> Result<bool, StoreError> {
        let now_ms = self.clock.now_ms();
        let kid = format!("proof-{}", self.entropy.uuid_v7(now_ms).simple());
        let invalid = |error: auth::KeyError| StoreError::new(StoreErrorKind::Invalid, error.to_string());
        let key = SigningKey::generate(&kid, &self.entropy).map_err(invalid)?;
        let seed = key.to_secret().expose_secret().to_owned();
        let public = ProofSigner::new(key, times.not_after_ms, self.rules()).public();
        let Times { use_from_ms, not_after_ms } = times;
        let body = serde_json::to_string(&StoredKey { kid: kid.clone(), seed, use_from_ms, not_after_ms });
        let mut item = Item::new(Key::new(PARTITION, format!("key#{kid}")), 1, body.expect("a key is plain data"));
        item.expires_at_ms = Some(not_after_ms.saturating_add(SKEW_MS));
        let mut unit = Unit::new();
        let seen = if head == 0 { Condition::Absent } else { Condition::Version(head) };
        unit.put(Item::new(Key::new(PARTITION, HEAD), head + 1, "{}"), seen);
        unit.put(item, Condition::Absent);
        let fact = SubscriptionEvent::from(ProofKeyPublishedV1 { key: public });
        unit.publish(&service::platform_tenant(), head + 1, &Trail::fresh(&self.clock, &self.entropy), &fact);
        match self.outbox.commit(unit).await {
            Ok(()) => {
                tracing::info!(kid, use_from_ms, not_after_ms, "a proof key was published");
                Ok(true)
            }
            Err(error) if error.conflict().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn config() -> ProofConfig {
        ProofConfig { rotation_interval_ms: 24 * HOUR, publish_ahead_ms: HOUR, ..crate::config::tests::config().proofs }
    }

    #[test]
    fn the_first_key_is_used_at_once_and_the_next_ones_are_published_ahead() {
        let first = due(&[], 1_000, &config()).expect("none is there");
        assert_eq!(first.use_from_ms, 1_000);
        assert_eq!(due(&[first], 1_000 + 23 * HOUR - 1, &config()), None);
        let second = due(&[first], 1_000 + 23 * HOUR, &config()).expect("it is time");
        assert_eq!(second.use_from_ms, 1_000 + 24 * HOUR);
        assert_eq!(due(&[first, second], 1_000 + 23 * HOUR + 1, &config()), None, "one successor is enough");
    }

    #[test]
    fn after_a_long_sleep_there_is_a_key_at_once_and_a_late_successor_is_still_published_ahead() {
        let first = due(&[], 0, &config()).expect("none is there");
        assert_eq!(due(&[first], 90 * HOUR, &config()).map(|key| key.use_from_ms), Some(90 * HOUR));
        assert_eq!(due(&[first], 30 * HOUR, &config()).map(|key| key.use_from_ms), Some(31 * HOUR));
    }

    proptest! {
        #[test]
        fn there_is_always_a_key_and_never_one_that_was_not_published_ahead(
            steps in prop::collection::vec(1..10 * HOUR, 1..200),
        ) {
            let config = config();
            let (mut now, mut keys) = (5, Vec::new());
            for step in steps {
                now += step;
                let had = keys.iter().any(|key| is_usable(*key, now, &config));
                if let Some(key) = due(&keys, now, &config) {
                    prop_assert_eq!(key.use_from_ms < now + config.publish_ahead_ms, !had);
                    keys.push(key);
                }
                prop_assert!(keys.iter().any(|key| is_usable(*key, now, &config)));
                prop_assert_eq!(due(&keys, now, &config), None);
                let held = keys.iter().filter(|key| now < key.not_after_ms + SKEW_MS).count();
                prop_assert!(held <= 4, "{} keys at once", held);
            }
        }
    }
}
