//! The second implementation: ruma's, asked the same questions.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use hearth_protocol::Event;
use hearth_protocol::auth_rules::KnownEvent;
use hearth_protocol::room_version::RoomIdFormat;
use ruma::events::{StateEventType, TimelineEventType};
use ruma::room_version_rules::RoomVersionRules;
use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, RoomVersionId, UInt, UserId,
};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::value::RawValue;

use crate::test_room::{Id, State, TestRoom};

pub(crate) fn rules(version: &str) -> RoomVersionRules {
    let version = RoomVersionId::try_from(version).unwrap();
    version.rules().expect("ruma knows all versions")
}

/// An event as ruma wants to see it.
#[derive(Clone)]
pub(crate) struct RumaPdu {
    event: Event,
    event_id: OwnedEventId,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    kind: TimelineEventType,
    content: Box<RawValue>,
    redacts: Option<OwnedEventId>,
    room_id: Option<ruma::OwnedRoomId>,
    rejected: bool,
}

impl RumaPdu {
    fn new(known: &KnownEvent, create_has_room_id: bool) -> Self {
        let event = &known.event;
        let hides_room_id = event.kind() == "m.room.create" && !create_has_room_id;
        Self {
            event: event.clone(),
            event_id: event.event_id().to_owned(),
            prev_events: event.prev_events().to_vec(),
            auth_events: event.auth_events().to_vec(),
            kind: event.kind().into(),
            content: RawValue::from_string(event.content().to_owned()).unwrap(),
            redacts: event.redacts().map(ToOwned::to_owned),
            room_id: (!hides_room_id).then(|| event.room_id().to_owned()),
            rejected: known.rejected,
        }
    }
}

impl ruma_state_res::Event for RumaPdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        self.event.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::try_from(self.event.origin_server_ts()).unwrap())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.event.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

impl TestRoom {
    fn version(&self) -> &str {
        self.rules.id
    }

    fn ruma_pdu(&self, id: &EventId) -> Option<RumaPdu> {
        let known = self.known(id)?;
        let states_room_id = self.rules.event_format.room_id == RoomIdFormat::ServerAssigned;
        Some(RumaPdu::new(&known, states_room_id))
    }

    /// ruma's state-dependent verdict.
    pub(crate) fn ruma_check(&self, id: Id, state: &State) -> Result<(), String> {
        let pdu = self.ruma_pdu(&self.id(id)).unwrap();
        ruma_state_res::check_state_dependent_auth_rules(
            &rules(self.version()).authorization,
            pdu,
            |kind: &StateEventType, key: &str| {
                let event = self.get(state, &kind.to_string(), key)?;
                self.ruma_pdu(event.event_id())
            },
        )
    }

    /// ruma's state-independent verdict.
    pub(crate) fn ruma_check_independent(&self, id: Id) -> Result<(), String> {
        let pdu = self.ruma_pdu(&self.id(id)).unwrap();
        ruma_state_res::check_state_independent_auth_rules(
            &rules(self.version()).authorization,
            pdu,
            |id: &EventId| self.ruma_pdu(id),
        )
    }

    /// ruma's resolution of `states`.
    pub(crate) fn ruma_resolve(&self, states: &[State]) -> State {
        let maps: Vec<ruma_state_res::StateMap<OwnedEventId>> = states
            .iter()
            .map(|state| {
                let entry = |((kind, key), id): (&(String, String), &Id)| {
                    (
                        (StateEventType::from(kind.as_str()), key.clone()),
                        self.id(*id),
                    )
                };
                state.iter().map(entry).collect()
            })
            .collect();
        let chains = states
            .iter()
            .map(|state| self.chain(state.values().copied()))
            .map(|chain| {
                chain
                    .into_iter()
                    .map(|id| self.id(id))
                    .collect::<EventIdSet<_>>()
            })
            .collect();
        let rules = rules(self.version());
        let resolved = ruma_state_res::resolve(
            &rules.authorization,
            rules.state_res.v2_rules().unwrap(),
            &maps,
            chains,
            |id| self.ruma_pdu(id),
            |conflicted| {
                let ids = conflicted
                    .values()
                    .flatten()
                    .map(|id| self.index(id.borrow()));
                let subgraph = self.naive_subgraph(&ids.collect());
                Some(subgraph.into_iter().map(|id| self.id(id)).collect())
            },
        )
        .unwrap();
        resolved
            .into_iter()
            .map(|((kind, key), id)| ((kind.to_string(), key), self.index(&id)))
            .collect()
    }

    /// `from` and everything in their auth chains.
    pub(crate) fn chain(&self, from: impl Iterator<Item = Id>) -> BTreeSet<Id> {
        let mut chain = BTreeSet::new();
        let mut todo: Vec<Id> = from.collect();
        while let Some(id) = todo.pop() {
            if chain.insert(id) {
                todo.extend(self.auth_events(id).iter());
            }
        }
        chain
    }

    /// The conflicted state subgraph by its definition: what lies below one conflicted event and above
    /// another.
    pub(crate) fn naive_subgraph(&self, conflicted: &BTreeSet<Id>) -> BTreeSet<Id> {
        self.chain(conflicted.iter().copied())
            .into_iter()
            .filter(|id| {
                self.chain([*id].into_iter())
                    .intersection(conflicted)
                    .next()
                    .is_some()
            })
            .collect()
    }
}
