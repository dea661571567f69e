//! What a room refuses, and why.

use hearth_storage::{CommitError, StorageError, Trouble};

use crate::peers::PeerError;

/// Why something was not done in a room.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// The rules of the room do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such room, event or state, or the asker may not know of it.
    #[error("{0} is not known")]
    NotFound(&'static str),
    /// A value breaks a rule.
    #[error("{field}: {rule}")]
    Invalid {
        /// Where.
        field: &'static str,
        /// The rule.
        rule: String,
    },
    /// The event would be larger than events may be.
    #[error("the event is too large: {0}")]
    TooLarge(String),
    /// This server does not know the room version.
    #[error("room version {0} is not supported")]
    UnsupportedVersion(String),
    /// Whether a person may join by the room's conditions depends on rooms that are not known here.
    #[error("this server does not know the rooms whose members may join")]
    UnableToAuthorizeJoin,
    /// A person may join by the room's conditions, but nobody of this server can vouch for it.
    #[error("nobody of this server can let people into the room")]
    UnableToGrantJoin,
    /// The room's mailbox is full.
    #[error("the room is busy")]
    Busy,
    /// Another server was needed and did not do it.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RoomError {
    /// Whether the database as a whole cannot do its work at the moment: storage has logged that.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Storage(error) => error.trouble(),
            _ => None,
        }
    }
}

impl From<CommitError> for RoomError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            CommitError::Refused(_) => Self::Busy,
        }
    }
}
