//! The second implementation: ruma's, asked the same questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::{Event, RoomVersionRules};
use ruma::events::{StateEventType, TimelineEventType};
use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, RoomVersionId,
    UInt, UserId,
};
use ruma_state_res::utils::event_id_set::EventIdSet;
use serde_json::value::RawValue;

use super::{Digest, Gid};

pub(super) struct Second {
    rules: ruma::room_version_rules::RoomVersionRules,
    pdus: Vec<Arc<Pdu>>,
    numbers: BTreeMap<OwnedEventId, Gid>,
    auth: Vec<Vec<Gid>>,
}

struct Pdu {
    event: Event,
    event_id: OwnedEventId,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    kind: TimelineEventType,
    content: Box<RawValue>,
    redacts: Option<OwnedEventId>,
    names_room: bool,
}

/// An event, and whether the server that asks has rejected it.
#[derive(Clone)]
struct Judged(Arc<Pdu>, bool);

impl Second {
    pub(super) fn new(rules: &RoomVersionRules) -> Self {
        let version = RoomVersionId::try_from(rules.id).unwrap();
        Self {
            rules: version.rules().unwrap(),
            pdus: Vec::new(),
            numbers: BTreeMap::new(),
            auth: Vec::new(),
        }
    }

    /// Takes the next event in, and compares its id.
    pub(super) fn add(&mut self, event: &Event) -> Result<(), String> {
        let object: CanonicalJsonObject =
            serde_json::from_slice(event.json()).map_err(|error| error.to_string())?;
        if !self.rules.event_format.require_event_id {
            let hash = ruma_signatures::reference_hash(&object, &self.rules)
                .map_err(|error| error.to_string())?;
            if event.event_id().as_str() != format!("${hash}") {
                return Err(format!("its id should be ${hash}"));
            }
        }
        let is_create = event.kind() == "m.room.create";
        let auth = event.auth_events().iter().filter_map(|id| self.find(id));
        let auth = auth.collect();
        self.auth.push(auth);
        let gid = self.pdus.len();
        self.numbers.insert(event.event_id().to_owned(), gid);
        self.pdus.push(Arc::new(Pdu {
            event: event.clone(),
            event_id: event.event_id().to_owned(),
            prev_events: event.prev_events().to_vec(),
            auth_events: event.auth_events().to_vec(),
            kind: event.kind().into(),
            content: RawValue::from_string(event.content().to_owned()).unwrap(),
            redacts: event.redacts().map(ToOwned::to_owned),
            names_room: !is_create || !self.rules.authorization.room_create_event_id_as_room_id,
        }));
        Ok(())
    }

    pub(super) fn find(&self, id: &EventId) -> Option<Gid> {
        self.numbers.get(id).copied()
    }

    pub(super) fn independent(&self, gid: Gid, rejected: &BTreeSet<Gid>) -> Result<(), String> {
        ruma_state_res::check_state_independent_auth_rules(
            &self.rules.authorization,
            Judged(self.pdus[gid].clone(), false),
            |id: &EventId| {
                let gid = self.find(id)?;
                Some(Judged(self.pdus[gid].clone(), rejected.contains(&gid)))
            },
        )
    }

    pub(super) fn dependent(
        &self,
        gid: Gid,
        state: impl Fn(&str, &str) -> Option<Gid>,
    ) -> Result<(), String> {
        ruma_state_res::check_state_dependent_auth_rules(
            &self.rules.authorization,
            Judged(self.pdus[gid].clone(), false),
            |kind: &StateEventType, key: &str| {
                let kind = kind.to_string();
                match state(&kind, key) {
                    Some(gid) => Some(Judged(self.pdus[gid].clone(), false)),
                    None if kind == "m.room.join_rules" => {
                        Some(Judged(self.invite_only(gid), false))
                    }
                    None => None,
                }
            },
        )
    }

    /// The join rules of a state that has none. The specification does not say; Synapse, and we, take
    /// such a room as `invite`, ruma lets nobody in.
    fn invite_only(&self, asked: Gid) -> Arc<Pdu> {
        let asked = &self.pdus[asked];
        Arc::new(Pdu {
            event: asked.event.clone(),
            event_id: asked.event_id.clone(),
            prev_events: asked.prev_events.clone(),
            auth_events: asked.auth_events.clone(),
            kind: "m.room.join_rules".into(),
            content: RawValue::from_string(r#"{"join_rule":"invite"}"#.to_owned()).unwrap(),
            redacts: None,
            names_room: true,
        })
    }

    pub(super) fn event(&self, gid: Gid) -> &Event {
        &self.pdus[gid].event
    }

    pub(super) fn resolve(&self, states: &[Digest], rejected: &BTreeSet<Gid>) -> Digest {
        let Some(rules) = self.rules.state_res.v2_rules() else {
            return self.resolve_v1(states);
        };
        let maps: Vec<ruma_state_res::StateMap<OwnedEventId>> = states
            .iter()
            .map(|state| state.iter().map(|gid| self.entry(*gid)).collect())
            .collect();
        let chains = states.iter().map(|state| self.ids(&self.chain(state)));
        let resolved = ruma_state_res::resolve(
            &self.rules.authorization,
            rules,
            &maps,
            chains.collect(),
            |id| {
                let gid = self.find(id)?;
                Some(Judged(self.pdus[gid].clone(), rejected.contains(&gid)))
            },
            |conflicted| {
                let conflicted: BTreeSet<Gid> = conflicted
                    .values()
                    .flatten()
                    .filter_map(|id| self.find(id))
                    .collect();
                Some(self.ids(&self.subgraph(&conflicted)))
            },
        );
        let mut digest: Digest = resolved
            .unwrap()
            .values()
            .filter_map(|id| self.find(id))
            .collect();
        digest.sort_unstable();
        digest
    }

    fn entry(&self, gid: Gid) -> ((StateEventType, String), OwnedEventId) {
        let pdu = &self.pdus[gid];
        let state_key = pdu.event.state_key().unwrap_or_default().to_owned();
        ((pdu.event.kind().into(), state_key), pdu.event_id.clone())
    }

    fn ids(&self, gids: &BTreeSet<Gid>) -> EventIdSet<OwnedEventId> {
        gids.iter()
            .map(|gid| self.pdus[*gid].event_id.clone())
            .collect()
    }

    /// `from` and all that is in their auth chains.
    pub(super) fn chain(&self, from: &[Gid]) -> BTreeSet<Gid> {
        let mut chain = BTreeSet::new();
        let mut todo = from.to_vec();
        while let Some(gid) = todo.pop() {
            if chain.insert(gid) {
                todo.extend(&self.auth[gid]);
            }
        }
        chain
    }

    /// What lies below one conflicted event and above another. An event is younger than its auth
    /// events, so one pass over the numbers finds who reaches whom.
    fn subgraph(&self, conflicted: &BTreeSet<Gid>) -> BTreeSet<Gid> {
        let from: Vec<Gid> = conflicted.iter().copied().collect();
        let mut reaches = BTreeSet::new();
        for gid in self.chain(&from) {
            if conflicted.contains(&gid) || self.auth[gid].iter().any(|auth| reaches.contains(auth))
            {
                reaches.insert(gid);
            }
        }
        reaches
    }
}

impl ruma_state_res::Event for Judged {
    type Id = OwnedEventId;

    fn event_id(&self) -> &OwnedEventId {
        &self.0.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.0.names_room.then(|| self.0.event.room_id())
    }

    fn sender(&self) -> &UserId {
        self.0.event.sender()
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        MilliSecondsSinceUnixEpoch(UInt::try_from(self.0.event.origin_server_ts()).unwrap())
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.0.kind
    }

    fn content(&self) -> &RawValue {
        &self.0.content
    }

    fn state_key(&self) -> Option<&str> {
        self.0.event.state_key()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.0.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &OwnedEventId> + '_> {
        Box::new(self.0.auth_events.iter())
    }

    fn redacts(&self) -> Option<&OwnedEventId> {
        self.0.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.1
    }
}
