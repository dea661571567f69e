//! Seeded randomness: a failing run can be repeated, as far as its schedule goes.

use hearth_protocol::ambient::split_mix;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// The seeds of this run's rounds.
#[expect(
    clippy::disallowed_methods,
    reason = "the test run says how long it may take"
)]
pub(super) fn rounds() -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let first = number("HEARTH_FAULT_SEED").unwrap_or(1);
    let count = number("HEARTH_FAULT_ROUNDS").unwrap_or(1);
    first..first + count
}
