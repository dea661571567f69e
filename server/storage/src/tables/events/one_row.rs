//! Many events in one row.
//!
//! A row goes through the driver value by value, each copied for itself and handed from thread to thread: for
//! an event of nine columns that costs far more than finding it. So a statement gives what stands beside the
//! events as one text, and their JSON as one run of bytes.

use super::{Fate, StoredEvent};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{packed_json, rows};

/// Events read by one statement, which are in memory several times until they are taken apart.
const EVENTS_MAX: usize = 1_000;

/// What one statement finds; nothing where there is no such event.
type OneRow = (Option<String>, Option<Vec<u8>>);

/// Events by local id, in no order.
///
/// # Errors
/// When the database fails, or an event is damaged.
pub async fn events_by_nid(
    mut conn: Conn<'_>,
    nids: &[i64],
) -> Result<Vec<StoredEvent>, StorageError> {
    let mut found = Vec::with_capacity(nids.len());
    for some in nids.chunks(EVENTS_MAX) {
        let no_separator: &[u8] = &[];
        let rows = rows!(
            conn.again(),
            all::<OneRow>,
            "WITH k(nid) AS ({rows})
             SELECT string_agg(concat_ws(',', e.event_nid, e.room_nid, e.depth, e.fate,
                 coalesce(CAST(e.live_position AS TEXT), ''), coalesce(CAST(e.snapshot_nid AS TEXT), ''),
                 octet_length(e.json), octet_length(e.event_id), coalesce(octet_length(e.redacted_by), 0),
                 e.event_id || coalesce(e.redacted_by, '')), ''),
                 string_agg(e.json, $2)
             FROM k JOIN stored_events e ON e.event_nid = k.nid",
            some,
            |nid| (*nid => BIGINT),
            with(no_separator)
        )?;
        for (heads, json) in rows {
            let (heads, json) = (heads.unwrap_or_default(), json.unwrap_or_default());
            take_apart(&heads, &json, &mut found)?;
        }
    }
    Ok(found)
}

/// Takes apart what a statement gave.
fn take_apart(
    heads: &str,
    mut json: &[u8],
    into: &mut Vec<StoredEvent>,
) -> Result<(), StorageError> {
    let mut heads = Heads(heads);
    while !heads.0.is_empty() {
        let (event, length) = heads.next().ok_or_else(torn)?;
        let (stored, rest) = json.split_at_checked(length).ok_or_else(torn)?;
        json = rest;
        into.push(StoredEvent {
            json: packed_json::unpack(stored)?,
            ..event?
        });
    }
    match json {
        [] => Ok(()),
        _ => Err(torn()),
    }
}

fn torn() -> StorageError {
    StorageError::Corrupt {
        what: "events",
        why: "their lengths are not theirs".to_owned(),
    }
}

/// What is left of what stands beside the events: numbers with a comma behind each, some of them empty, and
/// two ids with their lengths among the numbers.
struct Heads<'t>(&'t str);

impl Heads<'_> {
    /// The next event, yet without its JSON, and the length of that.
    fn next(&mut self) -> Option<(Result<StoredEvent, StorageError>, usize)> {
        let (event_nid, room_nid) = (self.number()?, self.number()?);
        let (depth, fate) = (self.number()?, self.number()?);
        let (live_position, snapshot_nid) = (self.optional()?, self.optional()?);
        let (json, id, redacted_by) = (self.number()?, self.number()?, self.number()?);
        let event_id = self.text(id)?.to_owned();
        let redacted_by = Some(self.text(redacted_by)?).filter(|id| !id.is_empty());
        let redacted_by = redacted_by.map(str::to_owned);
        let event = Fate::of(fate).map(|fate| StoredEvent {
            event_nid,
            event_id,
            room_nid,
            depth,
            live_position,
            fate,
            snapshot_nid,
            redacted_by,
            json: bytes::Bytes::new(),
        });
        Some((event, json))
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.optional()?
    }

    /// A number, if there is one at its place.
    fn optional<T: std::str::FromStr>(&mut self) -> Option<Option<T>> {
        let (number, rest) = self.0.split_once(',')?;
        self.0 = rest;
        match number {
            "" => Some(None),
            number => Some(Some(number.parse().ok()?)),
        }
    }

    fn text(&mut self, length: usize) -> Option<&str> {
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(heads: &str, json: &[u8]) -> Option<Vec<StoredEvent>> {
        let mut found = Vec::new();
        take_apart(heads, json, &mut found).ok().map(|()| found)
    }

    #[test]
    fn events_are_told_apart_by_their_lengths() {
        assert_eq!(apart("", b""), Some(Vec::new()));
        let heads = "7,1,3,0,9,2,2,5,0,$1,é12,1,4,3,,,8,2,3,$b$, ";
        let found = apart(heads, b"{}{\"a\":[]}").unwrap_or_default();
        let [one, two] = found.as_slice() else {
            panic!("two events: {found:?}");
        };
        assert_eq!((one.event_nid, one.room_nid, one.depth), (7, 1, 3));
        assert_eq!((one.live_position, one.snapshot_nid), (Some(9), Some(2)));
        assert_eq!(
            (one.event_id.as_str(), one.redacted_by.as_deref()),
            ("$1,é", None)
        );
        assert_eq!((two.event_nid, two.fate), (12, Fate::Outlier));
        assert_eq!((two.live_position, two.snapshot_nid), (None, None));
        assert_eq!(
            (two.event_id.as_str(), two.redacted_by.as_deref()),
            ("$b", Some("$, "))
        );
        assert_eq!(
            (&one.json[..], &two.json[..]),
            (&b"{}"[..], &b"{\"a\":[]}"[..])
        );
    }

    #[test]
    fn what_does_not_fit_together_is_damage() {
        let head = "7,1,3,0,9,2,2,1,0,$";
        assert!(apart(head, b"{}").is_some());
        for (heads, json) in [
            (head, &b"{"[..]),
            (head, b"{}{"),
            ("7,1,3,0,9,2,2,9,0,$", b"{}"),
            ("7,1,3,4,9,2,2,1,0,$", b"{}"),
            ("7,1,x,0,9,2,2,1,0,$", b"{}"),
            (",1,3,0,9,2,2,1,0,$", b"{}"),
            ("7,1", b"{}"),
        ] {
            assert!(apart(heads, json).is_none(), "{heads}");
        }
    }
}
