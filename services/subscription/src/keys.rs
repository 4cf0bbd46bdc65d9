//! The keys that proofs are signed with: kept in our own store, published before their first use, rotated.
//!
//! | partition | sort | what |
//! |---|---|---|
//! | `proof-keys` | `head` | counts the keys made; whoever makes the next one must have seen the last |
//! | `proof-keys` | `key#<kid>` | a [`StoredKey`], its private half sealed (`vault.rs`); expires with the key |
//! | `proof-keys` | `withdrawn#<kid>` | a key that is not to be trusted any more; expires when the key would have |

use std::sync::{Arc, Mutex, PoisonError};

use auth::{Entitlement, IssueError, ProofSigner, SKEW_MS, SignerRules, SigningKey};
use bus::Trail;
use clock::{Clock, Entropy};
use contracts::events::subscription::{ProofKey, ProofKeyPublishedV1, ProofKeyWithdrawnV1, SubscriptionEvent};
use contracts::requests::subscription::ProofIssued;
use outbox::{Outbox, Unit};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use store::{Condition, Item, Key, Query, StoreError, StoreErrorKind};

use crate::config::ProofConfig;
use crate::vault::{Sealed, Vault};

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
    /// The public half: told to verifiers even where the private one can't be opened.
    #[serde(default)]
    public_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
    /// The private half as versions before sealing wrote it; gone at the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    use_from_ms: u64,
    not_after_ms: u64,
}

struct HeldKey {
    times: Times,
    public: ProofKey,
    /// None where the private half can't be opened.
    signer: Option<ProofSigner>,
}

/// A key as operators may see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KeyView {
    pub(crate) kid: String,
    pub(crate) public_key: String,
    /// `next`, `signing` or `verifying`.
    pub(crate) state: &'static str,
    /// Whether its private half can be opened with the secrets there are.
    pub(crate) can_sign: bool,
    pub(crate) use_from_ms: u64,
    pub(crate) not_after_ms: u64,
}

/// The keys, in the store and in memory.
pub(crate) struct Keys {
    outbox: Outbox,
    clock: Clock,
    entropy: Entropy,
    config: ProofConfig,
    vault: Vault,
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

/// The newest key in use that can sign.
fn signing(held: &[HeldKey], now_ms: u64) -> Option<&HeldKey> {
    let in_use = held.iter().filter(|key| key.times.use_from_ms <= now_ms && key.signer.is_some());
    in_use.max_by_key(|key| key.times.use_from_ms)
}

/// No source: it might show a part of the key.
fn corrupt(item: &Item) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("the key at {} can't be read", item.key))
}

/// Whether a key may sign now and its proofs live as long as they should.
fn is_usable(key: Times, now_ms: u64, config: &ProofConfig) -> bool {
    key.use_from_ms <= now_ms && now_ms.saturating_add(config.ttl_ms) < key.not_after_ms
}

impl Keys {
    pub(crate) fn new(outbox: Outbox, clock: Clock, entropy: Entropy, config: ProofConfig) -> Self {
        let vault = Vault::new(config.sealing_secret.clone(), entropy.clone());
        Self { outbox, clock, entropy, config, vault, held: Mutex::default() }
    }

    /// Reads the keys and makes the next one when it is due. Other processes of the service may do the same at once.
    pub(crate) async fn maintain(&self) -> Result<(), StoreError> {
        for _ in 0..8 {
            let head = self.outbox.store().get(&Key::new(PARTITION, HEAD)).await?.map_or(0, |item| item.version);
            self.load().await?;
            // One that can't sign is as good as none.
            let times: Vec<_> = self.held().iter().filter(|key| key.signer.is_some()).map(|key| key.times).collect();
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
        match signing(&self.held(), now_ms).and_then(|key| key.signer.as_ref()) {
            Some(signer) => signer.issue(entitlement, now_ms),
            None => Err(IssueError::KeyRetired { kid: "(none)".to_owned() }),
        }
    }

    /// Every key there is, for operators.
    pub(crate) async fn views(&self) -> Result<Vec<KeyView>, StoreError> {
        self.load().await?;
        let (now_ms, held) = (self.clock.now_ms(), self.held());
        let signing = signing(&held, now_ms).map(|key| key.public.kid.clone());
        let state = |key: &HeldKey| match () {
            () if signing.as_ref() == Some(&key.public.kid) => "signing",
            () if key.times.use_from_ms > now_ms => "next",
            () => "verifying",
        };
        let view = |key: &HeldKey| KeyView {
            kid: key.public.kid.clone(),
            public_key: key.public.public_key.clone(),
            state: state(key),
            can_sign: key.signer.is_some(),
            use_from_ms: key.times.use_from_ms,
            not_after_ms: key.times.not_after_ms,
        };
        Ok(held.iter().map(view).collect())
    }

    /// Keys that were withdrawn before their time.
    pub(crate) async fn withdrawn(&self) -> Result<Vec<ProofKeyWithdrawnV1>, StoreError> {
        let page = self.outbox.store().query(&Query::prefix(PARTITION, "withdrawn#", PAGE)).await?;
        page.items.iter().map(|item| serde_json::from_str(&item.body).map_err(|_| corrupt(item))).collect()
    }

    /// Trusts a key no more, tells every verifier, and has another one at once. False when there is no such key.
    pub(crate) async fn withdraw(&self, kid: &str, reason: &str, trail: &Trail) -> Result<bool, StoreError> {
        for _ in 0..8 {
            let head = self.outbox.store().get(&Key::new(PARTITION, HEAD)).await?.map_or(0, |item| item.version);
            self.load().await?;
            let Some(until_ms) = self.held().iter().find(|key| key.public.kid == kid).map(|key| key.times.not_after_ms)
            else {
                return Ok(false);
            };
            let fact = ProofKeyWithdrawnV1 { kid: kid.to_owned(), until_ms, reason: reason.to_owned() };
            let body = serde_json::to_string(&fact).expect("a withdrawal is plain data");
            let mut note = Item::new(Key::new(PARTITION, format!("withdrawn#{kid}")), 1, body);
            note.expires_at_ms = Some(until_ms.saturating_add(SKEW_MS));
            let mut unit = Unit::new();
            unit.put(Item::new(Key::new(PARTITION, HEAD), head + 1, "{}"), Condition::Version(head));
            unit.delete(Key::new(PARTITION, format!("key#{kid}")), Condition::Exists);
            unit.put(note, Condition::Any);
            unit.publish(&service::platform_tenant(), head + 1, trail, &SubscriptionEvent::from(fact));
            match self.outbox.commit(unit).await {
                Ok(()) => {
                    tracing::warn!(kid, reason, "a proof key was withdrawn");
                    self.maintain().await?;
                    return Ok(true);
                }
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::new(StoreErrorKind::Contended, "proof keys are being changed by many at once; try again"))
    }

    /// Every key that may verify now, those not used yet included, as any process of the service made them.
    pub(crate) async fn public(&self) -> Result<Vec<ProofKey>, StoreError> {
        self.load().await?;
        let now_ms = self.clock.now_ms();
        let held = self.held();
        let good = held.iter().filter(|key| now_ms < key.times.not_after_ms.saturating_add(SKEW_MS));
        Ok(good.map(|key| key.public.clone()).collect())
    }

    fn held(&self) -> Arc<Vec<HeldKey>> {
        Arc::clone(&self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn load(&self) -> Result<(), StoreError> {
        let page = self.outbox.store().query(&Query::prefix(PARTITION, "key#", PAGE)).await?;
        let mut held = Vec::with_capacity(page.items.len());
        for item in &page.items {
            held.push(self.read(item).await?);
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
        Ok(())
    }

    async fn read(&self, item: &Item) -> Result<HeldKey, StoreError> {
        let mut stored: StoredKey = serde_json::from_str(&item.body).map_err(|_| corrupt(item))?;
        let key = match (&stored.sealed, stored.seed.take()) {
            (Some(sealed), _) => self.vault.open(&stored.kid, sealed).map_err(|error| error.to_string()),
            (None, Some(seed)) => {
                SigningKey::from_secret(&stored.kid, &SecretString::from(seed)).map_err(|error| error.to_string())
            }
            (None, None) => Err("it has no private half".to_owned()),
        };
        let times = Times { use_from_ms: stored.use_from_ms, not_after_ms: stored.not_after_ms };
        let (kid, not_after_ms) = (stored.kid.clone(), stored.not_after_ms);
        match key {
            Ok(key) => {
                if !stored.sealed.as_ref().is_some_and(|sealed| self.vault.is_current(sealed)) {
                    self.seal_anew(item, stored, &key).await?;
                }
                let signer = ProofSigner::new(key, not_after_ms, self.rules());
                Ok(HeldKey { times, public: signer.public(), signer: Some(signer) })
            }
            Err(error) => {
                tracing::error!(kid, error, "a proof key can't be used for signing; what it signed stays good");
                let public = ProofKey { kid, public_key: stored.public_key, not_after_ms };
                Ok(HeldKey { times, public, signer: None })
            }
        }
    }

    /// Seals a stored key with the secret of today: it was sealed with an older one, or written before there were any.
    async fn seal_anew(&self, item: &Item, stored: StoredKey, key: &SigningKey) -> Result<(), StoreError> {
        let kid = stored.kid.clone();
        let mut sealed = Item { version: item.version + 1, ..item.clone() };
        sealed.body = self.stored(key, stored.use_from_ms, stored.not_after_ms)?;
        match self.outbox.store().put(sealed, Condition::Version(item.version)).await {
            Ok(()) => tracing::info!(kid, "a proof key was sealed with the newest secret"),
            // Another process of ours did it.
            Err(error) if error.conflict().is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn stored(&self, key: &SigningKey, use_from_ms: u64, not_after_ms: u64) -> Result<String, StoreError> {
        let sealed =
            self.vault.seal(key).map_err(|error| StoreError::new(StoreErrorKind::Invalid, error.to_string()))?;
        let stored = StoredKey {
            kid: key.kid().to_owned(),
            public_key: key.public_text(),
            sealed: Some(sealed),
            seed: None,
            use_from_ms,
            not_after_ms,
        };
        Ok(serde_json::to_string(&stored).expect("a key is plain data"))
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
        let Times { use_from_ms, not_after_ms } = times;
        let body = self.stored(&key, use_from_ms, not_after_ms)?;
        let public = ProofSigner::new(key, times.not_after_ms, self.rules()).public();
        let mut item = Item::new(Key::new(PARTITION, format!("key#{kid}")), 1, body);
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
