use std::collections::HashMap;
use std::sync::Mutex;

use hearth_protocol::ambient::ManualClock;

use super::*;

#[derive(Default)]
struct MemoryStore(Mutex<HashMap<OwnedServerName, BackoffState>>);

impl BackoffStore for MemoryStore {
    fn load<'a>(
        &'a self,
        server: &'a ServerName,
    ) -> BoxFuture<'a, Result<Option<BackoffState>, StoreError>> {
        Box::pin(async { Ok(self.0.lock().unwrap().get(server).copied()) })
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        state: Option<BackoffState>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut states = self.0.lock().unwrap();
            match state {
                Some(state) => states.insert(server.to_owned(), state),
                None => states.remove(server),
            };
            Ok(())
        })
    }
}

fn server() -> OwnedServerName {
    "two.test".try_into().unwrap()
}

#[test]
fn the_pause_doubles_up_to_an_hour() {
    let pauses: Vec<_> = (1..=5).map(|failures| pause_ms(1_000, failures)).collect();
    assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(pause_ms(1_000, 13), RETRY_MAX_MS);
    assert_eq!(pause_ms(1, u32::MAX), RETRY_MAX_MS);
    assert_eq!(pause_ms(RETRY_MAX_MS, u32::MAX), RETRY_MAX_MS);
}

#[tokio::test]
async fn a_failing_server_is_left_alone_until_its_pause_is_over() {
    let clock = Arc::new(ManualClock::new(10_000));
    let backoff = Backoff::new(Arc::new(MemoryStore::default()), clock.clone(), 100);
    assert_eq!(backoff.retry_at_ms(&server()).await, None);
    backoff.failed(&server(), 10_000).await;
    assert_eq!(backoff.retry_at_ms(&server()).await, Some(10_100));
    clock.advance(100);
    assert_eq!(backoff.retry_at_ms(&server()).await, None);
    backoff.failed(&server(), 10_100).await;
    assert_eq!(backoff.retry_at_ms(&server()).await, Some(10_300));
}

#[tokio::test]
async fn requests_that_fail_together_count_once() {
    let clock = Arc::new(ManualClock::new(10_000));
    let backoff = Backoff::new(Arc::new(MemoryStore::default()), clock.clone(), 100);
    clock.advance(50);
    for started_ms in [10_000, 10_010, 10_049] {
        backoff.failed(&server(), started_ms).await;
    }
    assert_eq!(backoff.retry_at_ms(&server()).await, Some(10_150));
}

#[tokio::test]
async fn a_sign_of_life_ends_the_pause() {
    let clock = Arc::new(ManualClock::new(0));
    let store = Arc::new(MemoryStore::default());
    let backoff = Backoff::new(store.clone(), clock, 100);
    assert!(!backoff.heard_from(&server()).await);
    backoff.failed(&server(), 0).await;
    assert!(backoff.heard_from(&server()).await);
    assert_eq!(backoff.retry_at_ms(&server()).await, None);
    assert!(store.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_pause_survives_a_restart() {
    let clock = Arc::new(ManualClock::new(0));
    let store = Arc::new(MemoryStore::default());
    Backoff::new(store.clone(), clock.clone(), 100)
        .failed(&server(), 0)
        .await;
    let reopened = Backoff::new(store, clock, 100);
    assert_eq!(reopened.retry_at_ms(&server()).await, Some(100));
}
