//! Who does not want to be invited.
//!
//! spec: client-server v1.19 §Invite permission.

use hearth_protocol::room_version::rules_for;
use hearth_storage::tables::rooms as room_rows;
use hearth_types::ruma::UserId;

use crate::rooms::error::RoomError;
use crate::rooms::ignored::Ignored;
use crate::rooms::{RoomMembership, Rooms};

impl Rooms {
    /// Refuses the invite of a person of ours who takes none.
    ///
    /// # Errors
    /// `InviteBlocked`.
    pub(crate) async fn must_take_invites(&self, user: &UserId) -> Result<(), RoomError> {
        match self.ctx.storage.user_find(user.as_str()).await? {
            Some(user_nid) if self.ignored.of(user_nid).await?.blocks_invites() => {
                Err(RoomError::InviteBlocked(user.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Whether an invite is not to be shown to somebody: they ignore its sender, or take none.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_unwanted(
        &self,
        room_nid: i64,
        invite: &RoomMembership,
        ignored: &Ignored,
    ) -> Result<bool, RoomError> {
        if ignored.blocks_invites() {
            return Ok(true);
        }
        if ignored.is_empty() {
            return Ok(false);
        }
        let mut reader = self.ctx.storage.read().await?;
        let stored = room_rows::room_by_nid(reader.conn(), room_nid).await?;
        drop(reader);
        let Some(rules) = stored.and_then(|stored| rules_for(&stored.version)) else {
            return Ok(false);
        };
        let events = self.known.by_nid(rules, &[invite.event_nid]).await?;
        let sender = events.values().next().map(|known| known.event.sender());
        Ok(sender.is_some_and(|sender| ignored.contains(sender.as_str())))
    }
}
