//! Moments: what changes of typing and presence are numbered with, since they are in memory alone.
//!
//! A moment is the time in milliseconds, moved on where two changes fall into one. So moments of
//! one run of the process are in the order of the changes, and those of different runs in the order of
//! time: a token of an earlier run still says what its client cannot have.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hearth_protocol::ambient::Clock;

/// Gives out moments.
pub struct Moments {
    clock: Arc<dyn Clock>,
    last: AtomicI64,
}

impl std::fmt::Debug for Moments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Moments").field(&self.last).finish()
    }
}

impl Moments {
    /// None was given out yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            last: AtomicI64::new(0),
        }
    }

    /// This moment: every change so far is at or before it, and every later one after it.
    #[must_use]
    pub fn now(&self) -> i64 {
        let now_ms = self.clock.now_ms();
        self.last.fetch_max(now_ms, Ordering::AcqRel).max(now_ms)
    }

    /// The moment of a change.
    #[must_use]
    pub fn next(&self) -> i64 {
        let now_ms = self.clock.now_ms();
        let next = |last: i64| now_ms.max(last.saturating_add(1));
        let moved = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        next(moved.unwrap_or_else(|last| last))
    }
}

#[cfg(test)]
mod tests {
    use hearth_protocol::ambient::ManualClock;

    use super::*;

    #[test]
    fn a_change_is_after_what_was_looked_at_before() {
        let clock = Arc::new(ManualClock::new(5));
        let moments = Moments::new(clock.clone());
        assert_eq!((moments.now(), moments.next(), moments.next()), (5, 6, 7));
        assert_eq!((moments.now(), moments.next()), (7, 8));
        clock.advance(100);
        assert_eq!(
            (moments.next(), moments.now(), moments.next()),
            (105, 105, 106)
        );
    }
}
