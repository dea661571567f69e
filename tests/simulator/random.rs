//! Randomness that follows from the seed.

use hearth_protocol::ambient::split_mix;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// What is decided about one thing: the same for the same seed, whatever was decided before.
    pub(crate) fn of(seed: u64, about: &[&str], nth: u64) -> Self {
        let mut state = Self(seed ^ nth.wrapping_mul(0xd6e8_feb8_6659_fd93));
        for byte in about.iter().flat_map(|part| part.bytes().chain([0])) {
            state.0 = state.next() ^ u64::from(byte);
        }
        state.next();
        state
    }

    pub(crate) fn next(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap();
        usize::try_from(self.below(len)).unwrap()
    }

    /// True so many times in a thousand.
    pub(crate) fn in_thousand(&mut self, times: u64) -> bool {
        self.below(1_000) < times
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    pub(crate) fn word(&mut self, of: &[&'static str]) -> &'static str {
        of[self.index(of.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.index(at + 1));
        }
    }
}
