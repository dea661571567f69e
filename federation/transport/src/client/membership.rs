//! Joining, leaving, inviting.

use bytes::Bytes;
use hearth_types::ruma::{EventId, OwnedServerName, RoomId, ServerName, UserId};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Ask, PeerClient, PeerError, Uri, Verbatim, VerbatimList, json_body};

/// What a resident server proposes for a membership event. Never to be signed as it is: our event is
/// rebuilt from our own values, with the few fields that only the resident server knows.
#[derive(Debug, Clone)]
pub struct Template {
    /// Version of the room; absent in answers of very old servers.
    pub room_version: Option<String>,
    /// The proposal.
    pub event: Bytes,
}

/// The answer to `send_join`.
#[derive(Debug, Clone)]
pub struct SendJoin {
    /// Our join with the resident server's signature, if the room is restricted and it signed.
    pub event: Option<Bytes>,
    /// The state of the room before the join.
    pub state: Vec<Bytes>,
    /// The auth chain of that state.
    pub auth_chain: Vec<Bytes>,
    /// Whether most membership events are left out of `state`.
    pub members_omitted: bool,
    /// Servers in the room; given when members are omitted.
    pub servers_in_room: Vec<OwnedServerName>,
}

/// The parts of an invite.
#[derive(Debug, Clone, Copy)]
pub struct Invite<'a> {
    /// The room.
    pub room_id: &'a RoomId,
    /// The id of the event.
    pub event_id: &'a EventId,
    /// Version of the room.
    pub room_version: &'a str,
    /// The invite event, signed by us.
    pub event: &'a [u8],
    /// State that tells the invited person what the room is: whole events, the create event among
    /// them.
    pub invite_room_state: &'a [Bytes],
}

#[derive(Deserialize)]
struct TemplateBody<'a> {
    #[serde(default)]
    room_version: Option<String>,
    #[serde(borrow)]
    event: &'a RawValue,
}

#[derive(Deserialize)]
struct SendJoinBody<'a> {
    #[serde(default, borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    state: Vec<&'a RawValue>,
    #[serde(borrow)]
    auth_chain: Vec<&'a RawValue>,
    #[serde(default)]
    members_omitted: bool,
    #[serde(default)]
    servers_in_room: Option<Vec<OwnedServerName>>,
}

#[derive(Deserialize)]
struct SendKnockBody<'a> {
    #[serde(borrow)]
    knock_room_state: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct InviteBody<'a> {
    room_version: &'a str,
    event: Verbatim<'a>,
    invite_room_state: VerbatimList<'a>,
}

#[derive(Deserialize)]
struct EventBody<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

/// The room versions that we know, as a resident server asks for them.
fn with_versions(uri: Uri, versions: &[&str]) -> Uri {
    versions
        .iter()
        .fold(uri, |uri, version| uri.with("ver", version))
}

impl PeerClient {
    /// Asks for a proposal of a join.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
    ///
    /// # Errors
    /// [`PeerError`]; `M_INCOMPATIBLE_ROOM_VERSION` when none of `versions` is the room's.
    pub async fn make_join(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        versions: &[&str],
    ) -> Result<Template, PeerError> {
        let uri = Uri::new("v1", &["make_join", room_id.as_str(), user_id.as_str()]);
        let uri = with_versions(uri, versions);
        self.template(Ask::get("make_join", destination, uri)).await
    }

    /// Asks for a proposal of a knock.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
    ///
    /// # Errors
    /// As [`PeerClient::make_join`].
    pub async fn make_knock(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
        versions: &[&str],
    ) -> Result<Template, PeerError> {
        let uri = Uri::new("v1", &["make_knock", room_id.as_str(), user_id.as_str()]);
        let uri = with_versions(uri, versions);
        self.template(Ask::get("make_knock", destination, uri))
            .await
    }

    /// Hands in a knock; returns what the person is shown of the room.
    ///
    /// spec: server-server v1.19 `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn send_knock(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        pdu: Bytes,
    ) -> Result<Vec<Bytes>, PeerError> {
        let uri = Uri::new("v1", &["send_knock", room_id.as_str(), event_id.as_str()]);
        let ask = Ask::get("send_knock", destination, uri).with_body(Method::PUT, pdu);
        let answer = self.ask(ask.insisting()).await?;
        let body: SendKnockBody<'_> = answer.parse()?;
        Ok(answer.pieces(&body.knock_room_state))
    }

    /// Asks for a proposal of a leave.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn make_leave(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        user_id: &UserId,
    ) -> Result<Template, PeerError> {
        let uri = Uri::new("v1", &["make_leave", room_id.as_str(), user_id.as_str()]);
        self.template(Ask::get("make_leave", destination, uri))
            .await
    }

    async fn template(&self, ask: Ask<'_>) -> Result<Template, PeerError> {
        let answer = self.ask(ask.insisting()).await?;
        let body: TemplateBody<'_> = answer.parse()?;
        Ok(Template {
            event: answer.piece(body.event),
            room_version: body.room_version,
        })
    }

    /// Hands in a join.
    ///
    /// spec: server-server v1.19 `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn send_join(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        pdu: Bytes,
    ) -> Result<SendJoin, PeerError> {
        let uri = Uri::new("v2", &["send_join", room_id.as_str(), event_id.as_str()]);
        let uri = uri.with("omit_members", false);
        let ask = Ask::get("send_join", destination, uri).with_body(Method::PUT, pdu);
        let answer = self.ask(ask.insisting().large()).await?;
        let body: SendJoinBody<'_> = answer.parse()?;
        Ok(SendJoin {
            event: body.event.map(|event| answer.piece(event)),
            state: answer.pieces(&body.state),
            auth_chain: answer.pieces(&body.auth_chain),
            members_omitted: body.members_omitted,
            servers_in_room: body.servers_in_room.unwrap_or_default(),
        })
    }

    /// Hands in a leave.
    ///
    /// spec: server-server v1.19 `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn send_leave(
        &self,
        destination: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
        pdu: Bytes,
    ) -> Result<(), PeerError> {
        let uri = Uri::new("v2", &["send_leave", room_id.as_str(), event_id.as_str()]);
        let ask = Ask::get("send_leave", destination, uri).with_body(Method::PUT, pdu);
        self.ask(ask.insisting()).await.map(|_| ())
    }

    /// Asks a person's server to let an invite in; returns the event with its signature added.
    ///
    /// spec: server-server v1.19 `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn invite(
        &self,
        destination: &ServerName,
        invite: Invite<'_>,
    ) -> Result<Bytes, PeerError> {
        let uri = Uri::new(
            "v2",
            &["invite", invite.room_id.as_str(), invite.event_id.as_str()],
        );
        let body = json_body(&InviteBody {
            room_version: invite.room_version,
            event: Verbatim(invite.event),
            invite_room_state: VerbatimList(invite.invite_room_state),
        })?;
        let ask = Ask::get("invite", destination, uri).with_body(Method::PUT, body);
        let answer = self.ask(ask.insisting()).await?;
        let body: EventBody<'_> = answer.parse()?;
        Ok(answer.piece(body.event))
    }
}
