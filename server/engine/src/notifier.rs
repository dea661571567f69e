//! Wakes long-polls: one watch per person who is waited for, and none for people who are not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Wakes the people a change concerns, after the change is visible.
#[derive(Debug, Default)]
pub struct Notifier {
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    by_user: HashMap<i64, Weak<Watch>>,
    /// Watches that nobody holds are swept when there are so many in all.
    sweep_at: usize,
}

/// One person's changes.
#[derive(Debug, Default)]
pub struct Watch {
    woken: Notify,
    others: AtomicU64,
    standing: AtomicU64,
}

impl Watch {
    /// Resolves at the next change. Enable it *before* looking at what there is, so that no change
    /// falls between the look and the wait.
    pub fn woken(&self) -> Notified<'_> {
        self.woken.notified()
    }

    /// How many changes there were, apart from those of rooms, since the watch began.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.others.load(Ordering::Acquire)
    }

    /// How often it changed, since the watch began, on which devices the person is signed in and what
    /// they may do.
    #[must_use]
    pub fn standing(&self) -> u64 {
        self.standing.load(Ordering::Acquire)
    }
}

impl Notifier {
    /// The watch of one person, for as long as somebody holds it.
    #[must_use]
    pub fn watch(&self, user_nid: i64) -> Arc<Watch> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.by_user.get(&user_nid).and_then(Weak::upgrade) {
            return watch;
        }
        if watches.by_user.len() >= watches.sweep_at {
            watches.by_user.retain(|_, watch| watch.strong_count() > 0);
            watches.sweep_at = 2 * watches.by_user.len() + 1;
        }
        let watch = Arc::new(Watch::default());
        watches.by_user.insert(user_nid, Arc::downgrade(&watch));
        watch
    }

    /// Wakes everyone of `users` who is waiting.
    pub fn wake(&self, users: impl IntoIterator<Item = i64>) {
        self.each(users, |watch| {
            watch.others.fetch_add(1, Ordering::AcqRel);
            watch.woken.notify_waiters();
        });
    }

    /// As [`Notifier::wake`], where somebody was logged out or locked: who waits looks whether it is
    /// them.
    pub fn wake_for_standing(&self, user_nid: i64) {
        self.each([user_nid], |watch| {
            watch.standing.fetch_add(1, Ordering::AcqRel);
            watch.others.fetch_add(1, Ordering::AcqRel);
            watch.woken.notify_waiters();
        });
    }

    /// As [`Notifier::wake`], where nothing changed but what was said in a room.
    pub fn wake_for_room(&self, users: impl IntoIterator<Item = i64>) {
        self.each(users, |watch| watch.woken.notify_waiters());
    }

    fn each(&self, users: impl IntoIterator<Item = i64>, wake: impl Fn(&Watch)) {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.by_user.is_empty() {
            return;
        }
        for user_nid in users {
            if let Some(watch) = watches.by_user.get(&user_nid).and_then(Weak::upgrade) {
                wake(&watch);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_those_concerned_wake() {
        let notifier = Notifier::default();
        let (one, two) = (notifier.watch(1), notifier.watch(2));
        let (first, second) = (one.woken(), two.woken());
        tokio::pin!(first, second);
        first.as_mut().enable();
        second.as_mut().enable();
        notifier.wake([1]);
        first.await;
        let still = tokio::time::timeout(std::time::Duration::from_millis(5), second).await;
        assert!(still.is_err());
    }

    #[test]
    fn what_is_said_in_rooms_is_counted_apart() {
        let notifier = Notifier::default();
        let watch = notifier.watch(1);
        notifier.wake_for_room([1]);
        assert_eq!(watch.others(), 0);
        notifier.wake([1, 2]);
        assert_eq!(notifier.watch(1).others(), 1);
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let notifier = Notifier::default();
        let held = notifier.watch(0);
        for user_nid in 0..1_000 {
            drop(notifier.watch(user_nid));
        }
        assert!(notifier.watches.lock().unwrap().by_user.len() <= 3);
        assert!(Arc::ptr_eq(&held, &notifier.watch(0)));
    }
}
