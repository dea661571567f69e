//! What other servers tell of their people besides events: up to where they have read, that they type,
//! who of them is online.
//!
//! A server speaks for its own people alone, of rooms that they are in, and only as far as the room's
//! access list admits it (MSC4163). What does not hold is left out; the rest counts.
//!
//! spec: server-server v1.19 §Typing Notifications, §Presence, §Receipts.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_storage::tables::receipts::ReceiptKind;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, ServerName};
use serde::Deserialize;

use crate::federation::Federation;
use crate::presence::{Presence, Said, Status};
use crate::receipts::{Change, Receipts, Thread};
use crate::rooms::error::RoomError;
use crate::rooms::view::SharedRoom;

/// Receipts that are taken of one EDU, and people of whom one tells that they are online.
const ENTRIES_MAX: usize = 500;

/// How long somebody of another server types who says so once.
const TYPING: Duration = Duration::from_secs(60);

/// Receipts by room, type and person.
type Content = BTreeMap<OwnedRoomId, BTreeMap<String, BTreeMap<OwnedUserId, Receipt>>>;

#[derive(Deserialize)]
struct Receipt {
    event_ids: Vec<OwnedEventId>,
    #[serde(default)]
    data: ReceiptData,
}

#[derive(Default, Deserialize)]
struct ReceiptData {
    #[serde(default)]
    ts: i64,
    thread_id: Option<String>,
}

#[derive(Deserialize)]
struct Typing {
    room_id: OwnedRoomId,
    user_id: OwnedUserId,
    typing: bool,
}

#[derive(Deserialize)]
struct Push {
    push: Vec<Online>,
}

#[derive(Deserialize)]
struct Online {
    user_id: OwnedUserId,
    presence: Status,
    status_msg: Option<String>,
    last_active_ago: Option<i64>,
}

impl Federation {
    /// Takes receipts of a server's people.
    ///
    /// # Errors
    /// `Invalid` where the content is malformed; when the database fails.
    pub async fn receive_receipts(
        &self,
        origin: &ServerName,
        content: &[u8],
        receipts: &Receipts,
    ) -> Result<(), RoomError> {
        let content: Content = read(content)?;
        let mut left = ENTRIES_MAX;
        for (room_id, mut kinds) in content {
            let Some(people) = kinds.remove("m.read") else {
                continue;
            };
            let Some(room) = self.admits_edu(origin, &room_id).await? else {
                continue;
            };
            let mut changes = Vec::new();
            for (user_id, receipt) in people.into_iter().take(left) {
                left -= 1;
                if user_id.server_name() == origin {
                    changes.extend(self.change(&room, &user_id, receipt).await?);
                }
            }
            receipts.keep(&room, changes).await?;
        }
        Ok(())
    }

    /// The receipt of somebody in the room for an event that is known here.
    async fn change(
        &self,
        room: &SharedRoom,
        user_id: &OwnedUserId,
        receipt: Receipt,
    ) -> Result<Option<Change>, RoomError> {
        let Some(event_id) = receipt.event_ids.into_iter().next() else {
            return Ok(None);
        };
        let thread = match receipt.data.thread_id.as_deref().map(Thread::named) {
            None => Thread::Unthreaded,
            Some(Ok(thread)) => thread,
            Some(Err(_)) => return Ok(None),
        };
        let Some(user_nid) = self.rooms.joined_person(room, user_id).await? else {
            return Ok(None);
        };
        let known = &self.rooms.known;
        let mut found = known.of_room(room, std::slice::from_ref(&event_id)).await?;
        let Some(event) = found.remove(&event_id).filter(|event| event.is_placed()) else {
            return Ok(None);
        };
        if thread != Thread::Unthreaded {
            let place = self.rooms.thread_of(room, &event).await?;
            if !thread.holds(&event_id, &place) {
                return Ok(None);
            }
        }
        Ok(Some(Change {
            user_nid,
            user_id: user_id.as_str().into(),
            kind: ReceiptKind::Read,
            thread,
            event,
            at_ms: receipt.data.ts.clamp(0, self.ctx.clock.now_ms()),
            is_ours: false,
        }))
    }

    /// Takes that somebody of a server types, or stopped.
    ///
    /// # Errors
    /// `Invalid` where the content is malformed; when the database fails.
    pub async fn receive_typing(
        &self,
        origin: &ServerName,
        content: &[u8],
    ) -> Result<(), RoomError> {
        let typing: Typing = read(content)?;
        let user_id = &typing.user_id;
        if user_id.server_name() != origin {
            return Err(RoomError::Forbidden(
                "it speaks for another server".to_owned(),
            ));
        }
        let Some(room) = self.admits_edu(origin, &typing.room_id).await? else {
            return Ok(());
        };
        if let Some(user_nid) = self.rooms.joined_person(&room, user_id).await? {
            let timeout = typing.typing.then_some(TYPING);
            self.rooms.types(&room, (user_nid, user_id), timeout);
        }
        Ok(())
    }

    /// Takes who of a server's people is online, as far as ours share rooms with them.
    ///
    /// # Errors
    /// `Invalid` where the content is malformed; when the database fails.
    pub async fn receive_presence(
        &self,
        origin: &ServerName,
        content: &[u8],
        presence: &Presence,
    ) -> Result<(), RoomError> {
        let Push { push } = read(content)?;
        for online in push.into_iter().take(ENTRIES_MAX) {
            let user_id = &online.user_id;
            if user_id.server_name() != origin {
                continue;
            }
            if let Some(user_nid) = self.ctx.storage.user_find(user_id.as_str()).await? {
                let said = Said {
                    status: online.presence,
                    status_msg: online.status_msg.as_deref(),
                    last_active_ago: online.last_active_ago,
                };
                presence.is_said((user_nid, user_id), &said).await?;
            }
        }
        Ok(())
    }

    /// A room of which a server may tell something; none where it may not.
    async fn admits_edu(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
    ) -> Result<Option<SharedRoom>, RoomError> {
        match self.admitting(origin, room_id).await {
            Ok(room) => Ok(Some(room)),
            Err(RoomError::NotFound(_) | RoomError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(content: &'a [u8]) -> Result<T, RoomError> {
    serde_json::from_slice(content).map_err(|error| RoomError::Invalid {
        field: "content",
        rule: error.to_string(),
    })
}
