//! What can go wrong with keys and messages between devices.

use hearth_protocol::canonical_json::{FieldError, ParseError};
use hearth_storage::{CommitError, Refusal, StorageError};

use crate::peers::PeerError;

/// Why something was not done with keys, or with a message between devices.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The body is no JSON, or JSON that cannot be signed.
    #[error(transparent)]
    Json(#[from] ParseError),
    /// A field of the body is missing or of the wrong type.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Of this person, something else is asked for than a list of device ids.
    #[error("`device_keys.{0}` must be a list of device ids")]
    NotDeviceIds(String),
    /// A value breaks a rule.
    #[error("`{field}` {rule}")]
    Invalid {
        /// The field.
        field: String,
        /// The rule.
        rule: &'static str,
    },
    /// A key, or a list of them, is larger than it may be.
    #[error("`{field}` is larger than {limit} {unit}")]
    TooLarge {
        /// The field.
        field: String,
        /// How much there may be.
        limit: i64,
        /// Of what.
        unit: &'static str,
    },
    /// The id of a one-time key stands for another key already.
    #[error("a one-time key with one of these ids and another content was uploaded before")]
    KeyExists,
    /// A signature that is needed is missing or wrong.
    #[error("`{0}` has no valid signature")]
    Signature(String),
    /// There is no master key that the other keys could be signed with.
    #[error("there is no master key yet: upload `master_key` first, or with this")]
    NoMasterKey,
    /// A cross-signing key is at the same time the id of a device.
    #[error("the public key of `{0}` is the id of a device")]
    KeyIdInUse(&'static str),
    /// It changed between the look at it and the write.
    #[error("the keys changed in the meantime: try again")]
    Changed,
    /// Keys for another version of the backup than the newest, which is this.
    #[error("this is not the current version of the backup, which is {0}")]
    WrongBackupVersion(String),
    /// There is no room for more of a kind.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// The device is not the person's dehydrated one.
    #[error("this is not the id of your dehydrated device")]
    NotDehydrated,
    /// The device is gone.
    #[error("this device is not known any more")]
    UnknownDevice,
    /// What is asked for does not exist, or the asker may not know of it.
    #[error("{0} was not found")]
    NotFound(&'static str),
    /// Another server was needed and did not do it.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl KeyError {
    pub(crate) fn invalid(field: impl Into<String>, rule: &'static str) -> Self {
        Self::Invalid {
            field: field.into(),
            rule,
        }
    }
}

impl From<CommitError> for KeyError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            CommitError::Refused(Refusal::Absent) => Self::UnknownDevice,
            CommitError::Refused(Refusal::Taken) => Self::KeyExists,
            CommitError::Refused(Refusal::Full) => Self::TooLarge {
                field: "one_time_keys".to_owned(),
                limit: hearth_storage::tables::one_time_keys::ONE_TIME_KEYS_MAX,
                unit: "unissued keys",
            },
            CommitError::Refused(Refusal::Changed | Refusal::Stale { .. }) => Self::Changed,
        }
    }
}
