//! Messages from device to device: kept until the device has moved past them.

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A message for one of our own devices. It is written only if the device exists.
#[derive(Debug, Clone)]
pub struct ToDeviceRow {
    /// Whose device.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// Its place in the order of arrival.
    pub slot: Slot,
    /// The event (`sender`, `type`, `content`) as JSON.
    pub message: Vec<u8>,
}

/// A device has moved past its messages up to a position.
#[derive(Debug, Clone)]
pub struct ToDeviceDelivered {
    /// Whose device.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The last position that it has received.
    pub position: i64,
}

/// Marks a client's transaction as done, or refuses it as [`Refusal::Taken`] when it already is.
#[derive(Debug, Clone)]
pub struct SendOnce {
    /// Who sends.
    pub user_nid: i64,
    /// From which device.
    pub device_id: String,
    /// The transaction id that the client chose.
    pub txn_id: String,
    /// The time.
    pub now_ms: i64,
}

impl SendOnce {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let written = sql!(
            conn,
            execute,
            "INSERT INTO client_transactions
             (user_nid, device_id, room_nid, endpoint, txn_id, created_at_ms)
             VALUES ($1, $2, 0, 'sendToDevice', $3, $4)
             ON CONFLICT (user_nid, device_id, room_nid, endpoint, txn_id) DO NOTHING",
            self.user_nid,
            &self.device_id,
            &self.txn_id,
            self.now_ms
        )?;
        once(written)
    }
}

/// Marks another server's message as received, or refuses it as [`Refusal::Taken`] when it already
/// is.
#[derive(Debug, Clone)]
pub struct ReceiveOnce {
    /// The origin.
    pub server_nid: i64,
    /// The id that it gave the message.
    pub message_id: String,
    /// The time.
    pub now_ms: i64,
}

impl ReceiveOnce {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let written = sql!(
            conn,
            execute,
            "INSERT INTO to_device_received (server_nid, message_id, received_at_ms)
             VALUES ($1, $2, $3) ON CONFLICT (server_nid, message_id) DO NOTHING",
            self.server_nid,
            &self.message_id,
            self.now_ms
        )?;
        once(written)
    }
}

fn once(written: u64) -> Result<Outcome, CommitError> {
    if written == 0 {
        return Err(Refusal::Taken.into());
    }
    Ok(Outcome::Done)
}

pub(crate) async fn to_device_insert(
    conn: Conn<'_>,
    messages: &[Stamped<'_, ToDeviceRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(position, user_nid, device_id, message) AS ({rows})
         INSERT INTO to_device (position, user_nid, device_id, message)
         SELECT k.position, k.user_nid, k.device_id, k.message
         FROM k JOIN devices d ON d.user_nid = k.user_nid AND d.device_id = k.device_id",
        messages,
        |row| (
            row.at(row.slot) => BIGINT,
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.message.as_slice() => BYTEA
        )
    )?;
    Ok(())
}

pub(crate) async fn to_device_delivered(
    conn: Conn<'_>,
    delivered: &[Stamped<'_, ToDeviceDelivered>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id, position) AS ({rows})
         DELETE FROM to_device WHERE EXISTS (
             SELECT 1 FROM k WHERE k.user_nid = to_device.user_nid
             AND k.device_id = to_device.device_id AND to_device.position <= k.position
         )",
        delivered,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.position => BIGINT
        )
    )?;
    Ok(())
}

/// A message as it waits for its device.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Waiting {
    /// Its place in the order of arrival.
    pub position: i64,
    /// The event as JSON.
    pub message: Vec<u8>,
}

/// The first `limit` messages for a device in `(since, until]`, in the order of arrival.
///
/// # Errors
/// When the database fails.
pub async fn to_device_waiting(
    conn: Conn<'_>,
    device: (i64, &str),
    since: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<Waiting>, StorageError> {
    sql!(
        conn,
        all::<Waiting>,
        "SELECT position, message FROM to_device
         WHERE user_nid = $1 AND device_id = $2 AND position > $3 AND position <= $4
         ORDER BY position LIMIT $5",
        device.0,
        device.1,
        since,
        until,
        limit
    )
}

/// Whether a device has messages at or before a position: only then is there something to delete.
///
/// # Errors
/// When the database fails.
pub async fn to_device_any(
    conn: Conn<'_>,
    device: (i64, &str),
    until: i64,
) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT position FROM to_device
         WHERE user_nid = $1 AND device_id = $2 AND position <= $3 ORDER BY position LIMIT 1",
        device.0,
        device.1,
        until
    )?;
    Ok(found.is_some())
}

/// All devices of these of our own people.
///
/// # Errors
/// When the database fails.
pub async fn devices_of_users(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<(i64, String)>, StorageError> {
    rows!(
        conn,
        all::<(i64, String)>,
        "WITH k(user_nid) AS ({rows})
         SELECT d.user_nid, d.device_id FROM k JOIN devices d ON d.user_nid = k.user_nid
         ORDER BY d.user_nid, d.device_id",
        user_nids,
        |nid| (*nid => BIGINT)
    )
}
