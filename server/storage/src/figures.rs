//! Figures for metrics: counted with relaxed atomics, so that counting costs nobody anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How values are spread: counts up to given bounds, and the sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what exceeds them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Each bound with the count of values that do not exceed it.
    pub up_to: Vec<(u64, u64)>,
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
}

impl Histogram {
    /// Nothing yet. The bounds ascend.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value.
    pub fn note(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a time, in microseconds.
    pub fn note_time(&self, time: Duration) {
        self.note(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// What was counted until now.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(self.bounds.len());
        let mut bounds = self.bounds.iter();
        for counted in &self.counts {
            count += counted.load(Ordering::Relaxed);
            if let Some(bound) = bounds.next() {
                up_to.push((*bound, count));
            }
        }
        Spread {
            up_to,
            count,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// What the writer does.
#[derive(Debug)]
pub struct WriterFigures {
    /// Commits in each transaction.
    pub batches: Histogram,
    /// Microseconds of each transaction, from its beginning to the flush.
    pub transactions: Histogram,
    /// Microseconds of each flush.
    pub flushes: Histogram,
    /// Transactions that were rolled back, each attempt counted.
    pub failures: AtomicU64,
}

/// In microseconds.
const TIMES: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_000_000,
];

impl Default for WriterFigures {
    fn default() -> Self {
        Self {
            batches: Histogram::new(&[1, 2, 4, 8, 16, 32, 64, 128, 256]),
            transactions: Histogram::new(TIMES),
            flushes: Histogram::new(TIMES),
            failures: AtomicU64::new(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_their_bounds_and_beyond() {
        let histogram = Histogram::new(&[1, 10]);
        for value in [0, 1, 2, 10, 11, 1_000] {
            histogram.note(value);
        }
        let spread = Spread {
            up_to: vec![(1, 2), (10, 4)],
            count: 6,
            sum: 1_024,
        };
        assert_eq!(histogram.spread(), spread);
    }
}
