//! Closed accounts leave their rooms: one room after another through its mailbox, in the background,
//! and on after a restart.
//!
//! A request of theirs may be under way while an account is closed, and join a room after all others were
//! left: for a while, it is looked again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_storage::tables::accounts::{self, AccountLeft};
use hearth_storage::tables::key_backups::BackupsForget;
use hearth_storage::{Commit, CommitError, Guard, StorageError};
use hearth_types::ruma::{RoomId, UserId};

use crate::accounts::Accounts;
use crate::context::Context;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

use tokio::time::Instant;

/// How long a room that could not be left is left alone.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// How long a request may be under way, that of a join through another server included, and how often it
/// is looked meanwhile what it did.
const SETTLING: Duration = Duration::from_secs(3 * 60);
const LOOK: Duration = Duration::from_secs(20);

/// What a round left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undone {
    /// Nothing.
    Nothing,
    /// Accounts were closed so recently that they may still come into a room.
    Settling,
    /// Rooms could not be left.
    Rooms,
}

/// The task.
pub struct Departures {
    context: Arc<Context>,
    accounts: Arc<Accounts>,
    rooms: Rooms,
    /// Since when closed accounts leave their rooms.
    leaving: HashMap<i64, Instant>,
    pub(crate) settling: Duration,
}

impl Departures {
    /// Makes the task; nothing happens before it is run.
    #[must_use]
    pub fn new(context: Arc<Context>, accounts: Arc<Accounts>, rooms: Rooms) -> Self {
        Self {
            context,
            accounts,
            rooms,
            leaving: HashMap::new(),
            settling: SETTLING,
        }
    }

    /// Leaves what there is to leave whenever an account is closed, until the process ends.
    pub async fn run(mut self) {
        loop {
            let undone = self.round().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "closed accounts could not leave their rooms yet");
                Undone::Rooms
            });
            let closed = self.accounts.account_closed();
            match undone {
                Undone::Nothing => closed.await,
                Undone::Settling => drop(tokio::time::timeout(LOOK, closed).await),
                Undone::Rooms => drop(tokio::time::timeout(RETRY, closed).await),
            }
        }
    }

    /// Leaves every room of every closed account.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn round(&mut self) -> Result<Undone, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let leaving = accounts::accounts_leaving(reader.conn()).await?;
        drop(reader);
        let mut undone = Undone::Nothing;
        for (user_nid, user_id) in leaving {
            let since = *self.leaving.entry(user_nid).or_insert_with(Instant::now);
            let left = match UserId::parse(user_id) {
                Ok(user_id) => self.leave_rooms(user_nid, &user_id).await?,
                Err(_) => true,
            };
            let of_account = match left {
                false => Undone::Rooms,
                true if since.elapsed() < self.settling => Undone::Settling,
                true => {
                    self.note_left(user_nid).await?;
                    self.leaving.remove(&user_nid);
                    Undone::Nothing
                }
            };
            undone = undone.max(of_account);
        }
        Ok(undone)
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
            guards: vec![
                Guard::AccountLeft(AccountLeft { user_nid }),
                Guard::BackupsForget(BackupsForget { user_nid }),
            ],
            ..Commit::default()
        };
        match self.context.storage.writer().commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Storage(error)) => Err(error),
            Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
        }
    }
}
