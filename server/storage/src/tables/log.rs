//! Whose database this is, the head of the log, and the blocks that local ids are taken from.

use crate::commit::{CommitError, Outcome, Stamped, last_of_each};
use crate::dialect::{self, WriteConn};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// What the database knows of its owner.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Identity {
    /// The server name every id of ours ends in.
    pub server_name: String,
    /// The signing key's id (`ed25519:…`).
    pub signing_key_id: String,
    /// SHA-256 of the public signing key, base64.
    pub signing_key_fingerprint: String,
    /// A random word that tells this database from another one restored in its place.
    pub generation: String,
    /// When it was created.
    pub created_at_ms: i64,
}

pub(crate) async fn identity_select(conn: Conn<'_>) -> Result<Option<Identity>, StorageError> {
    sql!(
        conn,
        optional::<Identity>,
        "SELECT server_name, signing_key_id, signing_key_fingerprint, generation, created_at_ms
         FROM server_identity WHERE id = 1"
    )
}

pub(crate) async fn identity_insert(conn: Conn<'_>, it: &Identity) -> Result<(), StorageError> {
    sql!(
        conn,
        execute,
        "INSERT INTO server_identity
         (id, server_name, signing_key_id, signing_key_fingerprint, generation, created_at_ms)
         VALUES (1, $1, $2, $3, $4, $5)",
        &it.server_name,
        &it.signing_key_id,
        &it.signing_key_fingerprint,
        &it.generation,
        it.created_at_ms
    )?;
    Ok(())
}

/// Tells a database that was restored from the one that it was.
pub(crate) async fn generation_replace(
    conn: Conn<'_>,
    generation: &str,
) -> Result<(), StorageError> {
    sql!(
        conn,
        execute,
        "UPDATE server_identity SET generation = $1 WHERE id = 1",
        generation
    )?;
    Ok(())
}

/// Begins a write and moves the head by `slots`. Returns the first of the new positions, with the id of
/// the transaction where the engine has one. On PostgreSQL the row lock makes positions visible in
/// order.
pub(crate) async fn begin(
    conn: &mut WriteConn,
    slots: i64,
) -> Result<(i64, Option<i64>), StorageError> {
    let head = dialect::begin(conn, slots).await?;
    head.map(|(head, transaction)| (head - slots + 1, transaction))
        .ok_or(StorageError::Corrupt {
            what: "log head",
            why: "its row is missing".to_owned(),
        })
}

/// The last position given out.
pub(crate) async fn head_select(conn: Conn<'_>) -> Result<i64, StorageError> {
    let head = sql!(
        conn,
        scalar::<i64>,
        "SELECT position FROM log_head WHERE id = 1"
    )?;
    Ok(head.unwrap_or_default())
}

/// Takes a block of `size` local ids and returns the first.
pub(crate) async fn nid_block_take(
    conn: Conn<'_>,
    kind: &str,
    size: i64,
) -> Result<i64, StorageError> {
    let next = sql!(
        conn,
        scalar::<i64>,
        "INSERT INTO nid_blocks (kind, next) VALUES ($1, $2 + 1)
         ON CONFLICT (kind) DO UPDATE SET next = nid_blocks.next + $2 RETURNING next",
        kind,
        size
    )?;
    next.map(|next| next - size).ok_or(StorageError::Corrupt {
        what: "id block",
        why: "the upsert returned nothing".to_owned(),
    })
}

/// A guard that takes a block of local ids.
#[derive(Debug, Clone)]
pub struct NidBlock {
    /// What the ids are for.
    pub kind: &'static str,
    /// How many.
    pub size: i64,
}

impl NidBlock {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        Ok(Outcome::Nids(vec![
            nid_block_take(conn, self.kind, self.size).await?,
        ]))
    }
}

/// Where a follower of the log stands: everything up to this position is done.
#[derive(Debug, Clone)]
pub struct FollowerRow {
    /// The follower.
    pub name: &'static str,
    /// Its position.
    pub position: i64,
}

pub(crate) async fn follower_upsert(
    conn: Conn<'_>,
    followers: &[Stamped<'_, FollowerRow>],
) -> Result<(), StorageError> {
    let followers = last_of_each(followers, |follower| follower.name);
    rows!(
        conn,
        execute,
        "INSERT INTO followers (name, position) {rows}
         ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        followers,
        |follower| (follower.name => TEXT, follower.position => BIGINT)
    )?;
    Ok(())
}

/// Where a follower stands; none before its first step.
///
/// # Errors
/// When the database fails.
pub async fn follower_position(conn: Conn<'_>, name: &str) -> Result<Option<i64>, StorageError> {
    sql!(
        conn,
        scalar::<i64>,
        "SELECT position FROM followers WHERE name = $1",
        name
    )
}

/// When the log had come to a position.
#[derive(Debug, Clone, Copy)]
pub struct LogTime {
    /// The position.
    pub position: i64,
    /// The time, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// A position that was reached before keeps its time.
pub(crate) async fn log_time_insert(
    conn: Conn<'_>,
    times: &[Stamped<'_, LogTime>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO log_times (position, at_ms) {rows} ON CONFLICT (position) DO NOTHING",
        times,
        |time| (time.position => BIGINT, time.at_ms => BIGINT)
    )?;
    Ok(())
}

/// The last position that is known to have been reached before a time; 0 where none is.
///
/// # Errors
/// When the database fails.
pub async fn position_before(conn: Conn<'_>, at_ms: i64) -> Result<i64, StorageError> {
    let position = sql!(
        conn,
        scalar::<i64>,
        "SELECT position FROM log_times WHERE at_ms < $1 ORDER BY position DESC LIMIT 1",
        at_ms
    )?;
    Ok(position.unwrap_or_default())
}
