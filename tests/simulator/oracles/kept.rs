//! Nothing that was acknowledged is lost, and nothing happened twice.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::{Event, Membership};
use hearth_storage::tables::events::Fate;
use hearth_types::ruma::{EventId, OwnedEventId};

use super::held::Room;
use super::shown::parsed;
use super::{is_join, name};
use crate::ledger::Sent;
use crate::world::World;

pub(super) fn judge(world: &World, room: &Room) -> Result<(), String> {
    let mut bodies: BTreeMap<String, u32> = BTreeMap::new();
    for event in room.model.events() {
        if event.kind() == "m.room.message" {
            let content: serde_json::Value = serde_json::from_str(event.content()).unwrap();
            if let Some(body) = content["body"].as_str() {
                *bodies.entry(body.to_owned()).or_default() += 1;
            }
        }
    }
    match bodies.into_iter().find(|(_, times)| *times > 1) {
        Some((body, times)) => Err(format!("once: {body} was sent {times} times")),
        None => arrived(world, room),
    }
}

/// An event of a server reached those who were in the room with it and stayed.
fn arrived(world: &World, room: &Room) -> Result<(), String> {
    let sent = world.ledger.all_sent();
    let spoiled = spoiled(world, room);
    for held in &room.held {
        let server = world.hosts[held.host].name.as_str();
        // Not one whose answer was lost: then the server does not know that it is in. Nor one that a
        // resolution took back, say for join rules that changed beside it: that ends the stay too.
        let now = room.model.current(&held.ends);
        let is_in = |join: &EventId| {
            let person = room.model.event(join).and_then(Event::state_key);
            let mut now = now.iter().filter_map(|id| room.model.event(id));
            now.any(|event| event.state_key() == person && is_join(event))
        };
        let knows = |join: &&EventId| held.events.contains_key(*join) && is_in(join);
        let stays = staying(room, server).filter(knows);
        let stays: Vec<&EventId> = stays.collect();
        let others = |sent: &&Sent| sent.room == room.id && sent.host != held.host;
        for sent in sent.iter().filter(others) {
            let before = room.model.before(&sent.event).unwrap_or_default();
            let stayed = stays.iter().any(|join| before.contains(*join));
            // What names it would have brought it.
            let is_named = || {
                let mut held = held.events.keys();
                held.any(|id| room.model.precedes(&sent.event, id))
            };
            let spoiled = spoiled.contains(&(server.to_owned(), sent.event.clone()));
            let may_lack = spoiled && !is_named();
            if stayed && !may_lack && !held.events.contains_key(&sent.event) {
                let (from, event) = (&world.hosts[sent.host].name, &sent.event);
                return Err(format!("arrived: {event} of {from} never reached {server}"));
            }
        }
    }
    Ok(())
}

/// What came to a server as something else: it is refused, and its sender told so. Only an event that
/// names it brings it, and there may be none that comes.
fn spoiled(world: &World, room: &Room) -> BTreeSet<(String, OwnedEventId)> {
    let spoiled = world.network.spoiled().into_iter();
    let event = |json: &[u8]| Some(parsed(room, json)?.event_id().to_owned());
    spoiled
        .filter_map(|(to, json)| Some((to.to_string(), event(&json)?)))
        .collect()
}

/// The joins of a server's people of whom nothing but joins is known.
fn staying<'a>(room: &'a Room, server: &'a str) -> impl Iterator<Item = &'a EventId> {
    let of_server = move |event: &&Event| {
        let key = event.state_key().unwrap_or_default();
        event.member().is_some() && key.split_once(':').is_some_and(|(_, of)| of == server)
    };
    let goes = |event: &Event| {
        let membership = event.member().and_then(|member| member.membership);
        matches!(membership, Some(Membership::Leave | Membership::Ban))
    };
    let members = move || room.model.events().filter(of_server);
    members()
        .filter(move |join| {
            is_join(join)
                && !members().any(|other| other.state_key() == join.state_key() && goes(other))
        })
        .map(Event::event_id)
}

/// What a server acknowledged, it has.
pub(super) fn acknowledged(world: &World, rooms: &[Room]) -> Result<(), String> {
    for (host, room_id) in world.ledger.rooms() {
        let room = rooms.iter().find(|room| room.id == room_id);
        let held = room.and_then(|room| room.held.iter().find(|held| held.host == host));
        if held.is_none() {
            let who = &world.hosts[host].name;
            return Err(format!(
                "kept: {who} lost the room {room_id} that it created"
            ));
        }
    }
    for sent in world.ledger.all_sent() {
        let room = rooms.iter().find(|room| room.id == sent.room).unwrap();
        let held = room
            .held
            .iter()
            .find(|held| held.host == sent.host)
            .unwrap();
        let stored = held.events.get(&sent.event);
        if stored.is_none_or(|stored| stored.fate != Fate::Accepted) {
            let (who, event) = (name(world, held), &sent.event);
            let fate = stored.map(|stored| stored.fate);
            return Err(format!(
                "kept: {who} acknowledged {event}, which is now {fate:?}"
            ));
        }
    }
    for member in world.ledger.all_members() {
        let room = rooms.iter().find(|room| room.id == member.room);
        let found = room.is_some_and(|room| {
            room.model.events().any(|event| {
                let of_target = event.state_key() == Some(member.target.as_str());
                let text = format!("\"membership\":\"{}\"", member.membership);
                event.member().is_some() && of_target && event.content().contains(&text)
            })
        });
        if !found {
            let who = &world.hosts[member.host].name;
            let (target, membership) = (&member.target, member.membership);
            return Err(format!(
                "kept: {who} acknowledged that {target} is {membership}"
            ));
        }
    }
    Ok(())
}
