//! A room's history in pages, backwards and forwards, each as far as the reader may see.
//!
//! Two orders meet here. History order, `(depth, event_nid)`, holds for what lies before a place's
//! horizon; what became live at the horizon or later follows in live order, as `/sync` delivers it.

use hearth_storage::StorageError;
use hearth_storage::driver::Conn;
use hearth_storage::tables::events as rows;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::page::Left;
use crate::rooms::viewpoint::Viewpoint;

/// A place between two events of a room's history, with the horizon that separates history from
/// what `/sync` delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlace {
    /// Depth of the event after the place; `i64::MAX` at the horizon itself.
    pub depth: i64,
    /// Its local id, which orders events of one depth.
    pub event_nid: i64,
    /// Events that became live here or later belong to `/sync`.
    pub horizon: i64,
}

impl HistoryPlace {
    /// The place between history and the first event that `/sync` delivers from a position on.
    #[must_use]
    pub fn at_horizon(horizon: i64) -> Self {
        Self {
            depth: i64::MAX,
            event_nid: i64::MAX,
            horizon,
        }
    }

    /// The beginning of a room, with the horizon of another place.
    #[must_use]
    pub fn first(of: Self) -> Self {
        Self {
            depth: 0,
            event_nid: 0,
            ..of
        }
    }

    /// Whether an event lies after the place.
    #[must_use]
    pub fn is_before(self, known: &Known) -> bool {
        let is_later = known
            .live_position
            .is_some_and(|position| position >= self.horizon);
        is_later || (known.depth, known.nid) >= (self.depth, self.event_nid)
    }

    fn is_at_horizon(self) -> bool {
        self.depth == i64::MAX
    }

    /// Whether all that lies before this place lies before another one too.
    fn is_behind(self, other: Self) -> bool {
        self.horizon <= other.horizon
            && (self.depth, self.event_nid) <= (other.depth, other.event_nid)
    }

    /// Whether all that lies after this place, read forwards, lies after another one too.
    fn is_past(self, other: Self) -> bool {
        match (self.is_at_horizon(), other.is_at_horizon()) {
            (true, true) => self.horizon >= other.horizon,
            (true, false) => true,
            (false, true) => false,
            (false, false) => (self.depth, self.event_nid) >= (other.depth, other.event_nid),
        }
    }

    /// The same place for somebody who sees nothing that became live after a position.
    pub(super) fn seen_until(self, until: Option<i64>) -> Self {
        let horizon = until.map_or(self.horizon, |until| self.horizon.min(until + 1));
        Self { horizon, ..self }
    }
}

/// A page of history.
#[derive(Debug, Clone, Default)]
pub struct HistoryPage {
    /// The events that the reader may see, in the order of reading.
    pub events: Vec<Known>,
    /// Where the next page begins; none where the room's history ends.
    pub next: Option<HistoryPlace>,
}

/// Events read at a time while looking for ones that the reader may see; at first as many as the page may
/// hold, and one more, which tells that there is a next page.
const SCAN: usize = 101;

impl Rooms {
    /// The place before everything that is live now: where history begins for who has no token.
    #[must_use]
    pub fn history_now(&self) -> HistoryPlace {
        let head = self.ctx.storage.writer().head().position();
        HistoryPlace::at_horizon(head + 1)
    }

    /// A page of history before a place, newest first: at most `limit` events that the reader may
    /// see and that are `wanted`, fewer where they are long. It always progresses, whatever lies between.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        viewpoint: &Viewpoint,
        from: HistoryPlace,
        limit: usize,
        wanted: &(dyn Fn(&Known) -> bool + Sync),
    ) -> Result<HistoryPage, RoomError> {
        let from = from.seen_until(viewpoint.until);
        self.page(viewpoint, (Source::Back, from), limit, wanted)
            .await
    }

    /// As [`Rooms::history`], of what lies after `to`. Between two tokens of `/sync` that is a gap in
    /// live order, and read in it: a late event of low depth is among it, old history is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history_back_to(
        &self,
        viewpoint: &Viewpoint,
        (from, to): (HistoryPlace, HistoryPlace),
        limit: usize,
        wanted: &(dyn Fn(&Known) -> bool + Sync),
    ) -> Result<HistoryPage, RoomError> {
        let mut page = match (from.is_at_horizon(), to.is_at_horizon()) {
            _ if from.is_behind(to) => HistoryPage::default(),
            (true, true) => {
                let (gap, from) = (Source::Gap(to.horizon), from.seen_until(viewpoint.until));
                self.page(viewpoint, (gap, from), limit, wanted).await?
            }
            _ => {
                let wanted = |known: &Known| to.is_before(known) && wanted(known);
                self.history(viewpoint, from, limit, &wanted).await?
            }
        };
        page.next = page.next.filter(|next| !next.is_behind(to));
        Ok(page)
    }

    /// As [`Rooms::history_onwards`], up to `to`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history_onwards_to(
        &self,
        viewpoint: &Viewpoint,
        (from, to): (HistoryPlace, HistoryPlace),
        limit: usize,
        wanted: &(dyn Fn(&Known) -> bool + Sync),
    ) -> Result<HistoryPage, RoomError> {
        if from.is_past(to) {
            return Ok(HistoryPage::default());
        }
        let wanted = |known: &Known| !to.is_before(known) && wanted(known);
        let mut page = self
            .history_onwards(viewpoint, from, limit, &wanted)
            .await?;
        page.next = page.next.filter(|next| !next.is_past(to));
        Ok(page)
    }

    /// A page of a room's events from a place on, oldest first, up to what is live now. `next` is
    /// none where nothing more has happened yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history_onwards(
        &self,
        viewpoint: &Viewpoint,
        from: HistoryPlace,
        limit: usize,
        wanted: &(dyn Fn(&Known) -> bool + Sync),
    ) -> Result<HistoryPage, RoomError> {
        let head = self.ctx.storage.writer().head().position();
        let head = viewpoint.until.map_or(head, |until| head.min(until));
        self.page(viewpoint, (Source::Onwards(head), from), limit, wanted)
            .await
    }

    /// Reads events from a place, as far as they are wanted and the reader may see them.
    async fn page(
        &self,
        viewpoint: &Viewpoint,
        (source, from): (Source, HistoryPlace),
        limit: usize,
        wanted: &(dyn Fn(&Known) -> bool + Sync),
    ) -> Result<HistoryPage, RoomError> {
        let (mut place, mut left) = (from, Left::of(limit));
        let mut events = Vec::new();
        let room = &viewpoint.room;
        let mut scan = limit.saturating_add(1).min(SCAN);
        loop {
            let mut reader = self.ctx.storage.read().await?;
            let stored = source.read(reader.conn(), room.nid, place, scan).await?;
            drop(reader);
            let last = stored.len() < scan;
            scan = SCAN;
            let known = self.known.in_order(room.rules, &stored).await?;
            if known.is_empty() && !last {
                let why = "none of a page can be read".to_owned();
                return Err(StorageError::Corrupt {
                    what: "events",
                    why,
                }
                .into());
            }
            for known in known {
                if left.is_nothing() {
                    let next = Some(place);
                    return Ok(HistoryPage { events, next });
                }
                place = source.beyond(place, &known);
                left.look();
                if wanted(&known) && self.sees(viewpoint, &known).await? {
                    left.take(&known);
                    events.push(known);
                }
            }
            if last {
                match source.rest(place) {
                    Some(rest) => place = rest,
                    None => return Ok(HistoryPage { events, next: None }),
                }
            }
        }
    }
}

/// What is read of a room, and in which direction.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// History order, newest first.
    Back,
    /// Live order, newest first, down to a horizon.
    Gap(i64),
    /// History order and then live order, oldest first, up to a position.
    Onwards(i64),
}

impl Source {
    /// At most so many events from a place on.
    async fn read(
        self,
        conn: Conn<'_>,
        room_nid: i64,
        place: HistoryPlace,
        scan: usize,
    ) -> Result<Vec<i64>, StorageError> {
        let (at, horizon) = ((place.depth, place.event_nid), place.horizon);
        let scan = i64::try_from(scan).unwrap_or(i64::MAX);
        match self {
            Self::Back => rows::history_before(conn, room_nid, at, horizon, scan).await,
            Self::Gap(to) => rows::live_events(conn, room_nid, to - 1, horizon - 1, scan).await,
            Self::Onwards(head) if place.is_at_horizon() => {
                rows::live_events_from(conn, room_nid, horizon, head, scan).await
            }
            Self::Onwards(_) => rows::history_from(conn, room_nid, at, horizon, scan).await,
        }
    }

    /// The place beyond an event that was read from a place.
    fn beyond(self, place: HistoryPlace, known: &Known) -> HistoryPlace {
        let event_nid = match self {
            Self::Gap(to) => return HistoryPlace::at_horizon(known.live_position.unwrap_or(to)),
            Self::Onwards(_) if place.is_at_horizon() => {
                let position = known.live_position.unwrap_or(place.horizon);
                return HistoryPlace::at_horizon(position + 1);
            }
            Self::Back => known.nid,
            Self::Onwards(_) => known.nid + 1,
        };
        HistoryPlace {
            depth: known.depth,
            event_nid,
            ..place
        }
    }

    /// Where it goes on once nothing is left of what is read from a place: live order follows
    /// history.
    fn rest(self, place: HistoryPlace) -> Option<HistoryPlace> {
        let follows = matches!(self, Self::Onwards(_)) && !place.is_at_horizon();
        follows.then(|| HistoryPlace::at_horizon(place.horizon))
    }
}
