//! What there is for a device apart from rooms, in one statement: the way to the database costs more than
//! four look-ups that find little.

use sqlx::FromRow;

use super::account_data::StoredAccountData;
use super::to_device::Waiting;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// What there is for a device.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ForDevice {
    /// The messages to it, as [`super::to_device::to_device_waiting`] reads them.
    pub messages: Vec<Waiting>,
    /// How many one-time keys are left of each algorithm.
    pub one_time_keys: Vec<(String, i64)>,
    /// The algorithms whose fallback key has not been issued yet, in their order.
    pub fallback_keys: Vec<String>,
    /// The person's account data, as [`super::account_data::account_data_since`] reads it.
    pub data: Vec<StoredAccountData>,
}

/// The part of the answer that a row belongs to.
const MESSAGE: i64 = 1;
const ONE_TIME_KEYS: i64 = 2;
const FALLBACK_KEY: i64 = 3;
const DATA: i64 = 4;

#[derive(FromRow)]
struct Row {
    part: i64,
    place: i64,
    number: i64,
    name: String,
    body: Option<Vec<u8>>,
}

/// What there is for a device, of messages and account data what came in `(since, until]`; of messages the
/// first `messages_max`.
///
/// # Errors
/// When the database fails.
pub async fn for_device(
    conn: Conn<'_>,
    device: (i64, &str),
    (since, until): (i64, i64),
    messages_max: i64,
) -> Result<ForDevice, StorageError> {
    let rows = sql!(
        conn,
        all::<Row>,
        "SELECT part, place, number, name, body FROM (
             SELECT CAST(1 AS BIGINT) AS part, w.position AS place, CAST(0 AS BIGINT) AS number,
                 '' AS name, w.message AS body
             FROM (
                 SELECT position, message FROM to_device
                 WHERE user_nid = $1 AND device_id = $2 AND position > $3 AND position <= $4
                 ORDER BY position LIMIT $5
             ) w
             UNION ALL
             SELECT 2, 0, COUNT(*), algorithm, NULL FROM one_time_keys
             WHERE user_nid = $1 AND device_id = $2 AND NOT issued GROUP BY algorithm
             UNION ALL
             SELECT 3, 0, 0, algorithm, NULL FROM fallback_keys
             WHERE user_nid = $1 AND device_id = $2 AND NOT used
             UNION ALL
             SELECT 4, position, room_nid, kind, content FROM account_data
             WHERE user_nid = $1 AND position > $3 AND position <= $4
         ) AS parts ORDER BY part, place",
        device.0,
        device.1,
        since,
        until,
        messages_max
    )?;
    let mut found = ForDevice::default();
    for row in rows {
        let body = row.body.unwrap_or_default();
        match row.part {
            MESSAGE => found.messages.push(Waiting {
                position: row.place,
                message: body,
            }),
            ONE_TIME_KEYS => found.one_time_keys.push((row.name, row.number)),
            FALLBACK_KEY => found.fallback_keys.push(row.name),
            DATA => found.data.push(StoredAccountData {
                room_nid: row.number,
                kind: row.name,
                content: body,
            }),
            _ => {}
        }
    }
    found.fallback_keys.sort_unstable();
    Ok(found)
}
