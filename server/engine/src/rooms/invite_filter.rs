//! Who does not want to be invited.
//!
//! spec: client-server v1.19 §Invite permission.

use hearth_storage::tables::account_data::{self, GLOBAL};
use hearth_types::ruma::UserId;
use serde::Deserialize;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

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
