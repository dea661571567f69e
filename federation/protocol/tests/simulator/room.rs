//! A room as one server has it: its events, the state at each of them, its forward extremities.
//!
//! This is the smallest honest user of the rules: it follows server-server v1.19 §Checks performed on
//! receipt of a PDU and keeps whole states.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use hearth_protocol::event::{References, create_of_room_id};
use hearth_protocol::state_resolution::StateMap;
use hearth_protocol::{Event, RoomVersionRules, VerifiedPdu};
use ruma::{EventId, OwnedEventId, OwnedRoomId, UserId};

use crate::redaction;
use crate::referee::{Digest, Gid, Referee};

/// Number of an event on one server, in the order of its arrival there.
pub(crate) type Id = usize;

pub(crate) type State = StateMap<Id>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Allowed by its auth events; its place in the graph is not known.
    Outlier,
    Accepted,
    SoftFailed,
    Rejected,
}

#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) pdu: VerifiedPdu,
    pub(crate) gid: Gid,
    pub(crate) fate: Fate,
    pub(crate) auth: Arc<[Id]>,
    pub(crate) place: Option<Place>,
}

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) before: Rc<State>,
    pub(crate) after: Rc<State>,
    /// Whether the state before it was handed over by another server.
    pub(crate) anchored: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Judged(Fate),
    Duplicate,
    Missing {
        prev: Vec<OwnedEventId>,
        auth: Vec<OwnedEventId>,
    },
}

#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) id: OwnedRoomId,
    pub(crate) events: Vec<Held>,
    by_id: BTreeMap<OwnedEventId, Id>,
    pub(crate) extremities: BTreeSet<Id>,
    /// Events that accepted events follow, also through events that are not accepted.
    followed: BTreeSet<OwnedEventId>,
    pub(crate) current: Rc<State>,
    referee: Rc<Referee>,
}

impl Room {
    pub(crate) fn new(
        rules: &'static RoomVersionRules,
        id: OwnedRoomId,
        referee: Rc<Referee>,
    ) -> Self {
        Self {
            rules,
            id,
            events: Vec::new(),
            by_id: BTreeMap::new(),
            extremities: BTreeSet::new(),
            followed: BTreeSet::new(),
            current: Rc::default(),
            referee,
        }
    }

    pub(crate) fn find(&self, id: &EventId) -> Option<Id> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn held(&self, id: &EventId) -> Option<&Held> {
        Some(&self.events[self.find(id)?])
    }

    pub(crate) fn event(&self, id: Id) -> &Event {
        self.events[id].pdu.event()
    }

    fn placed(&self, id: &EventId) -> Option<(Id, &Place)> {
        let id = self.find(id)?;
        Some((id, self.events[id].place.as_ref()?))
    }

    pub(crate) fn at(&self, state: &State, kind: &str, key: &str) -> Option<Id> {
        state.get(&(kind.to_owned(), key.to_owned())).copied()
    }

    /// The content of a place of a state, read by nobody's rules.
    pub(crate) fn content(&self, state: &State, kind: &str, key: &str) -> serde_json::Value {
        self.at(state, kind, key)
            .and_then(|id| serde_json::from_str(self.event(id).content()).ok())
            .unwrap_or_default()
    }

    pub(crate) fn membership(&self, state: &State, user: &UserId) -> String {
        let content = self.content(state, "m.room.member", user.as_str());
        content["membership"].as_str().unwrap_or("leave").to_owned()
    }

    /// Everybody with this membership.
    pub(crate) fn members(&self, state: &State, membership: &str) -> Vec<String> {
        let wanted = format!("\"membership\":\"{membership}\"");
        let members = state.iter().filter(|((kind, _), id)| {
            kind == "m.room.member" && self.event(**id).content().contains(&wanted)
        });
        members.map(|((_, user), _)| user.clone()).collect()
    }

    pub(crate) fn digest(&self, state: &State) -> Digest {
        let mut digest: Digest = state.values().map(|id| self.events[*id].gid).collect();
        digest.sort_unstable();
        digest
    }

    /// Takes in an event whose prev events may be missing.
    pub(crate) fn receive(&mut self, pdu: &VerifiedPdu) -> Received {
        let event = pdu.event();
        if self.placed(event.event_id()).is_some() {
            return Received::Duplicate;
        }
        if event.prev_events().is_empty() && !self.events.iter().all(|held| held.place.is_none()) {
            // A room is created once; nothing is kept of this.
            return Received::Judged(Fate::Rejected);
        }
        let (prev, auth) = self.lacks(event);
        if !prev.is_empty() || !auth.is_empty() {
            return Received::Missing { prev, auth };
        }
        let states = event
            .prev_events()
            .iter()
            .filter_map(|id| Some(self.placed(id)?.1.after.clone()));
        let before = self.resolved(&states.collect::<Vec<_>>());
        Received::Judged(self.place(pdu, &before, false))
    }

    /// The prev events of an event that have no place here, and its auth events that are not here.
    pub(crate) fn lacks(&self, event: &Event) -> (Vec<OwnedEventId>, Vec<OwnedEventId>) {
        let lacking = |ids: References<'_>, here: &dyn Fn(&EventId) -> bool| {
            let lacking = ids.iter().filter(|id| !here(id));
            lacking.map(ToOwned::to_owned).collect()
        };
        (
            lacking(event.prev_events(), &|id| self.placed(id).is_some()),
            lacking(event.auth_events(), &|id| self.find(id).is_some()),
        )
    }

    /// Takes in an event with the state before it, as another server handed it over.
    pub(crate) fn anchor(&mut self, pdu: &VerifiedPdu, state: &[OwnedEventId]) -> Received {
        let event = pdu.event();
        if self.placed(event.event_id()).is_some() {
            return Received::Duplicate;
        }
        let auth: Vec<_> = event
            .auth_events()
            .iter()
            .chain(state.iter().map(|id| &**id))
            .filter(|id| self.find(id).is_none())
            .map(ToOwned::to_owned)
            .collect();
        if !auth.is_empty() {
            return Received::Missing {
                prev: Vec::new(),
                auth,
            };
        }
        let held = state.iter().filter_map(|id| self.find(id));
        let accepted = held.filter(|id| self.events[*id].fate != Fate::Rejected);
        let before: State = accepted
            .filter_map(|id| Some((key_of(self.event(id))?, id)))
            .collect();
        self.referee.note(|seen| seen.anchored += 1);
        Received::Judged(self.place(pdu, &Rc::new(before), true))
    }

    /// Keeps events that only authorize others, as far as their own auth events are here.
    pub(crate) fn add_outliers(&mut self, pdus: &[VerifiedPdu]) {
        let mut waiting: Vec<&VerifiedPdu> = pdus.iter().collect();
        loop {
            let before = waiting.len();
            waiting.retain(|pdu| !self.add_outlier(pdu));
            if waiting.is_empty() || waiting.len() == before {
                return;
            }
        }
    }

    fn add_outlier(&mut self, pdu: &VerifiedPdu) -> bool {
        let event = pdu.event();
        if self.find(event.event_id()).is_some() {
            return true;
        }
        let Some(auth) = self.auth_of(event) else {
            return false;
        };
        let gid = self.referee.number(event);
        let fate = match self.allowed_by_auth_events(gid, event, &auth) {
            Ok(()) => Fate::Outlier,
            Err(_) => Fate::Rejected,
        };
        let id = self.hold(pdu, gid, fate, auth, None);
        self.follow_if_followed(id);
        true
    }

    /// Keeps an event of another room, which no event of this one may name.
    pub(crate) fn hold_foreign(&mut self, pdu: &VerifiedPdu) {
        let gid = self.referee.number(pdu.event());
        self.hold(pdu, gid, Fate::Outlier, Arc::from([]), None);
    }

    fn auth_of(&self, event: &Event) -> Option<Arc<[Id]>> {
        if let Some(create) = create_of_room_id(self.rules, event.room_id())
            && create != event.event_id()
        {
            self.find(&create)?;
        }
        event.auth_events().iter().map(|id| self.find(id)).collect()
    }

    fn hold(
        &mut self,
        pdu: &VerifiedPdu,
        gid: Gid,
        fate: Fate,
        auth: Arc<[Id]>,
        place: Option<Place>,
    ) -> Id {
        let held = Held {
            pdu: pdu.clone(),
            gid,
            fate,
            auth,
            place,
        };
        let event_id = pdu.event().event_id();
        if let Some(id) = self.find(event_id) {
            self.events[id] = held;
            return id;
        }
        self.by_id.insert(event_id.to_owned(), self.events.len());
        self.events.push(held);
        self.events.len() - 1
    }

    fn place(&mut self, pdu: &VerifiedPdu, before: &Rc<State>, anchored: bool) -> Fate {
        let event = pdu.event();
        let gid = self.referee.number(event);
        let auth = self.auth_of(event).unwrap_or_else(|| Arc::from([]));
        let fate = self.judge(gid, event, &auth, before);
        self.referee.note(|seen| match fate {
            Fate::SoftFailed => seen.soft_fails += 1,
            Fate::Rejected => seen.rejected += 1,
            _ => {}
        });
        let place = Place {
            before: before.clone(),
            after: before.clone(),
            anchored,
        };
        let id = self.hold(pdu, gid, fate, auth, Some(place));
        // A soft-failed event changes the state after it, for the forks that build on it.
        if let (Some(key), true) = (key_of(event), fate != Fate::Rejected) {
            let mut after = (**before).clone();
            after.insert(key, id);
            if let Some(place) = &mut self.events[id].place {
                place.after = Rc::new(after);
            }
        }
        if fate == Fate::Accepted {
            self.refuse_banned(event, before);
            self.redact(event, before);
            self.extend(id);
        } else {
            self.follow_if_followed(id);
        }
        fate
    }

    /// Asks whether a redaction takes effect; all who have both events must say the same.
    fn redact(&self, event: &Event, before: &State) {
        let target = event.redacts().and_then(|target| self.held(target));
        if let (Some(gid), Some(target)) = (self.referee.find(event.event_id()), target) {
            let applies = redaction::applies(self, before, event, target.pdu.event());
            self.referee.redaction(gid, target.gid, applies);
        }
    }

    fn follow_if_followed(&mut self, id: Id) {
        let ends = self.extremities.len();
        if self.followed.contains(self.event(id).event_id()) {
            self.follow(id);
        }
        if self.extremities.len() != ends {
            self.settle_current();
        }
    }

    /// Moves the forward extremities to an accepted event, and the current state with them.
    fn extend(&mut self, id: Id) {
        let ends = self.extremities.clone();
        self.follow(id);
        if !self.followed.contains(self.event(id).event_id()) {
            self.extremities.insert(id);
        }
        if self.extremities != ends {
            self.settle_current();
        }
    }

    /// What an event follows is no end any more: directly, or through events that were not accepted
    /// here but elsewhere, or whose place is not known.
    fn follow(&mut self, id: Id) {
        let mut todo = self.event(id).prev_events().to_vec();
        while let Some(prev) = todo.pop() {
            if !self.followed.insert(prev.clone()) {
                continue;
            }
            let Some(at) = self.find(&prev) else {
                continue;
            };
            self.extremities.remove(&at);
            if self.events[at].fate != Fate::Accepted {
                todo.extend(self.event(at).prev_events().to_vec());
            }
        }
    }

    fn settle_current(&mut self) {
        let ends = self.extremities.iter();
        let states = ends.filter_map(|id| Some(self.events[*id].place.as_ref()?.after.clone()));
        self.current = self.resolved(&states.collect::<Vec<_>>());
        let ends = self.extremities.len();
        self.referee
            .note(|seen| seen.ends_max = seen.ends_max.max(ends));
    }

    /// Forgets where the room stood: it was left, others went on, and it is about to be joined again.
    pub(crate) fn forget_present(&mut self) {
        self.extremities.clear();
        self.current = Rc::default();
    }
}

pub(crate) fn key_of(event: &Event) -> Option<(String, String)> {
    Some((event.kind().to_owned(), event.state_key()?.to_owned()))
}
