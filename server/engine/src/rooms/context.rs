//! What stands around an event, and the state of a room at a place of its history.
//!
//! spec: client-server v1.19 §Event context.

use std::collections::BTreeSet;

use hearth_storage::tables::events as rows;
use hearth_types::ruma::{EventId, UserId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::viewpoint::Viewpoint;
use crate::state::snapshots::Snapshot;
use crate::sync::filter::EventFilter;

/// What stands around an event.
#[derive(Debug, Clone)]
pub struct EventContext {
    /// The event.
    pub event: Known,
    /// What comes before it, newest first.
    pub before: Vec<Known>,
    /// What comes after it, oldest first.
    pub after: Vec<Known>,
    /// The state at the last of these.
    pub state: Vec<Known>,
    /// The place before the first of these.
    pub start: HistoryPlace,
    /// The place after the last of these.
    pub end: HistoryPlace,
}

impl Rooms {
    /// An event with at most `limit` others around it that the reader may see and the filter wants.
    ///
    /// # Errors
    /// `NotFound` for what the reader may not see.
    pub async fn context(
        &self,
        viewpoint: &Viewpoint,
        event_id: &EventId,
        limit: usize,
        filter: &EventFilter,
    ) -> Result<EventContext, RoomError> {
        let event = self.event(viewpoint, event_id).await?;
        let event = event.ok_or(RoomError::NotFound("the event"))?;
        let wanted = |known: &Known| filter.wants(known);
        let at = HistoryPlace {
            depth: event.depth,
            event_nid: event.nid,
            ..self.history_now()
        };
        let behind = HistoryPlace {
            event_nid: event.nid + 1,
            ..at
        };
        let half = limit / 2;
        let before = self.history(viewpoint, at, half, &wanted).await?;
        let after = self
            .history_onwards(viewpoint, behind, limit - half, &wanted)
            .await?;
        let first = before.events.last().map(|first| HistoryPlace {
            depth: first.depth,
            event_nid: first.nid,
            ..at
        });
        let last = after.events.last().unwrap_or(&event);
        let end = HistoryPlace {
            depth: last.depth,
            event_nid: last.nid + 1,
            ..at
        };
        let shown = [&event].into_iter().chain(&before.events);
        let shown = shown.chain(&after.events);
        let people: BTreeSet<&UserId> = shown.map(|known| known.event.sender()).collect();
        let state = self.state_around(viewpoint, last, filter, &people).await?;
        Ok(EventContext {
            start: first.unwrap_or(at),
            end,
            before: before.events,
            after: after.events,
            state,
            event,
        })
    }

    /// The state after an event, as far as a filter wants it; of members, where they are sent lazily,
    /// those of some people.
    async fn state_around(
        &self,
        viewpoint: &Viewpoint,
        last: &Known,
        filter: &EventFilter,
        people: &BTreeSet<&UserId>,
    ) -> Result<Vec<Known>, RoomError> {
        let after = last.snapshot_nid;
        let after = after.ok_or(RoomError::NotFound("the event's state"))?;
        let state = self.snapshots.get(after).await?;
        let at = viewpoint.clone().with_state(state);
        let mut events = self.state(&at).await?;
        events.retain(|known| {
            let event = &known.event;
            let is_needed = event.kind() != "m.room.member"
                || !filter.lazy_load_members
                || people
                    .iter()
                    .any(|user| event.state_key() == Some(user.as_str()));
            is_needed && filter.wants(known)
        });
        Ok(events)
    }

    /// A viewpoint with the state that the room had at a place of its history. Who left is shown the room
    /// as it was then at the latest.
    ///
    /// # Errors
    /// `Forbidden` for a place that the reader may not see.
    pub async fn looking_back(
        &self,
        viewpoint: Viewpoint,
        place: HistoryPlace,
    ) -> Result<Viewpoint, RoomError> {
        let room = &viewpoint.room;
        let place = place.seen_until(viewpoint.until);
        let mut reader = self.ctx.storage.read().await?;
        let at = (place.depth, place.event_nid);
        let stored = rows::history_before(reader.conn(), room.nid, at, place.horizon, 1).await?;
        drop(reader);
        let newest = self.known.in_order(room.rules, &stored).await?.pop();
        let state = match newest {
            None => Snapshot::empty(),
            Some(known) => {
                // Members of now may know who was there before them, as far as they may look back.
                // Whom they do not want to hear is there all the same.
                let hearing = viewpoint.clone().hearing_everybody();
                if !self.sees(&hearing, &known).await? {
                    let rule = "you may not see the room as it was then".to_owned();
                    return Err(RoomError::Forbidden(rule));
                }
                let after = known.snapshot_nid;
                let after = after.ok_or(RoomError::NotFound("the event's state"))?;
                self.snapshots.get(after).await?
            }
        };
        Ok(viewpoint.with_state(state))
    }
}
