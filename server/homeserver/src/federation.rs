//! Other servers: the federation client joined with the engine and the database.

mod key_store;
mod peers;

use std::{collections::BTreeMap, sync::Arc};

use hearth_config::Config;
use hearth_federation::{
    backoff::{Backoff, NoBackoffStore},
    client::{Identity, PeerClient},
    discovery::Discovery,
    dns::{DnsError, SystemDns},
    guarded::{GuardedClient, GuardedOptions},
    key_ring::{KeyRing, KeyRingOptions},
    network_policy::NetworkPolicy,
    tls_trust::{TlsTrust, TlsTrustError},
    wire::Wire,
};
use hearth_protocol::{ambient::Clock, key_document::PublishedKey, signing::SigningKey};
use hearth_storage::Storage;
use hearth_types::ruma::{IdParseError, OwnedServerName, ServerName};

pub(crate) use peers::Network;

/// Why other servers cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// Names cannot be looked up.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The certificates that are trusted.
    #[error(transparent)]
    Tls(#[from] TlsTrustError),
    /// A notary's name.
    #[error("`federation.notary_servers` holds a name that no server can have: {0}")]
    Notary(#[from] IdParseError),
}

/// Longest wait for a connection, name look-up and TLS handshake included.
const CONNECT_TIMEOUT_MS: u64 = 8_000;

/// Makes the way to other servers.
///
/// # Errors
/// When names cannot be looked up or a trusted certificate cannot be read.
pub(crate) fn network(
    config: &Config,
    storage: &Storage,
    clock: &Arc<dyn Clock>,
    identity: (&OwnedServerName, &SigningKey),
) -> Result<Network, FederationError> {
    let (own_name, signing_key) = (identity.0.clone(), identity.1.clone());
    let federation = &config.federation;
    let dns = Arc::new(SystemDns::from_system(Arc::clone(clock))?);
    let options = GuardedOptions {
        policy: NetworkPolicy {
            allow_loopback: federation.allow_loopback,
            allow_ranges: federation.allow_ranges.clone(),
        },
        trust: TlsTrust {
            extra_ca: federation.trusted_ca.clone(),
            skip_check: false,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        connect_timeout_ms: CONNECT_TIMEOUT_MS,
    };
    let client = Arc::new(GuardedClient::new(options, dns.clone())?);
    let discovery = Discovery::new(Arc::clone(&client), dns, Arc::clone(clock));
    let wire = Arc::new(Wire::new(client, discovery));
    let own_key = PublishedKey {
        key: signing_key.verify_key(),
        valid_until_ts: i64::MAX,
    };
    let notaries: Result<_, _> = federation
        .notary_servers
        .iter()
        .map(|name| ServerName::parse(name.as_str()))
        .collect();
    let options = KeyRingOptions {
        own_name: own_name.clone(),
        own_keys: BTreeMap::from([(signing_key.id().to_owned(), own_key)]),
        notaries: notaries?,
    };
    let store = Arc::new(key_store::StoredKeys(storage.clone()));
    let keys = KeyRing::new(Arc::clone(&wire), store, Arc::clone(clock), options);
    // Kept in memory alone: after a restart everyone is worth one question. What waits to be
    // delivered has pauses of its own, in the outbox.
    let initial_ms = i64::from(federation.retry_initial_ms);
    let backoff = Backoff::new(Arc::new(NoBackoffStore), Arc::clone(clock), initial_ms);
    let backoff = Arc::new(backoff);
    let identity = Identity {
        server_name: own_name,
        signing_key,
    };
    let client = PeerClient::new(wire, Arc::clone(&backoff), Arc::clone(clock), identity);
    Ok(Network {
        client,
        keys,
        backoff,
        clock: Arc::clone(clock),
    })
}
