//! The state before an event that has a place in the graph.

use std::collections::BTreeMap;

use hearth_types::ruma::OwnedEventId;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::plan::Plan;
use crate::rooms::view::Room;
use crate::state::snapshots::Snapshot;

impl Rooms {
    /// What held a place before an event. The states that the event follows are resolved only where
    /// they differ in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_before(
        &self,
        room: &Room,
        known: &Known,
        key: i64,
    ) -> Result<Option<i64>, RoomError> {
        if let Some(held) = self.held_before_at_once(room, known, key) {
            return Ok(held);
        }
        let names = known.event.prev_events().to_vec();
        let prev = self.known.of_room(room, &names).await?;
        if let Some(nids) = states_after(known, &prev) {
            let mut held = Vec::with_capacity(nids.len());
            for nid in nids {
                held.push(self.snapshots.get(nid).await?.map.get(key));
            }
            held.dedup();
            if let [one] = held.as_slice() {
                return Ok(*one);
            }
        }
        // Boxed: a future is moved with all that it may become, and this one is large and rare.
        let resolved = Box::pin(self.resolved_before(room, known)).await?;
        Ok(resolved.map.get(key))
    }

    /// The same where the event follows a single one and what is in memory tells, as it does of most; none
    /// where it does not.
    pub(super) fn held_before_at_once(
        &self,
        room: &Room,
        known: &Known,
        key: i64,
    ) -> Option<Option<i64>> {
        let prev = known.event.prev_events().only()?;
        let prev = self.known.cached_by_id(prev)?;
        let before = prev
            .snapshot_nid
            .filter(|_| prev.event.room_id() == room.id)?;
        Some(self.snapshots.cached(before)?.map.get(key))
    }

    /// The whole state before an event: its prev events' states, resolved.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resolved_before(&self, room: &Room, known: &Known) -> Result<Snapshot, RoomError> {
        let names = known.event.prev_events().to_vec();
        let prev = self.known.of_room(room, &names).await?;
        match states_after(known, &prev).as_deref() {
            None | Some([]) => self.without(room, known).await,
            Some([one]) => Ok(self.snapshots.get(*one).await?),
            Some(nids) => {
                let view = self.stored_view(room).await?;
                Plan::new(self, room, view).resolved(nids).await
            }
        }
    }

    /// The state before an event whose prev events are not all here: the state after it without what
    /// it changed. What held its place is named by its auth events, where that decided on it.
    async fn without(&self, room: &Room, known: &Known) -> Result<Snapshot, RoomError> {
        let after = known
            .snapshot_nid
            .ok_or(RoomError::NotFound("the event's state"))?;
        let mut state = self.snapshots.get(after).await?;
        let Some(state_key) = known.event.state_key() else {
            return Ok(state);
        };
        let key = state_key_row(known.event.kind(), state_key);
        let keys = self.ctx.storage.state_keys_intern(&[key]).await?;
        let own = keys
            .first()
            .filter(|key| state.map.get(**key) == Some(known.nid));
        if let Some(key) = own {
            let names = known.event.auth_events().to_vec();
            let auth = self.known.of_room(room, &names).await?;
            let replaced = auth
                .values()
                .find(|auth| auth.event.is_state_of(known.event.kind(), state_key));
            state.map.set(*key, replaced.map(|known| known.nid));
        }
        Ok(state)
    }
}

/// The states after the events that an event follows, each once; none where they are not all here.
fn states_after(known: &Known, prev: &BTreeMap<OwnedEventId, Known>) -> Option<Vec<i64>> {
    let placed = prev.values().filter(|prev| prev.is_placed()).count();
    (placed == known.event.prev_events().len()).then(|| states_of(prev.values()))
}

/// The states after events, each once: what is resolved to the state that follows all of them.
pub(super) fn states_of<'k>(events: impl Iterator<Item = &'k Known>) -> Vec<i64> {
    let mut nids: Vec<i64> = events.filter_map(|known| known.snapshot_nid).collect();
    nids.sort_unstable();
    nids.dedup();
    nids
}
