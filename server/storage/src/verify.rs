//! Looks at a whole database and says what is wrong with it. Nothing is written.
//!
//! One consistent snapshot is read, also beside a running server. A check is one of two things:
//!
//! * a [`RowCheck`]: a name, a sentence, and a text that finds the bad rows. Whoever adds a table
//!   adds its checks to the list of its family in `verify/references.rs`, or a list of its own to
//!   [`FAMILIES`]: one for every column that names another row, and for every position, that it is
//!   not ahead of the head.
//! * code over one room at a time (`verify/room.rs`), for what takes more than a query: the graph,
//!   the bytes of events, states.

mod events;
mod findings;
mod graph;
mod references;
mod resolved;
mod room;
mod state;

use hearth_protocol::signing::{SigningKey, VerifyKey};

pub use findings::{Finding, Report};

use crate::StorageError;
use crate::dialect::{self, ConnectTo, WriteConn};
use crate::migrate;
use findings::{Check, Findings, checks};

/// A check that the database itself can make.
struct RowCheck {
    check: Check,
    /// Finds the bad rows: one text column, which takes the place of `{}` in the sentence.
    finds: &'static str,
}

impl RowCheck {
    const fn new(name: &'static str, says: &'static str, finds: &'static str) -> Self {
        Self {
            check: Check::new(name, says),
            finds,
        }
    }
}

/// Every list of checks, by family of tables.
const FAMILIES: &[&[RowCheck]] = &[
    references::NAMES,
    references::PEOPLE,
    references::KEYS,
    references::ROOMS,
    references::FEDERATION,
    references::POSITIONS,
];

checks! {
    PAGE = "page-damaged", "the database file is damaged: {}";
    UNREADABLE = "unreadable", "the database cannot be read: {}";
}

/// The name of every check.
#[must_use]
pub fn checks() -> Vec<&'static str> {
    let of_rows = FAMILIES.iter().copied().flatten().map(|it| it.check.name);
    let lists = [
        CHECKS,
        events::CHECKS,
        graph::CHECKS,
        room::CHECKS,
        state::CHECKS,
    ];
    let of_code = lists.into_iter().flatten().map(|check| check.name);
    of_rows.chain(of_code).collect()
}

/// The key that this server signs with, for the signatures of its own events.
#[derive(Debug, Clone)]
pub struct OwnKey {
    id: String,
    key: VerifyKey,
}

impl OwnKey {
    /// The key `ed25519:<version>` of 32 secret bytes; none where the version cannot be one.
    #[must_use]
    pub fn from_seed(version: &str, seed: &[u8; 32]) -> Option<Self> {
        let key = SigningKey::from_seed(version, seed).ok()?;
        Some(Self {
            id: key.id().to_string(),
            key: key.verify_key(),
        })
    }
}

/// Looks at everything. Without `own_key`, the signatures of our own events are not checked.
///
/// # Errors
/// When the database cannot be opened, or its schema is not of this version.
pub async fn verify(to: &ConnectTo, own_key: Option<&OwnKey>) -> Result<Report, StorageError> {
    let mut pass = Pass {
        conn: dialect::connect_snapshot(to).await?,
        findings: Findings::default(),
    };
    pass.conn.begin_snapshot().await?;
    migrate::refuse_other_levels(pass.conn.conn()).await?;
    let pages = dialect::damaged_pages(pass.conn.conn()).await;
    for page in pass.readable("its pages", pages).await?.unwrap_or_default() {
        pass.findings.add(&PAGE, page);
    }
    for check in FAMILIES.iter().copied().flatten() {
        let found = dialect::texts(pass.conn.conn(), check.finds).await;
        let bad = pass.readable(check.check.name, found).await?;
        for subject in bad.unwrap_or_default() {
            pass.findings.add(&check.check, subject);
        }
    }
    room::look_at_all(pass, own_key).await
}

/// One reading of the database.
struct Pass {
    conn: WriteConn,
    findings: Findings,
}

impl Pass {
    /// What was read. Where the database could not read it, that is a finding, and the rest is
    /// looked at all the same.
    async fn readable<T>(
        &mut self,
        what: &str,
        read: Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if error.is_disconnect() => Err(error),
            Err(error) => {
                let subject = format!("{what}: {error}");
                self.findings.add(&UNREADABLE, subject);
                // PostgreSQL ends a transaction with its first error.
                self.conn.begin_snapshot().await?;
                Ok(None)
            }
        }
    }
}
