//! Devices of our own people, and what goes with a device when it goes.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal, Stamped, last_of_each};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::tables::cross_signing::is_key_of;
use crate::tables::dehydrated_devices::is_dehydrated;
use crate::{rows, sql};

/// A device as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredDevice {
    /// Its id, unique for its user.
    pub device_id: String,
    /// What its owner calls it.
    pub display_name: Option<String>,
    /// When it first logged in.
    pub created_at_ms: i64,
    /// When it was last seen, about.
    pub last_seen_ms: Option<i64>,
    /// From which address.
    pub last_seen_address: Option<String>,
}

/// When and from where a device was last seen.
#[derive(Debug, Clone)]
pub struct DeviceSeen {
    /// Whose it is.
    pub user_nid: i64,
    /// Which one.
    pub device_id: String,
    /// When.
    pub at_ms: i64,
    /// From which address.
    pub address: String,
}

pub(crate) async fn device_seen(
    conn: Conn<'_>,
    seen: &[Stamped<'_, DeviceSeen>],
) -> Result<(), StorageError> {
    let seen = last_of_each(seen, |row| (row.user_nid, row.device_id.as_str()));
    rows!(
        conn,
        execute,
        "WITH k(user_nid, device_id, at_ms, address) AS ({rows})
         UPDATE devices SET last_seen_ms = k.at_ms, last_seen_address = k.address FROM k
         WHERE devices.user_nid = k.user_nid AND devices.device_id = k.device_id",
        seen,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.at_ms => BIGINT,
            row.address.as_str() => TEXT
        )
    )?;
    Ok(())
}

/// A guard that makes a device on which nobody signs in; the account must be active. Neither a
/// dehydrated device nor a cross-signing key has its id ([`Refusal::Taken`]). One that is there stays as
/// it is.
#[derive(Debug, Clone)]
pub struct DeviceCreate {
    /// Whose it is.
    pub user_nid: i64,
    /// Its id.
    pub device_id: String,
    /// Its name.
    pub display_name: Option<String>,
    /// When it is made.
    pub created_at_ms: i64,
}

impl DeviceCreate {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let may = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT user_nid FROM accounts WHERE user_nid = $1 AND NOT deactivated",
            self.user_nid
        )?;
        if may.is_none() {
            return Err(Refusal::Absent.into());
        }
        let device = (self.user_nid, self.device_id.as_str());
        make(
            conn,
            device,
            self.display_name.as_deref(),
            self.created_at_ms,
        )
        .await?;
        Ok(Outcome::Done)
    }
}

/// Makes a device, unless it is there.
pub(crate) async fn make(
    mut conn: Conn<'_>,
    (user_nid, device_id): (i64, &str),
    display_name: Option<&str>,
    created_at_ms: i64,
) -> Result<(), CommitError> {
    if is_dehydrated(conn.again(), user_nid, device_id).await?
        || is_key_of(conn.again(), user_nid, device_id).await?
    {
        return Err(Refusal::Taken.into());
    }
    sql!(
        conn,
        execute,
        "INSERT INTO devices (user_nid, device_id, display_name, created_at_ms)
         VALUES ($1, $2, $3, $4) ON CONFLICT (user_nid, device_id) DO NOTHING",
        user_nid,
        device_id,
        display_name,
        created_at_ms
    )?;
    Ok(())
}

/// A guard that renames a device; it must be there.
#[derive(Debug, Clone)]
pub struct DeviceRename {
    /// Whose it is.
    pub user_nid: i64,
    /// Which one.
    pub device_id: String,
    /// Its new name.
    pub display_name: String,
}

impl DeviceRename {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let changed = sql!(
            conn,
            execute,
            "UPDATE devices SET display_name = $3 WHERE user_nid = $1 AND device_id = $2",
            self.user_nid,
            &self.device_id,
            &self.display_name
        )?;
        if changed == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Done)
    }
}

/// A guard that removes devices with all their tokens, remembered transactions and connections. What is not
/// there counts as removed. Its outcome is the hashes of the tokens that are no longer valid. What
/// devices have for encryption goes in the same commit, as `DeviceForgotten` rows.
#[derive(Debug, Clone)]
pub struct DevicesRemove {
    /// Whose they are.
    pub user_nid: i64,
    /// Which ones.
    pub device_ids: Vec<String>,
}

impl DevicesRemove {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let revoked = rows!(
            conn.again(),
            all::<(Vec<u8>,)>,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM access_tokens
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)
             RETURNING token_hash",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn.again(),
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM client_transactions
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn.again(),
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM dehydrated_devices
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn.again(),
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM refresh_tokens
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn.again(),
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM purpose_tokens
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn.again(),
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM sliding_connections
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        rows!(
            conn,
            execute,
            "WITH k(user_nid, device_id) AS ({rows})
             DELETE FROM devices
             WHERE (user_nid, device_id) IN (SELECT user_nid, device_id FROM k)",
            self.device_ids,
            |device_id| (self.user_nid => BIGINT, device_id.as_str() => TEXT)
        )?;
        Ok(Outcome::Tokens(
            revoked.into_iter().map(|(hash,)| hash).collect(),
        ))
    }
}

/// A user's devices in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn device_list(conn: Conn<'_>, user_nid: i64) -> Result<Vec<StoredDevice>, StorageError> {
    sql!(
        conn,
        all::<StoredDevice>,
        "SELECT device_id, display_name, created_at_ms, last_seen_ms, last_seen_address FROM devices
         WHERE user_nid = $1 ORDER BY device_id",
        user_nid
    )
}

/// One device.
///
/// # Errors
/// When the database fails.
pub async fn device(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Option<StoredDevice>, StorageError> {
    if !is_storable(device_id) {
        return Ok(None);
    }
    sql!(
        conn,
        optional::<StoredDevice>,
        "SELECT device_id, display_name, created_at_ms, last_seen_ms, last_seen_address FROM devices
         WHERE user_nid = $1 AND device_id = $2",
        user_nid,
        device_id
    )
}
