//! Servers that have the same events have the same state, and it is the state that the rules give.

use std::collections::BTreeSet;

use hearth::app::Parts;
use hearth_engine::rooms::known::KnownEvents;
use hearth_engine::rooms::view::SharedRoom;
use hearth_protocol::event::Event;
use hearth_storage::tables::events::Fate;
use hearth_types::ruma::{EventId, OwnedEventId};

use super::held::{Held, Room};
use super::{is_join, name};
use crate::world::World;

/// Ends of the graph that may remain after everybody has spoken: those of others that this server
/// does not accept.
const ENDS_MAX: usize = 4;

pub(super) async fn judge(world: &World, room: &Room) -> Result<(), String> {
    let mut currents = Vec::new();
    for held in room.held.iter().filter(|held| !held.joined.is_empty()) {
        let parts = world.hosts[held.host].parts();
        let shared = parts.rooms.room(&room.id).await;
        let shared = shared.map_err(|error| format!("state: the room: {error}"))?;
        each_event(world, room, held, (&parts, &shared)).await?;
        ends(world, room, held)?;
        let snapshot = shared.live().current.clone();
        let current = ids(&parts, &shared, &snapshot.map.entries()).await;
        let expected = room.model.current(&held.ends);
        if let Some(why) = difference(room, &current, &expected) {
            let (who, id) = (name(world, held), &room.id);
            return Err(format!("state: {who} in {id}: the current state {why}"));
        }
        currents.push((held, current));
    }
    together(world, room, &currents)
}

/// Those who are in the room with each other have come to one end, and so to one state.
fn together(
    world: &World,
    room: &Room,
    currents: &[(&Held, BTreeSet<OwnedEventId>)],
) -> Result<(), String> {
    let servers: Vec<BTreeSet<String>> = currents
        .iter()
        .map(|(_, current)| joined_servers(room, current))
        .collect();
    for (at, (held, current)) in currents.iter().enumerate() {
        for (other_at, (other, theirs)) in currents.iter().enumerate().skip(at + 1) {
            let together = servers[at] == servers[other_at];
            if !together {
                world.count("different members", 1);
                continue;
            }
            if held.ends != other.ends {
                let (a, b) = (name(world, held), name(world, other));
                let (ends, others) = (&held.ends, &other.ends);
                return Err(format!(
                    "converged: {a} and {b} in {}: ends {ends:?} and {others:?}",
                    room.id
                ));
            }
            if current != theirs {
                let (a, b) = (name(world, held), name(world, other));
                return Err(format!("state: {a} and {b} differ in {}", room.id));
            }
        }
    }
    Ok(())
}

fn joined_servers(room: &Room, state: &BTreeSet<OwnedEventId>) -> BTreeSet<String> {
    let joined = state.iter().filter_map(|id| {
        let event = room.model.event(id)?;
        let server = event.state_key()?.split_once(':')?.1;
        is_join(event).then(|| server.to_owned())
    });
    joined.collect()
}

/// The ends of the graph are ends, and few.
fn ends(world: &World, room: &Room, held: &Held) -> Result<(), String> {
    let who = name(world, held);
    for end in &held.ends {
        let later = held
            .ends
            .iter()
            .find(|other| room.model.precedes(end, other));
        if let Some(later) = later {
            let id = &room.id;
            return Err(format!(
                "ends: {who} in {id}: {end} is an end, but precedes {later}"
            ));
        }
    }
    if held.ends.len() > ENDS_MAX {
        let ends = held.ends.len();
        return Err(format!(
            "ends: {who} in {}: {ends} after everybody spoke",
            room.id
        ));
    }
    Ok(())
}

async fn each_event(
    world: &World,
    room: &Room,
    held: &Held,
    (parts, shared): (&Parts, &SharedRoom),
) -> Result<(), String> {
    let who = name(world, held);
    let known = KnownEvents::new(parts.context.storage.clone(), 1_000);
    for (id, stored) in &held.events {
        if stored.snapshot_nid.is_none() {
            continue;
        }
        let (Some(rejected), Some(expected)) = (room.model.rejected(id), room.model.before(id))
        else {
            world.count("events on events that nobody has", 1);
            continue;
        };
        let placed = |id: &EventId| {
            let prev = held.events.get(id);
            prev.is_some_and(|prev| prev.snapshot_nid.is_some())
        };
        let event = room.model.event(id);
        let is_stated = event.is_some_and(|event| !event.prev_events().iter().all(placed));
        // What a state that another server stated does not allow is kept out, but not for rejected.
        let kept_out = is_stated && rejected && stored.fate == Fate::SoftFailed;
        if rejected != (stored.fate == Fate::Rejected) && !kept_out {
            let fate = stored.fate;
            let kind = room.model.event(id).map_or("", |event| event.kind());
            return Err(format!(
                "fate: {who} holds {id} ({kind}) as {fate:?}, by the rules rejected = {rejected}"
            ));
        }
        let Ok(Some(known)) = known.one(room.rules, id).await else {
            return Err(format!("state: {who} cannot read {id}"));
        };
        let before = parts.rooms.resolved_before(shared, &known).await;
        let before = before.map_err(|error| format!("state: {who} before {id}: {error}"))?;
        let mut before = ids(parts, shared, &before.map.entries()).await;
        let mut expected = expected;
        let event = &known.event;
        if is_stated {
            // What it replaced is not known to a server that has it on a state handed over.
            let others = |id: &OwnedEventId| !replaces(room, event, id);
            before.retain(others);
            expected.retain(others);
        }
        if let Some(why) = difference(room, &before, &expected) {
            let kind = room.model.event(id).map_or("", |event| event.kind());
            return Err(format!("state: {who} before {id} ({kind}): {why}"));
        }
    }
    Ok(())
}

/// Whether one event sets the place of another.
fn replaces(room: &Room, event: &Event, other: &OwnedEventId) -> bool {
    let other = room.model.event(other);
    let place = |event: &Event| (event.kind().to_owned(), event.state_key().map(String::from));
    event.is_state() && other.is_some_and(|other| place(event) == place(other))
}

async fn ids(parts: &Parts, shared: &SharedRoom, entries: &[(i64, i64)]) -> BTreeSet<OwnedEventId> {
    let nids: Vec<i64> = entries.iter().map(|(_, nid)| *nid).collect();
    let ids = parts.rooms.ids(shared, &nids).await.unwrap();
    ids.into_iter().collect()
}

fn difference(
    room: &Room,
    is: &BTreeSet<OwnedEventId>,
    expected: &BTreeSet<OwnedEventId>,
) -> Option<String> {
    let describe = |id: &OwnedEventId| {
        let event = room.model.event(id);
        let place =
            event.map(|event| (event.kind().to_owned(), event.state_key().map(String::from)));
        format!("{id} {place:?}")
    };
    let more: Vec<_> = is.difference(expected).map(describe).collect();
    let less: Vec<_> = expected.difference(is).map(describe).collect();
    (!more.is_empty() || !less.is_empty())
        .then(|| format!("has {more:?}, by the rules it has {less:?}"))
}
