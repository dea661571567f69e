//! Who may see what, by a second reading of the specification: raw strings, no types, one table.

use std::collections::BTreeSet;

use hearth_protocol::event::Membership;
use hearth_protocol::visibility::{Around, HistoryVisibility, may_see};
use ruma::OwnedUserId;

use crate::referee::fault;
use crate::room::{Fate, Place, Room, State};
use crate::world::World;

/// Events that are looked at on each server.
const LOOKS: usize = 12;

pub(crate) fn check(world: &World) {
    let users: Vec<OwnedUserId> = world
        .servers
        .iter()
        .flat_map(|server| server.users.clone())
        .collect();
    for server in &world.servers {
        let Some(store) = &server.memory else {
            continue;
        };
        let placed: Vec<usize> = (0..store.room.events.len())
            .filter(|id| store.room.events[*id].fate == Fate::Accepted)
            .collect();
        for _ in 0..LOOKS.min(placed.len()) {
            if let Some(id) = world.people.pick(&placed) {
                check_event(world, &store.room, *id, &users);
            }
        }
    }
}

fn check_event(world: &World, room: &Room, id: usize, users: &[OwnedUserId]) {
    let Some(place) = &room.events[id].place else {
        return;
    };
    let later = descendants(room, id);
    for user in users {
        let joined_later = later.iter().any(|later| {
            let event = room.event(*later);
            room.events[*later].fate == Fate::Accepted
                && event.is_state_of("m.room.member", user.as_str())
                && event.content().contains("\"membership\":\"join\"")
        });
        let is_own = room.event(id).is_state_of("m.room.member", user.as_str());
        let ours = answer(room, place, user, joined_later);
        let naive = second_answer(room, place, user, joined_later);
        if ours != naive {
            let event = room.event(id);
            fault(
                "nobody sees what they must not",
                &format!("{user} sees {event:?}: {ours}"),
            );
        }
        let ever = later.iter().chain([&id]).any(|at| in_room(room, *at, user)) || is_own;
        let open = [&place.before, &place.after]
            .iter()
            .any(|state| visibility(room, state) == "world_readable");
        if ours && !open && !ever {
            fault(
                "nobody sees what they must not",
                &format!("{user} was never there: {:?}", room.event(id)),
            );
        }
        world.referee.note(|seen| {
            seen.looks += 1;
            seen.hidden += usize::from(!ours);
        });
    }
}

fn in_room(room: &Room, id: usize, user: &OwnedUserId) -> bool {
    room.events[id].place.as_ref().is_some_and(|place| {
        [&place.before, &place.after]
            .iter()
            .any(|state| matches!(room.membership(state, user).as_str(), "join" | "invite"))
    })
}

/// As the protocol crate has it.
fn answer(room: &Room, place: &Place, user: &OwnedUserId, joined_later: bool) -> bool {
    let visibility = |state: &State| HistoryVisibility::from_name(&visibility(room, state));
    let membership = |state: &State| Membership::from_name(&room.membership(state, user));
    may_see(
        Around {
            before: visibility(&place.before),
            after: visibility(&place.after),
        },
        Around {
            before: membership(&place.before),
            after: membership(&place.after),
        },
        joined_later,
    )
}

/// As the specification has it, client-server v1.19 §Room History Visibility.
fn second_answer(room: &Room, place: &Place, user: &OwnedUserId, joined_later: bool) -> bool {
    let sides = [&place.before, &place.after];
    sides.iter().any(|setting| {
        sides.iter().any(|being| {
            let setting = visibility(room, setting);
            let being = room.membership(being, user);
            match (setting.as_str(), being.as_str()) {
                ("world_readable", _) | (_, "join") | ("invited", "invite") => true,
                ("invited" | "joined", _) => false,
                _ => joined_later,
            }
        })
    })
}

fn visibility(room: &Room, state: &State) -> String {
    let content = room.content(state, "m.room.history_visibility", "");
    content["history_visibility"]
        .as_str()
        .unwrap_or("shared")
        .to_owned()
}

fn descendants(room: &Room, id: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([id]);
    loop {
        let before = found.len();
        for child in 0..room.events.len() {
            let prev = room.event(child).prev_events();
            if prev
                .iter()
                .any(|prev| room.find(prev).is_some_and(|prev| found.contains(&prev)))
            {
                found.insert(child);
            }
        }
        if found.len() == before {
            found.remove(&id);
            return found;
        }
    }
}
