//! The public keys of other servers: fetched, checked, remembered, and used to verify events.
//!
//! spec: server-server v1.19 §Retrieving server keys; rooms/v5 §Signing key validity period.

mod fetch;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth_protocol::ambient::Clock;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::signing::VerifyKey;
use hearth_types::ruma::{
    OwnedServerName, OwnedServerSigningKeyId, ServerName, ServerSigningKeyId,
};
use tokio::sync::Semaphore;

pub use verify::PduError;

use crate::backoff::StoreError;
use crate::expiring::ExpiringMap;
use crate::single_flight::SingleFlight;
use crate::wire::Wire;

/// The keys of one server by id, each with the last moment at which it vouches for anything.
pub type KnownKeys = BTreeMap<OwnedServerSigningKeyId, PublishedKey>;

/// Where keys survive a restart, and their servers. Wired by the homeserver.
pub trait KeyStore: Send + Sync {
    /// All keys that are known of `server`.
    fn load<'a>(&'a self, server: &'a ServerName) -> BoxFuture<'a, Result<KnownKeys, StoreError>>;

    /// Replaces what is known of `server`.
    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        keys: &'a KnownKeys,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A store that forgets everything, for tools and tests.
#[derive(Debug, Default)]
pub struct NoKeyStore;

impl KeyStore for NoKeyStore {
    fn load<'a>(&'a self, _: &'a ServerName) -> BoxFuture<'a, Result<KnownKeys, StoreError>> {
        Box::pin(async { Ok(KnownKeys::new()) })
    }

    fn save<'a>(
        &'a self,
        _: &'a ServerName,
        _: &'a KnownKeys,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

/// What the ring must know of ourselves and of those we trust.
#[derive(Debug, Clone)]
pub struct KeyRingOptions {
    /// Our server name; its keys are never asked for over the network.
    pub own_name: OwnedServerName,
    /// Our own keys, old ones included.
    pub own_keys: KnownKeys,
    /// Servers that are asked for the keys of servers that do not answer; none by default.
    pub notaries: Vec<OwnedServerName>,
}

/// The ring. Cloning it shares it.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    wire: Arc<Wire>,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    options: KeyRingOptions,
    own: Arc<KnownKeys>,
    cached: ExpiringMap<OwnedServerName, Arc<KnownKeys>>,
    /// Servers that were asked a moment ago.
    asked: ExpiringMap<OwnedServerName, ()>,
    flights: SingleFlight<OwnedServerName, Arc<KnownKeys>>,
    /// Bounds the requests for keys that run at the same time.
    permits: Semaphore,
}

/// A key that is needed, and the moment at which it must be valid (Unix time, milliseconds).
type Wanted = (OwnedServerSigningKeyId, i64);

const SERVERS_CACHED_MAX: usize = 8_192;
const CACHED_MS: i64 = 60 * 60 * 1_000;
/// A server is not asked again so soon, whatever keys strangers say it has.
const ASKED_MS: i64 = 60_000;
/// Nor so soon after it did not answer.
const FAILED_MS: i64 = 10_000;
const FETCHES_MAX: usize = 64;
/// Keys of one server that are remembered; those that end first go first.
const KEYS_PER_SERVER_MAX: usize = 256;

impl KeyRing {
    /// Puts the ring together; asks nobody yet.
    #[must_use]
    pub fn new(
        wire: Arc<Wire>,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        options: KeyRingOptions,
    ) -> Self {
        Self(Arc::new(Ring {
            wire,
            store,
            clock,
            own: Arc::new(options.own_keys.clone()),
            options,
            cached: ExpiringMap::new(SERVERS_CACHED_MAX),
            asked: ExpiringMap::new(SERVERS_CACHED_MAX),
            flights: SingleFlight::new(),
            permits: Semaphore::new(FETCHES_MAX),
        }))
    }

    /// The key `key_id` of `server`, if it is valid at `at_ms` (Unix time, milliseconds): for an
    /// event, its `origin_server_ts`.
    pub async fn key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
        at_ms: i64,
    ) -> Option<VerifyKey> {
        let keys = self.keys(server, vec![(key_id.to_owned(), at_ms)]).await;
        valid(&keys, key_id, at_ms)
    }

    /// The key `key_id` of `server`, if it is valid now: for a request.
    pub async fn current_key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
    ) -> Option<VerifyKey> {
        self.key(server, key_id, self.0.clock.now_ms()).await
    }

    /// What is known of `server`, after asking it where that holds none of the `wanted` keys.
    async fn keys(&self, server: &ServerName, wanted: Vec<Wanted>) -> Arc<KnownKeys> {
        let known = self.0.known(server).await;
        let has_been_asked = self.0.asked.get(server, self.0.clock.now_ms()).is_some();
        if has_any(&known, &wanted) || server == self.0.options.own_name || has_been_asked {
            return known;
        }
        let begin = || {
            let (ring, server) = (self.clone(), server.to_owned());
            ring.refresh(server, known, wanted)
        };
        self.0.flights.join(server.to_owned(), begin).await
    }

    /// Asks the server, then the notaries, and remembers what they say. (Boxed, as a notary's own key
    /// comes from this ring too.)
    fn refresh(
        self,
        server: OwnedServerName,
        known: Arc<KnownKeys>,
        wanted: Vec<Wanted>,
    ) -> BoxFuture<'static, Arc<KnownKeys>> {
        async move {
            let ring = &self.0;
            let mut keys = KnownKeys::clone(&known);
            let fetched = ring.fetch_from_server(&server).await;
            let mut has_answered = fetched.is_some();
            // The server's own word replaces what we knew: a key may have been retired.
            keys.extend(fetched.into_iter().flatten());
            for notary in ring
                .options
                .notaries
                .iter()
                .filter(|notary| **notary != server)
            {
                if has_any(&keys, &wanted) {
                    break;
                }
                let found = self.fetch_from_notary(notary, &server).await;
                has_answered |= !found.is_empty();
                adopt(&mut keys, found);
            }
            let now_ms = ring.clock.now_ms();
            let pause_ms = if has_answered { ASKED_MS } else { FAILED_MS };
            ring.asked
                .insert(server.clone(), (), now_ms + pause_ms, now_ms);
            if keys == *known {
                return known;
            }
            forget_oldest(&mut keys);
            ring.remember(server, Arc::new(keys)).await
        }
        .boxed()
    }
}

impl Ring {
    /// What is known without asking anybody.
    async fn known(&self, server: &ServerName) -> Arc<KnownKeys> {
        if server == self.options.own_name {
            return self.own.clone();
        }
        let now_ms = self.clock.now_ms();
        if let Some(keys) = self.cached.get(server, now_ms) {
            return keys;
        }
        let loaded = self.store.load(server).await.unwrap_or_else(|error| {
            tracing::warn!(%server, %error, "server keys could not be loaded");
            KnownKeys::new()
        });
        let keys = Arc::new(loaded);
        self.cached
            .insert(server.to_owned(), keys.clone(), now_ms + CACHED_MS, now_ms);
        keys
    }

    async fn remember(&self, server: OwnedServerName, keys: Arc<KnownKeys>) -> Arc<KnownKeys> {
        if let Err(error) = self.store.save(&server, &keys).await {
            tracing::warn!(%server, %error, "server keys could not be saved");
        }
        let now_ms = self.clock.now_ms();
        self.cached
            .insert(server, keys.clone(), now_ms + CACHED_MS, now_ms);
        keys
    }
}

fn valid(keys: &KnownKeys, key_id: &ServerSigningKeyId, at_ms: i64) -> Option<VerifyKey> {
    keys.get(key_id)
        .filter(|known| at_ms <= known.valid_until_ts)
        .map(|known| known.key)
}

fn has_any(keys: &KnownKeys, wanted: &[Wanted]) -> bool {
    wanted
        .iter()
        .any(|(key_id, at_ms)| valid(keys, key_id, *at_ms).is_some())
}

/// Adds what a notary says: it may prolong what we know, never shorten it.
fn adopt(keys: &mut KnownKeys, found: KnownKeys) {
    for (key_id, key) in found {
        let slot = keys.entry(key_id).or_insert(key);
        if slot.valid_until_ts < key.valid_until_ts {
            *slot = key;
        }
    }
}

fn forget_oldest(keys: &mut KnownKeys) {
    while keys.len() > KEYS_PER_SERVER_MAX {
        let oldest = keys.iter().min_by_key(|(_, known)| known.valid_until_ts);
        let Some(oldest) = oldest.map(|(key_id, _)| key_id.clone()) else {
            return;
        };
        keys.remove(&oldest);
    }
}

#[cfg(test)]
mod tests;
