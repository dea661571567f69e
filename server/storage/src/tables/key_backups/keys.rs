//! What a version of a key backup holds: keys that clients left here encrypted.
//!
//! Keys are written to the newest version only.

use std::collections::BTreeMap;

use sqlx::FromRow;

use super::{BackupState, backup, backup_newest};
use crate::commit::{CommitError, Outcome, Refusal};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// What the keys of one version may take, in bytes: some seventy thousand keys.
pub const BACKUP_MAX_BYTES: i64 = 64 << 20;

/// What a key takes beside its names and its data.
const ROW_BYTES: i64 = 64;

/// What is known of a key without decrypting it: which of two keys of a session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyWorth {
    /// Whether the device that made the backup had verified the one that the key is from.
    pub is_verified: bool,
    /// The first message that it can decrypt.
    pub first_message_index: i64,
    /// How often it was forwarded.
    pub forwarded_count: i64,
}

impl KeyWorth {
    /// Whether this key takes the place of another of the same session. Of equal ones the first
    /// stays.
    ///
    /// spec: client-server v1.19 §Server-side key backups
    #[must_use]
    pub fn is_better_than(&self, stored: &Self) -> bool {
        // Verified, then from early on, then rarely forwarded.
        let rank = |it: &Self| (!it.is_verified, it.first_message_index, it.forwarded_count);
        rank(self) < rank(stored)
    }
}

/// A key as it is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUpKey {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// What decides between two keys of the session.
    pub worth: KeyWorth,
    /// The encrypted key, JSON.
    pub session_data: Vec<u8>,
}

impl BackedUpKey {
    fn size_bytes(&self) -> i64 {
        let size = self.room_id.len() + self.session_id.len() + self.session_data.len();
        i64::try_from(size)
            .unwrap_or(i64::MAX)
            .saturating_add(ROW_BYTES)
    }
}

/// A guard that writes keys to a version, each unless a better one of its session is there.
///
/// The version must be there ([`Refusal::Absent`]), be the newest ([`Refusal::Changed`]) and not
/// become larger than [`BACKUP_MAX_BYTES`] ([`Refusal::Full`]). Each session may be named once. The
/// outcome is [`Outcome::Backup`].
#[derive(Debug, Clone)]
pub struct BackupKeysPut {
    /// Whose it is.
    pub user_nid: i64,
    /// The version.
    pub version: i64,
    /// The keys.
    pub keys: Vec<BackedUpKey>,
    /// The time.
    pub now_ms: i64,
}

/// What is stored of a session that is written again.
#[derive(Debug, FromRow)]
struct StoredSession {
    room_id: String,
    session_id: String,
    first_message_index: i64,
    forwarded_count: i64,
    is_verified: bool,
    data_bytes: i64,
}

impl BackupKeysPut {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let stored = backup(conn.again(), self.user_nid, self.version).await?;
        let stored = stored.ok_or(Refusal::Absent)?;
        let newest = backup_newest(conn.again(), self.user_nid).await?;
        if newest.is_none_or(|newest| newest.version != self.version) {
            return Err(Refusal::Changed.into());
        }
        let sessions = self.stored_sessions(conn.again()).await?;
        let mut grown = Growth::default();
        let mut taken = Vec::new();
        for key in &self.keys {
            let other = sessions.get(&(key.room_id.as_str(), key.session_id.as_str()));
            if other.is_none_or(|(worth, _)| key.worth.is_better_than(worth)) {
                grown.add(key, other.map(|(_, bytes)| *bytes));
                taken.push(key);
            }
        }
        if taken.is_empty() {
            return Ok(Outcome::Backup(stored.state()));
        }
        self.write(conn.again(), &taken).await?;
        let state = backup_resize(conn, (self.user_nid, self.version), grown, self.now_ms).await?;
        Ok(Outcome::Backup(state))
    }

    async fn stored_sessions(
        &self,
        conn: Conn<'_>,
    ) -> Result<BTreeMap<(&str, &str), (KeyWorth, i64)>, StorageError> {
        let found = rows!(
            conn,
            all::<StoredSession>,
            "WITH k(user_nid, version, room_id, session_id) AS ({rows})
             SELECT b.room_id, b.session_id, b.first_message_index, b.forwarded_count,
                    b.is_verified, CAST(LENGTH(b.session_data) AS BIGINT) AS data_bytes
             FROM k JOIN backed_up_keys b ON b.user_nid = k.user_nid AND b.version = k.version
             AND b.room_id = k.room_id AND b.session_id = k.session_id",
            self.keys,
            |key| (
                self.user_nid => BIGINT,
                self.version => BIGINT,
                key.room_id.as_str() => TEXT,
                key.session_id.as_str() => TEXT
            )
        )?;
        let found: BTreeMap<(String, String), (KeyWorth, i64)> =
            found.into_iter().map(StoredSession::into_pair).collect();
        let known = self.keys.iter().filter_map(|key| {
            let stored = found.get(&(key.room_id.clone(), key.session_id.clone()))?;
            Some(((key.room_id.as_str(), key.session_id.as_str()), *stored))
        });
        Ok(known.collect())
    }

    async fn write(&self, conn: Conn<'_>, keys: &[&BackedUpKey]) -> Result<(), StorageError> {
        rows!(
            conn,
            execute,
            "INSERT INTO backed_up_keys (user_nid, version, room_id, session_id,
             first_message_index, forwarded_count, is_verified, session_data) {rows}
             ON CONFLICT (user_nid, version, room_id, session_id) DO UPDATE SET
             first_message_index = excluded.first_message_index,
             forwarded_count = excluded.forwarded_count,
             is_verified = excluded.is_verified, session_data = excluded.session_data",
            keys,
            |key| (
                self.user_nid => BIGINT,
                self.version => BIGINT,
                key.room_id.as_str() => TEXT,
                key.session_id.as_str() => TEXT,
                key.worth.first_message_index => BIGINT,
                key.worth.forwarded_count => BIGINT,
                key.worth.is_verified => BOOLEAN,
                key.session_data.as_slice() => BYTEA
            )
        )?;
        Ok(())
    }
}

impl StoredSession {
    fn into_pair(self) -> ((String, String), (KeyWorth, i64)) {
        let worth = KeyWorth {
            is_verified: self.is_verified,
            first_message_index: self.first_message_index,
            forwarded_count: self.forwarded_count,
        };
        ((self.room_id, self.session_id), (worth, self.data_bytes))
    }
}

/// By how much a version grows.
#[derive(Debug, Clone, Copy, Default)]
struct Growth {
    keys: i64,
    bytes: i64,
}

impl Growth {
    /// A key that is written, in the place of one whose data had so many bytes.
    fn add(&mut self, key: &BackedUpKey, replaced_bytes: Option<i64>) {
        match replaced_bytes {
            Some(bytes) => {
                let data = i64::try_from(key.session_data.len()).unwrap_or(i64::MAX);
                self.bytes += data - bytes;
            }
            None => {
                self.keys += 1;
                self.bytes += key.size_bytes();
            }
        }
    }
}

/// The keys of a version that a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupScope {
    /// All of them.
    All,
    /// Those of a room.
    Room(String),
    /// That of a session in a room.
    Session(String, String),
}

impl BackupScope {
    /// Whether there can be such keys.
    fn is_storable(&self) -> bool {
        match self {
            Self::All => true,
            Self::Room(room_id) => is_storable(room_id),
            Self::Session(room_id, session_id) => is_storable(room_id) && is_storable(session_id),
        }
    }
}

/// A guard that deletes at most `limit` keys of a version, which must be there
/// ([`Refusal::Absent`]). The outcome is [`Outcome::BackupShrunk`].
#[derive(Debug, Clone)]
pub struct BackupKeysDelete {
    /// Whose it is.
    pub user_nid: i64,
    /// The version.
    pub version: i64,
    /// Which of its keys.
    pub scope: BackupScope,
    /// How many at once.
    pub limit: i64,
    /// The time.
    pub now_ms: i64,
}

impl BackupKeysDelete {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let stored = backup(conn.again(), self.user_nid, self.version).await?;
        let stored = stored.ok_or(Refusal::Absent)?;
        if !self.scope.is_storable() {
            return Ok(Outcome::BackupShrunk(stored.state(), 0));
        }
        let backup = (self.user_nid, self.version);
        let removed = keys_remove(conn.again(), backup, &self.scope, self.limit).await?;
        if removed.keys == 0 {
            return Ok(Outcome::BackupShrunk(stored.state(), 0));
        }
        let state = backup_resize(conn, backup, removed, self.now_ms).await?;
        Ok(Outcome::BackupShrunk(state, -removed.keys))
    }
}

/// Removes at most `limit` keys, and says by how much that changes the version.
async fn keys_remove(
    conn: Conn<'_>,
    (user_nid, version): (i64, i64),
    scope: &BackupScope,
    limit: i64,
) -> Result<Growth, StorageError> {
    let removed = match scope {
        BackupScope::All => sql!(
            conn,
            scalars::<i64>,
            "DELETE FROM backed_up_keys WHERE (user_nid, version, room_id, session_id) IN (
                 SELECT k.user_nid, k.version, k.room_id, k.session_id FROM backed_up_keys k
                 WHERE k.user_nid = $1 AND k.version = $2
                 ORDER BY k.room_id, k.session_id LIMIT $3
             ) RETURNING CAST(LENGTH(session_data) + OCTET_LENGTH(room_id)
                              + OCTET_LENGTH(session_id) AS BIGINT)",
            user_nid,
            version,
            limit
        )?,
        BackupScope::Room(room_id) => sql!(
            conn,
            scalars::<i64>,
            "DELETE FROM backed_up_keys WHERE (user_nid, version, room_id, session_id) IN (
                 SELECT k.user_nid, k.version, k.room_id, k.session_id FROM backed_up_keys k
                 WHERE k.user_nid = $1 AND k.version = $2 AND k.room_id = $4
                 ORDER BY k.session_id LIMIT $3
             ) RETURNING CAST(LENGTH(session_data) + OCTET_LENGTH(room_id)
                              + OCTET_LENGTH(session_id) AS BIGINT)",
            user_nid,
            version,
            limit,
            room_id
        )?,
        BackupScope::Session(room_id, session_id) => sql!(
            conn,
            scalars::<i64>,
            "DELETE FROM backed_up_keys
             WHERE user_nid = $1 AND version = $2 AND room_id = $3 AND session_id = $4
             RETURNING CAST(LENGTH(session_data) + OCTET_LENGTH(room_id)
                            + OCTET_LENGTH(session_id) AS BIGINT)",
            user_nid,
            version,
            room_id,
            session_id
        )?,
    };
    let keys = i64::try_from(removed.len()).unwrap_or(i64::MAX);
    Ok(Growth {
        keys: -keys,
        bytes: -removed.iter().map(|bytes| bytes + ROW_BYTES).sum::<i64>(),
    })
}

/// Accounts for keys that were added, replaced or removed.
async fn backup_resize(
    conn: Conn<'_>,
    (user_nid, version): (i64, i64),
    grown: Growth,
    now_ms: i64,
) -> Result<BackupState, CommitError> {
    let state = sql!(
        conn,
        optional::<BackupState>,
        "UPDATE key_backups SET key_count = key_count + $3, size_bytes = size_bytes + $4,
         etag = CASE WHEN etag < $5 THEN $5 ELSE etag + 1 END
         WHERE user_nid = $1 AND version = $2 AND ($4 <= 0 OR size_bytes + $4 <= $6)
         RETURNING version, etag, key_count",
        user_nid,
        version,
        grown.keys,
        grown.bytes,
        now_ms,
        BACKUP_MAX_BYTES
    )?;
    Ok(state.ok_or(Refusal::Full)?)
}

/// One step of removing the keys of deleted versions; returns how many went.
pub(crate) async fn deleted_backup_keys_remove(
    mut conn: Conn<'_>,
    limit: i64,
) -> Result<u64, StorageError> {
    let mut left = limit;
    while left > 0 {
        let backup = sql!(
            conn.again(),
            optional::<(i64, i64)>,
            "SELECT user_nid, version FROM key_backups WHERE deleted AND key_count > 0
             ORDER BY user_nid, version LIMIT 1"
        )?;
        let Some(backup) = backup else {
            break;
        };
        let removed = keys_remove(conn.again(), backup, &BackupScope::All, left).await?;
        left += removed.keys;
        // Where all are gone, there is nothing left to count, whatever was counted.
        sql!(
            conn.again(),
            execute,
            "UPDATE key_backups SET size_bytes = size_bytes + $4,
             key_count = CASE WHEN $5 THEN 0 ELSE key_count + $3 END
             WHERE user_nid = $1 AND version = $2",
            backup.0,
            backup.1,
            removed.keys,
            removed.bytes,
            left > 0
        )?;
    }
    Ok((limit - left).unsigned_abs())
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredKey {
    /// The room.
    pub room_id: String,
    /// The session.
    pub session_id: String,
    /// The first message that it can decrypt.
    pub first_message_index: i64,
    /// How often it was forwarded.
    pub forwarded_count: i64,
    /// Whether the device that it is from was verified.
    pub is_verified: bool,
    /// The encrypted key, JSON.
    pub session_data: Vec<u8>,
}

/// At most `limit` keys of a version, in the order of rooms and sessions, after a key (two empty
/// names for the first).
///
/// # Errors
/// When the database fails.
pub async fn backed_up_keys(
    conn: Conn<'_>,
    (user_nid, version): (i64, i64),
    scope: &BackupScope,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<StoredKey>, StorageError> {
    if !scope.is_storable() {
        return Ok(Vec::new());
    }
    match scope {
        BackupScope::All => sql!(
            conn,
            all::<StoredKey>,
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified,
                    session_data
             FROM backed_up_keys
             WHERE user_nid = $1 AND version = $2 AND (room_id, session_id) > ($3, $4)
             ORDER BY room_id, session_id LIMIT $5",
            user_nid,
            version,
            after.0,
            after.1,
            limit
        ),
        BackupScope::Room(room_id) => sql!(
            conn,
            all::<StoredKey>,
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified,
                    session_data
             FROM backed_up_keys
             WHERE user_nid = $1 AND version = $2 AND room_id = $3 AND session_id > $4
             ORDER BY session_id LIMIT $5",
            user_nid,
            version,
            room_id,
            after.1,
            limit
        ),
        BackupScope::Session(room_id, session_id) => sql!(
            conn,
            all::<StoredKey>,
            "SELECT room_id, session_id, first_message_index, forwarded_count, is_verified,
                    session_data
             FROM backed_up_keys
             WHERE user_nid = $1 AND version = $2 AND room_id = $3 AND session_id = $4
             AND session_id > $5",
            user_nid,
            version,
            room_id,
            session_id,
            after.1
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::KeyWorth;

    fn worth(is_verified: bool, first_message_index: i64, forwarded_count: i64) -> KeyWorth {
        KeyWorth {
            is_verified,
            first_message_index,
            forwarded_count,
        }
    }

    #[test]
    fn of_two_keys_the_better_one_is_kept() {
        // From the best to the worst.
        let ranked = [
            worth(true, 0, 0),
            worth(true, 0, 9),
            worth(true, 5, 0),
            worth(false, 0, 0),
            worth(false, 0, 1),
            worth(false, 7, 0),
        ];
        for (place, key) in ranked.iter().enumerate() {
            for (other_place, other) in ranked.iter().enumerate() {
                assert_eq!(key.is_better_than(other), place < other_place);
            }
        }
    }
}
