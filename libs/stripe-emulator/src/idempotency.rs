use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// How long Stripe keeps a key: 24 hours.
const KEPT_MS: u64 = 24 * 3_600 * 1_000;

/// A kept result: what the first request with the key was answered.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) request_id: String,
}

/// What a request with a key meets.
pub(crate) enum Begin {
    /// Nobody used the key: run, then `finish` the guard.
    Fresh(InFlight),
    Replay(Stored),
    Mismatch,
    InUse,
}

/// The idempotency keys of one emulator. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    inner: Arc<Mutex<Inner>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    // Finished keys, oldest first.
    finished: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: [u8; 32],
    stored: Option<Stored>,
}

impl Keys {
    pub(crate) fn new(limit: usize) -> Self {
        Self { inner: Arc::default(), limit }
    }

    /// Claims the key for a request with this fingerprint.
    pub(crate) fn begin(&self, key: &str, fingerprint: [u8; 32], now_ms: u64) -> Begin {
        let mut inner = self.lock();
        inner.expire(now_ms, self.limit);
        match inner.entries.get(key) {
            Some(entry) if entry.fingerprint != fingerprint => Begin::Mismatch,
            Some(Entry { stored: Some(stored), .. }) => Begin::Replay(stored.clone()),
            Some(_) => Begin::InUse,
            None => {
                inner.entries.insert(key.to_owned(), Entry { fingerprint, stored: None });
                Begin::Fresh(InFlight { keys: self.clone(), key: Some(key.to_owned()) })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn expire(&mut self, now_ms: u64, limit: usize) {
        while let Some((at_ms, _)) = self.finished.front() {
            if self.finished.len() <= limit && now_ms.saturating_sub(*at_ms) < KEPT_MS {
                return;
            }
            if let Some((_, key)) = self.finished.pop_front() {
                self.entries.remove(&key);
            }
        }
    }
}

/// A claimed key. Dropped without a result (the client went away, the request never ran) it frees the key.
#[derive(Debug)]
pub(crate) struct InFlight {
    keys: Keys,
    key: Option<String>,
}

impl InFlight {
    /// Keeps the result for replays.
    pub(crate) fn finish(mut self, stored: Stored, now_ms: u64) {
        let Some(key) = self.key.take() else { return };
        let mut inner = self.keys.lock();
        if let Some(entry) = inner.entries.get_mut(&key) {
            entry.stored = Some(stored);
        }
        inner.finished.push_back((now_ms, key));
        inner.expire(now_ms, self.keys.limit);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.keys.lock().entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Stored {
        Stored { status: 200, body: "{}".to_owned(), request_id: "req_1".to_owned() }
    }

    fn run(keys: &Keys, key: &str, now_ms: u64) {
        match keys.begin(key, [0; 32], now_ms) {
            Begin::Fresh(guard) => guard.finish(stored(), now_ms),
            _ => panic!("{key} was used before"),
        }
    }

    #[test]
    fn a_key_is_fresh_then_in_use_then_replayed_then_forgotten() {
        let keys = Keys::new(10);
        let Begin::Fresh(guard) = keys.begin("k", [0; 32], 0) else { panic!("fresh") };
        assert!(matches!(keys.begin("k", [0; 32], 0), Begin::InUse));
        assert!(matches!(keys.begin("k", [1; 32], 0), Begin::Mismatch));
        guard.finish(stored(), 0);
        assert!(matches!(keys.begin("k", [0; 32], KEPT_MS - 1), Begin::Replay(_)));
        assert!(matches!(keys.begin("k", [0; 32], KEPT_MS), Begin::Fresh(_)));
    }

    #[test]
    fn an_abandoned_claim_frees_its_key() {
        let keys = Keys::new(10);
        drop(keys.begin("k", [0; 32], 0));
        assert!(matches!(keys.begin("k", [1; 32], 0), Begin::Fresh(_)));
    }

    #[test]
    fn the_oldest_keys_go_when_there_are_too_many() {
        let keys = Keys::new(2);
        for key in ["a", "b", "c"] {
            run(&keys, key, 0);
        }
        assert!(matches!(keys.begin("a", [0; 32], 0), Begin::Fresh(_)));
        assert!(matches!(keys.begin("c", [0; 32], 0), Begin::Replay(_)));
    }
}
