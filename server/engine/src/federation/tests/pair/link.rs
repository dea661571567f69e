//! What lies between the two: each asks the other by a call, and all that goes over is verified.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::event::Event;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::room_version::{ROOM_VERSIONS, RoomVersionRules};
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::{KeyLookup, UnverifiedPdu, VerifiedPdu};
use hearth_types::ruma::{
    EventId, OwnedServerName, RoomAliasId, RoomId, ServerName, ServerSigningKeyId, UserId,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::federation::Federation;
use crate::peers::{Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template};
use crate::rooms::aliases::RoomWay;
use crate::rooms::error::RoomError;

/// What goes wrong between them.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) cut: AtomicBool,
    pub(super) withholds: AtomicBool,
}

pub(in crate::federation::tests) fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(
        "test",
        &[u8::try_from(name.len()).unwrap() + name.as_bytes()[0]; 32],
    )
    .unwrap()
}

/// Every test server's key, derived from its name.
struct Keys;

impl KeyLookup for Keys {
    fn published_key(
        &self,
        server: &ServerName,
        _key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        let key = key(server.as_str()).verify_key();
        Some(PublishedKey {
            key,
            valid_until_ts: i64::MAX,
        })
    }
}

pub(in crate::federation::tests) fn verified(rules: &RoomVersionRules, json: &[u8]) -> VerifiedPdu {
    UnverifiedPdu::parse(rules, json)
        .unwrap()
        .verify(&Keys)
        .unwrap()
}

fn all(rules: &RoomVersionRules, jsons: &[Bytes]) -> Vec<VerifiedPdu> {
    jsons.iter().map(|json| verified(rules, json)).collect()
}

/// The server at the other end, which may be started again.
pub(super) type Far = Arc<Mutex<Option<Federation>>>;

/// Calls the other server's federation as `me`.
pub(super) struct Link {
    pub(super) me: OwnedServerName,
    pub(super) other: Far,
    pub(super) wire: Arc<Wire>,
}

impl Link {
    fn other(&self, server: &ServerName) -> Result<Federation, PeerError> {
        let other = self.other.lock().unwrap().clone();
        let other = other.filter(|other| other.ctx.server_name == server);
        other
            .filter(|_| !self.wire.cut.load(Ordering::Relaxed))
            .ok_or_else(|| PeerError::Unreachable {
                server: server.to_string(),
                why: "cut".to_owned(),
            })
    }
}

fn every_version() -> Vec<String> {
    let ids = ROOM_VERSIONS.iter().map(|rules| rules.id.to_owned());
    ids.collect()
}

fn refused(error: &RoomError) -> PeerError {
    PeerError::Refused {
        server: "other".to_owned(),
        status: 403,
        errcode: "M_FORBIDDEN".to_owned(),
        message: error.to_string(),
    }
}

impl Peers for Link {
    fn verify(&self, pdus: Vec<UnverifiedPdu>) -> BoxFuture<'_, Vec<VerifiedPdu>> {
        let verified = pdus.into_iter().map(|pdu| pdu.verify(&Keys).unwrap());
        Box::pin(std::future::ready(verified.collect()))
    }

    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        Box::pin(async move {
            let other = self.other(server)?;
            let versions = every_version();
            other
                .make_join(&self.me, room_id, user_id, &versions)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        Box::pin(async move {
            let (other, room_id) = (self.other(server)?, event.room_id());
            let vouched = other
                .vouched(&self.me, room_id, event.json().clone())
                .await
                .map_err(|error| refused(&error))?;
            let answer = other
                .send_join(&self.me, room_id, verified(rules, &vouched))
                .await
                .map_err(|error| refused(&error))?;
            let withholds = self.wire.withholds.load(Ordering::Relaxed);
            let handed_over = |pdus: &[Bytes]| match withholds {
                true => Vec::new(),
                false => all(rules, pdus),
            };
            Ok(JoinedState {
                state: handed_over(&answer.state),
                auth_chain: handed_over(&answer.auth_chain),
                event: Some(verified(rules, &answer.event)),
            })
        })
    }

    fn make_knock<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        Box::pin(async move {
            let other = self.other(server)?;
            let versions = every_version();
            other
                .make_knock(&self.me, room_id, user_id, &versions)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn send_knock<'a>(
        &'a self,
        server: &'a ServerName,
        event: &'a Event,
    ) -> Answer<'a, Vec<Value>> {
        Box::pin(async move {
            let other = self.other(server)?;
            let rules = other.room_rules(event.room_id()).await.unwrap().unwrap();
            let pdu = verified(rules, event.json());
            let shown = other
                .send_knock(&self.me, event.room_id(), pdu)
                .await
                .map_err(|error| refused(&error))?;
            let read = |event: Box<RawValue>| serde_json::from_str(event.get()).unwrap();
            Ok(shown.into_iter().map(read).collect())
        })
    }

    fn make_leave<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        Box::pin(async move {
            let other = self.other(server)?;
            other
                .make_leave(&self.me, room_id, user_id)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Answer<'a, ()> {
        Box::pin(async move {
            let other = self.other(server)?;
            let rules = other.room_rules(event.room_id()).await.unwrap().unwrap();
            let pdu = verified(rules, event.json());
            other
                .send_leave(&self.me, event.room_id(), pdu)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
        stripped_state: Vec<Value>,
    ) -> Answer<'a, VerifiedPdu> {
        Box::pin(async move {
            let other = self.other(server)?;
            let invited = event.state_key().unwrap();
            other
                .ctx
                .storage
                .user_intern(invited, server.as_str())
                .await
                .unwrap();
            let pdu = verified(rules, event.json());
            let signed = other
                .receive_invite(&self.me, rules, &pdu, &stripped_state)
                .await
                .map_err(|error| refused(&error))?;
            Ok(verified(rules, &signed))
        })
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        Box::pin(async move {
            let other = self.other(server)?;
            let events = other
                .missing_events(&self.me, range, 0)
                .await
                .map_err(|error| refused(&error))?;
            Ok(all(rules, &events))
        })
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        Box::pin(async move {
            let other = self.other(server)?;
            other
                .state_ids(&self.me, room_id, event_id)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        Box::pin(async move {
            let other = self.other(server)?;
            let (state, auth_chain) = other
                .state(&self.me, room_id, event_id)
                .await
                .map_err(|error| refused(&error))?;
            let (state, auth_chain) = (all(rules, &state), all(rules, &auth_chain));
            Ok(JoinedState {
                state,
                auth_chain,
                event: None,
            })
        })
    }

    fn event<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event_id: &'a EventId,
    ) -> Answer<'a, VerifiedPdu> {
        Box::pin(async move {
            let other = self.other(server)?;
            let json = other
                .event(&self.me, event_id)
                .await
                .map_err(|error| refused(&error))?;
            Ok(verified(rules, &json))
        })
    }

    fn directory<'a>(
        &'a self,
        server: &'a ServerName,
        alias: &'a RoomAliasId,
    ) -> Answer<'a, RoomWay> {
        Box::pin(async move {
            let found = self.other(server)?.rooms.own_alias(alias).await;
            found.map_err(|error| PeerError::Refused {
                server: server.to_string(),
                status: 404,
                errcode: "M_NOT_FOUND".to_owned(),
                message: error.to_string(),
            })
        })
    }
}
