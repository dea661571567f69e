//! Wakes long-polls: one counter per person who is waiting, and none for people who are not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// Wakes the people a change concerns, after the change is visible.
#[derive(Debug, Default)]
pub struct Notifier {
    waiting: Mutex<HashMap<i64, Weak<Notify>>>,
}

impl Notifier {
    /// Registers interest in one person's changes. Take it *before* reading what there is, so that
    /// no change falls between the look and the wait.
    #[must_use]
    pub fn watch(&self, user_nid: i64) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = waiting.get(&user_nid).and_then(Weak::upgrade) {
            return notify;
        }
        waiting.retain(|_, notify| notify.strong_count() > 0);
        let notify = Arc::new(Notify::new());
        waiting.insert(user_nid, Arc::downgrade(&notify));
        notify
    }

    /// Wakes everyone of `users` who is waiting.
    pub fn wake(&self, users: impl IntoIterator<Item = i64>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() {
            return;
        }
        for user_nid in users {
            if let Some(notify) = waiting.get(&user_nid).and_then(Weak::upgrade) {
                notify.notify_waiters();
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
        let (first, second) = (one.notified(), two.notified());
        tokio::pin!(first, second);
        first.as_mut().enable();
        second.as_mut().enable();
        notifier.wake([1]);
        first.await;
        let still = tokio::time::timeout(std::time::Duration::from_millis(5), second).await;
        assert!(still.is_err());
    }

    #[test]
    fn who_no_longer_waits_is_forgotten() {
        let notifier = Notifier::default();
        for user_nid in 0..1_000 {
            drop(notifier.watch(user_nid));
        }
        assert!(notifier.waiting.lock().unwrap().len() <= 1);
    }
}
