//! Rooms as they are: a creator, power levels, some members, messages of usual size.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::power_levels::RoomPower;
use hearth_protocol::room_version::RoomIdFormat;
use hearth_protocol::signing::{SigningKey, VerifyKey};
use hearth_protocol::verify::KeyLookup;
use hearth_protocol::{Event, PduDraft, RoomVersionRules, rules_for};
use ruma_common::{OwnedRoomId, ServerName, ServerSigningKeyId};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

/// What the key of every server is made of.
pub(crate) const SEED: [u8; 32] = [7; 32];

/// The key of every server.
pub(crate) static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed("a_ZdPN", &SEED).unwrap());

/// A key ring that knows one key.
pub(crate) struct Keys(pub(crate) VerifyKey);

impl KeyLookup for Keys {
    fn published_key(&self, _: &ServerName, _: &ServerSigningKeyId) -> Option<PublishedKey> {
        Some(PublishedKey {
            key: self.0,
            valid_until_ts: i64::MAX,
        })
    }
}

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

/// A public room of Alice's with Bob in it.
pub(crate) struct Room {
    pub(crate) rules: &'static RoomVersionRules,
    room_id: Option<OwnedRoomId>,
    state: BTreeMap<(String, String), Event>,
}

impl Room {
    pub(crate) fn new(version: &str) -> Self {
        let rules = rules_for(version).unwrap();
        let assigned = rules.event_format.room_id == RoomIdFormat::ServerAssigned;
        let mut room = Self {
            rules,
            room_id: assigned.then(|| "!jEsUZKDJdhlrceRyVU:one.test".try_into().unwrap()),
            state: BTreeMap::new(),
        };
        room.set(
            ALICE,
            "m.room.create",
            "",
            &json!({ "room_version": version }),
        );
        let create = &room.state[&("m.room.create".to_owned(), String::new())];
        room.room_id = Some(create.room_id().to_owned());
        let join = json!({ "membership": "join", "displayname": "Alice", "avatar_url": "mxc://one.test/SEsfnsuifSDFSSEF" });
        room.set(ALICE, "m.room.member", ALICE, &join);
        let mut levels = json!({
            "users": { BOB: 50 }, "users_default": 0, "events_default": 0, "state_default": 50, "ban": 50,
            "kick": 50, "redact": 50, "invite": 0, "historical": 100,
            "events": { "m.room.name": 50, "m.room.power_levels": 100, "m.room.history_visibility": 100,
                "m.room.canonical_alias": 50, "m.room.avatar": 50, "m.room.tombstone": 100,
                "m.room.server_acl": 100, "m.room.encryption": 100 },
        });
        if assigned {
            levels["users"][ALICE] = json!(100);
        }
        room.set(ALICE, "m.room.power_levels", "", &levels);
        room.set(
            ALICE,
            "m.room.join_rules",
            "",
            &json!({ "join_rule": "public" }),
        );
        room.set(
            ALICE,
            "m.room.history_visibility",
            "",
            &json!({ "history_visibility": "shared" }),
        );
        room.set(BOB, "m.room.member", BOB, &join);
        room
    }

    pub(crate) fn state(&self, kind: &str, state_key: &str) -> Option<Event> {
        self.state
            .get(&(kind.to_owned(), state_key.to_owned()))
            .cloned()
    }

    pub(crate) fn power(&self) -> RoomPower {
        let create = self.state("m.room.create", "").unwrap();
        let levels = self.state("m.room.power_levels", "");
        RoomPower::new(&self.rules.authorization, create, levels).unwrap()
    }

    /// A message of Bob's with a reply and a mention.
    pub(crate) fn message(&self) -> Event {
        let content = json!({
            "msgtype": "m.text",
            "body": "I have looked at it, and think that we should meet on Tuesday. Is 10:00 fine?",
            "m.mentions": { "user_ids": [ALICE] },
            "m.relates_to": { "m.in_reply_to": { "event_id": "$Oi1a0bXFyMCrwBNeEwuTnWTyBAmPt9SPTBGUSvQYAhE" } },
        });
        self.sign(&self.draft(BOB, "m.room.message", None, to_raw_value(&content).unwrap()))
    }

    /// A change of Bob's profile.
    pub(crate) fn member(&self) -> Event {
        let content = json!({ "membership": "join", "displayname": "Bob the Builder", "avatar_url": "mxc://two.test/SEsfnsuifSDFSSEF" });
        self.sign(&self.draft(
            BOB,
            "m.room.member",
            Some(BOB),
            to_raw_value(&content).unwrap(),
        ))
    }

    /// What this event was made from.
    pub(crate) fn draft_of(&self, event: &Event) -> PduDraft {
        let content = RawValue::from_string(event.content().to_owned()).unwrap();
        self.draft(
            event.sender().as_str(),
            event.kind(),
            event.state_key(),
            content,
        )
    }

    fn set(&mut self, sender: &str, kind: &str, state_key: &str, content: &Value) {
        let content = to_raw_value(content).unwrap();
        let event = self.sign(&self.draft(sender, kind, Some(state_key), content));
        self.state
            .insert((kind.to_owned(), state_key.to_owned()), event);
    }

    fn draft(
        &self,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Box<RawValue>,
    ) -> PduDraft {
        let mut draft = PduDraft {
            room_id: self.room_id.clone(),
            sender: sender.try_into().unwrap(),
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            content,
            prev_events: vec![
                "$Oi1a0bXFyMCrwBNeEwuTnWTyBAmPt9SPTBGUSvQYAhE"
                    .try_into()
                    .unwrap(),
            ],
            auth_events: vec![],
            depth: 5_417,
            origin_server_ts: 1_795_248_000_000,
            redacts: None,
        };
        let needed = draft.auth_types(self.rules).unwrap();
        let found = needed
            .iter()
            .filter_map(|(kind, key)| self.state(kind, key));
        draft.auth_events = found.map(|event| event.event_id().to_owned()).collect();
        draft
    }

    fn sign(&self, draft: &PduDraft) -> Event {
        draft
            .sign(self.rules, draft.sender.server_name(), &KEY)
            .unwrap()
    }
}
