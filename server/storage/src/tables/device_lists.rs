//! Who changed their devices or keys and when, what other servers are told of it, and whose lists
//! this server keeps a copy of.

use std::collections::BTreeMap;

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::tables::cross_signing::{self, CrossSigningKey};
use crate::{rows, sql};

/// A change of somebody's devices or keys.
#[derive(Debug, Clone)]
pub struct DeviceListChange {
    /// Whose devices or keys changed.
    pub user_nid: i64,
    /// When.
    pub slot: Slot,
    /// What every other server that shares a room with the person is told. The servers are those of
    /// the moment of writing, so that none slips in between a look and the commit.
    pub edu: Option<ListEdu>,
}

/// An EDU about somebody's devices or keys, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEdu {
    /// Complete.
    Whole(Vec<u8>),
    /// One of a chain: between the two halves belong `"prev_id":[…],"stream_id":…`, which only the
    /// writer knows. `stream_id` is the change's position, `prev_id` the chain's position before.
    Chained {
        /// What comes before, up to and including a comma or an opening brace.
        head: Vec<u8>,
        /// What comes after.
        tail: Vec<u8>,
    },
}

impl ListEdu {
    /// The EDU as the link at `position` of a chain whose last link was `previous`, 0 where it has
    /// none.
    #[must_use]
    pub fn bytes(&self, previous: i64, position: i64) -> Vec<u8> {
        match self {
            Self::Whole(bytes) => bytes.clone(),
            Self::Chained { head, tail } => {
                let previous = if previous == 0 {
                    String::new()
                } else {
                    previous.to_string()
                };
                let link = format!("\"prev_id\":[{previous}],\"stream_id\":{position}");
                [head.as_slice(), link.as_bytes(), tail.as_slice()].concat()
            }
        }
    }
}

/// Where a person's list stands.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    position: i64,
    stream_id: i64,
}

pub(crate) async fn device_list_change(
    mut conn: Conn<'_>,
    changes: &[Stamped<'_, DeviceListChange>],
) -> Result<(), StorageError> {
    let users: Vec<i64> = changes.iter().map(|change| change.user_nid).collect();
    let mut standing = standings(conn.again(), &users).await?;
    let mut edus: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    for change in changes {
        let position = change.at(change.slot);
        let user = standing.entry(change.user_nid).or_default();
        user.position = position;
        if let Some(edu) = &change.edu {
            edus.push((
                change.user_nid,
                position,
                edu.bytes(user.stream_id, position),
            ));
            if matches!(edu, ListEdu::Chained { .. }) {
                user.stream_id = position;
            }
        }
    }
    let standing: Vec<(i64, Standing)> = standing.into_iter().collect();
    rows!(
        conn.again(),
        execute,
        "INSERT INTO device_list_changes (user_nid, position, stream_id) {rows}
         ON CONFLICT (user_nid) DO UPDATE SET position = excluded.position,
         stream_id = excluded.stream_id",
        standing,
        |user| (
            user.0 => BIGINT,
            user.1.position => BIGINT,
            user.1.stream_id => BIGINT
        )
    )?;
    edus_insert(conn, &edus).await
}

async fn standings(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<BTreeMap<i64, Standing>, StorageError> {
    let found = rows!(
        conn,
        all::<(i64, i64, i64)>,
        "WITH k(user_nid) AS ({rows})
         SELECT c.user_nid, c.position, c.stream_id
         FROM k JOIN device_list_changes c ON c.user_nid = k.user_nid",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    let standing = |(nid, position, stream_id)| {
        let standing = Standing {
            position,
            stream_id,
        };
        (nid, standing)
    };
    Ok(found.into_iter().map(standing).collect())
}

/// Queues each EDU (person, position, JSON) for every other server that shares a room with the
/// person.
async fn edus_insert(conn: Conn<'_>, edus: &[(i64, i64, Vec<u8>)]) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(user_nid, position, edu) AS ({rows})
         INSERT INTO outbox (server_nid, position, edu)
         SELECT s.server_nid, s.position, k.edu FROM k JOIN (
             SELECT DISTINCT e.position, them.server_nid FROM k e
             JOIN users us ON us.user_nid = e.user_nid
             JOIN memberships ours ON ours.user_nid = e.user_nid AND ours.membership = 'join'
             JOIN memberships theirs
                 ON theirs.room_nid = ours.room_nid AND theirs.membership = 'join'
             JOIN users them ON them.user_nid = theirs.user_nid
             WHERE them.server_nid <> us.server_nid
         ) s ON s.position = k.position",
        edus,
        |edu| (edu.0 => BIGINT, edu.1 => BIGINT, edu.2.as_slice() => BYTEA)
    )?;
    Ok(())
}

/// The position of the last change of each of these people; 0 where there was none.
///
/// # Errors
/// When the database fails.
pub async fn device_list_positions(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<i64>, StorageError> {
    let standings = standings(conn, user_nids).await?;
    let position = |nid| standings.get(nid).map_or(0, |standing| standing.position);
    Ok(user_nids.iter().map(position).collect())
}

/// The last link of the chain of EDUs about a person; 0 before the first.
///
/// # Errors
/// When the database fails.
pub async fn device_list_stream_id(conn: Conn<'_>, user_nid: i64) -> Result<i64, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT stream_id FROM device_list_changes WHERE user_nid = $1",
        user_nid
    )?;
    Ok(found.unwrap_or_default())
}

/// Devices of one remote person of which copies are kept.
pub const REMOTE_DEVICES_MAX: usize = 1_000;

/// A device of a remote person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDevice {
    /// The device.
    pub device_id: String,
    /// Its identity keys in canonical form.
    pub content: Vec<u8>,
    /// The name that its owner gave it.
    pub display_name: Option<String>,
}

/// Replaces this server's copy of a remote person's keys with what their server just answered.
/// Refused as [`Refusal::Changed`] when news of the person came in since the question was asked.
#[derive(Debug, Clone)]
pub struct RemoteListFill {
    /// Whose keys.
    pub user_nid: i64,
    /// The position of their last change ([`device_list_positions`]) when the question was asked.
    pub last_change: i64,
    /// The visible head when the question was asked.
    pub asked_at: i64,
    /// The link of their server's chain that the answer includes; 0 where it does not say.
    pub stream_id: i64,
    /// All devices with keys.
    pub devices: Vec<RemoteDevice>,
    /// The master and self-signing keys.
    pub cross_signing: Vec<CrossSigningKey>,
}

impl RemoteListFill {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let standing = standings(conn.again(), &[self.user_nid]).await?;
        let last = standing.get(&self.user_nid).copied().unwrap_or_default();
        if last.position != self.last_change {
            return Err(Refusal::Changed.into());
        }
        sql!(
            conn.again(),
            execute,
            "DELETE FROM device_keys WHERE user_nid = $1",
            self.user_nid
        )?;
        rows!(
            conn.again(),
            execute,
            "INSERT INTO device_keys (user_nid, device_id, content, display_name) {rows}
             ON CONFLICT (user_nid, device_id) DO NOTHING",
            self.devices,
            |device| (
                self.user_nid => BIGINT,
                device.device_id.as_str() => TEXT,
                device.content.as_slice() => BYTEA,
                device.display_name.as_deref() => TEXT
            )
        )?;
        sql!(
            conn.again(),
            execute,
            "DELETE FROM cross_signing_keys WHERE user_nid = $1",
            self.user_nid
        )?;
        cross_signing::cross_signing_upsert(conn.again(), &self.cross_signing).await?;
        sql!(
            conn,
            execute,
            "INSERT INTO remote_device_lists (user_nid, stream_id, fresh, position)
             VALUES ($1, $2, TRUE, $3)
             ON CONFLICT (user_nid) DO UPDATE SET stream_id = excluded.stream_id,
             fresh = excluded.fresh, position = excluded.position",
            self.user_nid,
            self.stream_id,
            self.asked_at
        )?;
        Ok(Outcome::Done)
    }
}

/// One link of the chain that another server tells about one of its people. The outcome is
/// [`Outcome::List`].
#[derive(Debug, Clone)]
pub struct RemoteListUpdate {
    /// Whose device.
    pub user_nid: i64,
    /// The link.
    pub stream_id: i64,
    /// The links before.
    pub prev_ids: Vec<i64>,
    /// The device.
    pub device_id: String,
    /// Its keys, or none when it is deleted or has none.
    pub device: Option<RemoteDevice>,
}

/// What became of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListUpdate {
    /// The copy is up to date with it.
    Applied,
    /// There is no copy that could be kept up to date.
    Untracked,
    /// Links before it are missing, or there are too many devices: the copy is marked as stale.
    Gap,
}

impl RemoteListUpdate {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let stored = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT stream_id FROM remote_device_lists WHERE user_nid = $1 AND fresh",
            self.user_nid
        )?;
        let Some(stored) = stored else {
            return Ok(Outcome::List(ListUpdate::Untracked));
        };
        if stored == self.stream_id {
            return Ok(Outcome::List(ListUpdate::Applied));
        }
        // A link older than what we know means that their server lost its place: ask afresh.
        let known = |prev: &i64| *prev <= stored;
        let follows = self.stream_id > stored && !self.prev_ids.is_empty();
        if !follows || !self.prev_ids.iter().all(known) || self.overflows(conn.again()).await? {
            mark_stale(conn, &[self.user_nid]).await?;
            return Ok(Outcome::List(ListUpdate::Gap));
        }
        self.apply(conn).await?;
        Ok(Outcome::List(ListUpdate::Applied))
    }

    async fn overflows(&self, conn: Conn<'_>) -> Result<bool, StorageError> {
        let devices = sql!(
            conn,
            scalar::<i64>,
            "SELECT COUNT(*) FROM device_keys WHERE user_nid = $1 AND device_id <> $2",
            self.user_nid,
            &self.device_id
        )?;
        let devices = usize::try_from(devices.unwrap_or_default()).unwrap_or(usize::MAX);
        Ok(self.device.is_some() && devices >= REMOTE_DEVICES_MAX)
    }

    async fn apply(&self, mut conn: Conn<'_>) -> Result<(), StorageError> {
        match &self.device {
            Some(device) => sql!(
                conn.again(),
                execute,
                "INSERT INTO device_keys (user_nid, device_id, content, display_name)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (user_nid, device_id) DO UPDATE SET content = excluded.content,
                 display_name = excluded.display_name",
                self.user_nid,
                &self.device_id,
                &device.content,
                &device.display_name
            )?,
            None => sql!(
                conn.again(),
                execute,
                "DELETE FROM device_keys WHERE user_nid = $1 AND device_id = $2",
                self.user_nid,
                &self.device_id
            )?,
        };
        sql!(
            conn,
            execute,
            "UPDATE remote_device_lists SET stream_id = $2 WHERE user_nid = $1",
            self.user_nid,
            self.stream_id
        )?;
        Ok(())
    }
}

/// A remote person whose keys changed in a way that only their server can tell.
#[derive(Debug, Clone, Copy)]
pub struct RemoteListStale {
    /// Whose keys.
    pub user_nid: i64,
}

pub(crate) async fn remote_list_stale(
    conn: Conn<'_>,
    stale: &[Stamped<'_, RemoteListStale>],
) -> Result<(), StorageError> {
    let users: Vec<i64> = stale.iter().map(|row| row.user_nid).collect();
    mark_stale(conn, &users).await
}

async fn mark_stale(conn: Conn<'_>, user_nids: &[i64]) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(user_nid) AS ({rows})
         UPDATE remote_device_lists SET fresh = FALSE
         WHERE user_nid IN (SELECT user_nid FROM k)",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(())
}

/// Of these remote people, those whose keys this server holds an up-to-date copy of: a copy is
/// kept up to date only while a room is shared, so one that has been shared since before the copy
/// was asked for must still be.
///
/// # Errors
/// When the database fails.
pub async fn remote_lists_fresh(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<i64>, StorageError> {
    let found = rows!(
        conn,
        all::<(i64,)>,
        "WITH k(user_nid) AS ({rows})
         SELECT r.user_nid FROM k JOIN remote_device_lists r ON r.user_nid = k.user_nid
         JOIN users them ON them.user_nid = r.user_nid
         WHERE r.fresh AND EXISTS (
             SELECT 1 FROM memberships theirs
             JOIN memberships ours ON ours.room_nid = theirs.room_nid
             JOIN users us ON us.user_nid = ours.user_nid
             JOIN server_identity me ON me.id = 1
             JOIN servers s ON s.server_nid = us.server_nid AND s.server_name = me.server_name
             WHERE theirs.user_nid = r.user_nid AND theirs.membership = 'join'
             AND theirs.position <= r.position
             AND ours.membership = 'join' AND ours.position <= r.position
         )",
        user_nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|(nid,)| nid).collect())
}

/// Those whose devices, cross-signing keys or signatures changed for a reader in
/// `(since, until]`: the reader and everyone who shares a room with them, whoever newly shares one,
/// and whom the reader signed.
///
/// # Errors
/// When the database fails.
pub async fn device_lists_changed(
    mut conn: Conn<'_>,
    user_nid: i64,
    since: i64,
    until: i64,
) -> Result<Vec<String>, StorageError> {
    let mut changed = sql!(
        conn.again(),
        scalars::<String>,
        "SELECT u.user_id FROM device_list_changes c JOIN users u ON u.user_nid = c.user_nid
         WHERE c.position > $2 AND c.position <= $3 AND (c.user_nid = $1 OR EXISTS (
             SELECT 1 FROM memberships mine
             JOIN memberships theirs ON theirs.room_nid = mine.room_nid
             WHERE mine.user_nid = $1 AND mine.membership = 'join'
             AND theirs.user_nid = c.user_nid AND theirs.membership = 'join'
         ))",
        user_nid,
        since,
        until
    )?;
    changed.extend(sql!(
        conn.again(),
        scalars::<String>,
        "SELECT DISTINCT u.user_id FROM key_signatures s JOIN users u ON u.user_nid = s.target_nid
         WHERE s.signer_nid = $1 AND s.position > $2 AND s.position <= $3",
        user_nid,
        since,
        until
    )?);
    changed.extend(newly_sharing(conn, user_nid, since, until).await?);
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}

/// Those who joined one of the reader's rooms, and those in the rooms that the reader joined.
async fn newly_sharing(
    conn: Conn<'_>,
    user_nid: i64,
    since: i64,
    until: i64,
) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT u.user_id FROM memberships theirs
         JOIN memberships mine ON mine.room_nid = theirs.room_nid AND mine.user_nid = $1
         JOIN users u ON u.user_nid = theirs.user_nid
         WHERE theirs.position > $2 AND theirs.position <= $3 AND theirs.membership = 'join'
         AND mine.membership = 'join' AND theirs.user_nid <> $1
         UNION
         SELECT u.user_id FROM memberships mine
         JOIN memberships theirs ON theirs.room_nid = mine.room_nid
         JOIN users u ON u.user_nid = theirs.user_nid
         WHERE mine.user_nid = $1 AND mine.position > $2 AND mine.position <= $3
         AND mine.membership = 'join' AND theirs.membership = 'join' AND theirs.user_nid <> $1",
        user_nid,
        since,
        until
    )
}

/// Those who ceased to share any room with a reader in `(since, until]`.
///
/// # Errors
/// When the database fails.
pub async fn device_lists_left(
    conn: Conn<'_>,
    user_nid: i64,
    since: i64,
    until: i64,
) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT u.user_id FROM users u WHERE u.user_nid <> $1 AND u.user_nid IN (
             SELECT theirs.user_nid FROM memberships theirs
             JOIN memberships mine ON mine.room_nid = theirs.room_nid AND mine.user_nid = $1
             WHERE theirs.position > $2 AND theirs.position <= $3
             AND theirs.membership IN ('leave', 'ban')
             AND (mine.membership = 'join' OR mine.position > $2)
             UNION
             SELECT theirs.user_nid FROM memberships mine
             JOIN memberships theirs ON theirs.room_nid = mine.room_nid
             WHERE mine.user_nid = $1 AND mine.position > $2 AND mine.position <= $3
             AND mine.membership IN ('leave', 'ban') AND theirs.membership = 'join'
         ) AND NOT EXISTS (
             SELECT 1 FROM memberships mine
             JOIN memberships theirs ON theirs.room_nid = mine.room_nid
             WHERE mine.user_nid = $1 AND mine.membership = 'join'
             AND theirs.user_nid = u.user_nid AND theirs.membership = 'join'
         ) ORDER BY u.user_id",
        user_nid,
        since,
        until
    )
}
