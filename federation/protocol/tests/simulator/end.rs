//! What must hold when the faults are over and everything was delivered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::people::{self, Act};
use crate::referee::{Digest, Gid, fault};
use crate::room::{Fate, Room};
use crate::server::At;
use crate::sight;
use crate::world::World;

/// Rounds in which each server says a word, so that the ends of the room meet.
const ROUNDS: usize = 3;

pub(crate) fn check(world: &mut World) {
    let spoke = speak(world);
    same_events_same_state(world);
    ends_are_ends(world);
    nothing_lost(world);
    connected_agree(world, &spoke);
    sight::check(world);
}

/// Lets one person of each server say something, one after the other. Who could, in the last round:
/// where nobody may speak, an end that the others soft-failed stays an end.
fn speak(world: &mut World) -> BTreeMap<At, Gid> {
    let mut spoke = BTreeMap::new();
    for round in 0..ROUNDS {
        spoke.clear();
        for at in 0..world.servers.len() {
            if world.servers[at].resident().is_none() {
                continue;
            }
            let users = world.servers[at].users.clone();
            let word = Act {
                kind: "m.room.message",
                state_key: None,
                content: json!({"body": "here", "round": round}),
            };
            let mut say = |user| people::attempt(world, at, user, &word) == Some(Fate::Accepted);
            if users.iter().any(|user| say(user)) {
                spoke.insert(at, world.referee.events() - 1);
            }
            world.settle();
        }
    }
    spoke
}

fn rooms(world: &World) -> impl Iterator<Item = (At, &Room)> {
    let stores = world.servers.iter().enumerate();
    stores.filter_map(|(at, server)| Some((at, &server.memory.as_ref()?.room)))
}

/// The state after an event, and whether it was rejected, are the same on all servers that have the
/// event in the graph.
fn same_events_same_state(world: &World) {
    let tainted = tainted(world);
    world.referee.note(|seen| seen.tainted += tainted.len());
    let mut known: BTreeMap<Gid, (At, Digest, bool)> = BTreeMap::new();
    for (at, room) in rooms(world) {
        for held in &room.events {
            let Some(place) = held.place.as_ref().filter(|_| !tainted.contains(&held.gid)) else {
                continue;
            };
            let (state, rejected) = (room.digest(&place.after), held.fate == Fate::Rejected);
            let Some((other, before, was_rejected)) = known.get(&held.gid) else {
                known.insert(held.gid, (at, state, rejected));
                continue;
            };
            world.referee.note(|seen| seen.agreed += 1);
            if (before, *was_rejected) != (&state, rejected) {
                fault(
                    "same events, same state",
                    &format!(
                        "s{other} {before:?} rejected {was_rejected}, s{at} {state:?} rejected {rejected} (anchored {}) after {:?} = {}",
                        place.anchored,
                        held.pdu.event(),
                        held.gid
                    ),
                );
            }
        }
    }
}

/// Events that rest on one which some servers have judged by its place in the graph, and rejected,
/// and others by its auth events alone, since they never saw that place. Nothing in Matrix makes these
/// agree; no honest server makes such events.
fn tainted(world: &World) -> BTreeSet<Gid> {
    let mut fates: BTreeMap<Gid, BTreeSet<bool>> = BTreeMap::new();
    for (_, room) in rooms(world) {
        for held in &room.events {
            let rejected = held.fate == Fate::Rejected;
            fates.entry(held.gid).or_default().insert(rejected);
        }
    }
    let outliers: BTreeSet<Gid> = rooms(world)
        .flat_map(|(_, room)| &room.events)
        .filter(|held| held.place.is_none())
        .map(|held| held.gid)
        .collect();
    let mut tainted: BTreeSet<Gid> = fates
        .into_iter()
        .filter(|(gid, fates)| fates.len() > 1 && outliers.contains(gid))
        .map(|(gid, _)| gid)
        .collect();
    if tainted.is_empty() {
        return tainted;
    }
    // Events are numbered in the order of their making: what they rest on comes first.
    for gid in 0..world.referee.events() {
        let event = world.referee.event(gid);
        let rests_on = event.prev_events().iter().chain(event.auth_events().iter());
        let mut rests_on = rests_on.filter_map(|id| world.referee.find(id));
        if rests_on.any(|below| tainted.contains(&below)) {
            tainted.insert(gid);
        }
    }
    tainted
}

/// A forward extremity was accepted, and none leads to another.
fn ends_are_ends(world: &World) {
    for (at, room) in rooms(world) {
        for end in &room.extremities {
            if room.events[*end].fate != Fate::Accepted {
                fault(
                    "only accepted events are ends",
                    &format!("s{at}: {:?}", room.event(*end)),
                );
            }
            let mut todo = room.event(*end).prev_events().to_vec();
            let mut seen = BTreeSet::new();
            while let Some(id) = todo.pop() {
                let Some(id) = room.find(&id) else { continue };
                if room.extremities.contains(&id) {
                    fault(
                        "no end before another",
                        &format!("s{at}: {:?}", room.event(id)),
                    );
                }
                if seen.insert(id) {
                    todo.extend(room.event(id).prev_events().to_vec());
                }
            }
        }
    }
}

/// What was acknowledged, to a user or to a server, is still there.
fn nothing_lost(world: &World) {
    for (at, id) in &world.sent {
        if !world.servers[*at].is_durable(id) {
            fault(
                "nothing acknowledged is lost",
                &format!("s{at} told its user {id}"),
            );
        }
    }
    for (at, id) in &world.taken {
        let Some(store) = &world.servers[*at].memory else {
            fault(
                "nothing acknowledged is lost",
                &format!("s{at} has lost the room"),
            );
        };
        let waits = store
            .staged
            .iter()
            .any(|staged| staged.pdu.event().event_id() == id);
        let given_up = world.given_up.contains(&(*at, id.clone()));
        if store.room.held(id).is_none() && !waits && !given_up {
            fault("nothing acknowledged is lost", &format!("s{at} took {id}"));
        }
    }
}

/// Servers that count each other in, and take everybody's last words alike, hold the same ends and the
/// same state; and the ends are few, since everybody has spoken in turn.
///
/// Words that one server soft-fails and another does not keep the two apart for ever: that is so in
/// Matrix, and counted.
fn connected_agree(world: &World, spoke: &BTreeMap<At, Gid>) {
    for (one, room) in rooms(world) {
        for (other, other_room) in rooms(world).filter(|(other, _)| *other > one) {
            let both = spoke.contains_key(&one) && spoke.contains_key(&other);
            if !(both && counts_in(world, one, other) && counts_in(world, other, one)) {
                continue;
            }
            if spoke
                .values()
                .any(|word| fate(room, *word) != fate(other_room, *word))
            {
                world.referee.note(|seen| seen.apart += 1);
                continue;
            }
            let (ends, other_ends) = (ends(room), ends(other_room));
            if ends != other_ends {
                let what = format!("s{one} ends in {ends:?}, s{other} in {other_ends:?}");
                fault("those who talk agree", &what);
            }
            if room.digest(&room.current) != other_room.digest(&other_room.current) {
                let what = format!("s{one} and s{other} in another state");
                fault("those who talk agree", &what);
            }
            // One, and one of each server that is heard and does not listen.
            let deaf = spoke.keys().filter(|at| !counts_in(world, **at, one));
            if ends.len() > 1 + deaf.count() {
                fault("ends are few", &format!("s{one}: {ends:?}"));
            }
            world.referee.note(|seen| seen.together += 1);
        }
    }
}

fn fate(room: &Room, gid: Gid) -> Option<Fate> {
    room.events
        .iter()
        .find(|held| held.gid == gid)
        .map(|held| held.fate)
}

fn ends(room: &Room) -> BTreeSet<Gid> {
    room.extremities
        .iter()
        .map(|id| room.events[*id].gid)
        .collect()
}

/// Whether a server and another are in the room as the one sees it, and admitted.
fn counts_in(world: &World, one: At, other: At) -> bool {
    let Some(store) = world.servers[one].resident() else {
        return false;
    };
    let inside = store.servers_in(&store.room.current);
    [one, other].iter().all(|at| {
        let name = &world.servers[*at].name;
        inside.contains(name.as_str()) && !store.denies(name)
    })
}
