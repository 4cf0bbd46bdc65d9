use std::sync::{Arc, Mutex, PoisonError};

use uuid::{Builder, Uuid};

/// A handle to randomness: the operating system's, or a seeded stream that repeats itself in tests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Entropy {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Seeded(Arc<Mutex<u64>>),
}

impl Entropy {
    /// The operating system's randomness, fit for keys and tokens.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A repeatable stream for tests. Never fit for keys.
    pub fn seeded(seed: u64) -> Self {
        Self { source: Source::Seeded(Arc::new(Mutex::new(seed))) }
    }

    /// Fills `buffer` with random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe can be done after that.
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.source {
            Source::System => getrandom::fill(buffer).expect("the operating system gives randomness"),
            Source::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in buffer.chunks_mut(8) {
                    let bytes = split_mix(&mut state).to_le_bytes();
                    chunk.copy_from_slice(&bytes[..chunk.len()]);
                }
            }
        }
    }

    /// A random 64-bit number.
    pub fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number in `0..=max`, for jitter. The bias of the modulo is below 2⁻³² for any wait that fits 32 bits.
    pub fn up_to(&self, max: u64) -> u64 {
        if max == u64::MAX { self.next_u64() } else { self.next_u64() % (max + 1) }
    }

    /// A time-ordered unique id (UUID version 7, RFC 9562 §5.7) for the moment `now_ms`.
    pub fn uuid_v7(&self, now_ms: u64) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        Builder::from_unix_timestamp_millis(now_ms, &bytes).into_uuid()
    }
}

// SplitMix64 (Steele, Lea, Flood 2014): enough for repeatable tests.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        assert_eq!(Entropy::seeded(7).next_u64(), Entropy::seeded(7).next_u64());
        assert_ne!(Entropy::seeded(7).next_u64(), Entropy::seeded(8).next_u64());
    }

    #[test]
    fn ids_made_later_sort_later() {
        let entropy = Entropy::system();
        assert!(entropy.uuid_v7(1_000) < entropy.uuid_v7(1_001));
        assert_ne!(entropy.uuid_v7(1_000), entropy.uuid_v7(1_000));
    }

    #[test]
    fn jitter_stays_in_its_range() {
        let entropy = Entropy::seeded(1);
        assert!((0..1_000).all(|_| entropy.up_to(3) <= 3));
        assert_eq!(entropy.up_to(0), 0);
    }
}
