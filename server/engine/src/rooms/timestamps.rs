//! The event nearest to a time.
//!
//! Events are ordered by depth, and their times rise with it but for clocks that go wrong. So the
//! place is found by halving the depths, and the event among those around it: no event pays for an
//! index of times.
//!
//! spec: client-server v1.19 `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`.

use hearth_storage::tables::events as rows;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::view::Room;
use crate::rooms::viewpoint::Viewpoint;

/// Events around a place among which the nearest is looked for: how far clocks may go wrong.
const AROUND: usize = 100;

impl Rooms {
    /// The event nearest to a time that the reader may see: the first at or after it (`onwards`), or
    /// the last at or before it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_at_time(
        &self,
        viewpoint: &Viewpoint,
        time_ms: i64,
        onwards: bool,
    ) -> Result<Option<Known>, RoomError> {
        let place = self.place_of_time(&viewpoint.room, time_ms).await?;
        let any = |_: &Known| true;
        let back = self.history(viewpoint, place, AROUND, &any).await?.events;
        let on = self.history_onwards(viewpoint, place, AROUND, &any).await?;
        let around = back.into_iter().chain(on.events);
        let time = |known: &Known| known.event.origin_server_ts();
        let order = |known: &Known| (time(known), known.depth, known.nid);
        Ok(match onwards {
            true => around
                .filter(|known| time(known) >= time_ms)
                .min_by_key(order),
            false => around
                .filter(|known| time(known) <= time_ms)
                .max_by_key(order),
        })
    }

    /// The place before the first depth whose event is not older than a time.
    async fn place_of_time(&self, room: &Room, time_ms: i64) -> Result<HistoryPlace, RoomError> {
        let now = self.history_now();
        let mut reader = self.ctx.storage.read().await?;
        let place = (now.depth, now.event_nid);
        let newest = rows::history_before(reader.conn(), room.nid, place, now.horizon, 1).await?;
        drop(reader);
        let newest = self.known.in_order(room.rules, &newest).await?.pop();
        let (mut low, mut high) = (0, newest.map_or(0, |newest| newest.depth) + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let place = (middle, 0);
            let mut reader = self.ctx.storage.read().await?;
            let found = rows::history_from(reader.conn(), room.nid, place, now.horizon, 1).await?;
            drop(reader);
            let found = self.known.in_order(room.rules, &found).await?.pop();
            match found {
                Some(known) if known.event.origin_server_ts() < time_ms => low = known.depth + 1,
                _ => high = middle,
            }
        }
        Ok(HistoryPlace {
            depth: low,
            event_nid: 0,
            ..now
        })
    }
}
