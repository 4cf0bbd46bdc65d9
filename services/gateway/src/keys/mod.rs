//! API keys: made, listed, rotated, revoked by administrators; verified with each call that brings one.
//!
//! What the store says about a secret is believed for `api_key_cache_ms`. So a key that is revoked or rotated here is void
//! here at once, and in every other gateway within that time.

mod cache;
mod record;
mod store;

pub(crate) use record::KeyRecord;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::store::{Cursor, StoreError};
use auth::{ApiKey, ApiKeyError, ApiKeyHash, KeyKind};
use clock::{Clock, Entropy};
use contracts::http::{ApiKeyIssued, ApiKeyPage, ApiKeyStatus, ApiKeyView, CreateApiKey};
use contracts::{TenantId, UserId};
use service::Platform;
use service::config::Mode;

use self::cache::Cache;
use self::record::KeyOver;
use self::store::KeyStore;

/// How often the times of last use are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(60);
/// How often a change is tried when others change the same at the same time.
const MAX_TRIES: usize = 5;

/// What bounds keys.
pub(crate) struct KeyLimits {
    /// Good keys of a tenant.
    pub(crate) per_tenant: usize,
    /// Secrets whose state is remembered.
    pub(crate) cached: usize,
    pub(crate) cache_ms: u64,
}

/// A key that was used.
#[derive(Clone, Debug)]
pub(crate) struct KeyUse {
    pub(crate) record: Arc<KeyRecord>,
    hash: ApiKeyHash,
}

/// Why an API key does not stand for anybody.
#[derive(Debug)]
pub(crate) enum KeyRefusal {
    /// Not one: its form or its checksum.
    NoKey(ApiKeyError),
    /// For the other kind of installation.
    WrongKind,
    /// Nobody has it.
    Unknown,
    /// It was good once; whose it was.
    Expired(Arc<KeyRecord>),
    Revoked(Arc<KeyRecord>),
    /// The store can't be asked.
    Unavailable,
}

/// Why a key was not made or changed.
#[derive(Debug)]
pub(crate) enum ChangeRefusal {
    /// The tenant has as many as it may.
    TooMany(usize),
    /// There is no such key in this tenant.
    NotFound,
    /// It was revoked or has expired.
    Over(ApiKeyStatus),
    /// Somebody else changes it all the time.
    Busy,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for ChangeRefusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The API keys of all tenants.
pub(crate) struct Keys {
    store: KeyStore,
    cache: Cache,
    limits: KeyLimits,
    kind: KeyKind,
    clock: Clock,
    entropy: Entropy,
    /// Last uses that are not written yet; as many as secrets may be remembered.
    used: Mutex<HashMap<(TenantId, String), u64>>,
}

impl Keys {
    /// Knows keys, and writes down when they are used, until the process stops.
    pub(crate) fn start(platform: &Platform, limits: KeyLimits) -> Arc<Self> {
        let keys = Arc::new(Self {
            store: KeyStore::new(platform.outbox.store().clone()),
            cache: Cache::new(limits.cached, limits.cache_ms),
            kind: if platform.mode == Mode::Production { KeyKind::Live } else { KeyKind::Test },
            limits,
            clock: platform.clock.clone(),
            entropy: platform.entropy.clone(),
            used: Mutex::default(),
        });
        let (flushing, stop) = (Arc::clone(&keys), platform.lifecycle.token());
        platform.lifecycle.spawn("gateway.keys", async move {
            while stop.run_until_cancelled(flushing.clock.sleep(FLUSH_INTERVAL)).await.is_some() {
                flushing.flush().await;
            }
            flushing.flush().await;
        });
        keys
    }

    /// Whose key this is, if it is good now.
    pub(crate) async fn verify(&self, text: &str) -> Result<KeyUse, KeyRefusal> {
        let key = ApiKey::parse(text).map_err(KeyRefusal::NoKey)?;
        if key.kind() != self.kind {
            return Err(KeyRefusal::WrongKind);
        }
        let used = self.look(key.hash()).await?;
        let record = &used.record;
        let mut uses = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.len() < self.limits.cached {
            uses.insert((record.tenant.clone(), record.key_id.clone()), self.clock.now_ms());
        }
        drop(uses);
        Ok(used)
    }

    /// Whether a key that was good still is.
    pub(crate) async fn verify_again(&self, used: &KeyUse) -> Result<KeyUse, KeyRefusal> {
        self.look(used.hash).await
    }

    /// How long a verified key may be believed without asking again, milliseconds.
    pub(crate) fn believed_for_ms(&self) -> u64 {
        self.limits.cache_ms
    }

    async fn look(&self, hash: ApiKeyHash) -> Result<KeyUse, KeyRefusal> {
        let now_ms = self.clock.now_ms();
        let record = match self.cache.get(&hash, now_ms) {
            Some(record) => record,
            None => {
                let mark = self.cache.mark();
                let record = self.store.by_hash(&hash).await.map_err(|error| {
                    tracing::error!(error = &error as &dyn std::error::Error, "API keys can't be looked up");
                    KeyRefusal::Unavailable
                })?;
                let record = record.map(Arc::new);
                self.cache.put(hash, record.clone(), now_ms, mark);
                record
            }
        };
        let record = record.ok_or(KeyRefusal::Unknown)?;
        match record.accepts(&hash, now_ms) {
            Ok(()) => Ok(KeyUse { record, hash }),
            Err(KeyOver::Expired) => Err(KeyRefusal::Expired(record)),
            Err(KeyOver::Revoked | KeyOver::Replaced) => Err(KeyRefusal::Revoked(record)),
        }
    }

    /// Makes a key.
    pub(crate) async fn create(
        &self,
        tenant: &TenantId,
        creator: &UserId,
        wanted: CreateApiKey,
    ) -> Result<ApiKeyIssued, ChangeRefusal> {
        let now_ms = self.clock.now_ms();
        let secret = ApiKey::generate(self.kind, &self.entropy);
        let record = KeyRecord {
            key_id: format!("key_{}", self.entropy.uuid_v7(now_ms).simple()),
            tenant: tenant.clone(),
            user_id: wanted.user_id.unwrap_or_else(|| creator.clone()),
            name: wanted.name,
            hint: secret.hint(),
            role: wanted.role,
            scopes: wanted.scopes,
            created_at_ms: now_ms,
            created_by: creator.clone(),
            expires_at_ms: wanted.expires_at_ms,
            revoked_at_ms: None,
            requests_per_minute: wanted.requests_per_minute,
            hash: secret.hash().text(),
            previous: None,
        };
        let most = self.limits.per_tenant;
        for _ in 0..MAX_TRIES {
            let (count, gate) = self.store.count(tenant, now_ms, most).await?;
            if count >= most {
                return Err(ChangeRefusal::TooMany(most));
            }
            match self.store.create(&record, &gate).await {
                Ok(()) => {
                    return Ok(ApiKeyIssued { secret: secret.expose().to_owned(), key: record.view(now_ms, None) });
                }
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeRefusal::Busy)
    }

    /// A page of the tenant's keys.
    pub(crate) async fn list(
        &self,
        tenant: &TenantId,
        limit: u32,
        after: Option<Cursor>,
    ) -> Result<ApiKeyPage, StoreError> {
        let now_ms = self.clock.now_ms();
        let (rows, next) = self.store.list(tenant, limit, after).await?;
        let view = |(record, used): (KeyRecord, Option<u64>)| {
            let used = self.unwritten_use(&record).or(used);
            record.view(now_ms, used)
        };
        Ok(ApiKeyPage { keys: rows.into_iter().map(view).collect(), next: next.map(|next| next.as_str().to_owned()) })
    }

    /// One of them.
    pub(crate) async fn get(&self, tenant: &TenantId, key_id: &str) -> Result<ApiKeyView, ChangeRefusal> {
        let found = self.store.get(tenant, key_id).await?.ok_or(ChangeRefusal::NotFound)?;
        let used = match self.unwritten_use(&found.record) {
            Some(at_ms) => Some(at_ms),
            None => self.store.last_used(tenant, key_id).await?,
        };
        Ok(found.record.view(self.clock.now_ms(), used))
    }

    fn unwritten_use(&self, record: &KeyRecord) -> Option<u64> {
        let uses = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get(&(record.tenant.clone(), record.key_id.clone())).copied()
    }

    /// Takes a key back. Doing it again changes nothing.
    pub(crate) async fn revoke(&self, tenant: &TenantId, key_id: &str) -> Result<(), ChangeRefusal> {
        let now_ms = self.clock.now_ms();
        let revoked = |record: &KeyRecord| match record.status(now_ms) {
            ApiKeyStatus::Revoked => Ok(None),
            _ => Ok(Some(KeyRecord { revoked_at_ms: Some(now_ms), ..record.clone() })),
        };
        self.change(tenant, key_id, revoked).await.map(drop)
    }

    /// Gives a key another secret; the one before stays good for `overlap_ms`.
    pub(crate) async fn rotate(
        &self,
        tenant: &TenantId,
        key_id: &str,
        overlap_ms: u64,
    ) -> Result<ApiKeyIssued, ChangeRefusal> {
        let now_ms = self.clock.now_ms();
        let secret = ApiKey::generate(self.kind, &self.entropy);
        let rotated = |record: &KeyRecord| match record.status(now_ms) {
            ApiKeyStatus::Active => {
                Ok(Some(record.rotated(&secret.hash(), secret.hint(), now_ms, now_ms.saturating_add(overlap_ms))))
            }
            over => Err(ChangeRefusal::Over(over)),
        };
        let record = self.change(tenant, key_id, rotated).await?;
        let used = self.unwritten_use(&record);
        Ok(ApiKeyIssued { secret: secret.expose().to_owned(), key: record.view(now_ms, used) })
    }

    /// Replaces a key by what `next` makes of it; `None` leaves it as it is.
    async fn change(
        &self,
        tenant: &TenantId,
        key_id: &str,
        next: impl Fn(&KeyRecord) -> Result<Option<KeyRecord>, ChangeRefusal>,
    ) -> Result<KeyRecord, ChangeRefusal> {
        for _ in 0..MAX_TRIES {
            let found = self.store.get(tenant, key_id).await?.ok_or(ChangeRefusal::NotFound)?;
            let Some(changed) = next(&found.record)? else { return Ok(found.record) };
            match self.store.replace(&found, &changed).await {
                Ok(()) => {
                    self.cache.forget(key_id);
                    return Ok(changed);
                }
                Err(error) if error.conflict().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeRefusal::Busy)
    }

    /// Writes the times of last use. What can't be written is tried again with the next ones, unless it was used since.
    async fn flush(&self) {
        let uses = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if uses.is_empty() {
            return;
        }
        let uses: Vec<_> = uses.into_iter().collect();
        if let Err(error) = self.store.used(&uses).await {
            tracing::warn!(%error, "when API keys were last used could not be written; tried again");
            let mut later = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, at_ms) in uses {
                if later.len() < self.limits.cached {
                    later.entry(key).or_insert(at_ms);
                }
            }
        }
    }
}
