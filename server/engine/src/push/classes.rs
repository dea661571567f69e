//! Which classes somebody's rules put them into: everywhere, and in rooms that they name.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::push_rules::{PushClass, RoomRules, named_rooms};
use hearth_types::ruma::push::Ruleset;
use hearth_types::ruma::{OwnedRoomId, RoomId, UserId, room_id};

/// The classes that somebody's rules put them into.
#[derive(Debug)]
pub(crate) struct Classes {
    everywhere: PushClass,
    /// Where it is another one.
    rooms: BTreeMap<OwnedRoomId, PushClass>,
}

impl Classes {
    /// Of somebody's rules.
    pub(crate) fn new(rules: &Ruleset, user_id: &UserId) -> Self {
        // No rule names this one.
        let elsewhere = room_id!("!:nobody.invalid");
        let everywhere = RoomRules::class(rules, user_id, elsewhere);
        let named: BTreeSet<&str> = named_rooms(rules).collect();
        let named = named
            .into_iter()
            .filter_map(|room_id| <&RoomId>::try_from(room_id).ok());
        let rooms = named
            .map(|room_id| {
                let class = RoomRules::class(rules, user_id, room_id);
                (room_id.to_owned(), class)
            })
            .filter(|(_, class)| *class != everywhere)
            .collect();
        Self { everywhere, rooms }
    }

    /// The class in a room, where it is not that of everywhere.
    pub(crate) fn of(&self, room_id: &RoomId) -> Option<PushClass> {
        self.rooms.get(room_id).copied()
    }

    /// What changed since: the class of everywhere, and those of rooms; none where a room has no class
    /// of its own any more.
    pub(crate) fn since<'c>(
        &'c self,
        before: &'c Self,
    ) -> (
        Option<PushClass>,
        impl Iterator<Item = (&'c OwnedRoomId, Option<PushClass>)>,
    ) {
        let everywhere = (self.everywhere != before.everywhere).then_some(self.everywhere);
        let rooms: BTreeSet<&OwnedRoomId> = self.rooms.keys().chain(before.rooms.keys()).collect();
        let changed = rooms.into_iter().filter_map(|room_id| {
            let (now, then) = (self.of(room_id), before.of(room_id));
            (now != then).then_some((room_id, now))
        });
        (everywhere, changed)
    }
}
