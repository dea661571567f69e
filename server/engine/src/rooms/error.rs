//! What a room refuses, and why.

use hearth_storage::{CommitError, Refusal, StorageError, Trouble};

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
    /// The name is another room's.
    #[error("the alias is taken")]
    AliasTaken,
    /// The alias belongs to an application service, or does not belong to the one that asks.
    #[error("this alias is reserved for an application service, or not for this one")]
    AliasExclusive,
    /// A name that a room is to show does not lead to it.
    #[error("{0}")]
    BadAlias(String),
    /// A new room cannot begin with this state.
    #[error("the room cannot begin like that: {0}")]
    InvalidState(String),
    /// Only a room that was left can be forgotten.
    #[error("leave the room before you forget it")]
    StillThere,
    /// The person does not want to be invited.
    #[error("{0} does not want to be invited")]
    InviteBlocked(String),
    /// The room does not let guests in, or this server cannot know whether it does.
    #[error("guests may not join this room")]
    NoGuests,
    /// The person said the same of the same event before.
    #[error("you said that of this event already")]
    DuplicateAnnotation,
    /// A thread was to start off an event that relates to another.
    #[error("a thread cannot start off an event that relates to another")]
    NoThreadRoot,
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
    /// What those are told who are not in a room, also where there is none.
    pub(super) fn outside() -> Self {
        Self::Forbidden("you are not in this room".to_owned())
    }

    /// Whether the database as a whole cannot do its work at the moment: storage has logged that.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Storage(error) => error.trouble(),
            _ => None,
        }
    }

    /// Whether trying again cannot help: what fails like this must not hold up what comes after it.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Storage(error) if !matches!(error, StorageError::Corrupt { .. }))
    }
}

impl RoomError {
    /// Why a commit failed that takes a name for a room.
    pub(super) fn of_alias(error: CommitError) -> Self {
        match error {
            CommitError::Refused(Refusal::Taken) => Self::AliasTaken,
            CommitError::Refused(Refusal::Full) => Self::Invalid {
                field: "room_alias",
                rule: "the room has as many aliases as it can have".to_owned(),
            },
            error => error.into(),
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
