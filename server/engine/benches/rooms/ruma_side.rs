//! The same forks for ruma-state-res, with the walks over auth chains that it leaves to its caller.

use std::collections::HashMap;
use std::hint::black_box;

use hearth_protocol::Event;
use hearth_types::ruma::events::{StateEventType, TimelineEventType};
use hearth_types::ruma::room_version_rules::RoomVersionRules;
use hearth_types::ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, UInt, UserId};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::value::RawValue;

use crate::measure::{ClockId, cpu_ms};
use crate::world::World;

struct Pdu {
    event: Event,
    event_id: OwnedEventId,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    kind: TimelineEventType,
    content: Box<RawValue>,
    states_room: bool,
}

impl ruma_state_res::Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.states_room.then(|| self.event.room_id())
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
        None
    }

    fn rejected(&self) -> bool {
        false
    }
}

type States = Vec<ruma_state_res::StateMap<OwnedEventId>>;

/// The room as ruma wants it.
pub(crate) struct RumaSide {
    rules: RoomVersionRules,
    events: HashMap<OwnedEventId, Pdu>,
    states: States,
}

impl RumaSide {
    pub(crate) fn new(version: &str, world: &World) -> Self {
        let events = world.events.iter().map(|event| {
            let pdu = Pdu {
                event: event.clone(),
                event_id: event.event_id().to_owned(),
                prev_events: event.prev_events().to_vec(),
                auth_events: event.auth_events().to_vec(),
                kind: event.kind().into(),
                content: RawValue::from_string(event.content().to_owned()).unwrap(),
                states_room: version != "12" || event.kind() != "m.room.create",
            };
            (event.event_id().to_owned(), pdu)
        });
        let state = |named: &crate::world::Named| {
            let entry = |((kind, key), index): (&(String, String), &usize)| {
                let place = (StateEventType::from(kind.as_str()), key.clone());
                (place, world.events[*index].event_id().to_owned())
            };
            named.iter().map(entry).collect()
        };
        Self {
            rules: match version {
                "12" => RoomVersionRules::V12,
                _ => RoomVersionRules::V11,
            },
            events: events.collect(),
            states: world.forks.iter().map(state).collect(),
        }
    }

    fn chain<'i>(&self, from: impl Iterator<Item = &'i OwnedEventId>) -> EventIdSet<OwnedEventId> {
        let mut chain = EventIdSet::new();
        let mut todo: Vec<&EventId> = from.map(|id| &**id).collect();
        while let Some(id) = todo.pop() {
            let (known, pdu) = self.events.get_key_value(id).unwrap();
            if chain.insert(known.clone()) {
                todo.extend(pdu.event.auth_events().iter());
            }
        }
        chain
    }

    /// What one resolution costs, in milliseconds, auth chains included.
    pub(crate) fn measure(&self, runs: u32) -> f64 {
        let mut least = f64::INFINITY;
        for _ in 0..runs {
            let start = cpu_ms(ClockId::ThreadCPUTime);
            let chains = self.states.iter().map(|state| self.chain(state.values()));
            let resolved = ruma_state_res::resolve(
                &self.rules.authorization,
                self.rules.state_res.v2_rules().unwrap(),
                &self.states,
                chains.collect(),
                |id| self.events.get(id),
                // What lies between conflicted events is conflicted itself in this room.
                |conflicted| Some(conflicted.values().flatten().cloned().collect()),
            );
            black_box(resolved.unwrap());
            least = least.min(cpu_ms(ClockId::ThreadCPUTime) - start);
        }
        least
    }
}
