//! What a service that checks subscription proofs has to know: the keys and the revocations, kept in its own store,
//! fed by the subscription service's events, shared with its other processes.
//!
//! A revocation reaches one process of the service as an event; that one stores it and tells the others by signal.
//! Whoever misses the signal reads the store every few seconds, and a proof's short life ends the rest.

use std::sync::Arc;
use std::time::Duration;

use auth::{Expected, Proof, ProofError, ProofRules, ProofVerifier};
use bus::{Envelope, Trail};
use contracts::events::subscription::{ProofKey, ProofKeyPublishedV1, ProofRevokedV1, SubscriptionEvent};
use contracts::requests::subscription::ListProofKeysV1;
use contracts::signals::EVERYBODY;
use contracts::signals::gateway::EntitlementLostV1;
use contracts::{Answer, Class, Contract, PeerId, SubscriptionId, TenantId};
use outbox::{Effects, Failure, Order, RetryPolicy, Subscription, Unit};
use store::{Condition, Item, Key, Query};
use tokio::sync::Mutex;

use crate::Platform;

/// Keys and revocations are read again from the store this often, for signals that were missed.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// After an unknown key made us ask, nobody makes us ask again for this long: unknown keys are cheap to invent.
const REFRESH_COOLDOWN: Duration = Duration::from_secs(1);
/// How long to wait for the subscription service's keys.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// Items read per page when loading.
const PAGE: u32 = 500;
/// Signals that wait; beyond that the oldest are dropped and the next reload makes up for them.
const SIGNAL_BUFFER: usize = 1_024;

const KEYS: &str = "proof-keys";
const REVOKED: &str = "proof-revoked";

/// The events a proof book needs; part of its service's SUBSCRIPTIONS.
pub const PROOF_SUBSCRIPTIONS: [Subscription; 2] = [
    Subscription {
        kind: ProofKeyPublishedV1::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::Every,
        effects: Effects::Local,
    },
    Subscription {
        kind: ProofRevokedV1::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::LatestWins,
        effects: Effects::Local,
    },
];

/// Keys and revocations, in memory and in the service's store.
pub struct ProofBook {
    verifier: ProofVerifier,
    platform: Platform,
    last_refresh: Mutex<Option<Duration>>,
}

impl ProofBook {
    /// Loads what the store knows, listens for revocations that other processes tell, and reloads now and then.
    ///
    /// # Errors
    /// When the store or the bus can't be reached.
    pub async fn start(platform: &Platform, rules: ProofRules) -> anyhow::Result<Arc<Self>> {
        let verifier = ProofVerifier::new(rules);
        let book = Arc::new(Self { verifier, platform: platform.clone(), last_refresh: Mutex::new(None) });
        book.load().await?;
        let mut told = platform.bus.listen(EntitlementLostV1::KIND, Some(EVERYBODY), None, SIGNAL_BUFFER).await?;
        let (listener, stop) = (Arc::clone(&book), platform.lifecycle.token());
        platform.lifecycle.spawn("proofs.listen", async move {
            while let Some(Some(envelope)) = stop.run_until_cancelled(told.next()).await {
                let (reader, kind) = (listener.platform.service, EntitlementLostV1::KIND);
                if let Ok(lost) = contracts::read(reader, Class::Signal, kind, &envelope.data) {
                    listener.verifier.revoke(&revocation(lost), listener.platform.clock.now_ms());
                }
            }
        });
        let reloader = Arc::clone(&book);
        platform.lifecycle.spawn("proofs.reload", async move {
            let stop = reloader.platform.lifecycle.token();
            while stop.run_until_cancelled(reloader.platform.clock.sleep(RELOAD_INTERVAL)).await.is_some() {
                if let Err(error) = reloader.load().await {
                    tracing::warn!(%error, "keys and revocations could not be read again");
                }
            }
        });
        Ok(book)
    }

    /// What the proof says, if it is good for this tenant and peer now. An unknown key is asked for once.
    ///
    /// # Errors
    /// Which rule the proof breaks.
    pub async fn verify(&self, tenant: &TenantId, peer: &PeerId, proof: &str) -> Result<Arc<Proof>, ProofError> {
        let expected = Expected { tenant, peer };
        match self.verifier.verify(proof, expected, self.platform.clock.now_ms()) {
            Err(ProofError::UnknownKey { .. }) => {
                self.refresh().await;
                self.verifier.verify(proof, expected, self.platform.clock.now_ms())
            }
            verdict => verdict,
        }
    }

    /// Whether proofs of `subscription` with this `ver` are void.
    pub fn is_revoked(&self, subscription: &SubscriptionId, ver: u64) -> bool {
        self.verifier.is_revoked(subscription, ver)
    }

    /// Takes in one of the events of [`PROOF_SUBSCRIPTIONS`]: in memory at once, in the store with `unit`, and to the
    /// other processes by signal. `None` when it is another event.
    ///
    /// # Errors
    /// A poisonous payload, or a key that can't be used.
    pub async fn learn(&self, event: &Envelope, unit: &mut Unit) -> Result<Option<SubscriptionEvent>, Failure> {
        let service = self.platform.service;
        let decoded: SubscriptionEvent = match event.kind.as_str() {
            ProofKeyPublishedV1::KIND => outbox::read::<ProofKeyPublishedV1>(service, event)?.into(),
            ProofRevokedV1::KIND => outbox::read::<ProofRevokedV1>(service, event)?.into(),
            _ => return Ok(None),
        };
        let now_ms = self.platform.clock.now_ms();
        match &decoded {
            SubscriptionEvent::ProofKeyPublished(published) => {
                let added = self.verifier.add_key(&published.key, now_ms);
                added.map_err(|error| Failure::Permanent(error.to_string()))?;
                unit.put(key_item(&published.key), Condition::Any);
            }
            SubscriptionEvent::ProofRevoked(revoked) => {
                self.verifier.revoke(revoked, now_ms);
                unit.put(revocation_item(revoked), Condition::Any);
                self.tell_others(&event.tenant, &event.follow(), revoked).await;
            }
            _ => return Ok(None),
        }
        Ok(Some(decoded))
    }

    async fn tell_others(&self, tenant: &TenantId, trail: &Trail, revoked: &ProofRevokedV1) {
        let lost = EntitlementLostV1 {
            subscription_id: revoked.subscription_id.clone(),
            min_ver: revoked.min_ver,
            until_ms: revoked.until_ms,
            reason: revoked.reason.clone(),
        };
        let platform = &self.platform;
        if let Err(error) = platform.bus.tell(&platform.sender, EVERYBODY, tenant, trail, &lost).await {
            tracing::warn!(%error, "other processes learn of a revocation only at their next reload");
        }
    }

    async fn load(&self) -> anyhow::Result<()> {
        let now_ms = self.platform.clock.now_ms();
        for key in self.read_all::<ProofKey>(KEYS).await? {
            if let Err(error) = self.verifier.add_key(&key, now_ms) {
                tracing::warn!(%error, "a stored proof key is not used");
            }
        }
        self.verifier.revoke_all(&self.read_all::<ProofRevokedV1>(REVOKED).await?, now_ms);
        Ok(())
    }

    async fn read_all<T: serde::de::DeserializeOwned>(&self, partition: &str) -> anyhow::Result<Vec<T>> {
        let (mut found, mut query) = (Vec::new(), Query::all(partition, PAGE));
        loop {
            let page = self.platform.outbox.store().query(&query).await?;
            for item in &page.items {
                found.push(serde_json::from_str(&item.body)?);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Asks the subscription service for its keys, at most once per cooldown; others wait for the one who asks.
    async fn refresh(&self) {
        let mut last = self.last_refresh.lock().await;
        let now = self.platform.clock.monotonic();
        if last.is_some_and(|last| now.saturating_sub(last) < REFRESH_COOLDOWN) {
            return;
        }
        *last = Some(now);
        let trail = Trail::fresh(&self.platform.clock, &self.platform.entropy);
        let tenant = crate::platform_tenant();
        let asked = self.platform.bus.ask(&self.platform.sender, &tenant, &trail, &ListProofKeysV1 {}, REFRESH_TIMEOUT);
        match asked.await {
            Ok(Answer::Ok(reply)) => {
                for key in reply.keys {
                    if let Err(error) = self.verifier.add_key(&key, self.platform.clock.now_ms()) {
                        tracing::warn!(%error, "a proof key is not used");
                    }
                }
            }
            Ok(_) => tracing::warn!("the subscription service did not tell its proof keys"),
            Err(error) => tracing::warn!(%error, "proof keys could not be asked for"),
        }
    }
}

fn key_item(key: &ProofKey) -> Item {
    let mut item = Item::new(Key::new(KEYS, &key.kid), 1, serde_json::to_string(key).expect("a key is plain data"));
    item.expires_at_ms = Some(key.not_after_ms.saturating_add(auth::SKEW_MS));
    item
}

fn revocation_item(revoked: &ProofRevokedV1) -> Item {
    let body = serde_json::to_string(revoked).expect("a revocation is plain data");
    let mut item = Item::new(Key::new(REVOKED, revoked.subscription_id.as_str()), revoked.min_ver, body);
    item.expires_at_ms = Some(revoked.until_ms.saturating_add(auth::SKEW_MS));
    item
}

fn revocation(lost: EntitlementLostV1) -> ProofRevokedV1 {
    ProofRevokedV1 {
        subscription_id: lost.subscription_id,
        min_ver: lost.min_ver,
        until_ms: lost.until_ms,
        reason: lost.reason,
    }
}
