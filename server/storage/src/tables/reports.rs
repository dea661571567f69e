//! What people report to the administrators.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
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

/// A guard that removes a report; it must be there.
#[derive(Debug, Clone)]
pub struct ReportDelete {
    /// Its number.
    pub report_nid: i64,
}

impl ReportDelete {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let removed = sql!(
            conn,
            execute,
            "DELETE FROM reports WHERE report_nid = $1",
            self.report_nid
        )?;
        if removed == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Done)
    }
}

/// A report as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredReport {
    /// Its number.
    pub report_nid: i64,
    /// Who reported.
    pub reporter: String,
    /// The room.
    pub room_id: Option<String>,
    /// The event.
    pub event_id: Option<String>,
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
        "SELECT r.report_nid, u.user_id AS reporter, o.room_id, e.event_id, r.reported_user, r.reason,
                r.received_at_ms
         FROM reports r JOIN users u ON u.user_nid = r.reporter_nid
         LEFT JOIN rooms o ON o.room_nid = r.room_nid
         LEFT JOIN events e ON e.event_nid = r.event_nid
         WHERE r.report_nid < $1 ORDER BY r.report_nid DESC LIMIT $2",
        before,
        limit
    )
}

/// One report by its number.
///
/// # Errors
/// When the database fails.
pub async fn report(conn: Conn<'_>, report_nid: i64) -> Result<Option<StoredReport>, StorageError> {
    let newest = reports_before(conn, report_nid.saturating_add(1), 1).await?;
    let is_it = |report: &StoredReport| report.report_nid == report_nid;
    Ok(newest.into_iter().find(is_it))
}

/// Removes old reports, as far as they are among the oldest of all: no index of times is needed.
pub(crate) async fn reports_prune(
    conn: Conn<'_>,
    before_ms: i64,
    step: i64,
) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM reports WHERE received_at_ms < $1 AND report_nid IN (
             SELECT report_nid FROM reports ORDER BY report_nid LIMIT $2
         )",
        before_ms,
        step
    )
}
