//! Sending into a room: messages, state, redactions.

use hearth_types::ruma::{EventId, OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::rooms::Rooms;
use crate::rooms::aliases::CANONICAL_ALIAS;
use crate::rooms::error::RoomError;
use crate::rooms::mailbox::{Done, Work};
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{ClientTxn, Draft};
use crate::rooms::view::SharedRoom;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Send {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, for a state event.
    pub state_key: Option<String>,
    /// Its content, JSON of an object.
    pub content: Box<RawValue>,
    /// The device's transaction id, for what has one.
    pub txn: Option<ClientTxn>,
}

impl Rooms {
    /// Sends an event into a room. The same transaction id of the same device gives the same event.
    ///
    /// # Errors
    /// `Forbidden` when the room's rules do not allow it, or the sender is not in the room.
    pub async fn send(&self, room_id: &RoomId, send: Send) -> Result<OwnedEventId, RoomError> {
        self.send_at(room_id, send, None).await
    }

    /// The same, for an event that says it was sent at another time than now: what a bridge brings here
    /// was said elsewhere, then. Where it stands in the room does not change by that.
    ///
    /// spec: application-service v1.19 §Timestamp massaging
    ///
    /// # Errors
    /// The same.
    pub async fn send_at(
        &self,
        room_id: &RoomId,
        mut send: Send,
        at_ms: Option<i64>,
    ) -> Result<OwnedEventId, RoomError> {
        let room = self.room_for(room_id).await?;
        if let Some(member) = member(&send) {
            // Boxed: a future is moved with all that it may become, and this one is large and rare.
            match Box::pin(self.member_content(&room, &send, member)).await? {
                Member::Content(content) => send.content = content,
                Member::Sent(event_id) => return Ok(event_id),
            }
        }
        let redacts = redacts(&send)?;
        if send.kind == CANONICAL_ALIAS && send.state_key.as_deref() == Some("") {
            self.check_canonical_alias(&room, &send.sender, &send.content)
                .await?;
        }
        let draft = Draft {
            sender: send.sender,
            kind: send.kind,
            state_key: send.state_key,
            content: send.content,
            redacts,
            at_ms,
        };
        self.append(&room, draft, send.txn).await
    }

    /// What becomes of a member event that is sent as any other state: it needs what changing a membership
    /// needs. Who vouches for a join is for the server to say, and whether a remote person takes an invite,
    /// for theirs.
    ///
    /// spec: client-server v1.19 §Restricted rooms.
    async fn member_content(
        &self,
        room: &SharedRoom,
        send: &Send,
        (target, mut content): (OwnedUserId, Map<String, Value>),
    ) -> Result<Member, RoomError> {
        content.remove(VOUCHER);
        match content.get("membership").and_then(Value::as_str) {
            Some("join") if target == send.sender => {
                if let Some(voucher) = self.voucher(room, &target).await? {
                    content.insert(VOUCHER.to_owned(), voucher.as_str().into());
                }
            }
            Some("invite") if !self.ctx.is_ours(target.server_name().as_str()) => {
                let text = |key: &str| content.get(key).and_then(Value::as_str);
                let invite = SetMembership {
                    sender: send.sender.clone(),
                    target,
                    membership: "invite",
                    reason: text("reason").map(ToOwned::to_owned),
                    is_direct: content.get("is_direct") == Some(&Value::Bool(true)),
                };
                return Ok(Member::Sent(self.invite_remote(room, invite).await?));
            }
            Some("invite") => self.must_take_invites(&target).await?,
            _ => {}
        }
        let content = to_raw_value(&content).map_err(|error| not_json(&error))?;
        Ok(Member::Content(content))
    }

    /// Redacts an event.
    ///
    /// # Errors
    /// As [`Rooms::send`].
    pub async fn redact(
        &self,
        room_id: &RoomId,
        sender: OwnedUserId,
        target: &EventId,
        reason: Option<&str>,
        txn: Option<ClientTxn>,
    ) -> Result<OwnedEventId, RoomError> {
        #[derive(Serialize)]
        struct Content<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<&'a str>,
        }
        let room = self.room_for(room_id).await?;
        // What it redacts is written where the room version wants it.
        let draft = Draft {
            sender,
            kind: "m.room.redaction".to_owned(),
            state_key: None,
            content: to_raw_value(&Content { reason }).map_err(|error| not_json(&error))?,
            redacts: Some(target.to_owned()),
            at_ms: None,
        };
        self.append(&room, draft, txn).await
    }

    /// The room someone wants to act in; that it is not known is not told apart from not being in it.
    pub(crate) async fn room_for(&self, room_id: &RoomId) -> Result<SharedRoom, RoomError> {
        match self.room(room_id).await {
            Err(RoomError::NotFound(_)) => Err(RoomError::outside()),
            other => other,
        }
    }

    pub(super) async fn append(
        &self,
        room: &SharedRoom,
        draft: Draft,
        txn: Option<ClientTxn>,
    ) -> Result<OwnedEventId, RoomError> {
        self.appended(room, Work::Append(draft, txn)).await
    }

    pub(super) async fn appended(
        &self,
        room: &SharedRoom,
        work: Work,
    ) -> Result<OwnedEventId, RoomError> {
        match self.ask(room, work, false).await? {
            Done::Appended(known) => Ok(known.event.event_id().to_owned()),
            Done::Received(_) | Done::TakenIn => Err(RoomError::Busy),
        }
    }
}

/// The field of a join that names who vouches for it.
pub(super) const VOUCHER: &str = "join_authorised_via_users_server";

/// What became of a member event that was sent as any other state.
enum Member {
    /// It goes on with this content.
    Content(Box<RawValue>),
    /// It was sent on its own way.
    Sent(OwnedEventId),
}

/// The person and the content of a member event that is sent as any other state.
fn member(send: &Send) -> Option<(OwnedUserId, Map<String, Value>)> {
    let target = send.state_key.as_deref();
    let target = target.filter(|_| send.kind == "m.room.member")?;
    let target = UserId::parse(target).ok()?;
    Some((target, serde_json::from_str(send.content.get()).ok()?))
}

/// The target that a redaction sent as an ordinary event names in its content.
fn redacts(send: &Send) -> Result<Option<OwnedEventId>, RoomError> {
    #[derive(serde::Deserialize)]
    struct Content {
        redacts: Option<OwnedEventId>,
    }
    if send.kind != "m.room.redaction" {
        return Ok(None);
    }
    let content: Content =
        serde_json::from_str(send.content.get()).map_err(|error| not_json(&error))?;
    Ok(content.redacts)
}

fn not_json(error: &serde_json::Error) -> RoomError {
    RoomError::Invalid {
        field: "content",
        rule: error.to_string(),
    }
}
