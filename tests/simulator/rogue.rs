//! A server that keeps to no rule: events of its own making, signed with its key, sent to whomever it
//! likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hearth::app::Parts;
use hearth_engine::rooms::known::{Known, KnownEvents};
use hearth_protocol::PduDraft;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_storage::sql;
use hearth_types::ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::hosts::{key, verified};
use crate::link;
use crate::random::Random;
use crate::world::World;

/// The largest depth that an event can state.
const DEPTH_MAX: i64 = (1 << 53) - 1;

/// What a rogue holds of a room.
struct Loot {
    rules: &'static RoomVersionRules,
    room: OwnedRoomId,
    known: Vec<Known>,
    /// The state after the event that it builds on.
    state: BTreeMap<(String, String), Event>,
    on: Known,
}

/// Makes one event that no server of ours would make, and sends it to some of the others.
pub(crate) async fn strike(
    world: Arc<World>,
    host: usize,
    room: usize,
    nth: u64,
) -> Result<(), String> {
    let mut random = Random::new(nth);
    let rogue = Arc::clone(&world.hosts[host]);
    let Some((_, room_id)) = world.ledger.rooms().get(room).cloned() else {
        return Ok(());
    };
    let own: Vec<OwnedUserId> = world
        .people
        .iter()
        .filter(|person| person.host == host)
        .map(|person| person.id.clone())
        .collect();
    let victim = world.people[random.index(world.people.len())].id.clone();
    let (sender, mut inner) = (random.pick(&own).clone(), random.clone());
    let made = rogue.run(move |parts| async move {
        let loot = loot(&parts, &room_id, &mut inner).await?;
        let event = craft(&loot, &sender, victim, &mut inner)?;
        if inner.in_thousand(500) {
            let pdus = verified(loot.rules, std::slice::from_ref(event.json()));
            let name = parts.context.server_name.clone();
            drop(parts.federation.receive(&name, pdus).await);
        }
        Some(event.json().clone())
    });
    let Some(Some(json)) = made.await else {
        return Ok(());
    };
    world.count("rogue events", 1);
    world.trace(|| format!("{} strikes: {}", rogue.name, String::from_utf8_lossy(&json)));
    for other in world.hosts.iter().filter(|other| other.name != rogue.name) {
        if random.in_thousand(400) {
            continue;
        }
        let weather = world.network.weather(&rogue.name, &other.name, "rogue");
        let body: Bytes = link::body(&rogue.name, std::slice::from_ref(&json), &[]);
        let me = rogue.name.clone();
        let serve =
            move |parts: Arc<Parts>| link::transaction(parts, me.clone(), body.clone()).boxed();
        let between = (&*rogue.name, &*other.name);
        let sent = world.network.call(between, "rogue", &weather, serve);
        if let Err(error) = sent.await {
            world.trace(|| format!("{}: {error}", other.name));
        }
    }
    Ok(())
}

/// Everything that the rogue's engine holds of a room, and an event to build on.
async fn loot(parts: &Parts, room_id: &RoomId, random: &mut Random) -> Option<Loot> {
    let room = parts.rooms.room(room_id).await.ok()?;
    let storage = &parts.context.storage;
    let mut reader = storage.read().await.ok()?;
    let nids = sql!(
        reader.conn(),
        scalars::<i64>,
        "SELECT event_nid FROM events WHERE room_nid = $1 ORDER BY event_nid",
        room.nid
    );
    drop(reader);
    let cache = KnownEvents::new(storage.clone(), 1_000);
    let found = cache.by_nid(room.rules, &nids.ok()?).await.ok()?;
    let known: Vec<Known> = found.into_values().filter(Known::is_placed).collect();
    if known.is_empty() {
        return None;
    }
    // Mostly something recent: a fork of the very beginning is soon refused by everybody.
    let most = if random.in_thousand(500) { 6 } else { 60 };
    let back = random.below(most);
    let back = usize::try_from(back).unwrap().min(known.len() - 1);
    let on = known[known.len() - 1 - back].clone();
    let before = parts.rooms.resolved_before(&room, &on).await.ok()?;
    let nids: Vec<i64> = before
        .map
        .entries()
        .into_iter()
        .map(|(_, nid)| nid)
        .collect();
    let before = cache.by_nid(room.rules, &nids).await.ok()?;
    let mut state = BTreeMap::new();
    for known in before.into_values().chain([on.clone()]) {
        if let Some(state_key) = known.event.state_key() {
            let place = (known.event.kind().to_owned(), state_key.to_owned());
            state.insert(place, known.event);
        }
    }
    Some(Loot {
        rules: room.rules,
        room: room.id.clone(),
        known,
        state,
        on,
    })
}

fn raw(content: &Value) -> Box<RawValue> {
    to_raw_value(content).unwrap()
}

/// An event on whatever the rogue chose, mostly with the auth events that it needs there.
fn craft(
    loot: &Loot,
    sender: &OwnedUserId,
    victim: OwnedUserId,
    random: &mut Random,
) -> Option<Event> {
    let any = |random: &mut Random| random.pick(&loot.known).event.event_id().to_owned();
    let mut draft = PduDraft {
        room_id: Some(loot.room.clone()),
        sender: sender.clone(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: raw(&json!({ "body": format!("rogue {}", random.next()) })),
        prev_events: vec![loot.on.event.event_id().to_owned()],
        auth_events: Vec::new(),
        depth: loot.on.depth + 1,
        origin_server_ts: 1_800_000_000_000 + i64::try_from(random.below(10_000)).unwrap(),
        redacts: None,
    };
    let member = |draft: &mut PduDraft, target: &OwnedUserId, membership: &str| {
        draft.kind = "m.room.member".to_owned();
        draft.state_key = Some(target.to_string());
        draft.content = raw(&json!({ "membership": membership }));
    };
    match random.below(10) {
        0 => member(&mut draft, sender, "join"),
        1 => member(&mut draft, sender, "leave"),
        2 => member(&mut draft, &victim, "ban"),
        3 => {
            draft.kind = "m.room.power_levels".to_owned();
            draft.state_key = Some(String::new());
            draft.content = powers(loot, sender, random)?;
        }
        4 => {
            draft.kind = "m.room.topic".to_owned();
            draft.state_key = Some(String::new());
            draft.content = raw(&json!({ "topic": "rogue" }));
        }
        5 => {
            draft.kind = "m.room.redaction".to_owned();
            let target = any(random);
            draft.content = raw(&json!({ "redacts": target }));
            draft.redacts = Some(target);
        }
        6 => draft.sender = victim,
        _ => {}
    }
    let types = draft.auth_types(loot.rules).ok()?;
    // Now and then what once held a place: from before a ban, or from when there was more power.
    let stale = random.in_thousand(300);
    for (kind, key) in &types {
        let of_place = |event: &Event| event.is_state_of(kind, key);
        let held: Vec<&Event> = loot
            .known
            .iter()
            .map(|known| &known.event)
            .filter(|event| stale && of_place(event))
            .collect();
        let place = (kind.to_string(), key.to_string());
        let found = match held.as_slice() {
            [] => loot.state.get(&place),
            held => Some(*random.pick(held)),
        };
        let found = found.map(|event| event.event_id().to_owned());
        draft.auth_events.extend(found);
    }
    match random.below(10) {
        0 => drop(draft.auth_events.pop()),
        1 => draft.auth_events.push(any(random)),
        2 => draft.depth = DEPTH_MAX,
        3 => draft.prev_events = (0..1 + random.below(20)).map(|_| any(random)).collect(),
        4 => draft
            .prev_events
            .push(OwnedEventId::try_from("$nobody-has-it").unwrap()),
        _ => {}
    }
    draft.prev_events.sort();
    draft.prev_events.dedup();
    draft.auth_events.sort();
    draft.auth_events.dedup();
    let hash = |id: &EventId| {
        let known = loot.known.iter().find(|known| known.event.event_id() == id);
        known?.event.reference_hash(loot.rules).ok()
    };
    let server = sender.server_name();
    let signing = key(server.as_str());
    draft
        .sign_referencing(loot.rules, server, &signing, hash)
        .ok()
}

fn powers(loot: &Loot, sender: &OwnedUserId, random: &mut Random) -> Option<Box<RawValue>> {
    let now = loot
        .state
        .get(&("m.room.power_levels".to_owned(), String::new()))?;
    let mut content: Value = serde_json::from_str(now.content()).unwrap();
    match random.below(3) {
        0 => content["users"][sender.as_str()] = json!(100),
        1 => content["users_default"] = json!(50),
        _ => content["events_default"] = json!(0),
    }
    Some(raw(&content))
}
