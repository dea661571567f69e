//! Finding people by their names.

use sqlx::FromRow;

use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// A person who was found.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct FoundPerson {
    /// `@name:server`
    pub user_id: String,
    /// The name that they show, JSON text; only of our own people.
    pub display_name: Option<String>,
    /// Their picture, JSON text; only of our own people.
    pub avatar_url: Option<String>,
}

/// People whose id or name may hold a text, of those with whom a person shares a room, or who are in a
/// public one. The text is a pattern of `LIKE` in lower case, `!` before what is meant literally. Only
/// letters of ASCII have a case here: names with others are all given, last, and whoever asks looks closer.
///
/// # Errors
/// When the database fails.
pub async fn people_seen(
    conn: Conn<'_>,
    user_nid: i64,
    like: &str,
    limit: i64,
) -> Result<Vec<FoundPerson>, StorageError> {
    sql!(
        conn,
        all::<FoundPerson>,
        "SELECT u.user_id,
             CASE WHEN n.value <> 'null' THEN n.value END AS display_name,
             CASE WHEN a.value <> 'null' THEN a.value END AS avatar_url
         FROM users u
         LEFT JOIN profiles n ON n.user_nid = u.user_nid AND n.field = 'displayname'
         LEFT JOIN profiles a ON a.user_nid = u.user_nid AND a.field = 'avatar_url'
         WHERE u.user_nid <> $1
           AND (LOWER(u.user_id) LIKE $2 ESCAPE '!' OR LOWER(n.value) LIKE $2 ESCAPE '!'
             OR LENGTH(n.value) <> OCTET_LENGTH(n.value) OR n.value LIKE '%\\%' ESCAPE '!')
           AND u.user_nid IN (
             SELECT m.user_nid FROM memberships m
             WHERE m.membership = 'join' AND (
                 m.room_nid IN (SELECT o.room_nid FROM memberships o
                     WHERE o.user_nid = $1 AND o.membership = 'join')
                 OR m.room_nid IN (SELECT p.room_nid FROM published_rooms p)
             )
           )
         ORDER BY CASE WHEN LOWER(u.user_id) LIKE $2 ESCAPE '!'
             OR LOWER(n.value) LIKE $2 ESCAPE '!' THEN 0 ELSE 1 END, u.user_id
         LIMIT $3",
        user_nid,
        like,
        limit
    )
}
