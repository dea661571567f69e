//! What is new of presence for one reader.

use std::sync::Arc;

use hearth_storage::StorageError;
use serde::Serialize;

use super::{Presence, Shown};
use crate::rooms::{RoomMembership, Rooms, joined};

/// The type of the event that tells of somebody's presence.
pub const KIND: &str = "m.presence";

/// People of whom one answer tells: the newest.
const TOLD_MAX: usize = 1_000;

#[derive(Serialize)]
struct Event<'a> {
    content: &'a Shown,
    sender: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// A person of whom a reader may have to be told.
struct Candidate {
    nid: i64,
    user_id: Arc<str>,
    /// Of a remote person: whether the reader shares a room with them.
    shares: Option<bool>,
    shown: Shown,
}

impl Presence {
    /// The `m.presence` events that tell a reader what changed since a moment, or (none) how it is.
    /// `wants` says of whom the reader wants to hear.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(
        &self,
        reader_nid: i64,
        since: Option<i64>,
        wants: impl Fn(&str) -> bool,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut events = Vec::new();
        for it in self.candidates(reader_nid, since) {
            if events.len() >= TOLD_MAX {
                break;
            }
            if !wants(&it.user_id) {
                continue;
            }
            let shares = match it.shares {
                Some(shares) => shares,
                None => shares_room(&self.0.rooms, reader_nid, it.nid).await?,
            };
            if shares {
                let event = Event {
                    content: &it.shown,
                    sender: &it.user_id,
                    kind: KIND,
                };
                // Strings and numbers, which cannot fail.
                events.push(serde_json::to_vec(&event).unwrap_or_default());
            }
        }
        Ok(events)
    }

    /// Whoever changed since a moment, the newest first.
    fn candidates(&self, reader_nid: i64, since: Option<i64>) -> Vec<Candidate> {
        let now_ms = self.0.ctx.clock.now_ms();
        let state = self.state();
        let after = since.map_or(i64::MIN, |since| since.saturating_add(1));
        let changed = state.by_moment.range(after..).rev();
        let people = changed.filter_map(|(_, nid)| Some((*nid, state.people.get(nid)?)));
        people
            .filter(|(_, person)| since.is_some() || person.is_worth_telling())
            .map(|(nid, person)| Candidate {
                nid,
                user_id: Arc::clone(&person.user_id),
                shares: person.audience.as_ref().map(|it| it.contains(&reader_nid)),
                shown: person.shown(now_ms),
            })
            .collect()
    }
}

/// Whether two of our people are in a room together.
async fn shares_room(rooms: &Rooms, a_nid: i64, b_nid: i64) -> Result<bool, StorageError> {
    if a_nid == b_nid {
        return Ok(true);
    }
    let (a, b) = (rooms.people.of(a_nid).await?, rooms.people.of(b_nid).await?);
    let (few, many) = if a.len() <= b.len() {
        (&a, &b)
    } else {
        (&b, &a)
    };
    Ok(joined(few).any(|nid| many.get(&nid).is_some_and(RoomMembership::is_joined)))
}
