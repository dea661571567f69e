//! What the engine needs of other homeservers, as one small trait. The homeserver adapts the
//! federation client to it; the simulator implements it over a pretend network.
//!
//! Every event that comes through here has passed the one verifier: it arrives as a
//! [`VerifiedPdu`], which no other code can build.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::verify::{UnverifiedPdu, VerifiedPdu};
use hearth_types::ruma::{EventId, OwnedEventId, RoomAliasId, RoomId, ServerName, UserId};
use serde_json::Value;

use crate::rooms::aliases::RoomWay;

/// Why another server did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// It could not be reached, or is not to be tried yet.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        server: String,
        /// What went wrong.
        why: String,
    },
    /// It answered with an error.
    #[error("{server} refused: {status} {errcode}: {message}")]
    Refused {
        /// The server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The Matrix error code, empty where there was none.
        errcode: String,
        /// Its words.
        message: String,
    },
    /// Its answer breaks the specification.
    #[error("{server} gave a malformed answer: {why}")]
    Malformed {
        /// The server.
        server: String,
        /// The field and the rule.
        why: String,
    },
}

/// The answer of another server, some time later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, PeerError>>;

/// A membership event's template, as a remote proposes it. It is never signed: only its
/// references to the graph are read (see `rooms::draft`).
#[derive(Debug, Clone)]
pub struct Template {
    /// The room version.
    pub room_version: String,
    /// The proposed event.
    pub event: Value,
}

/// A room as a resident server hands it over to one that joins.
#[derive(Debug)]
pub struct JoinedState {
    /// The state before the join.
    pub state: Vec<VerifiedPdu>,
    /// The auth chain of that state.
    pub auth_chain: Vec<VerifiedPdu>,
    /// The join as the resident signed it, for restricted rooms.
    pub event: Option<VerifiedPdu>,
}

/// The ids of a room's state at an event.
#[derive(Debug, Clone, Default)]
pub struct StateIds {
    /// The state before the event.
    pub state: Vec<OwnedEventId>,
    /// Its auth chain.
    pub auth_chain: Vec<OwnedEventId>,
}

/// What a range of missing events is asked for with.
#[derive(Debug, Clone)]
pub struct MissingEvents<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// Events we have: the walk stops there.
    pub earliest: &'a [OwnedEventId],
    /// Events whose predecessors we lack.
    pub latest: &'a [OwnedEventId],
    /// At most this many.
    pub limit: u32,
}

/// The answer of a server that cannot be reached.
pub fn unreachable<'a, T: Send + 'a>(server: &ServerName) -> Answer<'a, T> {
    let error = PeerError::Unreachable {
        server: server.to_string(),
        why: "this server talks to no others".to_owned(),
    };
    Box::pin(std::future::ready(Err(error)))
}

/// The world of a server that does not federate: other servers, none of which can be reached.
pub struct Isolated;

impl Peers for Isolated {}

/// Other homeservers. What an implementation does not give is answered as by a server that cannot be
/// reached.
pub trait Peers: Send + Sync {
    /// Verifies events; those that do not verify are left out. It may have to fetch keys.
    fn verify(&self, _pdus: Vec<UnverifiedPdu>) -> BoxFuture<'_, Vec<VerifiedPdu>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Asks for the template of a join (`GET make_join`).
    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        unreachable(server)
    }

    /// Hands our join over and takes the room's state (`PUT send_join` v2).
    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        unreachable(server)
    }

    /// Asks for the template of a leave (`GET make_leave`).
    fn make_leave<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        unreachable(server)
    }

    /// Hands our leave over (`PUT send_leave` v2).
    fn send_leave<'a>(&'a self, server: &'a ServerName, _event: &'a Event) -> Answer<'a, ()> {
        unreachable(server)
    }

    /// Asks for the template of a knock (`GET make_knock`).
    fn make_knock<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        unreachable(server)
    }

    /// Hands our knock over and takes what we are shown of the room (`PUT send_knock`).
    fn send_knock<'a>(
        &'a self,
        server: &'a ServerName,
        _event: &'a Event,
    ) -> Answer<'a, Vec<Value>> {
        unreachable(server)
    }

    /// Asks the invited person's server to accept and co-sign an invite (`PUT invite` v2).
    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event: &'a Event,
        _stripped_state: Vec<Value>,
    ) -> Answer<'a, VerifiedPdu> {
        unreachable(server)
    }

    /// Asks for events between what we have and what we were sent (`POST get_missing_events`).
    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        unreachable(server)
    }

    /// Asks for the ids of the state before an event (`GET state_ids`).
    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        _room_id: &'a RoomId,
        _event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        unreachable(server)
    }

    /// Asks for the state before an event, whole (`GET state`).
    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _room_id: &'a RoomId,
        _event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        unreachable(server)
    }

    /// Asks for one event (`GET event`).
    fn event<'a>(
        &'a self,
        server: &'a ServerName,
        _rules: &'static RoomVersionRules,
        _event_id: &'a EventId,
    ) -> Answer<'a, VerifiedPdu> {
        unreachable(server)
    }

    /// Delivers a transaction (`PUT send`). The same id always carries the same content.
    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        _txn_id: &'a str,
        _pdus: Vec<Bytes>,
        _edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        unreachable(server)
    }

    /// Asks for people's device keys (`POST user/keys/query`); body and answer as specified.
    fn keys_query<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    /// Claims one-time keys (`POST user/keys/claim`); body and answer as specified.
    fn keys_claim<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    /// Asks for one person's device list (`GET user/devices`); answer as specified.
    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        _user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        unreachable(server)
    }

    /// Asks where an alias leads (`GET query/directory`).
    fn directory<'a>(
        &'a self,
        server: &'a ServerName,
        _alias: &'a RoomAliasId,
    ) -> Answer<'a, RoomWay> {
        unreachable(server)
    }

    /// Asks for one person's profile (`GET query/profile`); answer as specified.
    fn profile<'a>(&'a self, server: &'a ServerName, _user_id: &'a UserId) -> Answer<'a, Value> {
        unreachable(server)
    }
}
