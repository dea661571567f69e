//! The identity keys of devices: our own people's, and copies of remote people's.

use crate::commit::{CommitError, Outcome, Refusal, Stamped};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Publishes the identity keys of one of our own devices. Refused where the device is gone, so that
/// an upload that races with signing out leaves nothing behind.
#[derive(Debug, Clone)]
pub struct DeviceKeysUpload {
    /// Whose device it is.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The keys in canonical form.
    pub content: Vec<u8>,
    /// Whether other keys stood there before: signatures over those no longer count.
    pub replaces: bool,
}

impl DeviceKeysUpload {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let written = sql!(
            conn.again(),
            execute,
            "INSERT INTO device_keys (user_nid, device_id, content)
             SELECT user_nid, device_id, $3 FROM devices
             WHERE user_nid = $1 AND device_id = $2
             ON CONFLICT (user_nid, device_id) DO UPDATE SET content = excluded.content",
            self.user_nid,
            &self.device_id,
            &self.content
        )?;
        if written == 0 {
            return Err(Refusal::Absent.into());
        }
        if self.replaces {
            forget_what_goes_with(conn, &[(self.user_nid, &self.device_id)]).await?;
        }
        Ok(Outcome::Done)
    }
}

/// Whether one of our own devices exists.
pub(crate) async fn device_exists(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT user_nid FROM devices WHERE user_nid = $1 AND device_id = $2",
        user_nid,
        device_id
    )?;
    Ok(found.is_some())
}

/// A device that is gone: nothing of its keys and of what waits for it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceForgotten {
    /// Whose device it was.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
}

pub(crate) async fn device_forget(
    conn: Conn<'_>,
    gone: &[Stamped<'_, DeviceForgotten>],
) -> Result<(), StorageError> {
    let gone: Vec<(i64, &str)> = gone
        .iter()
        .map(|row| (row.user_nid, row.device_id.as_str()))
        .collect();
    forget(conn, &gone).await
}

/// Removes the keys of these devices, signatures on them, and what waits for them.
pub(crate) async fn forget(mut conn: Conn<'_>, gone: &[(i64, &str)]) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid, device_id) AS ({rows})
         DELETE FROM device_keys WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
        gone,
        |row| (row.0 => BIGINT, row.1 => TEXT)
    )?;
    forget_what_goes_with(conn.again(), gone).await?;
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id) AS ({rows})
         DELETE FROM to_device WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
        gone,
        |row| (row.0 => BIGINT, row.1 => TEXT)
    )?;
    Ok(())
}

/// Removes what belongs to the identities of these devices: signatures of them, and the keys for sessions
/// with them, whose ids another identity may use again.
async fn forget_what_goes_with(
    mut conn: Conn<'_>,
    gone: &[(i64, &str)],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid, device_id) AS ({rows})
         DELETE FROM one_time_keys
         WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
        gone,
        |row| (row.0 => BIGINT, row.1 => TEXT)
    )?;
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid, device_id) AS ({rows})
         DELETE FROM fallback_keys
         WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
        gone,
        |row| (row.0 => BIGINT, row.1 => TEXT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id) AS ({rows})
         DELETE FROM key_signatures
         WHERE (target_nid, target_key) IN (SELECT user_nid, device_id FROM k)",
        gone,
        |row| (row.0 => BIGINT, row.1 => TEXT)
    )?;
    Ok(())
}

/// Removes the copies of these remote people's keys. What our people signed of them stays.
pub(crate) async fn remote_copy_forget(
    mut conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid) AS ({rows})
         DELETE FROM device_keys WHERE user_nid IN (SELECT user_nid FROM k)",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid) AS ({rows})
         DELETE FROM cross_signing_keys WHERE user_nid IN (SELECT user_nid FROM k)",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid) AS ({rows})
         DELETE FROM remote_device_lists WHERE user_nid IN (SELECT user_nid FROM k)",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(())
}

/// A device's identity keys as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredDeviceKeys {
    /// Whose device it is.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The keys in canonical form.
    pub content: Vec<u8>,
    /// The name that its owner gave it.
    pub display_name: Option<String>,
}

/// The identity keys of all devices of these people, in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn device_keys_of_users(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<StoredDeviceKeys>, StorageError> {
    rows!(
        conn,
        all::<StoredDeviceKeys>,
        "WITH k(user_nid) AS ({rows})
         SELECT d.user_nid, d.device_id, d.content,
                COALESCE(own.display_name, d.display_name) AS display_name
         FROM k JOIN device_keys d ON d.user_nid = k.user_nid
         LEFT JOIN devices own ON own.user_nid = d.user_nid AND own.device_id = d.device_id
         ORDER BY d.user_nid, d.device_id",
        user_nids,
        |nid| (*nid => BIGINT)
    )
}

/// The identity keys of one device.
///
/// # Errors
/// When the database fails.
pub async fn device_keys(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Option<StoredDeviceKeys>, StorageError> {
    sql!(
        conn,
        optional::<StoredDeviceKeys>,
        "SELECT d.user_nid, d.device_id, d.content,
                COALESCE(own.display_name, d.display_name) AS display_name
         FROM device_keys d
         LEFT JOIN devices own ON own.user_nid = d.user_nid AND own.device_id = d.device_id
         WHERE d.user_nid = $1 AND d.device_id = $2",
        user_nid,
        device_id
    )
}
