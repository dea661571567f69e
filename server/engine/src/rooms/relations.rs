//! The events that relate to one, and the threads of a room, in pages.
//!
//! spec: client-server v1.19 §Relationships API, §Threading.

use hearth_storage::tables::relations::{self as rows, LEVELS_MAX, RelationsAsk};
use hearth_types::ruma::{EventId, OwnedEventId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::page::Left;
use crate::rooms::relates_to::THREAD;
use crate::rooms::serve::Reader;
use crate::rooms::threads::may_be_root;
use crate::rooms::viewpoint::Viewpoint;

/// Rows read at a time while looking for events that the reader may see.
const SCAN: i64 = 100;
const SCAN_LEN: usize = 100;

/// What is asked of the events that relate to one.
#[derive(Debug, Clone)]
pub struct RelationsQuery<'a> {
    /// The event that they name.
    pub event_id: &'a EventId,
    /// How they relate to it, if that matters.
    pub rel_type: Option<&'a str>,
    /// Their type, if that matters.
    pub kind: Option<&'a str>,
    /// Whether relations of relations count.
    pub recurse: bool,
    /// Whether the newest come first.
    pub backwards: bool,
    /// Where to begin.
    pub from: Option<HistoryPlace>,
    /// Where to stop.
    pub to: Option<HistoryPlace>,
    /// At most so many.
    pub limit: usize,
}

/// A page of events that relate to one.
#[derive(Debug, Clone, Default)]
pub struct RelationsPage {
    /// The events.
    pub events: Vec<Known>,
    /// Where the next page begins, if there is one.
    pub next: Option<HistoryPlace>,
}

impl Rooms {
    /// A page of the events that relate to one and that the reader may see.
    ///
    /// # Errors
    /// `NotFound` for an event that the reader may not see.
    pub async fn relations(
        &self,
        viewpoint: &Viewpoint,
        query: &RelationsQuery<'_>,
    ) -> Result<RelationsPage, RoomError> {
        let target = self.event(viewpoint, query.event_id).await?;
        target.ok_or(RoomError::NotFound("the event"))?;
        let mut page = RelationsPage::default();
        let mut place = self.beginning(query);
        let mut left = Left::of(query.limit);
        loop {
            let found = self.related_at(viewpoint, query, place).await?;
            let last = found.len() < SCAN_LEN;
            let nids: Vec<i64> = found.iter().map(|(_, nid)| *nid).collect();
            let known = self.known.by_nid(viewpoint.room.rules, &nids).await?;
            for (depth, nid) in found {
                if left.is_nothing() {
                    page.next = Some(place);
                    return Ok(page);
                }
                left.look();
                place.depth = depth;
                place.event_nid = if query.backwards { nid } else { nid + 1 };
                let Some(known) = known.get(&nid) else {
                    continue;
                };
                if query
                    .to
                    .is_some_and(|to| to.is_before(known) != query.backwards)
                {
                    return Ok(page);
                }
                if query.wants(known) && self.sees(viewpoint, known).await? {
                    left.take(known);
                    page.events.push(known.clone());
                }
            }
            if last {
                return Ok(page);
            }
        }
    }

    fn beginning(&self, query: &RelationsQuery<'_>) -> HistoryPlace {
        let now = self.history_now();
        match query.from {
            // Onwards from what `/sync` has delivered: what follows is told by live order.
            Some(from) if query.backwards || from != HistoryPlace::at_horizon(from.horizon) => from,
            None if query.backwards => now,
            _ => HistoryPlace::first(now),
        }
    }

    async fn related_at(
        &self,
        viewpoint: &Viewpoint,
        query: &RelationsQuery<'_>,
        place: HistoryPlace,
    ) -> Result<Vec<(i64, i64)>, RoomError> {
        let ask = RelationsAsk {
            room_nid: viewpoint.room.nid,
            target_id: query.event_id.as_str(),
            rel_type: query.rel_type.unwrap_or_default(),
            levels: if query.recurse { LEVELS_MAX } else { 1 },
            limit: SCAN,
        };
        let at = (place.depth, place.event_nid);
        let mut reader = self.ctx.storage.read().await?;
        Ok(match query.backwards {
            true => rows::relations_before(reader.conn(), ask, at).await?,
            false => rows::relations_from(reader.conn(), ask, at).await?,
        })
    }

    /// A page of a room's threads, those with the newest events first: the events that they began
    /// with.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn threads(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        participated: bool,
        (from, limit): (Option<HistoryPlace>, usize),
    ) -> Result<RelationsPage, RoomError> {
        let mut place = from.unwrap_or_else(|| self.history_now());
        let mut page = RelationsPage::default();
        let (room, mut left) = (&viewpoint.room, Left::of(limit));
        loop {
            let mut conn = self.ctx.storage.read().await?;
            let at = (place.depth, place.event_nid);
            let threads = rows::threads_before(conn.conn(), room.nid, at, SCAN).await?;
            let roots: Vec<String> = threads.iter().map(|it| it.root_id.clone()).collect();
            let counts =
                rows::thread_counts(conn.conn(), room.nid, &roots, reader.user_nid).await?;
            drop(conn);
            let ids = roots.iter().filter_map(|id| EventId::parse(id).ok());
            let ids: Vec<OwnedEventId> = ids.collect();
            let known = self.known.of_room(room, &ids).await?;
            let replies = self.related_events(viewpoint, &roots).await?;
            let last = threads.len() < SCAN_LEN;
            for thread in threads {
                if left.is_nothing() {
                    page.next = Some(place);
                    return Ok(page);
                }
                left.look();
                place.depth = thread.latest_depth;
                place.event_nid = thread.latest_nid;
                let count = counts.iter().find(|(root, ..)| *root == thread.root_id);
                let root = <&EventId>::try_from(thread.root_id.as_str()).ok();
                let root = root.and_then(|root| known.get(root));
                let root = root.filter(|root| may_be_root(&root.event));
                let (Some((_, _, theirs)), Some(root)) = (count, root) else {
                    continue;
                };
                if !replies.contains_key(&(thread.root_id, THREAD.to_owned())) {
                    continue;
                }
                let is_in = *theirs > 0 || root.event.sender() == reader.user_id;
                if (is_in || !participated) && self.sees(viewpoint, root).await? {
                    left.take(root);
                    page.events.push(root.clone());
                }
            }
            if last {
                return Ok(page);
            }
        }
    }
}

impl RelationsQuery<'_> {
    fn wants(&self, known: &Known) -> bool {
        let is_after = |from: HistoryPlace| from.is_before(known) != self.backwards;
        self.kind.is_none_or(|kind| known.event.kind() == kind) && self.from.is_none_or(is_after)
    }
}
