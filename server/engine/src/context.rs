//! What every part of the engine works with: the database, the identity of this server, and the
//! ambient powers (time, randomness, tasks, other servers) as parameters.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hearth_config::Secret;
use hearth_protocol::ambient::{Clock, Entropy};
use hearth_protocol::signing::SigningKey;
use hearth_storage::Storage;
use hearth_types::ruma::OwnedServerName;

use crate::appservices::Appservices;
use crate::erased::Erased;
use crate::memory::MemoryBudget;
use crate::notifier::Notifier;
use crate::peers::Peers;
use crate::push::Push;

/// Starts work that outlives a call. The process owns the tasks and ends them at shutdown.
pub trait Spawn: Send + Sync {
    /// Runs a future on a task of its own.
    fn spawn(&self, name: &'static str, work: BoxFuture<'static, ()>);
}

/// How long sessions last that can be refreshed; none for as long as nobody ends them.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionLifetimes {
    /// Until an access token has to be refreshed.
    pub access_token_ms: Option<i64>,
    /// Until a refresh token that was not used is no longer good.
    pub refresh_token_ms: Option<i64>,
}

/// The settings that the engine reads, resolved from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether people may register themselves.
    pub registration_enabled: bool,
    /// Whether they need a registration token for that.
    pub registration_needs_token: bool,
    /// Whether people may come as guests.
    pub guests_allowed: bool,
    /// With what who knows it may make accounts all the same.
    pub registration_shared_secret: Option<Secret>,
    /// The application services that are registered.
    pub appservices: Arc<Appservices>,
    /// How long sessions last that can be refreshed.
    pub sessions: SessionLifetimes,
    /// Memory of one password hash (argon2id), in KiB.
    pub argon2_memory_kib: u32,
    /// Passes of one password hash.
    pub argon2_passes: u32,
    /// Password hashes that may run at the same time.
    pub argon2_parallel: usize,
    /// The version of rooms created without one.
    pub default_room_version: String,
    /// Whether this server talks to others.
    pub federation_enabled: bool,
    /// Whether presence is shown and shared.
    pub presence_enabled: bool,
    /// First pause after a failed delivery to another server.
    pub retry_initial_ms: i64,
    /// What all caches together may take in memory.
    pub memory: MemoryBudget,
}

/// What every part of the engine works with.
pub struct Context {
    /// The database.
    pub storage: Storage,
    /// The name every id of ours ends in.
    pub server_name: OwnedServerName,
    /// What our events are signed with.
    pub signing_key: SigningKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Tasks.
    pub tasks: Arc<dyn Spawn>,
    /// Other servers.
    pub peers: Arc<dyn Peers>,
    /// Settings.
    pub settings: Settings,
    /// Wakes long-polls of the people a change concerns.
    pub notifier: Notifier,
    /// What people are told of, and what of it they have not read.
    pub push: Push,
    /// Whose messages are not for those who come later.
    pub erased: Erased,
}

impl Context {
    /// Whether a server name is this server's.
    #[must_use]
    pub fn is_ours(&self, server_name: &str) -> bool {
        self.server_name.as_str() == server_name
    }

    /// Random bytes in URL-safe base64, for ids and tokens.
    #[must_use]
    pub fn random_word<const BYTES: usize>(&self) -> String {
        use base64::Engine as _;
        let mut bytes = [0_u8; BYTES];
        self.entropy.fill(&mut bytes);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }
}
