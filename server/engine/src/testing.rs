//! A whole [`Context`] for tests: a manual clock, seeded randomness, cheap password hashes, and
//! other servers that cannot be reached.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot start must say so loudly"
)]

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::signing::SigningKey;
use hearth_storage::testing::{Scratch, identity};
use hearth_types::ruma::{OwnedUserId, ServerName};
use serde_json::Map;

use crate::context::{Context, SessionLifetimes, Settings, Spawn};
use crate::erased::Erased;
use crate::memory::MemoryBudget;
use crate::notifier::Notifier;
use crate::peers::{Isolated, Peers};
use crate::push::Push;
use crate::rooms::create::{CreateRoom, Preset};

/// When the clock of a test starts.
pub const START_MS: i64 = 1_800_000_000_000;

/// A room of which nothing is said but whose it is and how it begins.
#[must_use]
pub fn new_room(creator: OwnedUserId, preset: Preset) -> CreateRoom {
    CreateRoom {
        creator,
        version: None,
        preset,
        creation_content: Map::new(),
        name: None,
        topic: None,
        power_levels: Map::new(),
        initial_state: Vec::new(),
        invite: Vec::new(),
        is_direct: false,
        is_published: false,
        alias_name: None,
        appservice: None,
    }
}

/// A server named `one.test` over a throw-away database.
pub struct TestServer {
    /// What the engine works with.
    pub context: Arc<Context>,
    /// Its clock, which moves only when told to.
    pub clock: Arc<ManualClock>,
}

impl TestServer {
    /// A server whose peers cannot be reached.
    pub async fn new(scratch: &Scratch) -> Self {
        Self::with_peers(scratch, Arc::new(Isolated)).await
    }

    /// A server that reaches others through `peers`.
    pub async fn with_peers(scratch: &Scratch, peers: Arc<dyn Peers>) -> Self {
        Self::with(scratch, peers, settings()).await
    }

    /// A server with settings of its own.
    ///
    /// # Panics
    /// When the database does not open.
    pub async fn with(scratch: &Scratch, peers: Arc<dyn Peers>, settings: Settings) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        let name = identity().server_name;
        let storage = scratch.open().await;
        let context = Context {
            erased: Erased::new(storage.clone()),
            push: Push::new(&storage, settings.memory),
            storage,
            server_name: ServerName::parse(name).expect("a server name"),
            signing_key: SigningKey::from_seed("test", &[7; 32]).expect("a key version"),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(1)),
            tasks: Arc::new(SpawnNow),
            peers,
            settings,
            notifier: Notifier::default(),
        };
        Self {
            context: Arc::new(context),
            clock,
        }
    }
}

/// Registration open, password hashes at the lowest cost.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        registration_enabled: true,
        registration_needs_token: false,
        appservices: Arc::default(),
        guests_allowed: true,
        registration_shared_secret: None,
        sessions: SessionLifetimes {
            access_token_ms: Some(60 * 60 * 1_000),
            refresh_token_ms: Some(30 * 24 * 60 * 60 * 1_000),
        },
        argon2_memory_kib: 64,
        argon2_passes: 1,
        argon2_parallel: 2,
        default_room_version: "12".to_owned(),
        federation_enabled: true,
        presence_enabled: true,
        retry_initial_ms: 100,
        memory: MemoryBudget::of_mib(64),
    }
}

/// Starts work on the test's own runtime.
pub struct SpawnNow;

impl Spawn for SpawnNow {
    #[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
    fn spawn(&self, _name: &'static str, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }
}
