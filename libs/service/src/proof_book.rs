//! What a service that checks subscription proofs has to know: the keys and the revocations, kept in its own store,
//! fed by the subscription service's events, shared with its other processes.
//!
//! A revocation reaches one process of the service as an event; that one stores it and tells the others by signal.
//! Whoever misses the signal reads the store every few seconds, and a proof's short life ends the rest. A service that
//! starts after things happened asks the subscription service for a snapshot, and goes on asking until it has one.

use std::sync::Arc;
use std::time::Duration;

use auth::{Expected, Proof, ProofError, ProofKeyError, ProofRules, ProofVerifier};
use bus::{Envelope, Trail};
use contracts::events::subscription::{
    ProofKey, ProofKeyPublishedV1, ProofKeyWithdrawnV1, ProofRevokedV1, SubscriptionEvent,
};
use contracts::requests::billing::ProofSnapshotV1;
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
/// Items read per page when loading, and revocations per page of a snapshot.
const PAGE: u32 = 500;
/// Pages of one snapshot: more revocations than that are more than any verifier holds.
const MAX_PAGES: usize = 1_000;
/// First and longest wait before a snapshot that failed is asked for again.
const SNAPSHOT_RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Signals that wait; beyond that the oldest are dropped and the next reload makes up for them.
const SIGNAL_BUFFER: usize = 1_024;

const KEYS: &str = "proof-keys";
const REVOKED: &str = "proof-revoked";
const WITHDRAWN: &str = "proof-keys-withdrawn";

/// The events a proof book needs; part of its service's SUBSCRIPTIONS.
pub const PROOF_SUBSCRIPTIONS: [Subscription; 3] = [
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
    Subscription {
        kind: ProofKeyWithdrawnV1::KIND,
        retry: RetryPolicy::DEFAULT,
        order: Order::Every,
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
                reloader.sweep();
            }
        });
        let late = Arc::clone(&book);
        platform.lifecycle.spawn("proofs.snapshot", async move {
            let stop = late.platform.lifecycle.token();
            stop.run_until_cancelled(late.catch_up()).await;
        });
        Ok(book)
    }

    /// What the proof says, if it is good for this tenant and peer now. An unknown key is asked for once.
    ///
    /// # Errors
    /// Which rule the proof breaks.
    pub async fn verify(&self, tenant: &TenantId, peer: &PeerId, proof: &str) -> Result<Arc<Proof>, ProofError> {
        let expected = Expected { tenant, peer, peer_key: None };
        let mut verdict = self.verifier.verify(proof, expected, self.platform.clock.now_ms());
        if matches!(verdict, Err(ProofError::UnknownKey { .. })) {
            self.refresh().await;
            verdict = self.verifier.verify(proof, expected, self.platform.clock.now_ms());
        }
        let outcome = verdict.as_ref().map_or_else(ProofError::code, |_| "ok");
        metrics::counter!("synapse_proofs_checked_total", "outcome" => outcome).increment(1);
        verdict
    }

    /// The public keys that verify now or soon. Where none is known the subscription service is asked once.
    pub async fn keys(&self) -> Vec<ProofKey> {
        let keys = self.verifier.keys();
        if !keys.is_empty() {
            return keys;
        }
        self.refresh().await;
        self.verifier.keys()
    }

    /// Whether proofs of `subscription` with this `ver` are void.
    pub fn is_revoked(&self, subscription: &SubscriptionId, ver: u64) -> bool {
        self.verifier.is_revoked(subscription, ver)
    }

    /// Whether proofs signed with this key can be good: it was neither withdrawn nor is its time over.
    pub fn knows_key(&self, kid: &str) -> bool {
        self.verifier.knows_key(kid)
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
            ProofKeyWithdrawnV1::KIND => outbox::read::<ProofKeyWithdrawnV1>(service, event)?.into(),
            ProofRevokedV1::KIND => outbox::read::<ProofRevokedV1>(service, event)?.into(),
            _ => return Ok(None),
        };
        let now_ms = self.platform.clock.now_ms();
        match &decoded {
            SubscriptionEvent::ProofKeyPublished(published) => {
                match self.verifier.add_key(&published.key, now_ms) {
                    // The two facts crossed, or this one is an old copy.
                    Err(ProofKeyError::Withdrawn { .. }) => return Ok(Some(decoded)),
                    added => added.map_err(|error| Failure::Permanent(error.to_string()))?,
                }
                unit.put(key_item(&published.key), Condition::Any);
            }
            SubscriptionEvent::ProofKeyWithdrawn(withdrawn) => {
                self.verifier.withdraw_key(&withdrawn.kid, withdrawn.until_ms);
                unit.delete(Key::new(KEYS, &withdrawn.kid), Condition::Any);
                unit.put(withdrawn_item(withdrawn), Condition::Any);
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
        // Before the keys, which may hold one that another process was told to forget.
        self.withdraw(&self.read_all(WITHDRAWN).await?);
        self.add_keys(&self.read_all(KEYS).await?);
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

    fn add_keys(&self, keys: &[ProofKey]) {
        let now_ms = self.platform.clock.now_ms();
        for key in keys {
            match self.verifier.add_key(key, now_ms) {
                Ok(()) | Err(ProofKeyError::Withdrawn { .. }) => {}
                Err(error) => tracing::warn!(%error, "a proof key is not used"),
            }
        }
    }

    fn withdraw(&self, withdrawn: &[ProofKeyWithdrawnV1]) {
        for key in withdrawn {
            self.verifier.withdraw_key(&key.kid, key.until_ms);
        }
    }

    fn sweep(&self) {
        let gone = self.verifier.sweep(self.platform.clock.now_ms());
        if gone > 0 {
            tracing::debug!(gone, "expired proofs were forgotten");
        }
        let (revocations, cached) = (self.verifier.revocations(), self.verifier.cached());
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        {
            metrics::gauge!("synapse_proofs_revocations").set(revocations as f64);
            metrics::gauge!("synapse_proofs_remembered").set(cached as f64);
        }
    }

    /// Asks for what happened before this service listened, until it is told.
    async fn catch_up(&self) {
        let mut wait = SNAPSHOT_RETRY.0;
        while let Err(error) = self.take_snapshot().await {
            tracing::info!(%error, "the snapshot of proof keys and revocations is not here yet");
            self.platform.clock.sleep(wait).await;
            wait = (wait * 2).min(SNAPSHOT_RETRY.1);
        }
    }

    async fn take_snapshot(&self) -> anyhow::Result<()> {
        let trail = Trail::fresh(&self.platform.clock, &self.platform.entropy);
        let (platform, tenant) = (&self.platform, crate::platform_tenant());
        let mut ask = ProofSnapshotV1 { after: None, limit: PAGE };
        for _ in 0..MAX_PAGES {
            let answer = platform.bus.ask(&platform.sender, &tenant, &trail, &ask, REFRESH_TIMEOUT).await?;
            let page = crate::expect_reply(answer).map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
            self.withdraw(&page.withdrawn);
            self.add_keys(&page.keys);
            self.verifier.revoke_all(&page.revocations, platform.clock.now_ms());
            match page.next {
                Some(next) => ask.after = Some(next),
                None => return Ok(()),
            }
        }
        anyhow::bail!("the snapshot has more than {MAX_PAGES} pages")
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
            Ok(Answer::Ok(reply)) => self.add_keys(&reply.keys),
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

fn withdrawn_item(withdrawn: &ProofKeyWithdrawnV1) -> Item {
    let body = serde_json::to_string(withdrawn).expect("a withdrawal is plain data");
    let mut item = Item::new(Key::new(WITHDRAWN, &withdrawn.kid), 1, body);
    item.expires_at_ms = Some(withdrawn.until_ms.saturating_add(auth::SKEW_MS));
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
