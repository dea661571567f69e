//! The state that an answer gives of a room.

use std::collections::BTreeSet;

use hearth_storage::tables::intern::{StateKeyRow, state_key_nids};
use hearth_types::ruma::UserId;

use super::super::state::{self, MEMBER};
use super::super::timeline::Span;
use super::look::Look;
use super::places::PlaceList;
use super::room::Telling;
use super::told::RoomTold;
use crate::rooms::error::RoomError;
use crate::rooms::place::state_key_row;

/// The state of a room in an answer.
#[derive(Default)]
pub(super) struct Picked {
    pub(super) events: Vec<i64>,
    /// Members that were told because of the timeline.
    pub(super) people: BTreeSet<i64>,
    /// Whether somebody came or went.
    pub(super) members_changed: bool,
    pub(super) name_changed: bool,
    pub(super) avatar_changed: bool,
}

impl Look<'_> {
    /// Chooses the state to tell.
    pub(super) async fn pick(&self, telling: &Telling<'_>) -> Result<Picked, RoomError> {
        let mut picked = Picked::default();
        match telling.known {
            None => self.pick_all(telling, &mut picked).await?,
            Some(known) => {
                self.pick_changes(telling, known, &mut picked).await?;
                if !known.wanted.includes(&telling.sum.wanted) {
                    self.pick_more(telling, known, &mut picked).await?;
                }
            }
        }
        if telling.sum.wanted.is_lazy() {
            self.pick_people(telling, &mut picked).await?;
        }
        picked.events.sort_unstable();
        picked.events.dedup();
        Ok(picked)
    }

    /// All state that is wanted.
    async fn pick_all(&self, telling: &Telling<'_>, picked: &mut Picked) -> Result<(), RoomError> {
        let wanted = &telling.sum.wanted;
        for place in self.places(telling).await?.iter() {
            if wanted.wants(&place.kind, &place.state_key) {
                picked.events.extend(telling.end.get(place.key));
            }
        }
        picked.events.extend(self.members(telling, None).await?);
        Ok(())
    }

    /// State that is wanted now and was not before.
    async fn pick_more(
        &self,
        telling: &Telling<'_>,
        known: &RoomTold,
        picked: &mut Picked,
    ) -> Result<(), RoomError> {
        let (before, wanted) = (&known.wanted, &telling.sum.wanted);
        for place in self.places(telling).await?.iter() {
            let (kind, key) = (&place.kind, &place.state_key);
            if wanted.wants(kind, key) && !before.wants(kind, key) {
                picked.events.extend(telling.end.get(place.key));
            }
        }
        picked
            .events
            .extend(self.members(telling, Some(known)).await?);
        Ok(())
    }

    /// The members that are wanted for themselves, and were not by what the client has.
    async fn members(
        &self,
        telling: &Telling<'_>,
        known: Option<&RoomTold>,
    ) -> Result<Vec<i64>, RoomError> {
        let wanted = &telling.sum.wanted;
        if wanted.all_members() {
            if known.is_some_and(|known| known.wanted.all_members()) {
                return Ok(Vec::new());
            }
            let others = self.places(telling).await?;
            let others: BTreeSet<i64> = others.iter().map(|place| place.key).collect();
            let entries = telling.end.entries().into_iter();
            let members = entries.filter(|(key, _)| !others.contains(key));
            return Ok(members.map(|(_, event)| event).collect());
        }
        let people = wanted.people();
        let people = people.filter(|who| known.is_none_or(|it| !it.wanted.wants(MEMBER, who)));
        let keys = people
            .map(|who| state_key_row(MEMBER, who))
            .collect::<Vec<_>>();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Not interned: a client may ask for whomever it likes.
        let storage = &self.sync.rooms.ctx.storage;
        let cached = |key: &StateKeyRow| {
            let key = std::str::from_utf8(&key.state_key).ok()?;
            storage.state_key_cached(MEMBER, key)
        };
        let found: Option<Vec<i64>> = keys.iter().map(cached).collect();
        let found = match found {
            Some(found) => found,
            None => {
                let mut reader = storage.read().await?;
                let found = state_key_nids(reader.conn(), &keys).await?;
                found.into_iter().map(|(_, nid)| nid).collect()
            }
        };
        Ok(found
            .into_iter()
            .filter_map(|key| telling.end.get(key))
            .collect())
    }

    async fn places(&self, telling: &Telling<'_>) -> Result<PlaceList, RoomError> {
        let (places, rooms) = (&self.sync.sliding.places, &self.sync.rooms);
        places
            .of(rooms, telling.viewpoint.room.nid, &telling.end)
            .await
    }

    /// State that changed since the client was told.
    async fn pick_changes(
        &self,
        telling: &Telling<'_>,
        known: &RoomTold,
        picked: &mut Picked,
    ) -> Result<(), RoomError> {
        let (rooms, wanted) = (&self.sync.rooms, &telling.sum.wanted);
        let span = Span {
            after: known.up_to,
            until: telling.until,
        };
        if span.after >= span.until {
            return Ok(());
        }
        let changed = state::changes(rooms, &telling.viewpoint, span, &telling.end, false).await?;
        picked.members_changed |= changed.has_members(rooms).await?;
        let keys: Vec<i64> = changed.held.keys().copied().collect();
        let names = rooms.ctx.storage.state_keys(&keys).await?;
        for ((key, event), name) in changed.held.into_iter().zip(names) {
            let (Ok(kind), Ok(state_key)) = (
                std::str::from_utf8(&name.kind),
                std::str::from_utf8(&name.state_key),
            ) else {
                continue;
            };
            picked.name_changed |= (kind, state_key) == ("m.room.name", "");
            picked.avatar_changed |= (kind, state_key) == ("m.room.avatar", "");
            // Where nothing is left out, clients keep their list of members by what they are told.
            let keeps_members = kind == MEMBER && wanted.is_lazy() && !telling.timeline.limited;
            if keeps_members {
                picked.people.insert(key);
            }
            if keeps_members || wanted.wants(kind, state_key) {
                picked.events.push(event);
            }
        }
        Ok(())
    }

    /// The members of those who matter to the timeline.
    async fn pick_people(
        &self,
        telling: &Telling<'_>,
        picked: &mut Picked,
    ) -> Result<(), RoomError> {
        let mut people: BTreeSet<&UserId> = BTreeSet::new();
        for shown in &telling.timeline.events {
            let event = &shown.known.event;
            people.insert(event.sender());
            if event.kind() == MEMBER {
                people.extend(
                    event
                        .state_key()
                        .and_then(|it| <&UserId>::try_from(it).ok()),
                );
            }
        }
        // What the client has of them may be old where it was not told of everything.
        let has = telling.known.filter(|_| !telling.timeline.limited);
        for key in state::keys_of(&self.sync.rooms, &people).await? {
            if has.is_some_and(|known| known.members.contains(&key)) {
                continue;
            }
            if let Some(event) = telling.end.get(key) {
                picked.people.insert(key);
                picked.events.push(event);
            }
        }
        Ok(())
    }
}
