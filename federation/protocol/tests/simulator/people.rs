//! What people do: mostly plausible things, at random.

use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::room_version::RoomIdFormat;
use hearth_protocol::signing::{SigningKey, sign_json};
use hearth_protocol::{PduDraft, VerifiedPdu};
use ruma::{OwnedUserId, UserId};
use serde_json::{Value, json, value::to_raw_value};

use crate::referee::{Referee, fault};
use crate::rogue;
use crate::room::{Fate, Room, State};
use crate::server::{At, Store};
use crate::world::World;

/// Prev events that an honest server names at most.
const PREV_MAX: usize = 10;

/// One thing that a person tries.
pub(crate) struct Act {
    pub(crate) kind: &'static str,
    pub(crate) state_key: Option<String>,
    pub(crate) content: Value,
}

impl Act {
    pub(crate) fn state(kind: &'static str, state_key: &str, content: Value) -> Self {
        Self {
            kind,
            state_key: Some(state_key.to_owned()),
            content,
        }
    }

    fn member(target: &UserId, membership: &str) -> Self {
        Self::state(
            "m.room.member",
            target.as_str(),
            json!({"membership": membership}),
        )
    }
}

/// The first events of the room, and one of another room.
pub(crate) fn create_room(world: &mut World) {
    let rules = world.scenario.rules;
    world.foreign = vec![create(
        world,
        "!other:s0.test",
        &json!({"room_version": rules.id, "other": true}),
    )];
    let creator = world.servers[0].users[0].clone();
    let mut content = json!({"room_version": rules.id, "creator": creator});
    if rules.id == "12" && world.people.one_in(3) {
        content["additional_creators"] = json!([world.servers[1].users[0]]);
    }
    if world.people.one_in(20) {
        content["m.federate"] = json!(false);
    }
    let create = create(world, "!sim:s0.test", &content);
    let mut room = Room::new(
        rules,
        create.event().room_id().to_owned(),
        world.referee.clone(),
    );
    for foreign in &world.foreign {
        room.hold_foreign(foreign);
    }
    room.receive(&create);
    world.servers[0].memory = Some(Store::new(room));
    let users = match rules.event_format.room_id {
        RoomIdFormat::ServerAssigned => json!({creator.as_str(): 100}),
        RoomIdFormat::CreateHash => json!({}),
    };
    let join_rule = ["public", "public", "invite", "knock", "restricted"][world.people.below(5)];
    let visibility = ["shared", "joined", "invited", "world_readable"][world.people.below(4)];
    let acts = [
        Act::member(&creator, "join"),
        Act::state("m.room.power_levels", "", first_levels(world, &users)),
        Act::state(
            "m.room.join_rules",
            "",
            json!({"join_rule": join_rule, "allow": []}),
        ),
        Act::state(
            "m.room.history_visibility",
            "",
            json!({"history_visibility": visibility}),
        ),
    ];
    for act in acts {
        if attempt(world, 0, &creator, &act) != Some(Fate::Accepted) {
            fault("setting", &format!("{} was refused", act.kind));
        }
    }
    world.servers[0].flush();
}

fn create(world: &World, room_id: &str, content: &Value) -> VerifiedPdu {
    let server = &world.servers[0];
    let named = world.scenario.rules.event_format.room_id == RoomIdFormat::ServerAssigned;
    let draft = PduDraft {
        room_id: named.then(|| room_id.try_into().unwrap()),
        sender: server.users[0].clone(),
        kind: "m.room.create".to_owned(),
        state_key: Some(String::new()),
        content: to_raw_value(content).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: world.now,
        redacts: None,
    };
    world.sign(0, &draft).unwrap()
}

/// An event at the ends of the room, authorized by the state there.
pub(crate) fn draft(room: &Room, sender: &UserId, act: &Act, now: i64) -> PduDraft {
    let ends = room.extremities.iter().rev().take(PREV_MAX);
    let prev: Vec<usize> = ends.copied().collect();
    let places = prev.iter().filter_map(|id| room.events[*id].place.as_ref());
    let state = room.resolved(&places.map(|place| place.after.clone()).collect::<Vec<_>>());
    let mut draft = draft_at(room, sender, act, &prev, &state);
    draft.origin_server_ts = now;
    draft
}

/// An event after `prev`, authorized by `state`.
pub(crate) fn draft_at(
    room: &Room,
    sender: &UserId,
    act: &Act,
    prev: &[usize],
    state: &State,
) -> PduDraft {
    let depth = prev
        .iter()
        .map(|id| room.event(*id).depth())
        .max()
        .unwrap_or_default();
    let mut draft = PduDraft {
        room_id: Some(room.id.clone()),
        sender: sender.to_owned(),
        kind: act.kind.to_owned(),
        state_key: act.state_key.clone(),
        content: to_raw_value(&act.content).unwrap(),
        prev_events: prev
            .iter()
            .map(|id| room.event(*id).event_id().to_owned())
            .collect(),
        auth_events: vec![],
        depth: (depth + 1).min((1 << 53) - 1),
        origin_server_ts: 0,
        redacts: act.content["redacts"]
            .as_str()
            .and_then(|id| id.try_into().ok()),
    };
    authorize(room, &mut draft, state);
    draft
}

/// Names the auth events that a state has for a draft.
pub(crate) fn authorize(room: &Room, draft: &mut PduDraft, state: &State) {
    let types = draft.auth_types(room.rules).unwrap();
    let ids = types
        .iter()
        .filter_map(|(kind, key)| room.at(state, kind, key));
    draft.auth_events = ids.map(|id| room.event(id).event_id().to_owned()).collect();
}

/// Whether a server would let an event pass.
pub(crate) fn is_allowed(room: &Room, pdu: &VerifiedPdu, referee: &Referee) -> bool {
    let gid = referee.number(pdu.event());
    room.allows(gid, pdu.event(), &room.current).is_ok()
}

/// A person tries something; their own server refuses what is not allowed.
pub(crate) fn attempt(world: &mut World, at: At, sender: &UserId, act: &Act) -> Option<Fate> {
    let store = world.servers[at].memory.as_ref()?;
    let draft = draft(&store.room, sender, act, world.stamp());
    let pdu = world.sign(at, &draft)?;
    if !is_allowed(&store.room, &pdu, &world.referee) {
        return None;
    }
    world.append(at, &pdu)
}

/// One step of the script: somebody does something.
pub(crate) fn step(world: &mut World) {
    let at = world.people.below(world.servers.len());
    if !world.servers[at].up {
        return;
    }
    if !world.servers[at].honest && world.people.percent(60) && rogue::step(world, at) {
        return;
    }
    for _ in 0..4 {
        let users = world.servers[at].users.clone();
        let Some(user) = world.people.pick(&users).cloned() else {
            return;
        };
        let resident = world.servers[at].resident();
        let membership = resident.map(|store| store.room.membership(&store.room.current, &user));
        let done = match membership.as_deref() {
            Some("join") => {
                let act = inside(world, at, &user);
                act.is_some_and(|act| attempt(world, at, &user, &act).is_some())
            }
            Some(_) => enter(world, at, &user),
            None => {
                let membership = ["join", "join", "join", "knock", "leave"][world.people.below(5)];
                world.handshake(at, &user, membership)
            }
        };
        if done || !world.servers[at].up {
            return;
        }
    }
}

/// Somebody who is not in the room, though others of their server are.
fn enter(world: &mut World, at: At, user: &UserId) -> bool {
    let membership = ["join", "join", "join", "knock", "leave"][world.people.below(5)];
    if attempt(world, at, user, &Act::member(user, membership)).is_some() {
        return true;
    }
    let vouchers = world.servers[at].users.clone();
    membership == "join"
        && vouchers.iter().any(|voucher| {
            let content =
                json!({"membership": "join", "join_authorised_via_users_server": voucher});
            let act = Act::state("m.room.member", user.as_str(), content);
            attempt(world, at, user, &act).is_some()
        })
}

fn everybody(world: &World) -> Vec<OwnedUserId> {
    world
        .servers
        .iter()
        .flat_map(|server| server.users.clone())
        .collect()
}

/// What somebody in the room may think of.
pub(crate) fn inside(world: &mut World, at: At, user: &UserId) -> Option<Act> {
    let everybody = everybody(world);
    let target = world.people.pick(&everybody)?;
    let number = world.people.below(1_000);
    Some(
        match world.people.weighted(&[16, 8, 26, 16, 12, 5, 4, 3, 3, 2]) {
            0 => Act {
                kind: "m.room.message",
                state_key: None,
                content: json!({"body": number, "msgtype": "m.text"}),
            },
            1 => {
                let kind = ["m.room.topic", "m.room.name"][number % 2];
                Act::state(kind, "", json!({"topic": number, "name": number}))
            }
            2 => membership(world, at, target)?,
            3 => Act::state("m.room.power_levels", "", power_levels(world, at, target)),
            4 => access(target, number),
            5 => redaction(world, at)?,
            6 => Act::member(user, "leave"),
            7 => third_party_invite(world, at),
            8 => redemption(world, target)?,
            _ => {
                let content = json!({"membership": "join", "displayname": format!("n{number}")});
                let key = [target.as_str(), user.as_str(), user.server_name().as_str()][number % 3];
                let note = json!({"aliases": [], "n": number});
                match number % 5 {
                    0 => Act::state("m.room.aliases", key, note),
                    1 => Act::state("org.test.note", key, note),
                    _ => Act::state("m.room.member", user.as_str(), content),
                }
            }
        },
    )
}

/// Something about somebody else.
fn membership(world: &World, at: At, target: &UserId) -> Option<Act> {
    Some(match world.people.weighted(&[8, 6, 6, 3]) {
        0 => Act::member(target, "invite"),
        1 => Act::member(target, "leave"),
        2 => Act::member(target, "ban"),
        _ => {
            let store = world.servers[at].memory.as_ref()?;
            let banned = store.room.members(&store.room.current, "ban");
            let content = json!({"membership": "leave"});
            Act::state("m.room.member", world.people.pick(&banned)?, content)
        }
    })
}

/// Something about who may come in, and what those see who do.
fn access(target: &UserId, number: usize) -> Act {
    let rules = [
        "public",
        "public",
        "invite",
        "knock",
        "restricted",
        "knock_restricted",
    ];
    let visibilities = ["shared", "joined", "invited", "world_readable", "odd"];
    let visibility = json!({"history_visibility": visibilities[number % 5]});
    match number % 10 {
        0..=4 => {
            let content = json!({"join_rule": rules[number % 6], "allow": []});
            Act::state("m.room.join_rules", "", content)
        }
        5..=7 => Act::state("m.room.history_visibility", "", visibility),
        _ => {
            let name = target.server_name().as_str();
            let patterns = [
                name.to_owned(),
                name.replacen('s', "?", 1),
                format!("{}*", &name[..2]),
            ];
            let denied = &patterns[..number % 4];
            let allowed = if number.is_multiple_of(7) {
                "s?.*"
            } else {
                "*"
            };
            let content = json!({"allow": [allowed], "deny": denied});
            Act::state("m.room.server_acl", "", content)
        }
    }
}

/// Power levels that state all levels, or none.
///
/// Where one event states a level and another leaves it to its default, the specification does not say
/// whether that is an alteration: Synapse, and we, say no, ruma says yes. A room that mixes them tells
/// nothing.
fn first_levels(world: &World, users: &Value) -> Value {
    if world.scenario.states_levels {
        return json!({
            "users": users, "events": {}, "users_default": 0, "events_default": 0,
            "state_default": 50, "ban": 50, "kick": 50, "redact": 50, "invite": 0,
        });
    }
    json!({"users": users, "events": {}})
}

/// The current power levels with one thing changed.
fn power_levels(world: &World, at: At, target: &UserId) -> Value {
    let level = [0, 10, 50, 50, 60, 100, 100][world.people.below(7)];
    let mut content = match &world.servers[at].memory {
        Some(store) => store
            .room
            .content(&store.room.current, "m.room.power_levels", ""),
        None => Value::Null,
    };
    if !content.is_object() {
        content = first_levels(world, &json!({}));
    }
    let stated = world.scenario.states_levels;
    let name = [
        "ban",
        "kick",
        "invite",
        "redact",
        "state_default",
        "users_default",
    ][world.people.below(6)];
    match world.people.weighted(&[12, 2, 2, 2, 1]) {
        0 => content["users"][target.as_str()] = json!(level),
        1 if stated => content[name] = json!(level),
        1 | 2 => {
            let kind =
                ["m.room.topic", "m.room.power_levels", "m.room.message"][world.people.below(3)];
            content["events"][kind] = json!(level.min(50));
        }
        3 => {
            let users = content["users"].as_object_mut();
            users.and_then(|users| users.remove(target.as_str()));
        }
        _ => content["notifications"] = json!({"room": level}),
    }
    content
}

fn redaction(world: &World, at: At) -> Option<Act> {
    let room = &world.servers[at].memory.as_ref()?.room;
    let target = room.events.get(world.people.below(room.events.len()))?;
    let id = target.pdu.event().event_id();
    Some(Act {
        kind: "m.room.redaction",
        state_key: None,
        content: json!({"redacts": id}),
    })
}

/// The key of the identity server that all trust.
fn identity_key() -> SigningKey {
    SigningKey::from_seed("id", &[99; 32]).unwrap()
}

fn third_party_invite(world: &mut World, at: At) -> Act {
    let token = format!("token{}", world.tokens.len());
    world.tokens.push((token.clone(), at));
    let key = identity_key().verify_key().to_base64();
    let content =
        json!({"display_name": "a", "public_key": key, "key_validity_url": "https://id.test"});
    Act::state("m.room.third_party_invite", &token, content)
}

/// The invite that follows a third-party invite, with what the identity server signed: now and then
/// for somebody else.
fn redemption(world: &World, target: &UserId) -> Option<Act> {
    let (token, _) = world.people.pick(&world.tokens)?;
    let mxid = if world.people.one_in(5) {
        "@nobody:s0.test"
    } else {
        target.as_str()
    };
    let text = json!({"mxid": mxid, "token": token}).to_string();
    let mut signed = parse_object(text.as_bytes(), CanonicalJsonRules::STRICT).ok()?;
    sign_json(&mut signed, "id.test".try_into().unwrap(), &identity_key());
    let signed: Value = serde_json::from_slice(&signed.to_canonical()).ok()?;
    let content = json!({"membership": "invite", "third_party_invite": {"display_name": "a", "signed": signed}});
    world.referee.note(|seen| seen.redeemed_invites += 1);
    Some(Act::state("m.room.member", target.as_str(), content))
}
