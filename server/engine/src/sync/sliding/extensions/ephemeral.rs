//! What is said of a room that is not part of its history: receipts, and who is typing.
//!
//! spec: MSC3960, MSC3961.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_types::ruma::OwnedRoomId;

use super::super::super::SyncError;
use super::super::super::filter::EventFilter;
use super::super::super::timeline::{self, Space, Span};
use super::super::lists::Chosen;
use super::super::look::{Look, RoomsSeen};
use super::super::told::RoomTold;
use crate::json::Json;
use crate::receipts::Extent;
use crate::rooms::error::RoomError;

/// One event of each room.
pub(super) type Events = BTreeMap<OwnedRoomId, Vec<u8>>;

/// Writes the events of an extension.
pub(super) fn write(name: &str, events: &Events, json: &mut Json) {
    json.open_at(name);
    json.open_at("rooms");
    for (room_id, event) in events {
        json.key(room_id.as_str());
        json.raw(event);
    }
    json.close();
    json.close();
}

impl Look<'_> {
    /// What is new of receipts in those of `concerned` that their person is in. With a room that is new
    /// to the client come its person's own receipts, and those of the events that it is shown.
    pub(super) async fn receipts(
        &self,
        concerned: &BTreeSet<i64>,
        chosen: &Chosen,
        rooms: &mut RoomsSeen,
    ) -> Result<Events, SyncError> {
        let mut events = Events::new();
        for (nid, changed) in &chosen.receipts {
            let known = rooms.told.of(*nid, &self.told);
            let Some(known) = known.filter(|_| concerned.contains(nid)) else {
                continue;
            };
            let shown_from = rooms.shown_from.get(nid).copied();
            if known.receipts != 0 && *changed <= known.receipts && shown_from.is_none() {
                continue;
            }
            if *changed > 0 {
                let limit = chosen.rooms.get(nid).map_or(0, |sum| sum.limit);
                let extent = self.extent(*nid, known, (shown_from, limit)).await?;
                let reader_nid = self.request.session.user_nid;
                let event = self.sync.receipts.event(*nid, reader_nid, extent).await?;
                if let Some(event) = event {
                    events.insert(self.sync.rooms.room_id(*nid).await?, event);
                }
            }
            let until = self.until;
            rooms
                .told
                .set(*nid, &self.told, |told| told.receipts = until);
        }
        Ok(events)
    }

    /// Which receipts of a room the client lacks.
    async fn extent(
        &self,
        nid: i64,
        known: &RoomTold,
        (shown_from, limit): (Option<i64>, usize),
    ) -> Result<Extent, RoomError> {
        let begins = known.receipts == 0;
        let events_from = match shown_from {
            None if begins => self.oldest_shown(nid, limit).await?,
            from => from,
        };
        Ok(Extent {
            after: (!begins).then_some(known.receipts),
            events_from,
            until: self.until,
        })
    }

    /// Where the timeline of a room would begin, if the client began with it.
    async fn oldest_shown(&self, nid: i64, limit: usize) -> Result<Option<i64>, RoomError> {
        let rooms = &self.sync.rooms;
        let people = rooms.people.of(self.request.session.user_nid).await?;
        let Some(member) = people.get(&nid) else {
            return Ok(None);
        };
        let room = rooms.room_by_nid(nid).await?;
        let viewpoint = rooms.viewpoint_in(Arc::clone(&room), member, self.user_id());
        let span = Span {
            after: 0,
            until: self.until,
        };
        let newest = (&EventFilter::newest(limit), &Space::whole());
        let timeline = timeline::read(rooms, &viewpoint.await?, span, newest).await?;
        Ok(timeline.events.first().map(|shown| shown.position))
    }

    /// What is new of who is typing in those of `concerned` that their person is in.
    pub(super) async fn typing(
        &self,
        concerned: &BTreeSet<i64>,
        chosen: &Chosen,
        rooms: &mut RoomsSeen,
    ) -> Result<Events, SyncError> {
        let (engine, user_nid) = (&self.sync.rooms, self.request.session.user_nid);
        let ignored = engine.ignored.of(user_nid).await?;
        let joined = chosen.receipts.keys().filter(|nid| concerned.contains(nid));
        let told = joined.filter_map(|nid| {
            let told = rooms.told.of(*nid, &self.told)?;
            Some((*nid, told.typing))
        });
        let mut events = Events::new();
        for (nid, moment) in engine.typing.differing(told, &ignored) {
            let room_id = engine.room_id(nid).await?;
            let event = engine.typing.event(nid, true, &ignored);
            events.extend(event.map(|event| (room_id, event)));
            rooms.told.set(nid, &self.told, |told| told.typing = moment);
        }
        Ok(events)
    }
}
