use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::Proof;

/// SHA-256 of a proof's text. A collision would let one proof pass for another, so nothing weaker will do.
pub(super) type Fingerprint = [u8; 32];

pub(super) fn fingerprint(proof: &str) -> Fingerprint {
    digest(&SHA256, proof.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

const SHARDS: usize = 16;

/// Proofs whose signature was found good, so that it is computed once. Two generations per shard: when the young one is
/// full it becomes the old one and the old one is forgotten, so the bound holds and what is used stays.
pub(super) struct Cache {
    shards: [Mutex<Generations>; SHARDS],
    /// Entries of one generation of one shard.
    room: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Fingerprint, Arc<Proof>>,
    old: HashMap<Fingerprint, Arc<Proof>>,
}

impl Cache {
    /// Holds at most `max` proofs, rounded up to a multiple of 32; none when `max` is 0.
    pub(super) fn new(max: usize) -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), room: max.div_ceil(SHARDS * 2) }
    }

    pub(super) fn get(&self, key: &Fingerprint) -> Option<Arc<Proof>> {
        let mut shard = self.shard(key);
        if let Some(proof) = shard.young.get(key) {
            return Some(Arc::clone(proof));
        }
        let proof = shard.old.remove(key)?;
        self.put(&mut shard, *key, Arc::clone(&proof));
        Some(proof)
    }

    pub(super) fn insert(&self, key: Fingerprint, proof: Arc<Proof>) {
        let mut shard = self.shard(&key);
        self.put(&mut shard, key, proof);
    }

    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
        }
    }

    /// Keeps only what `keep` says; returns how many went.
    pub(super) fn sweep(&self, keep: impl Fn(&Proof) -> bool) -> usize {
        let mut gone = 0;
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let before = shard.young.len() + shard.old.len();
            shard.young.retain(|_, proof| keep(proof));
            shard.old.retain(|_, proof| keep(proof));
            gone += before - shard.young.len() - shard.old.len();
        }
        gone
    }

    pub(super) fn len(&self) -> usize {
        let size = |shard: &Generations| shard.young.len() + shard.old.len();
        self.shards.iter().map(|shard| size(&shard.lock().unwrap_or_else(PoisonError::into_inner))).sum()
    }

    fn put(&self, shard: &mut Generations, key: Fingerprint, proof: Arc<Proof>) {
        if self.room == 0 {
            return;
        }
        if shard.young.len() >= self.room {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key, proof);
    }

    fn shard(&self, key: &Fingerprint) -> std::sync::MutexGuard<'_, Generations> {
        // Nothing panics while a shard is locked; were it otherwise, a half-made cache is still a correct one.
        self.shards[usize::from(key[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
