//! What people do in generated rooms.

use hearth_protocol::ambient::{Entropy, SeededEntropy};
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::event::Membership;
use hearth_protocol::room_version::LevelValues;
use hearth_protocol::signing::{SigningKey, sign_json};
use ruma::server_name;
use serde_json::{Value, json};

use crate::test_room::{State, TestRoom};

pub(super) const USERS: [&str; 6] = [
    "@alice:one.test",
    "@bob:two.test",
    "@carol:three.test",
    "@dave:two.test",
    "@eve:one.test",
    "@frank:four.test",
];

pub(super) struct Dice(pub(super) SeededEntropy);

impl Dice {
    pub(super) fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap() % n
    }

    pub(super) fn pick<'t, T: ?Sized>(&self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }

    pub(super) fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// An event to be.
pub(super) struct Action {
    pub(super) sender: String,
    pub(super) kind: &'static str,
    pub(super) state_key: Option<String>,
    pub(super) content: Value,
}

impl Action {
    fn state(sender: &str, kind: &'static str, state_key: &str, content: Value) -> Self {
        Self {
            sender: sender.to_owned(),
            kind,
            state_key: Some(state_key.to_owned()),
            content,
        }
    }

    fn member(sender: &str, target: &str, membership: &str) -> Self {
        let content = json!({"membership": membership});
        Self::state(sender, "m.room.member", target, content)
    }
}

/// Those who are in do something; those who are not mostly try to come in.
pub(super) fn random(dice: &Dice, room: &TestRoom, state: &State) -> Action {
    let sender = dice.pick(&USERS);
    let joined = room
        .get(state, "m.room.member", sender)
        .and_then(|event| event.member()?.membership)
        == Some(Membership::Join);
    if joined || dice.one_in(4) {
        inside(dice, room, state, sender)
    } else {
        match dice.below(3) {
            0 => Action::member(sender, sender, "join"),
            1 => restricted_join(dice, sender),
            _ => Action::member(sender, sender, "knock"),
        }
    }
}

fn inside(dice: &Dice, room: &TestRoom, state: &State, sender: &str) -> Action {
    let target = dice.pick(&USERS);
    match dice.below(20) {
        0 => Action::member(sender, sender, "join"),
        1 | 2 => Action::member(sender, sender, "leave"),
        3 => Action::member(sender, target, "invite"),
        4 | 5 => Action::member(sender, target, "leave"),
        6 => Action::member(sender, target, "ban"),
        7..=10 => {
            let content = power_levels(dice, room, state);
            Action::state(sender, "m.room.power_levels", "", content)
        }
        11 | 12 => {
            let rules = [
                "public",
                "public",
                "invite",
                "knock",
                "restricted",
                "knock_restricted",
            ];
            let content = json!({"join_rule": dice.pick(&rules)});
            Action::state(sender, "m.room.join_rules", "", content)
        }
        13 => offer(dice, sender),
        14 => redeem(dice, room, state, target),
        15 => {
            let server = dice.pick(&["one.test", "two.test", "three.test", "four.test"]);
            Action::state(sender, "m.room.aliases", server, json!({"aliases": []}))
        }
        16 => redaction(dice, room, sender),
        _ => {
            let kind = dice.pick(&["m.room.topic", "m.room.name", "m.room.avatar"]);
            Action::state(sender, kind, "", json!({"n": dice.below(1000)}))
        }
    }
}

fn restricted_join(dice: &Dice, sender: &str) -> Action {
    let mut join = Action::member(sender, sender, "join");
    join.content["join_authorised_via_users_server"] = json!(dice.pick(&USERS));
    join
}

/// The current power levels with one user, or one level, changed, in a notation that the version
/// understands, or one that it does not.
fn power_levels(dice: &Dice, room: &TestRoom, state: &State) -> Value {
    let mut content = match room.get(state, "m.room.power_levels", "") {
        Some(event) => serde_json::from_str(event.content()).unwrap(),
        None => json!({"users": {}, "events": {}, "notifications": {}}),
    };
    let number = [0, 40, 50, 60, 100][dice.below(5)];
    let strings = room.rules.authorization.level_values == LevelValues::Lenient;
    let level = match dice.below(8) {
        0 => json!(number.to_string()),
        1 if strings => json!(format!(" +0{number}\t")),
        _ => json!(number),
    };
    match dice.below(8) {
        0 => content["events"]["m.room.topic"] = level,
        1 => content["ban"] = level,
        2 => {
            let users = content["users"].as_object_mut().unwrap();
            users.remove(dice.pick(&USERS));
        }
        3 => content["notifications"]["room"] = level,
        4 => content["invite"] = level,
        _ => content["users"][dice.pick(&USERS)] = level,
    }
    content
}

const TOKENS: [&str; 2] = ["t0", "t1"];

fn identity_key() -> SigningKey {
    SigningKey::from_seed("0", &[3; 32]).unwrap()
}

fn offer(dice: &Dice, sender: &str) -> Action {
    let content = json!({"public_key": identity_key().verify_key().to_base64()});
    let token = dice.pick(&TOKENS);
    Action::state(sender, "m.room.third_party_invite", token, content)
}

/// Redeems an offer that the state has, in the name of whoever made it; now and then with a signature
/// that is worth nothing.
fn redeem(dice: &Dice, room: &TestRoom, state: &State, target: &str) -> Action {
    let token = dice.pick(&TOKENS);
    let offer = room.get(state, "m.room.third_party_invite", token);
    let sender = offer.map_or(target.to_owned(), |offer| offer.sender().to_string());
    let json = json!({"mxid": target, "token": token}).to_string();
    let mut signed = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    let key = if dice.one_in(5) {
        SigningKey::from_seed("0", &[4; 32]).unwrap()
    } else {
        identity_key()
    };
    sign_json(&mut signed, server_name!("id.test"), &key);
    let signed: Value = serde_json::from_slice(&signed.to_canonical()).unwrap();
    let mut invite = Action::member(&sender, target, "invite");
    invite.content["third_party_invite"] = json!({"signed": signed, "display_name": "x"});
    invite
}

fn redaction(dice: &Dice, room: &TestRoom, sender: &str) -> Action {
    let target = room.id(dice.below(room.events.len()));
    Action {
        sender: sender.to_owned(),
        kind: "m.room.redaction",
        state_key: None,
        content: json!({"redacts": target}),
    }
}
