//! Where a follower of the log stands.

use hearth_storage::tables::log::{self, FollowerRow};
use hearth_storage::{Commit, Storage};

use crate::rooms::error::RoomError;

/// Positions after which it is stored where a follower stands that had nothing to do there. After a
/// crash it looks at so many once more.
const STORED_EVERY: i64 = 5_000;

/// Where a follower of the log stands, and where it is stored to stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Followed {
    /// Everything up to here is done.
    pub(crate) position: i64,
    stored: i64,
}

impl Followed {
    /// Here, and stored.
    pub(crate) fn at(position: i64) -> Self {
        Self {
            position,
            stored: position,
        }
    }

    /// Further on, with nothing to store.
    pub(crate) fn moved(self, position: i64) -> Self {
        Self { position, ..self }
    }

    /// Where a follower is stored to stand; `begin` where it never stood anywhere.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn read(storage: &Storage, name: &str, begin: i64) -> Result<Self, RoomError> {
        let mut reader = storage.read().await?;
        let stored = log::follower_position(reader.conn(), name).await?;
        Ok(Self {
            position: stored.unwrap_or(begin),
            stored: stored.unwrap_or(begin - STORED_EVERY),
        })
    }

    /// Passes what is of no concern, up to `head`; stores where it stands now and then.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn pass(
        mut self,
        storage: &Storage,
        name: &'static str,
        head: i64,
    ) -> Result<Self, RoomError> {
        self.position = self.position.max(head);
        match self.position - self.stored >= STORED_EVERY {
            true => Self::store(storage, name, self.position).await,
            false => Ok(self),
        }
    }

    /// Stores that everything up to a position is done.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn store(
        storage: &Storage,
        name: &'static str,
        position: i64,
    ) -> Result<Self, RoomError> {
        let mut commit = Commit::default();
        commit.rows.followers.push(FollowerRow { name, position });
        storage.writer().commit(commit).await?;
        Ok(Self::at(position))
    }
}
