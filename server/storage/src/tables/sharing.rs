//! Who shares a room with whom: what decides who learns of changes and may ask for keys.

use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// The other servers with somebody in a room that this person is in.
///
/// # Errors
/// When the database fails.
pub async fn servers_sharing(conn: Conn<'_>, user_nid: i64) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT them.server_nid FROM memberships mine
         JOIN memberships theirs ON theirs.room_nid = mine.room_nid
         JOIN users them ON them.user_nid = theirs.user_nid
         JOIN users us ON us.user_nid = mine.user_nid
         WHERE mine.user_nid = $1 AND mine.membership = 'join' AND theirs.membership = 'join'
         AND them.server_nid <> us.server_nid ORDER BY them.server_nid",
        user_nid
    )
}

/// The other servers with somebody in a room, of those with whom this person shared no room before
/// joining it.
///
/// # Errors
/// When the database fails.
pub async fn servers_met(
    conn: Conn<'_>,
    user_nid: i64,
    room_nid: i64,
) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT them.server_nid FROM memberships mine
         JOIN memberships theirs ON theirs.room_nid = mine.room_nid AND theirs.membership = 'join'
         JOIN users them ON them.user_nid = theirs.user_nid
         JOIN users us ON us.user_nid = mine.user_nid
         WHERE mine.user_nid = $1 AND mine.room_nid = $2 AND mine.membership = 'join'
         AND them.server_nid <> us.server_nid AND NOT EXISTS (
             SELECT 1 FROM memberships known
             JOIN memberships others
                 ON others.room_nid = known.room_nid AND others.membership = 'join'
             JOIN users o ON o.user_nid = others.user_nid
             WHERE known.user_nid = $1 AND known.membership = 'join'
             AND known.position < mine.position AND o.server_nid = them.server_nid
         ) ORDER BY them.server_nid",
        user_nid,
        room_nid
    )
}

/// The people of one server in any room that this person is in, and the person, where they are of
/// that server.
///
/// # Errors
/// When the database fails.
pub async fn users_sharing(
    conn: Conn<'_>,
    user_nid: i64,
    server_nid: i64,
) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT u.user_nid FROM users u WHERE u.user_nid = $1 AND u.server_nid = $2
         UNION
         SELECT theirs.user_nid FROM memberships mine
         JOIN memberships theirs ON theirs.room_nid = mine.room_nid
         JOIN users them ON them.user_nid = theirs.user_nid
         WHERE mine.user_nid = $1 AND mine.membership = 'join' AND theirs.membership = 'join'
         AND them.server_nid = $2",
        user_nid,
        server_nid
    )
}

/// Whether two people are in a room together.
///
/// # Errors
/// When the database fails.
pub async fn shares_room(conn: Conn<'_>, a_nid: i64, b_nid: i64) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT a.room_nid FROM memberships a JOIN memberships b ON b.room_nid = a.room_nid
         WHERE a.user_nid = $1 AND a.membership = 'join'
         AND b.user_nid = $2 AND b.membership = 'join' LIMIT 1",
        a_nid,
        b_nid
    )?;
    Ok(found.is_some())
}

/// Whether somebody of a server is in a room with this person.
///
/// # Errors
/// When the database fails.
pub async fn server_shares_room(
    conn: Conn<'_>,
    server_nid: i64,
    user_nid: i64,
) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT mine.room_nid FROM memberships mine
         JOIN memberships theirs ON theirs.room_nid = mine.room_nid
         JOIN users them ON them.user_nid = theirs.user_nid
         WHERE mine.user_nid = $2 AND mine.membership = 'join'
         AND theirs.membership = 'join' AND them.server_nid = $1 LIMIT 1",
        server_nid,
        user_nid
    )?;
    Ok(found.is_some())
}

/// Whether a server may see the keys of one of our people: somebody of it and the person are both
/// in a room, or on the way into it, or one of its people invited the person. Messages are
/// encrypted for the invited too.
///
/// # Errors
/// When the database fails.
pub async fn server_may_see_keys(
    conn: Conn<'_>,
    server_nid: i64,
    user_nid: i64,
) -> Result<bool, StorageError> {
    let found = sql!(
        conn,
        scalar::<i64>,
        "SELECT mine.room_nid FROM memberships mine
         LEFT JOIN events e ON e.event_nid = mine.event_nid
         LEFT JOIN users inviter ON inviter.user_nid = e.sender_nid
         WHERE mine.user_nid = $2 AND mine.membership IN ('join', 'invite', 'knock')
         AND ((mine.membership = 'invite' AND inviter.server_nid = $1) OR EXISTS (
             SELECT 1 FROM memberships theirs JOIN users them ON them.user_nid = theirs.user_nid
             WHERE theirs.room_nid = mine.room_nid AND them.server_nid = $1
             AND theirs.membership IN ('join', 'invite', 'knock')
         )) LIMIT 1",
        server_nid,
        user_nid
    )?;
    Ok(found.is_some())
}
