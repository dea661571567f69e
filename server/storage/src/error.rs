//! What can go wrong at the boundary of storage.

use crate::trouble::Trouble;

/// An error of the database, opaque but for the questions a caller may ask.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine refused a statement or the connection to it failed.
    #[error("database: {0}")]
    Engine(#[from] sqlx::Error),
    /// The database could not be brought to this version's schema.
    #[error("{0}")]
    Migration(String),
    /// The database cannot be used as it is; the sentence says why and what to do.
    #[error("{0}")]
    Unusable(String),
    /// Stored bytes are not what this version wrote.
    #[error("stored {what} cannot be read: {why}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// The rule it breaks.
        why: String,
    },
    /// The database as a whole cannot do its work at the moment.
    #[error("{0}")]
    Unavailable(Trouble),
    /// The writer has stopped: the process is shutting down.
    #[error("the database writer has stopped")]
    Stopped,
}

impl StorageError {
    /// What it says of the database as a whole; none where it is about what was asked.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Engine(error) => Trouble::of(error),
            Self::Unavailable(trouble) => Some(*trouble),
            _ => None,
        }
    }

    /// Whether the connection itself is lost, so that the next attempt needs a new one.
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        self.trouble() == Some(Trouble::Unreachable)
    }

    /// Whether a table is missing: nobody has set the database up.
    pub(crate) fn is_no_table(&self) -> bool {
        match self {
            Self::Engine(sqlx::Error::Database(error)) => {
                error.code().as_deref() == Some(POSTGRES_NO_TABLE)
                    || error.message().starts_with(SQLITE_NO_TABLE)
            }
            _ => false,
        }
    }
}

const POSTGRES_NO_TABLE: &str = "42P01";
const SQLITE_NO_TABLE: &str = "no such table";
