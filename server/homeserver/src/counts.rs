//! What is counted of requests while they are answered. Atomics alone: nobody waits for a count.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use hearth_storage::figures::Histogram;

use crate::rate_limit::RateClass;

/// In microseconds.
const DURATIONS: &[u64] = &[
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// The hundreds of a status.
pub const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What one route answered.
#[derive(Debug)]
pub struct RouteCounts {
    by_status: [AtomicU64; STATUS_CLASSES.len()],
    /// How long it took, in microseconds.
    pub durations: Histogram,
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            by_status: Default::default(),
            durations: Histogram::new(DURATIONS),
        }
    }
}

impl RouteCounts {
    /// Counts an answer.
    pub fn note(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.by_status.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.note_time(took);
    }

    /// How often it answered with each class of statuses.
    pub fn by_status(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self
            .by_status
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        STATUS_CLASSES.into_iter().zip(counts)
    }
}

/// What is counted of all requests together.
#[derive(Debug, Default)]
pub struct RequestCounts {
    /// Requests that belong to no row: unknown paths, wrong methods, pages of the web client.
    pub elsewhere: RouteCounts,
    under_way: [AtomicI64; RateClass::ALL.len()],
    limited: [AtomicU64; RateClass::ALL.len()],
}

impl RequestCounts {
    /// Counts a request of a class for as long as what is returned lives.
    #[must_use]
    pub fn begin(&self, class: RateClass) -> UnderWay<'_> {
        let count = self.under_way.get(class as usize);
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        UnderWay(count)
    }

    /// Counts a request that came too soon.
    pub fn limit(&self, class: RateClass) {
        if let Some(count) = self.limited.get(class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many requests of each class are under way. Those of the class *sync* are long-polls.
    pub fn under_way(&self) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        let counts = self
            .under_way
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        RateClass::ALL.into_iter().map(RateClass::name).zip(counts)
    }

    /// How many requests of each class came too soon.
    pub fn limited(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self
            .limited
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        RateClass::ALL.into_iter().map(RateClass::name).zip(counts)
    }
}

/// A request that is counted as under way.
#[derive(Debug)]
pub struct UnderWay<'c>(Option<&'c AtomicI64>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_as_they_are_listed() {
        for (at, class) in RateClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, at, "{class:?}");
        }
    }

    #[test]
    fn a_request_is_under_way_until_it_is_answered_or_given_up() {
        let counts = RequestCounts::default();
        let sync = || {
            counts
                .under_way()
                .find(|(name, _)| *name == "sync")
                .unwrap()
                .1
        };
        let (one, two) = (counts.begin(RateClass::Sync), counts.begin(RateClass::Sync));
        assert_eq!(sync(), 2);
        drop(one);
        drop(two);
        assert_eq!(sync(), 0);
    }

    #[test]
    fn odd_statuses_are_counted_nowhere_and_harm_nothing() {
        let counts = RouteCounts::default();
        for status in [0, 99, 600, 999] {
            counts.note(status, Duration::ZERO);
        }
        counts.note(204, Duration::from_millis(3));
        assert_eq!(counts.by_status().map(|(_, count)| count).sum::<u64>(), 1);
    }
}
