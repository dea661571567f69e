//! What can be wrong with ids that events state themselves.
//!
//! Where an event's id is its hash, no two events share one, and none can name another that names it.
//! In the room versions whose events state their ids they can. Both are refused: an id is that of the
//! event that came first, and the graph has no circles, so that nothing that walks it has to ask.

use std::collections::BTreeSet;

use hearth_protocol::event::{Event, References};
use hearth_protocol::room_version::EventIdFormat;
use hearth_storage::tables::events as rows;
use hearth_types::ruma::OwnedEventId;

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::{Plan, Received};

/// Predecessors looked at behind an event in search of itself. A longer circle stays, and harms
/// nothing: who walks over predecessors marks what was seen.
const BEHIND_MAX: usize = 1_000;

impl Plan<'_> {
    /// Why an event may have no place in the graph.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn misplaced(
        &self,
        event: &Event,
        here: Option<&Known>,
    ) -> Result<Option<Received>, RoomError> {
        if !self.states_ids() {
            return Ok(None);
        }
        if let Some(rule) = self.misnamed(event, here).await? {
            return Ok(Some(Received::Rejected(rule)));
        }
        // A predecessor leads to an event only where that fills a gap.
        let circle = self.is_awaited(event).await?
            && self
                .leads_back(event, Event::prev_events, BEHIND_MAX)
                .await?;
        Ok(circle.then(|| Received::Rejected(leads_back("prev_events"))))
    }

    /// Why an event may not be kept, even without a place in the graph: the rule that it breaks.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn misnamed(
        &self,
        event: &Event,
        here: Option<&Known>,
    ) -> Result<Option<String>, RoomError> {
        if !self.states_ids() {
            return Ok(None);
        }
        if here.is_none() {
            let others = self.of_any_room(&[event.event_id().to_owned()]).await?;
            let taken = || "field `event_id` must not be that of another event".to_owned();
            return Ok((!others.is_empty()).then(taken));
        }
        // Auth events lead to an event only where it was kept before they came.
        let circle = self
            .leads_back(event, Event::auth_events, usize::MAX)
            .await?;
        Ok(circle.then(|| leads_back("auth_events")))
    }

    fn states_ids(&self) -> bool {
        self.room.rules.event_format.event_id == EventIdFormat::Stated
    }

    /// Whether an event that is here, or planned, names this one as a predecessor.
    async fn is_awaited(&self, event: &Event) -> Result<bool, RoomError> {
        let id = event.event_id();
        let planned = &self.commit.rows.gaps;
        if planned.iter().any(|gap| gap.event_id == id.as_str())
            || self.rooms.known.planned_after(self.room, id)
        {
            return Ok(true);
        }
        let mut reader = self.rooms.ctx.storage.read().await?;
        Ok(rows::is_awaited(reader.conn(), self.room.nid, id.as_str()).await?)
    }

    /// Whether what an event names leads to the event, over at most so many others.
    async fn leads_back(
        &self,
        event: &Event,
        named: fn(&Event) -> References<'_>,
        at_most: usize,
    ) -> Result<bool, RoomError> {
        let mut level = named(event).to_vec();
        let mut seen: BTreeSet<OwnedEventId> = level.iter().cloned().collect();
        while !level.is_empty() && seen.len() <= at_most && !seen.contains(event.event_id()) {
            let known = self.known(&level).await?;
            let next = known
                .values()
                .flat_map(|known| named(&known.event).to_vec());
            level = next.filter(|id| seen.insert(id.clone())).collect();
        }
        Ok(seen.contains(event.event_id()))
    }
}

fn leads_back(field: &str) -> String {
    format!("field `{field}` must not lead back to the event itself")
}
