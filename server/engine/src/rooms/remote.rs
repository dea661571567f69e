//! Rooms that this server is not in: joining and leaving them over another server.

use hearth_types::ruma::{OwnedServerName, OwnedUserId, RoomId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

impl Rooms {
    /// Joins a room over one of the servers that are in it.
    pub(super) async fn join_remote(
        &self,
        _room_id: &RoomId,
        _user: OwnedUserId,
        _reason: Option<String>,
        _via: Vec<OwnedServerName>,
    ) -> Result<(), RoomError> {
        Err(RoomError::NotFound("the room"))
    }

    /// Leaves a room that this server is not in.
    pub(super) async fn leave_remote(
        &self,
        _room_id: &RoomId,
        _user: OwnedUserId,
        _reason: Option<String>,
    ) -> Result<(), RoomError> {
        Err(RoomError::NotFound("the room"))
    }
}
