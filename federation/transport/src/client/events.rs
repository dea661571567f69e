//! Fetching events, state and history.

use bytes::Bytes;
use hearth_types::ruma::{EventId, OwnedEventId, RoomId, ServerName};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Ask, PeerClient, PeerError, Uri, json_body};

/// Which events are missing.
#[derive(Debug, Clone, Serialize)]
pub struct MissingEvents {
    /// Events that we have; the walk stops there.
    pub earliest_events: Vec<OwnedEventId>,
    /// Events whose predecessors we want.
    pub latest_events: Vec<OwnedEventId>,
    /// How many events at most.
    pub limit: u32,
    /// Events of lower depth are not wanted.
    pub min_depth: i64,
}

/// The ids of a room's state before an event.
#[derive(Debug, Clone, Deserialize)]
pub struct StateIds {
    /// The state.
    pub pdu_ids: Vec<OwnedEventId>,
    /// The auth chain of the state.
    pub auth_chain_ids: Vec<OwnedEventId>,
}

/// A room's state before an event.
#[derive(Debug, Clone)]
pub struct RemoteState {
    /// The state.
    pub pdus: Vec<Bytes>,
    /// The auth chain of the state.
    pub auth_chain: Vec<Bytes>,
}

#[derive(Deserialize)]
struct EventsBody<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct PdusBody<'a> {
    #[serde(borrow)]
    pdus: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct StateBody<'a> {
    #[serde(borrow)]
    pdus: Vec<&'a RawValue>,
    #[serde(borrow)]
    auth_chain: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct AuthChainBody<'a> {
    #[serde(borrow)]
    auth_chain: Vec<&'a RawValue>,
}

impl PeerClient {
    /// Fetches the events between what we have and what we heard of.
    ///
    /// spec: server-server v1.19 `POST /_matrix/federation/v1/get_missing_events/{roomId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn get_missing_events(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        missing: &MissingEvents,
    ) -> Result<Vec<Bytes>, PeerError> {
        let uri = Uri::new("v1", &["get_missing_events", room_id.as_str()]);
        let ask = Ask::get("get_missing_events", destination, uri);
        let answer = self
            .ask(ask.with_body(Method::POST, json_body(missing)?))
            .await?;
        let body: EventsBody<'_> = answer.parse()?;
        Ok(answer.pieces(&body.events))
    }

    /// The ids of the state before `event_id`.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/state_ids/{roomId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn state_ids(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<StateIds, PeerError> {
        let uri = Uri::new("v1", &["state_ids", room_id.as_str()]).with("event_id", event_id);
        self.ask(Ask::get("state_ids", destination, uri).large())
            .await?
            .parse()
    }

    /// The state before `event_id`.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/state/{roomId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn state(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<RemoteState, PeerError> {
        let uri = Uri::new("v1", &["state", room_id.as_str()]).with("event_id", event_id);
        let answer = self
            .ask(Ask::get("state", destination, uri).large())
            .await?;
        let body: StateBody<'_> = answer.parse()?;
        let (pdus, auth_chain) = (answer.pieces(&body.pdus), answer.pieces(&body.auth_chain));
        Ok(RemoteState { pdus, auth_chain })
    }

    /// One event.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/event/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn event(
        &self,
        destination: &ServerName,
        event_id: &EventId,
    ) -> Result<Bytes, PeerError> {
        let uri = Uri::new("v1", &["event", event_id.as_str()]);
        let answer = self.ask(Ask::get("event", destination, uri)).await?;
        let body: PdusBody<'_> = answer.parse()?;
        match body.pdus.as_slice() {
            [event] => Ok(answer.piece(event)),
            _ => Err(answer.malformed("field `pdus`: must hold one event".to_owned())),
        }
    }

    /// The auth chain of an event.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn event_auth(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<Bytes>, PeerError> {
        let uri = Uri::new("v1", &["event_auth", room_id.as_str(), event_id.as_str()]);
        let answer = self
            .ask(Ask::get("event_auth", destination, uri).large())
            .await?;
        let body: AuthChainBody<'_> = answer.parse()?;
        Ok(answer.pieces(&body.auth_chain))
    }

    /// Up to `limit` events: those of `from` and their predecessors.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/backfill/{roomId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn backfill(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: u32,
    ) -> Result<Vec<Bytes>, PeerError> {
        let uri = Uri::new("v1", &["backfill", room_id.as_str()]).with("limit", limit);
        let uri = from
            .iter()
            .fold(uri, |uri, event_id| uri.with("v", event_id));
        let answer = self
            .ask(Ask::get("backfill", destination, uri).large())
            .await?;
        let body: PdusBody<'_> = answer.parse()?;
        Ok(answer.pieces(&body.pdus))
    }
}
