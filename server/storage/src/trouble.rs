//! What keeps the database from its work, whatever it is asked: said once when it begins and once
//! when it ends, however many requests meet it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::StorageError;

/// A condition of the whole database, not the fault of what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room on the disk.
    Full,
    /// It cannot be written, but it can be read.
    ReadOnly,
    /// It does not answer.
    Unreachable,
    /// The disk fails to read or write.
    Failing,
    /// Its files are not what was written.
    Damaged,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the disk of the database is full",
            Self::ReadOnly => "the database cannot be written",
            Self::Unreachable => "the database does not answer",
            Self::Failing => "the disk of the database fails",
            Self::Damaged => "the database is damaged; `hearthctl db verify` says where",
        })
    }
}

/// The primary result codes of SQLite that say so; extended codes have them in their low byte.
const SQLITE: [(u32, Trouble); 6] = [
    (8, Trouble::ReadOnly),
    (10, Trouble::Failing),
    (11, Trouble::Damaged),
    (13, Trouble::Full),
    (14, Trouble::Unreachable),
    (26, Trouble::Damaged),
];

/// The beginnings of PostgreSQL's codes that say so.
const POSTGRES: [(&str, Trouble); 9] = [
    ("08", Trouble::Unreachable),
    ("25006", Trouble::ReadOnly),
    ("53100", Trouble::Full),
    ("53200", Trouble::Full),
    ("53300", Trouble::Unreachable),
    ("57P0", Trouble::Unreachable),
    ("58", Trouble::Failing),
    ("XX001", Trouble::Damaged),
    ("XX002", Trouble::Damaged),
];

impl Trouble {
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Some(Self::Unreachable),
            sqlx::Error::Database(error) => {
                let code = error.code()?;
                // SQLite's codes are numbers, PostgreSQL's are five characters.
                match (code.len(), code.parse::<u32>()) {
                    (..5, Ok(code)) => {
                        let primary = code & 0xff;
                        SQLITE.iter().find(|(it, _)| *it == primary).map(|it| it.1)
                    }
                    _ => POSTGRES
                        .iter()
                        .find(|(it, _)| code.starts_with(it))
                        .map(|it| it.1),
                }
            }
            _ => None,
        }
    }
}

/// How the database stands, shared by all who use it.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    now: watch::Sender<Option<Trouble>>,
    /// When the last trouble ended.
    ended: Arc<Mutex<Option<Instant>>>,
}

impl Standing {
    /// What is wrong with it now, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        *self.now.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Trouble>> {
        self.now.subscribe()
    }

    /// Notes what an error says of the whole database, and logs it if that is news.
    pub(crate) fn note(&self, error: &StorageError) {
        let Some(trouble) = error.trouble() else {
            return;
        };
        if self.becomes(Some(trouble)) {
            tracing::error!(%error, "{trouble}: requests that need it are refused until that ends");
        }
    }

    /// Notes that it did its work, and logs it if that is news. Damage does not go away by that.
    pub(crate) fn works(&self) {
        let passing = self.trouble().is_some_and(|it| it != Trouble::Damaged);
        if passing && self.becomes(None) {
            *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            tracing::info!("the database works again");
        }
    }

    /// How long ago the last trouble ended: a connection that was not used since may be dead.
    pub(crate) fn well_for(&self) -> Duration {
        let ended = *self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.map_or(Duration::MAX, |ended| ended.elapsed())
    }

    fn becomes(&self, now: Option<Trouble>) -> bool {
        self.now.send_if_modified(|standing| {
            let news = *standing != now;
            *standing = now;
            news
        })
    }
}
