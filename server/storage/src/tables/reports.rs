//! What people report to the administrators.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// Reports of one person that are kept: the newest.
pub const REPORTS_MAX: i64 = 1_000;

/// Keeps a report. A person's oldest reports give way to their newest.
#[derive(Debug, Clone)]
pub struct ReportFile {
    /// Who reports.
    pub reporter_nid: i64,
    /// The room that is reported, or that the event is in.
    pub room_nid: Option<i64>,
    /// The event that is reported.
    pub event_nid: Option<i64>,
    /// The person who is reported.
    pub reported_user: Option<String>,
    /// Why, in their words, without U+0000.
    pub reason: String,
    /// When.
    pub received_at_ms: i64,
}

impl ReportFile {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        sql!(
            conn.again(),
            execute,
            "INSERT INTO reports
             (reporter_nid, room_nid, event_nid, reported_user, reason, received_at_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
            self.reporter_nid,
            self.room_nid,
            self.event_nid,
            self.reported_user.as_deref(),
            &self.reason,
            self.received_at_ms
        )?;
        sql!(
            conn,
            execute,
            "DELETE FROM reports WHERE reporter_nid = $1 AND report_nid <= (
                 SELECT report_nid FROM reports WHERE reporter_nid = $1
                 ORDER BY report_nid DESC LIMIT 1 OFFSET $2
             )",
            self.reporter_nid,
            REPORTS_MAX
        )?;
        Ok(Outcome::Done)
    }
}

/// A report as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredReport {
    /// Its number.
    pub report_nid: i64,
    /// Who reported.
    pub reporter_nid: i64,
    /// The room.
    pub room_nid: Option<i64>,
    /// The event.
    pub event_nid: Option<i64>,
    /// The person.
    pub reported_user: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub received_at_ms: i64,
}

/// Reports before one, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn reports_before(
    conn: Conn<'_>,
    before: i64,
    limit: i64,
) -> Result<Vec<StoredReport>, StorageError> {
    sql!(
        conn,
        all::<StoredReport>,
        "SELECT report_nid, reporter_nid, room_nid, event_nid, reported_user, reason,
         received_at_ms FROM reports WHERE report_nid < $1 ORDER BY report_nid DESC LIMIT $2",
        before,
        limit
    )
}
