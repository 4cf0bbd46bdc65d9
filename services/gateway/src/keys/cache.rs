use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use auth::ApiKeyHash;

use super::record::KeyRecord;

/// What the store said about secrets a moment ago: also that it knows nothing of them. Bounded: when it is full, what is
/// over goes, then anything.
pub(super) struct Cache {
    max: usize,
    ttl_ms: u64,
    seen: Mutex<HashMap<ApiKeyHash, Seen>>,
    /// Counts what was forgotten: what was read from the store before may be older.
    forgotten: AtomicU64,
}

struct Seen {
    record: Option<Arc<KeyRecord>>,
    until_ms: u64,
}

impl Cache {
    pub(super) fn new(max: usize, ttl_ms: u64) -> Self {
        Self { max, ttl_ms, seen: Mutex::default(), forgotten: AtomicU64::new(0) }
    }

    /// What the store said; `None` when it must be asked.
    pub(super) fn get(&self, hash: &ApiKeyHash, now_ms: u64) -> Option<Option<Arc<KeyRecord>>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(hash).filter(|seen| now_ms < seen.until_ms).map(|seen| seen.record.clone())
    }

    /// To be asked for before the store is.
    pub(super) fn mark(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    /// Keeps what the store said, unless something was forgotten since `mark`.
    pub(super) fn put(&self, hash: ApiKeyHash, record: Option<Arc<KeyRecord>>, now_ms: u64, mark: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mark() != mark {
            return;
        }
        if seen.len() >= self.max && !seen.contains_key(&hash) {
            seen.retain(|_, seen| now_ms < seen.until_ms);
            let victim = (seen.len() >= self.max).then(|| seen.keys().next().copied()).flatten();
            victim.map(|victim| seen.remove(&victim));
        }
        seen.insert(hash, Seen { record, until_ms: now_ms.saturating_add(self.ttl_ms) });
    }

    /// Forgets what is known of a key.
    pub(super) fn forget(&self, key_id: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        seen.retain(|_, seen| seen.record.as_ref().is_none_or(|record| record.key_id != key_id));
    }
}

#[cfg(test)]
mod tests {
    use auth::{ApiKey, KeyKind};
    use clock::Entropy;

    use super::*;

    #[test]
    fn it_holds_no_more_than_it_may_and_nothing_for_long() {
        let cache = Cache::new(2, 100);
        let hashes: Vec<_> = (0..5).map(|n| ApiKey::generate(KeyKind::Test, &Entropy::seeded(n)).hash()).collect();
        for (now_ms, hash) in hashes.iter().enumerate() {
            cache.put(*hash, None, now_ms as u64, 0);
            assert!(cache.get(hash, now_ms as u64).is_some());
            assert!(cache.seen.lock().unwrap().len() <= 2);
        }
        assert!(cache.get(&hashes[4], 103).is_some() && cache.get(&hashes[4], 104).is_none());
        // What was on its way from the store when a key was changed is not believed.
        let mark = cache.mark();
        cache.forget("key_1");
        cache.put(hashes[0], None, 200, mark);
        assert!(cache.get(&hashes[0], 200).is_none());
    }
}
