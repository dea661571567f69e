//! Nobody sees what they must not, on any way to read; and clients know what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::event::Event;
use hearth_protocol::verify::UnverifiedPdu;
use hearth_types::ruma::{OwnedEventId, OwnedServerName, UserId};
use serde_json::Value;

use super::held::Room;
use super::is_join;
use crate::clients;
use crate::network::Handed;
use crate::world::World;

pub(super) async fn judge(world: &World, room: &Room) -> Result<(), String> {
    people(world, room).await?;
    asked(world, room).await?;
    handed(world, room)?;
    pushed(world, room)
}

/// What people were shown in the course of things, and what they can read now.
async fn people(world: &World, room: &Room) -> Result<(), String> {
    for (who, person) in world.people.iter().enumerate() {
        let mut seen: BTreeMap<OwnedEventId, &'static str> = BTreeMap::new();
        let client = person.client.lock().await;
        for (_, event) in client.shown.iter().filter(|(of, _)| *of == room.id) {
            seen.insert(OwnedEventId::try_from(event.as_str()).unwrap(), "/sync");
        }
        drop(client);
        let looked = world.seen();
        let own = looked
            .iter()
            .filter(|(by, of, _)| *by == who && *of == room.id);
        seen.extend(own.map(|(.., event)| (event.clone(), "/event")));
        let parts = world.hosts[person.host].parts();
        let session = parts.accounts.authenticate(&person.token).await.unwrap();
        let now = Some(parts.rooms.history_now());
        match clients::read(&parts, &session, room.id.as_str(), now).await {
            Ok(read) => {
                // Whoever was never inside is let in to see what all the world may see, or not at all.
                if read.is_empty() && !room.model.ever_member(&person.id) {
                    return Err(format!("shown: {} never joined, but may look", person.id));
                }
                let read = read
                    .iter()
                    .map(|id| OwnedEventId::try_from(id.as_str()).unwrap());
                seen.extend(read.map(|id| (id, "/messages")));
            }
            Err(error) if error.starts_with("sync: you are not") => {}
            Err(error) => return Err(format!("shown: {}: {error}", person.id)),
        }
        for (event, how) in seen {
            // What happens to their own membership, people are told.
            let own = room.model.event(&event).and_then(Event::state_key);
            if own != Some(person.id.as_str()) && !room.model.may_see(&event, &person.id) {
                let (who, id) = (&person.id, &room.id);
                let about = room.model.about(&event, who);
                return Err(format!(
                    "shown: {who} saw {event} of {id} by {how}: {about}"
                ));
            }
        }
    }
    Ok(())
}

/// What servers are given that ask now, those that are not in the room among them.
async fn asked(world: &World, room: &Room) -> Result<(), String> {
    let stranger = OwnedServerName::try_from("stranger.sim").unwrap();
    let mut names: Vec<OwnedServerName> =
        world.hosts.iter().map(|host| host.name.clone()).collect();
    names.push(stranger);
    for held in room.held.iter().filter(|held| !held.joined.is_empty()) {
        let parts = world.hosts[held.host].parts();
        let shared = parts.rooms.room(&room.id).await;
        let shared = shared.map_err(|error| format!("shown: {error}"))?;
        let current = shared.live().current.clone();
        let inside = parts.rooms.servers_in(&shared, &current).await.unwrap();
        let from: Vec<OwnedEventId> = held.ends.iter().cloned().collect();
        for to in &names {
            let federation = &parts.federation;
            let given = federation.backfill(to, &room.id, &from, 100).await;
            let state = federation.state_ids(to, &room.id, &from[0]).await;
            let one = federation.event(to, &from[0]).await;
            let gives = given.is_ok() || state.is_ok() || one.is_ok();
            if gives && !inside.contains(to) {
                let name = &world.hosts[held.host].name;
                return Err(format!("handed: {name} lets {to} read {}", room.id));
            }
            for json in given.into_iter().flatten().chain(one) {
                world.network.hand(Handed {
                    from: world.hosts[held.host].name.clone(),
                    to: to.clone(),
                    how: "backfill",
                    json,
                });
            }
        }
    }
    Ok(())
}

/// The people of a server whom the room ever named.
fn people_of(room: &Room, server: &str) -> Vec<String> {
    let people = room.model.people().into_iter();
    people
        .filter(|person| person.split_once(':').is_some_and(|(_, of)| of == server))
        .collect()
}

/// Whether an event says something that a redaction would take.
fn says_something(event: &Event) -> bool {
    let content: Value = serde_json::from_str(event.content()).unwrap_or_default();
    event.kind() == "m.room.message" && content["body"].is_string()
}

/// What servers were given when they asked.
fn handed(world: &World, room: &Room) -> Result<(), String> {
    for handed in world.network.handed() {
        let Some(event) = parsed(room, &handed.json) else {
            continue;
        };
        let (from, to, id) = (&handed.from, &handed.to, event.event_id());
        let theirs = event.sender().server_name() == to;
        if !says_something(&event) || theirs || !room.model.has(id) {
            continue;
        }
        let may = people_of(room, to.as_str()).iter().any(|person| {
            let person = <&UserId>::try_from(person.as_str());
            person.is_ok_and(|person| room.model.may_see(id, person))
        });
        if !may {
            let how = handed.how;
            return Err(format!("handed: {from} gave {id} to {to} by {how}"));
        }
    }
    Ok(())
}

pub(super) fn parsed(room: &Room, json: &[u8]) -> Option<Event> {
    let parsed = UnverifiedPdu::parse(room.rules, json).ok()?;
    let own = parsed.room_id() == room.id;
    let id = parsed.event_id().to_owned();
    let json = bytes::Bytes::copy_from_slice(json);
    own.then(|| Event::from_trusted(room.rules, json, Some(id)).ok())?
}

/// What servers were sent: events of rooms that they are in, and the events that take them out.
fn pushed(world: &World, room: &Room) -> Result<(), String> {
    for (from, to, json) in world.network.pushed_events() {
        let Some(event) = parsed(room, &json) else {
            continue;
        };
        let id = event.event_id();
        let Some(before) = room.model.before(id) else {
            continue;
        };
        let target = event.state_key().filter(|_| event.member().is_some());
        let names = target.is_some_and(|target| is_of(target, &to));
        if !names && !is_in(room, &before, &to) {
            return Err(format!(
                "pushed: {from} sent {id} to {to}, which is not in the room"
            ));
        }
    }
    Ok(())
}

fn is_of(person: &str, server: &OwnedServerName) -> bool {
    person
        .split_once(':')
        .is_some_and(|(_, of)| of == server.as_str())
}

fn is_in(room: &Room, state: &BTreeSet<OwnedEventId>, server: &OwnedServerName) -> bool {
    state.iter().any(|id| {
        let event = room.model.event(id).unwrap();
        is_join(event) && is_of(event.state_key().unwrap_or_default(), server)
    })
}

/// Each client knows what a client knows that begins now, and got each message to its device once.
pub(super) async fn clients(world: &World) -> Result<(), String> {
    for person in &world.people {
        let parts = world.hosts[person.host].parts();
        let session = parts.accounts.authenticate(&person.token).await.unwrap();
        let client = person.client.lock().await.clone();
        let compared = client.compare(&parts, &Arc::clone(&session)).await;
        compared.map_err(|why| format!("sync: {why}"))?;
        let once: BTreeSet<String> = client.messages.iter().cloned().collect();
        if once.len() != client.messages.len() {
            return Err(format!("to-device: {} got a message twice", person.id));
        }
        let told = world.ledger.told_to(&person.id);
        if let Some(lost) = told.difference(&once).next() {
            return Err(format!("to-device: {} never got {lost}", person.id));
        }
    }
    Ok(())
}
