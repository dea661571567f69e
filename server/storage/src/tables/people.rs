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

/// People whose id or name may hold a text, of those with whom a person shares a room, or who are in one
/// that everybody may enter or read. The text is a pattern of `LIKE` in lower case, `!` before what is meant literally. Only
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
    // Whose name fits is asked first: to look at the rooms of everybody is what would take long.
    sql!(
        conn,
        all::<FoundPerson>,
        "WITH named AS MATERIALIZED (
             SELECT u.user_nid, u.user_id, n.value,
                 CASE WHEN LOWER(u.user_id) LIKE $2 ESCAPE '!' OR LOWER(n.value) LIKE $2 ESCAPE '!'
                 THEN 0 ELSE 1 END AS place
             FROM users u
             LEFT JOIN profiles n ON n.user_nid = u.user_nid AND n.field = 'displayname'
             WHERE u.user_nid <> $1
             AND (LOWER(u.user_id) LIKE $2 ESCAPE '!' OR LOWER(n.value) LIKE $2 ESCAPE '!'
                 OR LENGTH(n.value) <> OCTET_LENGTH(n.value) OR n.value LIKE '%\\%' ESCAPE '!')
         )
         SELECT f.user_id,
             CASE WHEN f.value <> 'null' THEN f.value END AS display_name,
             CASE WHEN a.value <> 'null' THEN a.value END AS avatar_url
         FROM named f
         LEFT JOIN profiles a ON a.user_nid = f.user_nid AND a.field = 'avatar_url'
         WHERE EXISTS (
             SELECT 1 FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
             WHERE m.user_nid = f.user_nid AND m.membership = 'join' AND (
                 r.open OR EXISTS (SELECT 1 FROM memberships o
                     WHERE o.room_nid = m.room_nid AND o.user_nid = $1 AND o.membership = 'join')
             )
         )
         ORDER BY f.place, f.user_id LIMIT $3",
        user_nid,
        like,
        limit
    )
}
