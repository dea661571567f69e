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
    /// When the writer last had to reach it anew.
    reached: Arc<Mutex<Option<Instant>>>,
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

    /// Notes that the writer lost its connection and has another one now.
    pub(crate) fn is_reached_anew(&self) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago the last trouble ended: a connection that was not used since may be dead.
    pub(crate) fn well_for(&self) -> Duration {
        since(&self.ended)
    }

    /// How long ago the writer lost its connection and got another one: those that are older are lost, too.
    pub(crate) fn reached_for(&self) -> Duration {
        since(&self.reached)
    }

    fn becomes(&self, now: Option<Trouble>) -> bool {
        self.now.send_if_modified(|standing| {
            let news = *standing != now;
            *standing = now;
            news
        })
    }
}

fn since(moment: &Mutex<Option<Instant>>) -> Duration {
    let moment = *moment.lock().unwrap_or_else(PoisonError::into_inner);
    moment.map_or(Duration::MAX, |moment| moment.elapsed())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What a driver reports: a code and nothing that matters beside it.
    #[derive(Debug, thiserror::Error)]
    #[error("the driver's own words")]
    struct Coded(&'static str);

    impl DatabaseError for Coded {
        fn message(&self) -> &'static str {
            "the driver's own words"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            (!self.0.is_empty()).then_some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn coded(code: &'static str) -> StorageError {
        sqlx::Error::database(Coded(code)).into()
    }

    #[test]
    fn what_a_driver_reports_is_told_in_words() {
        let full = Some("the disk of the database is full");
        let read_only = Some("the database cannot be written");
        let silent = Some("the database does not answer");
        let failing = Some("the disk of the database fails");
        let damaged = Some("the database is damaged; `hearthctl db verify` says where");
        let table = [
            // SQLite: READONLY, and that with the log's index, a moved file, a folder.
            ("8", read_only),
            ("264", read_only),
            ("1032", read_only),
            ("1544", read_only),
            // IOERR, and that on reading, on writing (also where the kernel made the file system
            // read-only under an open file), on flushing, on growing the index.
            ("10", failing),
            ("266", failing),
            ("778", failing),
            ("1034", failing),
            ("4874", failing),
            ("11", damaged),
            ("267", damaged),
            ("26", damaged),
            ("13", full),
            ("14", silent),
            // Busy, locked, out of memory, interrupted, a rule of the schema: of what was asked.
            ("5", None),
            ("6", None),
            ("7", None),
            ("9", None),
            ("2067", None),
            // PostgreSQL: connections, administrators, standbys, disks, damage.
            ("08006", silent),
            ("53300", silent),
            ("57P01", silent),
            ("57P03", silent),
            ("25006", read_only),
            ("53100", full),
            ("53200", full),
            ("58030", failing),
            ("XX001", damaged),
            ("XX002", damaged),
            // A cancelled query, a serialization failure, a syntax error, an internal one, no code.
            ("57014", None),
            ("40001", None),
            ("42601", None),
            ("23505", None),
            ("XX000", None),
            ("", None),
        ];
        for (code, expected) in table {
            let told = coded(code).trouble().map(|trouble| trouble.to_string());
            assert_eq!(told.as_deref(), expected, "{code}");
            assert_eq!(coded(code).is_disconnect(), expected == silent, "{code}");
        }
    }

    #[test]
    fn a_connection_that_fails_is_a_database_that_does_not_answer() {
        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let lost = [
            sqlx::Error::Io(cut),
            sqlx::Error::Protocol("nonsense".to_owned()),
            sqlx::Error::PoolTimedOut,
            sqlx::Error::PoolClosed,
            sqlx::Error::WorkerCrashed,
        ];
        for error in lost {
            assert_eq!(Trouble::of(&error), Some(Trouble::Unreachable), "{error}");
        }
        assert_eq!(Trouble::of(&sqlx::Error::RowNotFound), None);
        let again = StorageError::Unavailable(Trouble::Full);
        assert_eq!(again.trouble(), Some(Trouble::Full));
        assert_eq!(StorageError::Stopped.trouble(), None);
    }

    #[test]
    fn trouble_stands_until_the_database_works_and_damage_longer() {
        let standing = Standing::default();
        let mut news = standing.subscribe();
        standing.note(&coded("23505"));
        assert_eq!(standing.trouble(), None);
        assert_eq!(standing.well_for(), Duration::MAX);
        standing.note(&coded("53100"));
        assert_eq!(standing.trouble(), Some(Trouble::Full));
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        standing.note(&coded("13"));
        assert!(!news.has_changed().unwrap(), "the same is no news");
        standing.works();
        assert_eq!(standing.trouble(), None);
        assert!(standing.well_for() < Duration::MAX);
        standing.note(&coded("XX001"));
        standing.works();
        assert_eq!(standing.trouble(), Some(Trouble::Damaged));
    }
}
