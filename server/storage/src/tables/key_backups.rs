//! Key backups: the versions of a person's backup, and in [`keys`] what each holds.
//!
//! A deleted version keeps its row, without keys, so that it can be told from one that never was.

mod keys;

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

pub(crate) use keys::deleted_backup_keys_remove;
pub use keys::{
    BACKUP_MAX_BYTES, BackedUpKey, BackupKeysDelete, BackupKeysPut, BackupScope, KeyWorth,
    StoredKey, backed_up_keys,
};

/// Versions that a person may have at a time.
pub const BACKUPS_MAX: i64 = 20;

/// Deleted versions that are remembered of a person.
const DELETED_MAX: i64 = 100;

/// Where a version stands after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct BackupState {
    /// The version.
    pub version: i64,
    /// Differs after every change of the keys.
    pub etag: i64,
    /// How many keys it has.
    pub key_count: i64,
}

/// A guard that begins a version; the person must have fewer than [`BACKUPS_MAX`]
/// ([`Refusal::Full`]). The outcome is [`Outcome::Backup`].
///
/// A version is the time at which it was made: a database that was restored gives no version
/// again that clients know as another.
#[derive(Debug, Clone)]
pub struct BackupCreate {
    /// Whose it is.
    pub user_nid: i64,
    /// How keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to be known, JSON.
    pub auth_data: Vec<u8>,
    /// The time.
    pub now_ms: i64,
}

impl BackupCreate {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let kept = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT COUNT(*) FROM key_backups WHERE user_nid = $1 AND NOT deleted",
            self.user_nid
        )?;
        if kept.unwrap_or_default() >= BACKUPS_MAX {
            return Err(Refusal::Full.into());
        }
        sql!(
            conn.again(),
            execute,
            "DELETE FROM key_backups
             WHERE user_nid = $1 AND deleted AND key_count = 0 AND version <= (
                 SELECT b.version FROM key_backups b WHERE b.user_nid = $1 AND b.deleted
                 ORDER BY b.version DESC LIMIT 1 OFFSET $2
             )",
            self.user_nid,
            DELETED_MAX
        )?;
        let state = sql!(
            conn,
            one::<BackupState>,
            "INSERT INTO key_backups
             (user_nid, version, algorithm, auth_data, etag, key_count, size_bytes, deleted)
             SELECT $1, CASE WHEN COALESCE(MAX(b.version), 0) < $4 THEN $4
                             ELSE MAX(b.version) + 1 END, $2, $3, $4, 0, 0, FALSE
             FROM key_backups b WHERE b.user_nid = $1
             RETURNING version, etag, key_count",
            self.user_nid,
            &self.algorithm,
            &self.auth_data,
            self.now_ms
        )?;
        Ok(Outcome::Backup(state))
    }
}

/// A guard that replaces what is known of the algorithm of a version, which must be there
/// ([`Refusal::Absent`]) and have this algorithm ([`Refusal::Changed`]).
#[derive(Debug, Clone)]
pub struct BackupUpdate {
    /// Whose it is.
    pub user_nid: i64,
    /// The version.
    pub version: i64,
    /// How keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to be known, JSON.
    pub auth_data: Vec<u8>,
}

impl BackupUpdate {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let stored = backup(conn.again(), self.user_nid, self.version).await?;
        let stored = stored.ok_or(Refusal::Absent)?;
        if stored.algorithm != self.algorithm {
            return Err(Refusal::Changed.into());
        }
        sql!(
            conn,
            execute,
            "UPDATE key_backups SET auth_data = $3 WHERE user_nid = $1 AND version = $2",
            self.user_nid,
            self.version,
            &self.auth_data
        )?;
        Ok(Outcome::Done)
    }
}

/// A guard that deletes a version, which must be there or have been ([`Refusal::Absent`]). Its keys
/// are out of reach at once, and are removed in steps.
#[derive(Debug, Clone)]
pub struct BackupDelete {
    /// Whose it is.
    pub user_nid: i64,
    /// The version.
    pub version: i64,
}

impl BackupDelete {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let nothing: &[u8] = &[];
        let found = sql!(
            conn,
            execute,
            "UPDATE key_backups SET deleted = TRUE, auth_data = $3
             WHERE user_nid = $1 AND version = $2",
            self.user_nid,
            self.version,
            nothing
        )?;
        if found == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Done)
    }
}

/// A guard that deletes every version of a person whose account is closed.
#[derive(Debug, Clone)]
pub struct BackupsForget {
    /// Whose they are.
    pub user_nid: i64,
}

impl BackupsForget {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let nothing: &[u8] = &[];
        sql!(
            conn,
            execute,
            "UPDATE key_backups SET deleted = TRUE, auth_data = $2 WHERE user_nid = $1",
            self.user_nid,
            nothing
        )?;
        Ok(Outcome::Done)
    }
}

/// A version as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredBackup {
    /// The version.
    pub version: i64,
    /// How keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to be known, JSON.
    pub auth_data: Vec<u8>,
    /// Differs after every change of the keys.
    pub etag: i64,
    /// How many keys it has.
    pub key_count: i64,
}

impl StoredBackup {
    fn state(&self) -> BackupState {
        BackupState {
            version: self.version,
            etag: self.etag,
            key_count: self.key_count,
        }
    }
}

/// One version, unless it was deleted.
///
/// # Errors
/// When the database fails.
pub async fn backup(
    conn: Conn<'_>,
    user_nid: i64,
    version: i64,
) -> Result<Option<StoredBackup>, StorageError> {
    sql!(
        conn,
        optional::<StoredBackup>,
        "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
         WHERE user_nid = $1 AND version = $2 AND NOT deleted",
        user_nid,
        version
    )
}

/// The newest version that was not deleted: the one that keys are written to.
///
/// # Errors
/// When the database fails.
pub async fn backup_newest(
    conn: Conn<'_>,
    user_nid: i64,
) -> Result<Option<StoredBackup>, StorageError> {
    sql!(
        conn,
        optional::<StoredBackup>,
        "SELECT version, algorithm, auth_data, etag, key_count FROM key_backups
         WHERE user_nid = $1 AND NOT deleted ORDER BY version DESC LIMIT 1",
        user_nid
    )
}
