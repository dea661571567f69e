//! The world of a server that does not federate.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::verify::VerifiedPdu;
use hearth_types::ruma::{EventId, RoomId, ServerName, UserId};
use serde_json::Value;

use super::{Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template};

/// Other servers, none of which can be reached.
pub struct Isolated;

/// The answer of a server that cannot be reached.
pub fn unreachable<'a, T: Send + 'a>(server: &ServerName) -> Answer<'a, T> {
    let error = PeerError::Unreachable {
        server: server.to_string(),
        why: "this server talks to no others".to_owned(),
    };
    Box::pin(std::future::ready(Err(error)))
}

impl Peers for Isolated {
    fn verify<'a>(
        &'a self,
        _rules: &'static RoomVersionRules,
        _pdus: Vec<Bytes>,
    ) -> BoxFuture<'a, Vec<VerifiedPdu>> {
        Box::pin(std::future::ready(Vec::new()))
    }

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
