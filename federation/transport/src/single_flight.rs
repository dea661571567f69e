//! One request for many who ask the same question at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

/// Questions that are being answered right now.
///
/// The work is driven by those who wait for it. When all of them have gone it stops, and the next
/// one to ask begins anew: nothing runs on behalf of nobody.
pub(crate) struct SingleFlight<K, V: Clone> {
    flights: Mutex<HashMap<K, WeakShared<BoxFuture<'static, V>>>>,
}

impl<K: Hash + Eq, V: Clone> SingleFlight<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            flights: Mutex::new(HashMap::new()),
        }
    }

    /// The answer of the flight for `key`; `begin` starts one where there is none.
    pub(crate) fn join(
        &self,
        key: K,
        begin: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> Shared<BoxFuture<'static, V>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let running = flights.get(&key).and_then(WeakShared::upgrade);
        running
            .filter(|flight| flight.peek().is_none())
            .unwrap_or_else(|| {
                flights.retain(|_, flight| flight.upgrade().is_some_and(|f| f.peek().is_none()));
                let flight = begin().shared();
                if let Some(weak) = flight.downgrade() {
                    flights.insert(key, weak);
                }
                flight
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn question(started: &Arc<AtomicU32>) -> BoxFuture<'static, u32> {
        let started = started.clone();
        async move {
            let number = started.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::task::yield_now().await;
            number
        }
        .boxed()
    }

    #[tokio::test]
    async fn who_asks_together_gets_one_answer() {
        let flights = SingleFlight::new();
        let started = Arc::new(AtomicU32::new(0));
        let first = flights.join("a", || question(&started));
        let second = flights.join("a", || question(&started));
        let other = flights.join("b", || question(&started));
        let (first, second, other) = tokio::join!(first, second, other);
        assert_eq!(first, second);
        assert_ne!(first, other);
        assert_eq!(started.load(Ordering::SeqCst), 2);
        flights.join("a", || question(&started)).await;
        assert_eq!(started.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_abandoned_flight_is_begun_anew() {
        let flights = SingleFlight::new();
        let started = Arc::new(AtomicU32::new(0));
        drop(flights.join("a", || question(&started)));
        assert_eq!(flights.join("a", || question(&started)).await, 1);
        assert_eq!(flights.flights.lock().unwrap().len(), 1);
    }
}
