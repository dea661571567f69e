//! Connections of sliding sync: what was told on each, and what is asked of many rooms at once.

use sqlx::FromRow;

use crate::commit::{Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// What was told on a connection. It is written only if the device exists.
#[derive(Debug, Clone)]
pub struct SlidingConnectionRow {
    /// Whose device.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The name that the client gave the connection.
    pub conn_id: String,
    /// What was told, in the engine's own form.
    pub content: Vec<u8>,
    /// When the connection was used last.
    pub used_at_ms: i64,
}

/// A connection that is of no use any more.
#[derive(Debug, Clone)]
pub struct SlidingConnectionGone {
    /// Whose device.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The name of the connection.
    pub conn_id: String,
}

/// A connection as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredSlidingConnection {
    /// The name of the connection.
    pub conn_id: String,
    /// What was told.
    pub content: Vec<u8>,
    /// When the connection was used last.
    pub used_at_ms: i64,
}

pub(crate) async fn sliding_connection_upsert(
    conn: Conn<'_>,
    connections: &[Stamped<'_, SlidingConnectionRow>],
) -> Result<(), StorageError> {
    let connections = last_of_each(connections, |row| {
        (row.user_nid, row.device_id.as_str(), row.conn_id.as_str())
    });
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id, conn_id, content, used_at_ms) AS ({rows})
         INSERT INTO sliding_connections (user_nid, device_id, conn_id, content, used_at_ms)
         SELECT k.user_nid, k.device_id, k.conn_id, k.content, k.used_at_ms
         FROM k JOIN devices d ON d.user_nid = k.user_nid AND d.device_id = k.device_id
         WHERE true
         ON CONFLICT (user_nid, device_id, conn_id) DO UPDATE SET content = excluded.content,
         used_at_ms = excluded.used_at_ms",
        connections,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.conn_id.as_str() => TEXT,
            row.content.as_slice() => BYTEA,
            row.used_at_ms => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn sliding_connection_delete(
    conn: Conn<'_>,
    gone: &[Stamped<'_, SlidingConnectionGone>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id, conn_id) AS ({rows})
         DELETE FROM sliding_connections WHERE (user_nid, device_id, conn_id) IN
             (SELECT user_nid, device_id, conn_id FROM k)",
        gone,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.conn_id.as_str() => TEXT
        )
    )?;
    Ok(())
}

/// The connections of a device.
///
/// # Errors
/// When the database fails.
pub async fn sliding_connections(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Vec<StoredSlidingConnection>, StorageError> {
    sql!(
        conn,
        all::<StoredSlidingConnection>,
        "SELECT conn_id, content, used_at_ms FROM sliding_connections
         WHERE user_nid = $1 AND device_id = $2 ORDER BY used_at_ms",
        user_nid,
        device_id
    )
}

/// The rooms that somebody left because another person wanted it.
///
/// # Errors
/// When the database fails.
pub async fn rooms_put_out_of(conn: Conn<'_>, user_nid: i64) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT m.room_nid FROM memberships m JOIN events e ON e.event_nid = m.event_nid
         WHERE m.user_nid = $1 AND m.membership IN ('leave', 'ban') AND e.sender_nid <> $1",
        user_nid
    )
}

/// Of rooms, the events that hold two places of their current states: the local id of the room, and
/// what the two places hold.
///
/// # Errors
/// When the database fails.
pub async fn two_places_of(
    conn: Conn<'_>,
    room_nids: &[i64],
    places: (i64, i64),
) -> Result<Vec<(i64, Option<i64>, Option<i64>)>, StorageError> {
    rows!(
        conn,
        all::<(i64, Option<i64>, Option<i64>)>,
        "WITH k(room_nid, one, two) AS ({rows})
         SELECT k.room_nid,
             (SELECT c.event_nid FROM state_changes c
              WHERE c.room_nid = k.room_nid AND c.state_key_nid = k.one
              ORDER BY c.position DESC LIMIT 1),
             (SELECT c.event_nid FROM state_changes c
              WHERE c.room_nid = k.room_nid AND c.state_key_nid = k.two
              ORDER BY c.position DESC LIMIT 1)
         FROM k",
        room_nids,
        |nid| (*nid => BIGINT, places.0 => BIGINT, places.1 => BIGINT)
    )
}

/// What a person is shown of rooms that they are invited to or knock on: JSON arrays.
///
/// # Errors
/// When the database fails.
pub async fn stripped_states_of(
    conn: Conn<'_>,
    user_nid: i64,
    room_nids: &[i64],
) -> Result<Vec<(i64, Vec<u8>)>, StorageError> {
    rows!(
        conn,
        all::<(i64, Vec<u8>)>,
        "WITH k(user_nid, room_nid) AS ({rows})
         SELECT s.room_nid, s.content
         FROM k JOIN stripped_states s ON s.user_nid = k.user_nid AND s.room_nid = k.room_nid",
        room_nids,
        |nid| (user_nid => BIGINT, *nid => BIGINT)
    )
}
