//! Leaving servers alone that do not answer.
//!
//! One small state per destination: after a failure it is not tried again for a while, twice as
//! long after each further failure; the first sign of life ends that.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hearth_protocol::ambient::Clock;
use hearth_types::ruma::{OwnedServerName, ServerName};

use crate::expiring::ExpiringMap;

/// What is remembered of a server that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffState {
    /// Failures in a row, at least 1.
    pub failures: u32,
    /// When the last one happened (Unix time, milliseconds).
    pub failed_at_ms: i64,
    /// Not to be tried before this time (Unix time, milliseconds).
    pub retry_at_ms: i64,
}

/// The error of a store: opaque to us, logged at our boundary.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Where the states survive a restart. Wired by the homeserver.
pub trait BackoffStore: Send + Sync {
    /// The state of `server`; `None` for one in good standing.
    fn load<'a>(
        &'a self,
        server: &'a ServerName,
    ) -> BoxFuture<'a, Result<Option<BackoffState>, StoreError>>;

    /// Remembers the state; `None` forgets it.
    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        state: Option<BackoffState>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A store that forgets everything, for tools and tests.
#[derive(Debug, Default)]
pub struct NoBackoffStore;

impl BackoffStore for NoBackoffStore {
    fn load<'a>(
        &'a self,
        _: &'a ServerName,
    ) -> BoxFuture<'a, Result<Option<BackoffState>, StoreError>> {
        Box::pin(async { Ok(None) })
    }

    fn save<'a>(
        &'a self,
        _: &'a ServerName,
        _: Option<BackoffState>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

/// The state machine for all destinations.
pub struct Backoff {
    store: Arc<dyn BackoffStore>,
    clock: Arc<dyn Clock>,
    initial_ms: i64,
    cached: ExpiringMap<OwnedServerName, Option<BackoffState>>,
}

/// The longest pause.
const RETRY_MAX_MS: i64 = 60 * 60 * 1_000;
/// How long a state is kept in memory before the store is asked again.
const CACHED_MS: i64 = 60 * 60 * 1_000;
const CACHED_MAX: usize = 16_384;

impl Backoff {
    /// `initial_ms` is the pause after the first failure (`federation.retry_initial_ms`).
    #[must_use]
    pub fn new(store: Arc<dyn BackoffStore>, clock: Arc<dyn Clock>, initial_ms: i64) -> Self {
        let initial_ms = initial_ms.clamp(1, RETRY_MAX_MS);
        Self {
            store,
            clock,
            initial_ms,
            cached: ExpiringMap::new(CACHED_MAX),
        }
    }

    /// When `server` may be tried again; `None` means now.
    pub async fn retry_at_ms(&self, server: &ServerName) -> Option<i64> {
        let state = self.state(server).await?;
        (state.retry_at_ms > self.clock.now_ms()).then_some(state.retry_at_ms)
    }

    /// Notes that a request that was begun at `started_ms` failed. Requests that fail together
    /// count once: those begun before the last noted failure say nothing new.
    pub async fn failed(&self, server: &ServerName, started_ms: i64) {
        let known = self.state(server).await;
        if known.is_some_and(|state| state.failed_at_ms > started_ms) {
            return;
        }
        let failures = known.map_or(0, |state| state.failures).saturating_add(1);
        let pause_ms = pause_ms(self.initial_ms, failures);
        let now_ms = self.clock.now_ms();
        let state = BackoffState {
            failures,
            failed_at_ms: now_ms,
            retry_at_ms: now_ms + pause_ms,
        };
        tracing::info!(destination = %server, failures, pause_ms, "server does not answer");
        self.remember(server, Some(state)).await;
    }

    /// Notes that `server` answered us, or asked us something. Returns whether it was being left
    /// alone until now, so that what waits for it can be sent.
    pub async fn heard_from(&self, server: &ServerName) -> bool {
        let was_failing = self.state(server).await.is_some();
        if was_failing {
            self.remember(server, None).await;
        }
        was_failing
    }

    async fn state(&self, server: &ServerName) -> Option<BackoffState> {
        let now_ms = self.clock.now_ms();
        if let Some(cached) = self.cached.get(server, now_ms) {
            return cached;
        }
        let loaded = self.store.load(server).await.unwrap_or_else(|error| {
            tracing::warn!(destination = %server, %error, "back-off state could not be loaded");
            None
        });
        self.cached
            .insert(server.to_owned(), loaded, now_ms + CACHED_MS, now_ms);
        loaded
    }

    async fn remember(&self, server: &ServerName, state: Option<BackoffState>) {
        let now_ms = self.clock.now_ms();
        self.cached
            .insert(server.to_owned(), state, now_ms + CACHED_MS, now_ms);
        if let Err(error) = self.store.save(server, state).await {
            tracing::warn!(destination = %server, %error, "back-off state could not be saved");
        }
    }
}

fn pause_ms(initial_ms: i64, failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(22);
    initial_ms.saturating_mul(1 << doublings).min(RETRY_MAX_MS)
}

#[cfg(test)]
mod tests;
