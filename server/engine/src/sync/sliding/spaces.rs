//! The rooms that spaces name as their children.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_types::ruma::RoomId;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::places::Places;
use crate::rooms::error::RoomError;
use crate::rooms::{Memberships, RoomMembership, Rooms};
use crate::state::StateMap;

#[derive(Debug, Clone)]
struct Kept {
    state: StateMap,
    children: Arc<BTreeSet<i64>>,
}

impl Size for Kept {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.children.size_bytes()
    }
}

/// The children of spaces.
#[derive(Debug)]
pub(super) struct Spaces(Bounded<i64, Kept>);

impl Spaces {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// The rooms that one of these spaces names. A space in which the person is not counts as empty.
    pub(super) async fn children(
        &self,
        rooms: &Rooms,
        places: &Places,
        (spaces, memberships): (&[String], &Memberships),
    ) -> Result<BTreeSet<i64>, RoomError> {
        let mut all = BTreeSet::new();
        for space in spaces {
            let Ok(space) = RoomId::parse(space) else {
                continue;
            };
            let Some(nid) = rooms.room_nid(&space).await? else {
                continue;
            };
            let is_in = |nid| memberships.get(nid).is_some_and(RoomMembership::is_joined);
            if is_in(&nid) {
                all.extend(self.of(rooms, places, nid).await?.iter());
            }
        }
        Ok(all)
    }

    async fn of(
        &self,
        rooms: &Rooms,
        places: &Places,
        nid: i64,
    ) -> Result<Arc<BTreeSet<i64>>, RoomError> {
        #[derive(Deserialize)]
        struct Child {
            /// Who names no server takes a child back.
            #[serde(rename = "via")]
            _via: Vec<IgnoredAny>,
        }
        let room = rooms.room_by_nid(nid).await?;
        let state = room.live().current.map.clone();
        if let Some(kept) = self.0.get(&nid)
            && kept.state.is_same(&state)
        {
            return Ok(kept.children);
        }
        let places = places.of(rooms, nid, &state).await?;
        let named = places
            .iter()
            .filter(|place| &*place.kind == "m.space.child");
        let named: Vec<(String, i64)> = named
            .filter_map(|place| Some((place.state_key.to_string(), state.get(place.key)?)))
            .collect();
        let events: Vec<i64> = named.iter().map(|(_, event)| *event).collect();
        let events = rooms.known.by_nid(room.rules, &events).await?;
        let is_child = |event: &i64| {
            let event = events.get(event);
            event.is_some_and(|it| serde_json::from_str::<Child>(it.event.content()).is_ok())
        };
        let children: Vec<String> = named
            .into_iter()
            .filter(|(_, event)| is_child(event))
            .map(|(child, _)| child)
            .collect();
        let children = Arc::new(rooms.room_nids(&children).await?);
        let kept = Kept {
            state,
            children: Arc::clone(&children),
        };
        self.0.insert(nid, kept);
        Ok(children)
    }
}
