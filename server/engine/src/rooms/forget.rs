//! Forgetting a room that one left: its history is shown no more, until one comes back.
//!
//! spec: client-server v1.19 §Leaving rooms.

use hearth_storage::tables::state::RoomForget;
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::RoomId;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

impl Rooms {
    /// Forgets a room. A room that the person has nothing to do with is as good as forgotten.
    ///
    /// # Errors
    /// `StillThere` for who has not left it.
    pub async fn forget_room(&self, room_id: &RoomId, user_nid: i64) -> Result<(), RoomError> {
        let room_nid = self.room_nid(room_id).await?;
        let room_nid = room_nid.ok_or(RoomError::NotFound("the room"))?;
        let rooms = self.people.of(user_nid).await?;
        let Some(known) = rooms.get(&room_nid) else {
            return Ok(());
        };
        if !matches!(known.membership.as_str(), "leave" | "ban") {
            return Err(RoomError::StillThere);
        }
        if known.forgotten {
            return Ok(());
        }
        let mut commit = Commit::default();
        commit.guards.push(Guard::RoomForget(RoomForget {
            room_nid,
            user_nid,
            position: known.position,
        }));
        let receipt = self.ctx.storage.writer().commit(commit).await?;
        self.people.forgotten(room_nid, user_nid, known.position);
        drop(receipt);
        Ok(())
    }
}
