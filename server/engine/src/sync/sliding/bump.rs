//! When something of interest last happened in a room.
//!
//! spec: MSC4186 §RoomResult, `bump_stamp`.

use hearth_storage::cache::{Bounded, bounded};
use hearth_storage::tables::events as rows;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::view::Room;

/// Types of events that move a room up in a client's list.
const OF_INTEREST: [&str; 7] = [
    "m.room.create",
    "m.room.message",
    "m.room.encrypted",
    "m.sticker",
    "m.call.invite",
    "m.poll.start",
    "m.beacon_info",
];

/// Events read from the database at a time, and how often at most.
const PAGE: i64 = 200;
const PAGES_MAX: usize = 10;

/// What was found further back than memory reaches: everything up to the first position was looked
/// at, and the second is what was found.
#[derive(Debug)]
pub(super) struct Bumps(Bounded<i64, (i64, i64)>);

impl Bumps {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// The position of a room's last event of interest, up to `until`; 0 where there is none.
    pub(super) async fn of(
        &self,
        rooms: &Rooms,
        room: &Room,
        until: i64,
    ) -> Result<i64, RoomError> {
        let oldest = {
            let live = room.live();
            let mut newest_first = live.timeline.iter().rev();
            let found = newest_first
                .find(|shown| shown.position <= until && is_of_interest(shown.known.event.kind()));
            match (found, live.timeline.front()) {
                (Some(found), _) => return Ok(found.position),
                (None, Some(oldest)) if live.older => oldest.position,
                _ => return Ok(0),
            }
        };
        let (mut looked_at, mut found) = self.0.get(&room.nid).unwrap_or_default();
        if looked_at < oldest - 1 {
            let newer = search(rooms, room, (looked_at, oldest - 1)).await?;
            (looked_at, found) = (oldest - 1, newer.unwrap_or(found));
            self.0.insert(room.nid, (looked_at, found));
        }
        Ok(found)
    }
}

/// The last event of interest in a stretch of live order that is not in memory.
async fn search(
    rooms: &Rooms,
    room: &Room,
    (after, mut up_to): (i64, i64),
) -> Result<Option<i64>, RoomError> {
    for _ in 0..PAGES_MAX {
        let mut reader = rooms.ctx.storage.read().await?;
        let page = rows::live_events(reader.conn(), room.nid, after, up_to, PAGE).await?;
        drop(reader);
        let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        let page = rooms.known.in_order(room.rules, &page).await?;
        for known in &page {
            if is_of_interest(known.event.kind()) {
                return Ok(known.live_position);
            }
        }
        let oldest = page.last().and_then(|known| known.live_position);
        match oldest {
            Some(oldest) if !is_last => up_to = oldest - 1,
            _ => break,
        }
    }
    Ok(None)
}

fn is_of_interest(kind: &str) -> bool {
    OF_INTEREST.contains(&kind)
}
