//! Closed accounts leave their rooms: one room after another through its mailbox, in the background,
//! and on after a restart.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::tables::accounts::{self, AccountLeft};
use hearth_storage::{Commit, CommitError, Guard, StorageError};
use hearth_types::ruma::{RoomId, UserId};

use crate::accounts::Accounts;
use crate::context::Context;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

/// How long a room that could not be left is left alone.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// The task.
pub struct Departures {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    rooms: Rooms,
}

impl Departures {
    /// Makes the task; nothing happens before it is run.
    #[must_use]
    pub fn new(context: Arc<Context>, accounts: Arc<Accounts>, rooms: Rooms) -> Self {
        Self {
            context,
            accounts,
            rooms,
        }
    }

    /// Leaves what there is to leave whenever an account is closed, until the process ends.
    pub async fn run(self) {
        loop {
            let all_left = match self.round().await {
                Ok(all_left) => all_left,
                Err(error) => {
                    tracing::warn!(%error, "closed accounts could not leave their rooms yet");
                    false
                }
            };
            let closed = self.accounts.account_closed();
            if all_left {
                closed.await;
            } else {
                drop(tokio::time::timeout(RETRY, closed).await);
            }
        }
    }

    /// Leaves every room of every closed account; whether that was all of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn round(&self) -> Result<bool, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let leaving = accounts::accounts_leaving(reader.conn()).await?;
        drop(reader);
        let mut all_left = true;
        for (user_nid, user_id) in leaving {
            match UserId::parse(user_id) {
                Ok(user_id) if self.leave_rooms(user_nid, &user_id).await? => {
                    self.note_left(user_nid).await?;
                }
                _ => all_left = false,
            }
        }
        Ok(all_left)
    }

    /// Whether nothing is left to leave.
    async fn leave_rooms(&self, user_nid: i64, user_id: &UserId) -> Result<bool, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let rooms = accounts::rooms_to_leave(reader.conn(), user_nid).await?;
        drop(reader);
        let mut all_left = true;
        for room_id in rooms {
            let left = match RoomId::parse(room_id.as_str()) {
                Ok(room_id) => self.rooms.leave(&room_id, user_id.to_owned(), None).await,
                Err(_) => continue,
            };
            match left {
                Ok(()) => {}
                Err(RoomError::Storage(error)) => return Err(error),
                // The room does not let them, and will not later: they are in it without a device.
                Err(error @ RoomError::Forbidden(_)) => {
                    tracing::warn!(%room_id, %error, "a closed account stays in a room");
                }
                Err(error) => {
                    tracing::info!(%room_id, %error, "a closed account leaves a room later");
                    all_left = false;
                }
            }
        }
        Ok(all_left)
    }

    async fn note_left(&self, user_nid: i64) -> Result<(), StorageError> {
        let commit = Commit {
            guards: vec![Guard::AccountLeft(AccountLeft { user_nid })],
            ..Commit::default()
        };
        match self.context.storage.writer().commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Storage(error)) => Err(error),
            Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
        }
    }
}
