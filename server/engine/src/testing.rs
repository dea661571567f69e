//! A whole [`Context`] for tests: a manual clock, seeded randomness, cheap password hashes, and
//! other servers that cannot be reached.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot start must say so loudly"
)]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::testing::{Scratch, identity};
use hearth_types::ruma::{EventId, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::context::{Context, Settings, Spawn};
use crate::notifier::Notifier;
use crate::peers::{Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template};

/// When the clock of a test starts.
pub const START_MS: i64 = 1_800_000_000_000;

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
        Self::with_peers(scratch, Arc::new(NoPeers)).await
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
        let context = Context {
            storage: scratch.open().await,
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
        argon2_memory_kib: 64,
        argon2_passes: 1,
        argon2_parallel: 2,
        default_room_version: "12".to_owned(),
        federation_enabled: true,
        retry_initial_ms: 100,
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

/// Other servers, none of which can be reached.
pub struct NoPeers;

/// The answer of a server that cannot be reached.
pub fn unreachable<'a, T: Send + 'a>(server: &ServerName) -> Answer<'a, T> {
    let error = PeerError::Unreachable {
        server: server.to_string(),
        why: "this test has no network".to_owned(),
    };
    Box::pin(std::future::ready(Err(error)))
}

impl Peers for NoPeers {
    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        unreachable(server)
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        unreachable(server)
    }

    fn make_leave<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        unreachable(server)
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, _event: &'a Event) -> Answer<'a, ()> {
        unreachable(server)
    }

    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event: &'a Event,
        _stripped_state: Vec<Value>,
    ) -> Answer<'a, VerifiedPdu> {
        unreachable(server)
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        unreachable(server)
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        unreachable(server)
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _room_id: &'a RoomId,
        _event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        unreachable(server)
    }

    fn event<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event_id: &'a EventId,
    ) -> Answer<'a, VerifiedPdu> {
        unreachable(server)
    }

    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        _txn_id: &'a str,
        _pdus: Vec<Bytes>,
        _edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        unreachable(server)
    }

    fn keys_query<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn keys_claim<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        _user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn profile<'a>(&'a self, server: &'a ServerName, _user_id: &'a UserId) -> Answer<'a, Value> {
        unreachable(server)
    }
}
