//! What the servers hold, read from their databases.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::{Event, Membership};
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_storage::sql;
use hearth_storage::tables::events::{self, StoredEvent};
use hearth_storage::tables::rooms as room_rows;
use hearth_types::ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId};

use crate::model::Model;
use crate::world::World;

/// What one server holds of a room.
pub(crate) struct Held {
    pub(crate) host: usize,
    pub(crate) events: BTreeMap<OwnedEventId, StoredEvent>,
    pub(crate) ends: BTreeSet<OwnedEventId>,
    /// Its people who are joined, as it sees the room.
    pub(crate) joined: Vec<usize>,
}

/// A room with what each server holds of it, and what it is by the rules.
pub(crate) struct Room {
    pub(crate) id: OwnedRoomId,
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) held: Vec<Held>,
    pub(crate) model: Model,
}

/// Every room that was acknowledged to its creator.
pub(crate) async fn rooms(world: &World) -> Vec<Room> {
    let mut rooms = Vec::new();
    for (_, room_id) in world.ledger.rooms() {
        let mut held = Vec::new();
        let mut rules = None;
        for host in 0..world.hosts.len() {
            if let Some((of, one)) = of_host(world, host, &room_id).await {
                rules = Some(of);
                held.push(one);
            }
        }
        let Some(rules) = rules else { continue };
        let model = Model::of(rules, &room_id, union(rules, &held));
        rooms.push(Room {
            id: room_id,
            rules,
            held,
            model,
        });
    }
    rooms
}

/// A room's events in an order in which each follows its predecessors, with what each server made
/// of them: to read when a seed has failed.
pub(crate) fn described(world: &World, room: &Room) -> String {
    let mut text = format!("{} (version {})\n", room.id, room.rules.id);
    let short = |id: &EventId| id.as_str().chars().take(7).collect::<String>();
    for (nth, event) in room.model.events().enumerate() {
        let id = event.event_id().to_owned();
        let prev: Vec<String> = event.prev_events().iter().map(short).collect();
        let fates: Vec<String> = room
            .held
            .iter()
            .map(|held| {
                let name = world.hosts[held.host].name.as_str();
                let end = if held.ends.contains(&id) { "*" } else { "" };
                match held.events.get(&id) {
                    Some(stored) => format!("{name} {:?}{end}", stored.fate),
                    None => format!("{name} -"),
                }
            })
            .collect();
        let rejected = room.model.rejected(&id) == Some(true);
        let mut content = event.content().to_owned();
        content.truncate(60);
        let line = format!(
            "{nth} {} {} {:?} by {} on {prev:?} rejected {rejected} {content} [{}]\n",
            short(&id),
            event.kind(),
            event.state_key(),
            event.sender(),
            fates.join(", ")
        );
        text.push_str(&line);
    }
    text
}

/// Every event that anybody has, as whole as anybody has it.
fn union(rules: &RoomVersionRules, held: &[Held]) -> BTreeMap<OwnedEventId, Event> {
    let mut fullest: BTreeMap<&OwnedEventId, &StoredEvent> = BTreeMap::new();
    for (id, stored) in held.iter().flat_map(|held| &held.events) {
        let known = fullest.entry(id).or_insert(stored);
        if stored.json.len() > known.json.len() {
            *known = stored;
        }
    }
    let read = |(id, stored): (&OwnedEventId, &StoredEvent)| {
        let event = Event::from_trusted(rules, stored.json.clone(), Some(id.clone())).unwrap();
        (id.clone(), event)
    };
    fullest.into_iter().map(read).collect()
}

async fn of_host(
    world: &World,
    host: usize,
    room_id: &RoomId,
) -> Option<(&'static RoomVersionRules, Held)> {
    let parts = world.hosts[host].parts();
    let mut reader = parts.context.storage.read().await.unwrap();
    let room = room_rows::room_by_id(reader.conn(), room_id.as_str()).await;
    let room = room.unwrap()?;
    let nids = sql!(
        reader.conn(),
        scalars::<i64>,
        "SELECT event_nid FROM events WHERE room_nid = $1 ORDER BY event_nid",
        room.room_nid
    );
    let stored = events::events_by_nid(reader.conn(), &nids.unwrap()).await;
    let ends = events::extremities(reader.conn(), room.room_nid).await;
    let id = |stored: &StoredEvent| OwnedEventId::try_from(stored.event_id.as_str()).unwrap();
    let ends = ends.unwrap().iter().map(id).collect();
    let stored = stored.unwrap().into_iter();
    let events = stored.map(|stored| (id(&stored), stored)).collect();
    drop(reader);
    let held = Held {
        host,
        events,
        ends,
        joined: joined_of(world, host, room_id).await,
    };
    Some((rules_for(&room.version).unwrap(), held))
}

/// Which people of a server it considers joined.
pub(crate) async fn joined_of(world: &World, host: usize, room_id: &RoomId) -> Vec<usize> {
    let parts = world.hosts[host].parts();
    let mut joined = Vec::new();
    for (who, person) in world.people.iter().enumerate() {
        if person.host != host {
            continue;
        }
        let session = parts.accounts.authenticate(&person.token).await.unwrap();
        let viewpoint = parts.rooms.viewpoint(room_id, session.user_nid, &person.id);
        let is_joined = viewpoint
            .await
            .is_ok_and(|viewpoint| viewpoint.membership == Membership::Join);
        if is_joined {
            joined.push(who);
        }
    }
    joined
}
