//! The graph as other servers may read it.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_protocol::event::Membership;
use hearth_protocol::visibility::{Around, HistoryVisibility, may_see};
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_types::ruma::{EventId, OwnedEventId, RoomId, ServerName, UserId};

use crate::federation::Federation;
use crate::peers::{MissingEvents, StateIds};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::view::Room;

/// Events that one answer holds at most.
const ANSWER_MAX: usize = 100;
/// Events looked at for one answer.
const WALK_MAX: usize = 1_000;

impl Federation {
    /// The events between `latest` and `earliest`, oldest first.
    ///
    /// # Errors
    /// `Forbidden` when `origin` is not in the room.
    pub async fn missing_events(
        &self,
        origin: &ServerName,
        range: MissingEvents<'_>,
        min_depth: i64,
    ) -> Result<Vec<Bytes>, RoomError> {
        let MissingEvents {
            room_id,
            earliest,
            latest,
            limit,
        } = range;
        let limit = usize::try_from(limit).unwrap_or(ANSWER_MAX);
        let room = self.shared(origin, room_id).await?;
        let stop: BTreeSet<OwnedEventId> = earliest.iter().cloned().collect();
        let start: BTreeSet<OwnedEventId> = latest.iter().cloned().collect();
        let mut found = self
            .walk_back(&room, origin, latest, &stop, limit.min(ANSWER_MAX))
            .await?;
        found.retain(|known| known.depth >= min_depth && !start.contains(known.event.event_id()));
        found.sort_by_key(|known| (known.depth, known.nid));
        Ok(found
            .into_iter()
            .map(|known| known.event.json().clone())
            .collect())
    }

    /// Events from some of them backwards, newest first.
    ///
    /// # Errors
    /// `Forbidden` when `origin` is not in the room.
    pub async fn backfill(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        from: &[OwnedEventId],
        limit: usize,
    ) -> Result<Vec<Bytes>, RoomError> {
        let room = self.shared(origin, room_id).await?;
        let limit = limit.min(ANSWER_MAX);
        let mut found = self
            .walk_back(&room, origin, from, &BTreeSet::new(), limit)
            .await?;
        found.sort_by_key(|known| std::cmp::Reverse((known.depth, known.nid)));
        Ok(found
            .into_iter()
            .map(|known| known.event.json().clone())
            .collect())
    }

    /// Walks the graph backwards, breadth first, over what `origin` may see: a level at a time.
    async fn walk_back(
        &self,
        room: &Room,
        origin: &ServerName,
        from: &[OwnedEventId],
        stop: &BTreeSet<OwnedEventId>,
        limit: usize,
    ) -> Result<Vec<Known>, RoomError> {
        let mut level: Vec<OwnedEventId> = from.to_vec();
        let mut seen: BTreeSet<OwnedEventId> = level.iter().cloned().collect();
        let mut found = Vec::new();
        while !level.is_empty() && seen.len() <= WALK_MAX {
            let mut known = self.rooms.known.of_room(room, &level).await?;
            let mut next = Vec::new();
            for known in level.iter().filter_map(|id| known.remove(id)) {
                if found.len() >= limit + from.len() {
                    return Ok(found);
                }
                let prev = known.event.prev_events().iter();
                let unseen =
                    prev.filter(|prev| !stop.contains(*prev) && seen.insert((*prev).to_owned()));
                next.extend(unseen.map(ToOwned::to_owned));
                if known.fate != Fate::Rejected && known.is_placed() {
                    found.push(self.as_seen_by(room, origin, known).await?);
                }
            }
            level = next;
        }
        Ok(found)
    }

    /// The ids of the state before an event.
    ///
    /// # Errors
    /// `Forbidden` when `origin` is not in the room, `NotFound` when the event is not here.
    pub async fn state_ids(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<StateIds, RoomError> {
        let (room, state, chain) = self.state_at(origin, room_id, event_id).await?;
        Ok(StateIds {
            state: self.rooms.ids(&room, &state).await?,
            auth_chain: self.rooms.ids(&room, &chain).await?,
        })
    }

    /// The state before an event and its auth chain.
    ///
    /// # Errors
    /// As [`Federation::state_ids`].
    pub async fn state(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<(Vec<Bytes>, Vec<Bytes>), RoomError> {
        let (room, state, chain) = self.state_at(origin, room_id, event_id).await?;
        Ok((
            self.rooms.jsons(&room, &state).await?,
            self.rooms.jsons(&room, &chain).await?,
        ))
    }

    async fn state_at(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<(crate::rooms::view::SharedRoom, Vec<i64>, Vec<i64>), RoomError> {
        let room = self.shared(origin, room_id).await?;
        let known = self.rooms.known.one(room.rules, event_id).await?;
        let known = known
            .filter(|known| known.event.room_id() == room.id && known.is_placed())
            .ok_or(RoomError::NotFound("the event"))?;
        let state = self.rooms.resolved_before(&room, &known).await?;
        let nids: Vec<i64> = state
            .map
            .entries()
            .into_iter()
            .map(|(_, nid)| nid)
            .collect();
        let mut reader = self.ctx.storage.read().await?;
        let chain = rows::auth_chain(reader.conn(), &nids).await?;
        drop(reader);
        Ok((room, nids, chain))
    }

    /// One event, of whatever room `origin` is in.
    ///
    /// # Errors
    /// `NotFound` when it is not here or `origin` may not have it.
    pub async fn event(&self, origin: &ServerName, event_id: &EventId) -> Result<Bytes, RoomError> {
        let absent = || RoomError::NotFound("the event");
        let mut reader = self.ctx.storage.read().await?;
        let stored = rows::events_by_id(reader.conn(), &[event_id.to_string()]).await?;
        drop(reader);
        let stored = stored.into_iter().next().ok_or_else(absent)?;
        let room = self
            .rooms
            .room_by_nid(stored.room_nid)
            .await
            .map_err(|_| absent())?;
        let room = self.shared(origin, &room.id).await?;
        let known = self
            .rooms
            .known
            .one(room.rules, event_id)
            .await?
            .ok_or_else(absent)?;
        Ok(self
            .as_seen_by(&room, origin, known)
            .await?
            .event
            .json()
            .clone())
    }

    /// The auth chain of an event.
    ///
    /// # Errors
    /// As [`Federation::event`].
    pub async fn event_auth(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        event_id: &EventId,
    ) -> Result<Vec<Bytes>, RoomError> {
        let room = self.shared(origin, room_id).await?;
        let known = self.rooms.known.one(room.rules, event_id).await?;
        let known = known
            .filter(|known| known.event.room_id() == room.id)
            .ok_or(RoomError::NotFound("the event"))?;
        let mut reader = self.ctx.storage.read().await?;
        let chain = rows::auth_chain(reader.conn(), &[known.nid]).await?;
        drop(reader);
        self.rooms.jsons(&room, &chain).await
    }

    /// An event as a server may have it: redacted where the room's history visibility shows it to
    /// none of its people, or its sender had themselves erased and none of them was there. State is always
    /// whole: the others need it to authorize.
    ///
    /// spec: server-server v1.19 §Backfilling and retrieving missing events.
    async fn as_seen_by(
        &self,
        room: &Room,
        origin: &ServerName,
        known: Known,
    ) -> Result<Known, RoomError> {
        if known.event.is_state() || known.redacted_by.is_some() {
            return Ok(known);
        }
        let Some(nid) = known.snapshot_nid else {
            return Ok(known);
        };
        let state = self.rooms.snapshots.get(nid).await?;
        let visibility = self
            .rooms
            .state_event_in(room, &state, "m.room.history_visibility", "")
            .await?;
        let visibility = visibility.map_or(HistoryVisibility::default(), |event| {
            let content: serde_json::Value =
                serde_json::from_str(event.event.content()).unwrap_or_default();
            HistoryVisibility::from_name(content["history_visibility"].as_str().unwrap_or(""))
        });
        let is_erased = self.ctx.erased.contains(known.event.sender()).await?;
        let for_all = [HistoryVisibility::WorldReadable, HistoryVisibility::Shared];
        if for_all.contains(&visibility) && !is_erased {
            return Ok(known);
        }
        let best = self.best_membership(room, &state, origin).await?;
        if may_see(Around::unchanged(visibility), Around::unchanged(best), true)
            && (best == Membership::Join || !is_erased)
        {
            return Ok(known);
        }
        known.pruned(room.rules)
    }

    /// The best-placed membership of a server's people in a state.
    async fn best_membership(
        &self,
        room: &Room,
        state: &crate::state::snapshots::Snapshot,
        origin: &ServerName,
    ) -> Result<Membership, RoomError> {
        let mut best = Membership::Leave;
        for known in self.rooms.member_events(room, state).await? {
            let theirs = known
                .event
                .state_key()
                .and_then(|key| <&UserId>::try_from(key).ok())
                .is_some_and(|user| user.server_name() == origin);
            match known.event.member().and_then(|member| member.membership) {
                Some(Membership::Join) if theirs => return Ok(Membership::Join),
                Some(Membership::Invite) if theirs => best = Membership::Invite,
                _ => {}
            }
        }
        Ok(best)
    }
}
