//! The visible head of the log.
//!
//! A position is committed by the writer, but it becomes *visible* only when its committer lets go
//! of the receipt: until then the committer may still be bringing its caches up to date. So whoever
//! reads the head and then a cache never misses what lies at or before the head.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Commits whose receipts are still held.
#[derive(Debug)]
struct Frontier {
    /// First to last position of each open commit.
    open: BTreeMap<i64, i64>,
    /// The last position committed.
    committed: i64,
}

/// Tracks committed positions and publishes how far all of them are visible.
#[derive(Debug, Clone)]
pub struct Head {
    frontier: Arc<Mutex<Frontier>>,
    visible: watch::Sender<i64>,
}

impl Head {
    pub(crate) fn new(position: i64) -> Self {
        let frontier = Frontier {
            open: BTreeMap::new(),
            committed: position,
        };
        Self {
            frontier: Arc::new(Mutex::new(frontier)),
            visible: watch::Sender::new(position),
        }
    }

    /// The last position that is visible in every cache.
    #[must_use]
    pub fn position(&self) -> i64 {
        *self.visible.borrow()
    }

    /// The last position committed; it is visible soon, when the receipts up to it are dropped.
    #[must_use]
    pub fn committed(&self) -> i64 {
        let frontier = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
        frontier.committed
    }

    /// A receiver that wakes when the head moves.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.visible.subscribe()
    }

    /// Registers a committed range before anybody hears of it.
    pub(crate) fn open(&self, base: i64, slots: i64) -> Hold {
        self.update(|frontier| {
            frontier.committed = frontier.committed.max(base + slots - 1);
            if slots > 0 {
                frontier.open.insert(base, base + slots - 1);
            }
        });
        Hold {
            head: self.clone(),
            base,
            slots,
        }
    }

    fn update(&self, change: impl FnOnce(&mut Frontier)) {
        let mut frontier = self.frontier.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut frontier);
        let visible = match frontier.open.first_key_value() {
            Some((first, _)) => first - 1,
            None => frontier.committed,
        };
        self.visible.send_if_modified(|head| {
            let moved = visible > *head;
            if moved {
                *head = visible;
            }
            moved
        });
    }
}

/// Keeps a committed range invisible until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    head: Head,
    base: i64,
    slots: i64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.slots > 0 {
            self.head.update(|frontier| {
                frontier.open.remove(&self.base);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_visible_when_every_earlier_receipt_is_dropped() {
        let head = Head::new(10);
        let first = head.open(11, 2);
        let second = head.open(13, 1);
        assert_eq!(head.position(), 10);
        drop(second);
        assert_eq!(head.position(), 10, "13 waits for 11 and 12");
        drop(first);
        assert_eq!(head.position(), 13);
    }

    #[test]
    fn a_commit_without_positions_holds_nothing() {
        let head = Head::new(4);
        let hold = head.open(5, 0);
        assert_eq!(head.position(), 4);
        drop(hold);
        assert_eq!(head.position(), 4);
    }
}
