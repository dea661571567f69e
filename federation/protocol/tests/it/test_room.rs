//! Rooms made of real, signed events, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use hearth_protocol::auth_rules::{AuthError, KnownEvent, check_state_dependent};
use hearth_protocol::room_version::{
    CreatorField, CreatorPower, ROOM_VERSIONS, RoomIdFormat, RoomVersionRules, rules_for,
};
use hearth_protocol::signing::SigningKey;
use hearth_protocol::state_resolution::{GraphEvent, StateMap};
use hearth_protocol::{Event, PduDraft};
use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::{Value, json, value::to_raw_value};

pub(crate) const ALICE: &str = "@alice:one.test";
pub(crate) const BOB: &str = "@bob:two.test";
pub(crate) const CAROL: &str = "@carol:three.test";

/// The room versions from one to another.
pub(crate) fn versions(range: RangeInclusive<usize>) -> impl Iterator<Item = &'static str> {
    range.map(|number| ROOM_VERSIONS[number - 1].id)
}

/// All room versions.
pub(crate) fn all_versions() -> impl Iterator<Item = &'static str> {
    versions(1..=ROOM_VERSIONS.len())
}

/// `users` of the power levels in which Alice, the creator, has 100, or more than all without being
/// named.
pub(crate) fn with_alice(version: &str, users: &Value) -> Value {
    let mut users = users.clone();
    if rules_for(version).unwrap().authorization.creators == CreatorPower::UntilPowerLevels {
        users[ALICE] = json!(100);
    }
    users
}

/// Index of an event in its room.
pub(crate) type Id = usize;

/// A state, by index.
pub(crate) type State = StateMap<Id>;

/// The events of one room. Allowed and forbidden ones alike: what is allowed is the test's question.
pub(crate) struct TestRoom {
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) events: Vec<Event>,
    /// Those that the server whose room this is has rejected.
    pub(crate) rejected: BTreeSet<Id>,
    by_id: BTreeMap<OwnedEventId, Id>,
    room_id: Option<OwnedRoomId>,
    pub(crate) now: i64,
    pub(crate) depth: i64,
}

impl TestRoom {
    /// A room with Alice's create event and nothing else.
    pub(crate) fn new(version: &str, create: &Value) -> (Self, State) {
        let rules = rules_for(version).unwrap();
        let mut room = Self {
            rules,
            events: vec![],
            rejected: BTreeSet::new(),
            by_id: BTreeMap::new(),
            room_id: None,
            now: 1_000,
            depth: 0,
        };
        room.room_id = (rules.event_format.room_id == RoomIdFormat::ServerAssigned)
            .then(|| "!room:one.test".try_into().unwrap());
        let mut state = State::new();
        let mut content = create.clone();
        content["room_version"] = json!(version);
        if rules.authorization.creator == CreatorField::Content && content["creator"].is_null() {
            content["creator"] = json!(ALICE);
        }
        let create = room.event(
            &State::new(),
            &[],
            ALICE,
            "m.room.create",
            Some(""),
            &content,
        );
        room.room_id = Some(room.events[create].room_id().to_owned());
        room.apply(&mut state, create);
        (room, state)
    }

    /// The room of events that were made elsewhere.
    pub(crate) fn of_events(version: &str, events: Vec<Event>) -> Self {
        let ids = events.iter().enumerate();
        Self {
            rules: rules_for(version).unwrap(),
            by_id: ids
                .map(|(id, event)| (event.event_id().to_owned(), id))
                .collect(),
            room_id: Some(events[0].room_id().to_owned()),
            rejected: BTreeSet::new(),
            events,
            now: 0,
            depth: 0,
        }
    }

    /// A public room that Alice, Bob and Carol have joined; `users` are the power levels beside
    /// Alice's.
    pub(crate) fn with_members(version: &str, users: &Value) -> (Self, State) {
        let users = with_alice(version, users);
        let (mut room, mut state) = Self::new(version, &json!({}));
        room.send(
            &mut state,
            ALICE,
            "m.room.member",
            Some(ALICE),
            &json!({"membership": "join"}),
        );
        room.send(
            &mut state,
            ALICE,
            "m.room.power_levels",
            Some(""),
            &json!({"users": users}),
        );
        room.send(
            &mut state,
            ALICE,
            "m.room.join_rules",
            Some(""),
            &json!({"join_rule": "public"}),
        );
        for user in [BOB, CAROL] {
            room.send(
                &mut state,
                user,
                "m.room.member",
                Some(user),
                &json!({"membership": "join"}),
            );
        }
        (room, state)
    }

    /// Makes an event whose auth events are those of `state`. It is not applied. What a redaction
    /// redacts is taken from its content, and put where the version wants it.
    #[expect(clippy::too_many_arguments, reason = "an event has this many parts")]
    pub(crate) fn event(
        &mut self,
        state: &State,
        prev: &[Id],
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Id {
        let mut content = content.clone();
        let redacts = (kind == "m.room.redaction")
            .then(|| content.as_object_mut()?.remove("redacts"))
            .flatten();
        let mut draft = PduDraft {
            room_id: self.room_id.clone(),
            sender: sender.try_into().unwrap(),
            kind: kind.to_owned(),
            state_key: state_key.map(str::to_owned),
            content: to_raw_value(&content).unwrap(),
            prev_events: prev.iter().map(|id| self.id(*id)).collect(),
            auth_events: vec![],
            depth: self.depth,
            origin_server_ts: self.now,
            redacts: redacts.map(|id| id.as_str().unwrap().try_into().unwrap()),
        };
        self.now += 1;
        self.depth += 1;
        draft.auth_events = draft
            .auth_types(self.rules)
            .unwrap()
            .into_iter()
            .filter_map(|(kind, key)| state.get(&(kind.to_owned(), key.into_owned())))
            .map(|id| self.id(*id))
            .collect();
        self.sign(&draft)
    }

    pub(crate) fn sign(&mut self, draft: &PduDraft) -> Id {
        let server = draft.sender.server_name().to_owned();
        let key = SigningKey::from_seed("k", &[7; 32]).unwrap();
        let hash = |id: &EventId| {
            let known = self.known(id)?;
            Some(known.event.reference_hash(self.rules).unwrap())
        };
        let mut event = draft
            .sign_referencing(self.rules, &server, &key, hash)
            .unwrap();
        let voucher = event
            .member()
            .and_then(|member| member.join_authorised_via_users_server.present())
            .map(|user| user.server_name().to_owned());
        if let Some(voucher) = voucher.filter(|voucher| *voucher != server) {
            event = event.with_signature(self.rules, &voucher, &key).unwrap();
        }
        // The same words at the same time are the same event.
        if let Some(known) = self.by_id.get(event.event_id()) {
            return *known;
        }
        let id = self.events.len();
        self.by_id.insert(event.event_id().to_owned(), id);
        self.events.push(event);
        id
    }

    /// Makes an event that must be allowed by `state`, and applies it.
    pub(crate) fn send(
        &mut self,
        state: &mut State,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &Value,
    ) -> Id {
        // What follows the create event alone is its sender's join.
        let prev: &[Id] = if self.events.len() == 1 { &[0] } else { &[] };
        let id = self.event(state, prev, sender, kind, state_key, content);
        self.check(id, state).unwrap();
        self.apply(state, id);
        id
    }

    /// Puts a state event in its place, allowed or not.
    pub(crate) fn apply(&self, state: &mut State, id: Id) {
        let event = &self.events[id];
        let key = (
            event.kind().to_owned(),
            event.state_key().unwrap().to_owned(),
        );
        state.insert(key, id);
    }

    /// The state-dependent verdict on an event.
    pub(crate) fn check(&self, id: Id, state: &State) -> Result<(), AuthError> {
        check_state_dependent(self.rules, &self.events[id], &|kind: &str, key: &str| {
            self.get(state, kind, key)
        })
    }

    pub(crate) fn get(&self, state: &State, kind: &str, key: &str) -> Option<Event> {
        let id = state.get(&(kind.to_owned(), key.to_owned()))?;
        Some(self.events[*id].clone())
    }

    pub(crate) fn id(&self, id: Id) -> OwnedEventId {
        self.events[id].event_id().to_owned()
    }

    pub(crate) fn index(&self, id: &EventId) -> Id {
        self.by_id[id]
    }

    pub(crate) fn known(&self, id: &EventId) -> Option<KnownEvent> {
        let id = *self.by_id.get(id)?;
        Some(KnownEvent {
            event: self.events[id].clone(),
            rejected: self.rejected.contains(&id),
        })
    }

    pub(crate) fn graph_event(&self, id: Id) -> Option<GraphEvent<Id>> {
        let event = self.events.get(id)?.clone();
        Some(GraphEvent {
            auth_events: self.auth_events(id),
            event,
            rejected: self.rejected.contains(&id),
        })
    }

    pub(crate) fn auth_events(&self, id: Id) -> Arc<[Id]> {
        self.events[id]
            .auth_events()
            .iter()
            .map(|id| self.index(id))
            .collect()
    }

    /// The state that an event's own auth events form (with the create event, which every state has).
    pub(crate) fn state_of_auth_events(&self, id: Id) -> State {
        let mut state = State::new();
        self.apply(&mut state, 0);
        for auth_event in self.auth_events(id).iter() {
            self.apply(&mut state, *auth_event);
        }
        state
    }
}
