//! What keeps the tables small that follow the log: rules, each taken in bounded steps.
//!
//! `docs/storage.md` says for every table what bounds it.

use crate::commit::{CommitError, Outcome};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::tables::{device_keys, key_backups, reports};
use crate::{rows, sql};

/// Rows that one step looks at or removes: few enough to go unnoticed among other commits.
pub const STEP: i64 = 200;

/// A guard that takes one step of one rule. Its outcome is [`Outcome::Pruned`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prune {
    /// Transaction ids of events, the oldest first, as far as they were used before a time.
    EventTransactions {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Transaction ids of to-device messages that were used before a time.
    MessageTransactions {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Messages that other servers need no longer be kept from repeating.
    Received {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Messages that waited for their device since a position or longer.
    ToDevice {
        /// The last position that is too old.
        up_to: i64,
    },
    /// Changes of current state that a later one took the place of at a position or before.
    StateChanges {
        /// The last position that is old.
        up_to: i64,
    },
    /// Remote events that waited since before a time for what nobody could give.
    Staged {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Keys of servers from which nothing here came and to which nothing went, when they had run out
    /// before a time.
    ServerKeys {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Tokens for one purpose that nobody used in time.
    PurposeTokens {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// When positions were reached, where a later one says enough.
    LogTimes {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Keys of versions of key backups that were deleted.
    DeletedBackups,
    /// Connections of sliding sync that nobody used since a time.
    SlidingConnections {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Reports that administrators had so long to look at.
    Reports {
        /// Milliseconds since the epoch.
        before_ms: i64,
    },
    /// Of these `(room, person)`, what those are shown who are neither invited nor knock any more.
    StrippedStates(Vec<(i64, i64)>),
    /// Of these remote people, the copies of the keys of those with whom nobody here shares a room.
    RemoteLists(Vec<i64>),
    /// These `(destination, position)` of queues.
    Outbox(Vec<(i64, i64)>),
}

impl Prune {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let pruned = match self {
            Self::EventTransactions { before_ms } => event_transactions(conn, *before_ms).await?,
            Self::MessageTransactions { before_ms } => {
                message_transactions(conn, *before_ms).await?
            }
            Self::Received { before_ms } => received(conn, *before_ms).await?,
            Self::ToDevice { up_to } => to_device(conn, *up_to).await?,
            Self::StateChanges { up_to } => state_changes(conn, *up_to).await?,
            Self::Staged { before_ms } => staged(conn, *before_ms).await?,
            Self::ServerKeys { before_ms } => server_keys(conn, *before_ms).await?,
            Self::PurposeTokens { before_ms } => purpose_tokens(conn, *before_ms).await?,
            Self::LogTimes { before_ms } => log_times(conn, *before_ms).await?,
            Self::DeletedBackups => key_backups::deleted_backup_keys_remove(conn, STEP).await?,
            Self::SlidingConnections { before_ms } => sliding_connections(conn, *before_ms).await?,
            Self::Reports { before_ms } => reports::reports_prune(conn, *before_ms, STEP).await?,
            Self::StrippedStates(pairs) => stripped_states(conn, pairs).await?,
            Self::RemoteLists(people) => remote_lists(conn, people).await?,
            Self::Outbox(queued) => outbox(conn, queued).await?,
        };
        Ok(Outcome::Pruned(pruned))
    }
}

/// The oldest come first by their event, so that no index of times is needed.
async fn event_transactions(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM client_transactions WHERE created_at_ms < $1 AND event_nid IN (
             SELECT event_nid FROM client_transactions WHERE event_nid IS NOT NULL
             ORDER BY event_nid LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn message_transactions(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM client_transactions
         WHERE (user_nid, device_id, room_nid, endpoint, txn_id) IN (
             SELECT user_nid, device_id, room_nid, endpoint, txn_id FROM client_transactions
             WHERE event_nid IS NULL AND created_at_ms < $1 ORDER BY created_at_ms LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn purpose_tokens(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM purpose_tokens WHERE token_hash IN (
             SELECT token_hash FROM purpose_tokens
             WHERE expires_at_ms < $1 ORDER BY expires_at_ms LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn received(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM to_device_received WHERE (server_nid, message_id) IN (
             SELECT server_nid, message_id FROM to_device_received
             WHERE received_at_ms < $1 ORDER BY received_at_ms LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn to_device(conn: Conn<'_>, up_to: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM to_device WHERE position IN (
             SELECT position FROM to_device WHERE position <= $1 ORDER BY position LIMIT $2
         )",
        up_to,
        STEP
    )
}

/// Goes over the changes once, in order: each removes those of its place before it.
async fn state_changes(mut conn: Conn<'_>, up_to: i64) -> Result<u64, StorageError> {
    const FOLLOWER: &str = "state changes pruned";
    let done = super::log::follower_position(conn.again(), FOLLOWER).await?;
    let done = done.unwrap_or_default();
    let seen = sql!(
        conn.again(),
        scalars::<i64>,
        "SELECT position FROM state_changes WHERE position > $1 AND position <= $2
         ORDER BY position LIMIT $3",
        done,
        up_to,
        STEP
    )?;
    let Some(&last) = seen.last() else {
        return Ok(0);
    };
    sql!(
        conn.again(),
        execute,
        "DELETE FROM state_changes WHERE position IN (
             SELECT older.position FROM state_changes newer JOIN state_changes older
             ON older.room_nid = newer.room_nid AND older.state_key_nid = newer.state_key_nid
             AND older.position < newer.position
             WHERE newer.position > $1 AND newer.position <= $2
         )",
        done,
        last
    )?;
    sql!(
        conn,
        execute,
        "INSERT INTO followers (name, position) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET position = excluded.position",
        FOLLOWER,
        last
    )?;
    Ok(u64::try_from(seen.len()).unwrap_or(u64::MAX))
}

async fn staged(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM staged_events WHERE (room_nid, event_id) IN (
             SELECT room_nid, event_id FROM staged_events WHERE received_at_ms < $1 LIMIT $2
         )",
        before_ms,
        STEP
    )
}

/// Whoever asks us something names a server, whose keys are then asked for. Those that the events here
/// are signed with belong to servers that are known.
async fn server_keys(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM server_keys WHERE server_name IN (
             SELECT k.server_name FROM server_keys k
             WHERE NOT EXISTS (SELECT 1 FROM servers s WHERE s.server_name = k.server_name)
             GROUP BY k.server_name HAVING MAX(k.valid_until_ms) < $1 LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn sliding_connections(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM sliding_connections WHERE (user_nid, device_id, conn_id) IN (
             SELECT user_nid, device_id, conn_id FROM sliding_connections
             WHERE used_at_ms < $1 ORDER BY used_at_ms LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn log_times(conn: Conn<'_>, before_ms: i64) -> Result<u64, StorageError> {
    sql!(
        conn,
        execute,
        "DELETE FROM log_times WHERE position IN (
             SELECT position FROM log_times WHERE position < (
                 SELECT MAX(position) FROM log_times WHERE at_ms < $1
             ) ORDER BY position LIMIT $2
         )",
        before_ms,
        STEP
    )
}

async fn stripped_states(conn: Conn<'_>, pairs: &[(i64, i64)]) -> Result<u64, StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(room_nid, user_nid) AS ({rows})
         DELETE FROM stripped_states WHERE (room_nid, user_nid) IN (
             SELECT k.room_nid, k.user_nid FROM k LEFT JOIN memberships m
             ON m.room_nid = k.room_nid AND m.user_nid = k.user_nid
             WHERE m.membership IS NULL OR m.membership NOT IN ('invite', 'knock')
         )",
        pairs,
        |pair| (pair.0 => BIGINT, pair.1 => BIGINT)
    )
}

async fn remote_lists(mut conn: Conn<'_>, people: &[i64]) -> Result<u64, StorageError> {
    let strangers = rows!(
        conn.again(),
        all::<(i64,)>,
        "WITH k(user_nid) AS ({rows})
         SELECT k.user_nid FROM k JOIN remote_device_lists r ON r.user_nid = k.user_nid
         WHERE NOT EXISTS (
             SELECT 1 FROM memberships theirs
             JOIN memberships ours ON ours.room_nid = theirs.room_nid
             JOIN accounts a ON a.user_nid = ours.user_nid
             WHERE theirs.user_nid = k.user_nid AND theirs.membership = 'join'
             AND ours.membership = 'join'
         )",
        people,
        |nid| (*nid => BIGINT)
    )?;
    let strangers: Vec<i64> = strangers.into_iter().map(|(nid,)| nid).collect();
    device_keys::remote_copy_forget(conn, &strangers).await?;
    Ok(u64::try_from(strangers.len()).unwrap_or(u64::MAX))
}

async fn outbox(conn: Conn<'_>, queued: &[(i64, i64)]) -> Result<u64, StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(server_nid, position) AS ({rows})
         DELETE FROM outbox WHERE (server_nid, position) IN (SELECT server_nid, position FROM k)",
        queued,
        |row| (row.0 => BIGINT, row.1 => BIGINT)
    )
}

/// The next remote people of whose keys there is a copy, by local id.
///
/// # Errors
/// When the database fails.
pub async fn remote_lists_after(conn: Conn<'_>, after: i64) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT user_nid FROM remote_device_lists WHERE user_nid > $1 ORDER BY user_nid LIMIT $2",
        after,
        STEP
    )
}

/// The next `(room, person)` of whom it is stored what they are shown of a room.
///
/// # Errors
/// When the database fails.
pub async fn stripped_states_after(
    conn: Conn<'_>,
    after: (i64, i64),
) -> Result<Vec<(i64, i64)>, StorageError> {
    sql!(
        conn,
        all::<(i64, i64)>,
        "SELECT room_nid, user_nid FROM stripped_states WHERE (room_nid, user_nid) > ($1, $2)
         ORDER BY room_nid, user_nid LIMIT $3",
        after.0,
        after.1,
        STEP
    )
}

/// The destinations for which something waits since a position or longer.
///
/// # Errors
/// When the database fails.
pub async fn outbox_late(conn: Conn<'_>, up_to: i64) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT server_nid FROM outbox WHERE position <= $1 ORDER BY server_nid",
        up_to
    )
}

/// What a destination that was out of reach need not be sent any more, of what waits since a
/// position or longer: events after which another of their room waits, since whoever gets that one
/// asks for those before it; and, up to `edus_up_to`, EDUs. What is on its way stays.
///
/// # Errors
/// When the database fails.
pub async fn outbox_overtaken(
    conn: Conn<'_>,
    server_nid: i64,
    up_to: i64,
    edus_up_to: i64,
) -> Result<Vec<(i64, i64)>, StorageError> {
    sql!(
        conn,
        all::<(i64, i64)>,
        "SELECT q.server_nid, q.position FROM (
             SELECT o.server_nid, o.position, o.event_nid, ROW_NUMBER() OVER (
                 PARTITION BY e.room_nid ORDER BY o.position DESC
             ) AS place
             FROM outbox o LEFT JOIN events e ON e.event_nid = o.event_nid
             WHERE o.server_nid = $1 AND o.position > COALESCE(
                 (SELECT d.txn_last FROM destinations d WHERE d.server_nid = $1), 0
             )
         ) q
         WHERE (q.event_nid IS NOT NULL AND q.place > 1 AND q.position <= $2)
            OR (q.event_nid IS NULL AND q.position <= $3)
         ORDER BY q.position LIMIT $4",
        server_nid,
        up_to,
        edus_up_to,
        STEP
    )
}
