//! Who does not want to be invited.
//!
//! spec: client-server v1.19 §Invite permission.

use hearth_protocol::room_version::rules_for;
use hearth_storage::tables::account_data::{self, GLOBAL};
use hearth_storage::tables::rooms as room_rows;
use hearth_types::ruma::UserId;
use serde::Deserialize;

use crate::rooms::error::RoomError;
use crate::rooms::{RoomMembership, Rooms};

/// The account data that says so.
const INVITE_PERMISSION: &str = "m.invite_permission_config";

impl Rooms {
    /// Refuses the invite of a person of ours who takes none.
    ///
    /// # Errors
    /// `InviteBlocked`.
    pub(crate) async fn must_take_invites(&self, user: &UserId) -> Result<(), RoomError> {
        match self.ctx.storage.user_find(user.as_str()).await? {
            Some(user_nid) if self.blocks_invites(user_nid).await? => {
                Err(RoomError::InviteBlocked(user.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Whether an invite is not to be shown: its sender is ignored, or the person takes none.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_unwanted(
        &self,
        room_nid: i64,
        user_nid: i64,
        invite: &RoomMembership,
    ) -> Result<bool, RoomError> {
        if self.blocks_invites(user_nid).await? {
            return Ok(true);
        }
        let ignored = self.ignored.of(user_nid).await?;
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

    /// Whether a person of ours takes no invites.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn blocks_invites(&self, user_nid: i64) -> Result<bool, RoomError> {
        #[derive(Deserialize)]
        struct Config {
            default_action: String,
        }
        let mut reader = self.ctx.storage.read().await?;
        let found =
            account_data::account_data(reader.conn(), user_nid, GLOBAL, INVITE_PERMISSION).await?;
        let config: Option<Config> = found.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(config.is_some_and(|config| config.default_action == "block"))
    }
}
