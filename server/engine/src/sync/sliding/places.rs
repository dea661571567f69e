//! What is in a room's state apart from its members, so that a state is searched without looking at
//! each of many members. What a change of state adds or takes is applied, not searched anew.

use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::intern::StateKeyRow;

use super::super::state::MEMBER;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::state::StateMap;

/// A place of a state that is not a member's.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its local id.
    pub(super) key: i64,
    /// The event type.
    pub(super) kind: Arc<str>,
    /// The state key.
    pub(super) state_key: Arc<str>,
}

impl Place {
    /// The place of a pair; none for a member's, and for what is not UTF-8: nobody can ask for it.
    fn read(key: i64, row: &StateKeyRow) -> Option<Self> {
        let kind = std::str::from_utf8(&row.kind).ok()?;
        let state_key = std::str::from_utf8(&row.state_key).ok()?;
        (kind != MEMBER).then(|| Self {
            key,
            kind: kind.into(),
            state_key: state_key.into(),
        })
    }
}

/// The places of one state.
pub(super) type PlaceList = Arc<Vec<Place>>;

#[derive(Debug, Clone)]
struct Kept {
    /// The state that was searched.
    state: StateMap,
    places: PlaceList,
}

impl Size for Kept {
    fn size_bytes(&self) -> usize {
        // The state is shared with the room's own, but for what changed since.
        let each = |place: &Place| size_of::<Place>() + place.kind.len() + place.state_key.len();
        size_of::<Self>() + self.places.iter().map(each).sum::<usize>()
    }
}

/// The places of rooms' states.
#[derive(Debug)]
pub(super) struct Places(Bounded<i64, Kept>);

impl Places {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// The places of a state of a room.
    pub(super) async fn of(
        &self,
        rooms: &Rooms,
        room_nid: i64,
        state: &StateMap,
    ) -> Result<PlaceList, RoomError> {
        let (before, mut places) = match self.0.get(&room_nid) {
            Some(kept) if kept.state.is_same(state) => return Ok(kept.places),
            Some(kept) => (kept.state, kept.places),
            None => Default::default(),
        };
        let changes = before.differences(state);
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for (key, before, now) in &changes {
            match (before, now) {
                (None, Some(_)) => come.push(*key),
                (Some(_), None) => gone.push(*key),
                _ => {}
            }
        }
        let names = rooms.ctx.storage.state_keys(&come).await?;
        let named = come.iter().zip(&names);
        let come: Vec<Place> = named
            .filter_map(|(key, row)| Place::read(*key, row))
            .collect();
        if !come.is_empty() || !gone.is_empty() {
            let places = Arc::make_mut(&mut places);
            places.retain(|place| !gone.contains(&place.key));
            places.extend(come);
        }
        let kept = Kept {
            state: state.clone(),
            places: Arc::clone(&places),
        };
        self.0.insert(room_nid, kept);
        Ok(places)
    }
}
