//! Time and randomness as parameters.
//!
//! The whole server takes its clock and its randomness through these two traits; only the process
//! itself supplies the real ones. That is what lets a simulator own both.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Where the current time comes from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// Where randomness comes from. Real implementations must be cryptographically secure.
pub trait Entropy: Send + Sync {
    /// Fills the whole of `out` with random bytes.
    fn fill(&self, out: &mut [u8]);
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now_ms`.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self(AtomicI64::new(now_ms))
    }

    /// Moves the clock forward by `by_ms` milliseconds.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Repeatable pseudo-randomness from a seed (SplitMix64), for tests and simulations. Not secure.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// The same seed gives the same bytes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        split_mix(&mut self.0.fetch_add(STEP, Ordering::SeqCst))
    }
}

/// How far SplitMix64 steps.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The next number of SplitMix64, whose whole state is one number: for what a seed decides and tests
/// repeat. Nothing secret may come of it.
pub fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(STEP);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            for (to, from) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *to = from;
            }
        }
    }
}
