//! Redactions, kept by their target, which may arrive later, and what they take away.

use bytes::Bytes;

use crate::commit::Stamped;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{packed_json, rows};

/// A redaction, kept by its target, which may arrive later.
#[derive(Debug, Clone)]
pub struct RedactionRow {
    /// The event it redacts.
    pub target_id: String,
    /// The redaction.
    pub redaction_nid: i64,
    /// Whether it took effect.
    pub applied: bool,
}

/// An event whose content is redacted from now on.
#[derive(Debug, Clone)]
pub struct EventRedacted {
    /// The event.
    pub event_nid: i64,
    /// The redaction's id.
    pub by: String,
    /// Its JSON after redaction.
    pub json: Bytes,
}

pub(crate) async fn event_redacted(
    mut conn: Conn<'_>,
    redacted: &[Stamped<'_, EventRedacted>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(event_nid, redacted_by) AS ({rows})
         UPDATE events SET redacted_by = k.redacted_by FROM k
         WHERE events.event_nid = k.event_nid",
        redacted,
        |e| (e.event_nid => BIGINT, e.by.as_str() => TEXT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(event_nid, json) AS ({rows})
         UPDATE event_json SET json = k.json FROM k WHERE event_json.event_nid = k.event_nid",
        redacted,
        |e| (e.event_nid => BIGINT, packed_json::pack(&e.json) => BYTEA)
    )?;
    Ok(())
}

pub(crate) async fn redaction_insert(
    conn: Conn<'_>,
    redactions: &[Stamped<'_, RedactionRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO redactions (target_id, redaction_nid, applied) {rows}
         ON CONFLICT (target_id, redaction_nid) DO UPDATE SET applied = excluded.applied",
        redactions,
        |row| (
            row.target_id.as_str() => TEXT,
            row.redaction_nid => BIGINT,
            row.applied => BOOLEAN
        )
    )?;
    Ok(())
}

/// The redactions of events that are known, whether applied or not: `(target, redaction)`.
///
/// # Errors
/// When the database fails.
pub async fn redactions_of(
    conn: Conn<'_>,
    targets: &[String],
) -> Result<Vec<(String, i64)>, StorageError> {
    rows!(
        conn,
        all::<(String, i64)>,
        "WITH k(id) AS ({rows})
         SELECT r.target_id, r.redaction_nid FROM k JOIN redactions r ON r.target_id = k.id",
        targets,
        |id| (id.as_str() => TEXT)
    )
}
