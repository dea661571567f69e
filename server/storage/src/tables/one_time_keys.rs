//! One-time keys, each issued once and in the order of upload, and the fallback keys behind them.

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::tables::device_keys::device_exists;
use crate::{rows, sql};

/// Unissued one-time keys that one device may have. Clients keep about fifty.
pub const ONE_TIME_KEYS_MAX: i64 = 500;

/// Issued keys of which is remembered for each device that they were: those of its last uploads, at least so
/// many. A client repeats an upload before it goes on to the next one, if its answer was lost.
pub const ISSUED_KEPT: i64 = 100;

/// A one-time or fallback key as a device uploads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedKey {
    /// The algorithm, such as `signed_curve25519`.
    pub algorithm: String,
    /// The id that its device gave it.
    pub key_id: String,
    /// The key in canonical form.
    pub content: Vec<u8>,
}

/// Adds keys to one of our own devices.
///
/// A key whose id was issued is passed over: it is not issued again. Refused where the device is gone, where an
/// id stands for another key that waits ([`Refusal::Taken`]) or where the device would have too many
/// ([`Refusal::Full`]).
#[derive(Debug, Clone)]
pub struct OneTimeKeysUpload {
    /// Whose device it is.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// Keys that are issued once each.
    pub one_time: Vec<UploadedKey>,
    /// Keys that replace the fallback key of their algorithm.
    pub fallback: Vec<UploadedKey>,
}

impl OneTimeKeysUpload {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        if !device_exists(conn.again(), self.user_nid, &self.device_id).await? {
            return Err(Refusal::Absent.into());
        }
        if !self.one_time.is_empty() {
            self.refuse_other_content(conn.again()).await?;
            self.insert(conn.again()).await?;
            self.refuse_too_many(conn.again()).await?;
            self.forget_issued(conn.again()).await?;
        }
        self.replace_fallback(conn).await?;
        Ok(Outcome::Done)
    }

    async fn refuse_other_content(&self, conn: Conn<'_>) -> Result<(), CommitError> {
        let other = rows!(
            conn,
            all::<(String,)>,
            "WITH k(user_nid, device_id, algorithm, key_id, content) AS ({rows})
             SELECT o.key_id FROM k JOIN one_time_keys o
             ON o.user_nid = k.user_nid AND o.device_id = k.device_id
             AND o.algorithm = k.algorithm AND o.key_id = k.key_id
             WHERE o.content <> k.content AND NOT o.issued",
            self.one_time,
            |key| (
                self.user_nid => BIGINT,
                self.device_id.as_str() => TEXT,
                key.algorithm.as_str() => TEXT,
                key.key_id.as_str() => TEXT,
                key.content.as_slice() => BYTEA
            )
        )?;
        if other.is_empty() {
            return Ok(());
        }
        Err(Refusal::Taken.into())
    }

    /// All keys of one upload share an ordinal: their order among themselves is free.
    async fn insert(&self, mut conn: Conn<'_>) -> Result<(), StorageError> {
        let ordinal = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT COALESCE(MAX(ordinal), 0) + 1 FROM one_time_keys
             WHERE user_nid = $1 AND device_id = $2",
            self.user_nid,
            &self.device_id
        )?
        .unwrap_or(1);
        rows!(
            conn,
            execute,
            "INSERT INTO one_time_keys (user_nid, device_id, algorithm, key_id, ordinal, content, issued)
             {rows} ON CONFLICT (user_nid, device_id, algorithm, key_id) DO NOTHING",
            self.one_time,
            |key| (
                self.user_nid => BIGINT,
                self.device_id.as_str() => TEXT,
                key.algorithm.as_str() => TEXT,
                key.key_id.as_str() => TEXT,
                ordinal => BIGINT,
                key.content.as_slice() => BYTEA,
                false => BOOLEAN
            )
        )?;
        Ok(())
    }

    /// Forgets what was issued long ago, never a part of one upload alone.
    async fn forget_issued(&self, conn: Conn<'_>) -> Result<(), StorageError> {
        sql!(
            conn,
            execute,
            "DELETE FROM one_time_keys WHERE user_nid = $1 AND device_id = $2 AND issued AND ordinal < (
                 SELECT o.ordinal FROM one_time_keys o
                 WHERE o.user_nid = $1 AND o.device_id = $2 AND o.issued
                 ORDER BY o.ordinal DESC LIMIT 1 OFFSET $3
             )",
            self.user_nid,
            &self.device_id,
            ISSUED_KEPT - 1
        )?;
        Ok(())
    }

    async fn refuse_too_many(&self, conn: Conn<'_>) -> Result<(), CommitError> {
        let counts = one_time_key_counts(conn, self.user_nid, &self.device_id).await?;
        let total: i64 = counts.iter().map(|(_, count)| count).sum();
        if total > ONE_TIME_KEYS_MAX {
            return Err(Refusal::Full.into());
        }
        Ok(())
    }

    /// The same key again keeps its mark: it has been issued all the same.
    async fn replace_fallback(&self, conn: Conn<'_>) -> Result<(), StorageError> {
        rows!(
            conn,
            execute,
            "INSERT INTO fallback_keys (user_nid, device_id, algorithm, key_id, content, used)
             {rows}
             ON CONFLICT (user_nid, device_id, algorithm) DO UPDATE SET
             used = fallback_keys.used AND fallback_keys.content = excluded.content
                    AND fallback_keys.key_id = excluded.key_id,
             key_id = excluded.key_id, content = excluded.content",
            self.fallback,
            |key| (
                self.user_nid => BIGINT,
                self.device_id.as_str() => TEXT,
                key.algorithm.as_str() => TEXT,
                key.key_id.as_str() => TEXT,
                key.content.as_slice() => BYTEA,
                false => BOOLEAN
            )
        )?;
        Ok(())
    }
}

/// Whose key of which algorithm is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWanted {
    /// The owner.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// The algorithm.
    pub algorithm: String,
}

/// A key that was issued.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IssuedKey {
    /// The id that its device gave it.
    pub key_id: String,
    /// The key in canonical form.
    pub content: Vec<u8>,
}

/// Issues a key for each device asked for: the oldest one-time key, which is never issued again, or
/// else the fallback key, which is marked as used. The outcome is [`Outcome::Keys`], in the order
/// asked.
#[derive(Debug, Clone)]
pub struct KeysClaim(pub Vec<KeyWanted>);

impl KeysClaim {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let mut issued = Vec::with_capacity(self.0.len());
        for wanted in &self.0 {
            let one_time = one_time_key_take(conn.again(), wanted).await?;
            issued.push(match one_time {
                Some(key) => Some(key),
                None => fallback_key_use(conn.again(), wanted).await?,
            });
        }
        Ok(Outcome::Keys(issued))
    }
}

async fn one_time_key_take(
    conn: Conn<'_>,
    wanted: &KeyWanted,
) -> Result<Option<IssuedKey>, StorageError> {
    sql!(
        conn,
        optional::<IssuedKey>,
        "UPDATE one_time_keys SET issued = TRUE
         WHERE user_nid = $1 AND device_id = $2 AND algorithm = $3 AND key_id = (
             SELECT o.key_id FROM one_time_keys o
             WHERE o.user_nid = $1 AND o.device_id = $2 AND o.algorithm = $3 AND NOT o.issued
             ORDER BY o.ordinal, o.key_id LIMIT 1
         ) RETURNING key_id, content",
        wanted.user_nid,
        &wanted.device_id,
        &wanted.algorithm
    )
}

async fn fallback_key_use(
    conn: Conn<'_>,
    wanted: &KeyWanted,
) -> Result<Option<IssuedKey>, StorageError> {
    sql!(
        conn,
        optional::<IssuedKey>,
        "UPDATE fallback_keys SET used = TRUE
         WHERE user_nid = $1 AND device_id = $2 AND algorithm = $3 RETURNING key_id, content",
        wanted.user_nid,
        &wanted.device_id,
        &wanted.algorithm
    )
}

/// Issues no more what may have been issued already: all one-time keys. Fallback keys count as used, so
/// that devices replace them.
pub(crate) async fn unissued_discard(mut conn: Conn<'_>) -> Result<(), StorageError> {
    sql!(
        conn.again(),
        execute,
        "UPDATE one_time_keys SET issued = TRUE WHERE NOT issued"
    )?;
    sql!(conn, execute, "UPDATE fallback_keys SET used = TRUE")?;
    Ok(())
}

/// How many one-time keys of each algorithm a device has left.
///
/// # Errors
/// When the database fails.
pub async fn one_time_key_counts(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Vec<(String, i64)>, StorageError> {
    sql!(
        conn,
        all::<(String, i64)>,
        "SELECT algorithm, COUNT(*) FROM one_time_keys
         WHERE user_nid = $1 AND device_id = $2 AND NOT issued
         GROUP BY algorithm ORDER BY algorithm",
        user_nid,
        device_id
    )
}

/// The algorithms whose fallback key has not been issued yet.
///
/// # Errors
/// When the database fails.
pub async fn unused_fallback_algorithms(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT algorithm FROM fallback_keys
         WHERE user_nid = $1 AND device_id = $2 AND NOT used ORDER BY algorithm",
        user_nid,
        device_id
    )
}
