//! Dehydrated devices: one per person, which takes messages while nobody is signed in on it. It is a
//! device like others, with keys and messages, but for a session.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;
use crate::tables::device_keys;

/// A guard that makes a dehydrated device, in the place of the one before, of which nothing stays.
///
/// Refused where another one than expected stands there ([`Refusal::Changed`]), where its id is that
/// of a device that somebody signed in on ([`Refusal::Taken`]), and where the account is closed
/// ([`Refusal::Absent`]).
#[derive(Debug, Clone)]
pub struct DehydratedDevicePut {
    /// Whose it is.
    pub user_nid: i64,
    /// The device that it takes the place of.
    pub replaces: Option<String>,
    /// Its id.
    pub device_id: String,
    /// What its owner calls it.
    pub display_name: Option<String>,
    /// What it takes to wake it, JSON.
    pub device_data: Vec<u8>,
    /// When it was made.
    pub created_at_ms: i64,
}

impl DehydratedDevicePut {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let standing = dehydrated_device(conn.again(), self.user_nid).await?;
        let standing = standing.map(|device| device.device_id);
        if standing != self.replaces {
            return Err(Refusal::Changed.into());
        }
        if let Some(old) = &standing {
            self.remove(conn.again(), old).await?;
        }
        let made = sql!(
            conn.again(),
            execute,
            "INSERT INTO devices (user_nid, device_id, display_name, created_at_ms)
             SELECT a.user_nid, $2, $3, $4 FROM accounts a
             WHERE a.user_nid = $1 AND NOT a.deactivated AND NOT EXISTS (
                 SELECT 1 FROM devices d WHERE d.user_nid = $1 AND d.device_id = $2
             )",
            self.user_nid,
            &self.device_id,
            self.display_name.as_deref(),
            self.created_at_ms
        )?;
        if made == 0 {
            let device = device_keys::device_exists(conn, self.user_nid, &self.device_id).await?;
            let refusal = if device {
                Refusal::Taken
            } else {
                Refusal::Absent
            };
            return Err(refusal.into());
        }
        sql!(
            conn,
            execute,
            "INSERT INTO dehydrated_devices (user_nid, device_id, device_data)
             VALUES ($1, $2, $3)",
            self.user_nid,
            &self.device_id,
            &self.device_data
        )?;
        Ok(Outcome::Done)
    }

    async fn remove(&self, mut conn: Conn<'_>, old: &str) -> Result<(), StorageError> {
        sql!(
            conn.again(),
            execute,
            "DELETE FROM dehydrated_devices WHERE user_nid = $1",
            self.user_nid
        )?;
        sql!(
            conn.again(),
            execute,
            "DELETE FROM devices WHERE user_nid = $1 AND device_id = $2",
            self.user_nid,
            old
        )?;
        device_keys::forget(conn, &[(self.user_nid, old)]).await
    }
}

/// A dehydrated device as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredDehydratedDevice {
    /// Its id.
    pub device_id: String,
    /// What it takes to wake it, JSON.
    pub device_data: Vec<u8>,
}

/// A person's dehydrated device.
///
/// # Errors
/// When the database fails.
pub async fn dehydrated_device(
    conn: Conn<'_>,
    user_nid: i64,
) -> Result<Option<StoredDehydratedDevice>, StorageError> {
    sql!(
        conn,
        optional::<StoredDehydratedDevice>,
        "SELECT device_id, device_data FROM dehydrated_devices WHERE user_nid = $1",
        user_nid
    )
}

/// Whether a device is a dehydrated one, on which nobody can sign in.
pub(crate) async fn is_dehydrated(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT user_nid FROM dehydrated_devices WHERE user_nid = $1 AND device_id = $2",
        user_nid,
        device_id
    )?;
    Ok(found.is_some())
}
