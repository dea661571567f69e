//! A room computed anew from all of its events, as the specification says it, without anything that
//! the engines remember: the judge of what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::auth_rules::{
    KnownEvent, StateView, check_state_dependent, check_state_independent,
};
use hearth_protocol::event::{Event, Membership, create_of_room_id};
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::state_resolution::{GraphEvent, StateMap, resolve_states};
use hearth_types::ruma::{EventId, OwnedEventId, RoomId, UserId};
use serde_json::Value;

/// An event with what the rules make of it.
struct Judged {
    event: Event,
    auth: Arc<[usize]>,
    rejected: bool,
    before: StateMap<usize>,
    after: StateMap<usize>,
    /// The events that it follows, at whatever distance.
    ancestors: BTreeSet<usize>,
}

/// A room computed anew.
pub(crate) struct Model {
    rules: &'static RoomVersionRules,
    events: Vec<Judged>,
    by_id: BTreeMap<OwnedEventId, usize>,
}

struct View<'a>(&'a Model, StateMap<usize>);

impl StateView for View<'_> {
    fn get(&self, kind: &str, state_key: &str) -> Option<Event> {
        let at = self.1.get(&(kind.to_owned(), state_key.to_owned()))?;
        Some(self.0.events[*at].event.clone())
    }
}

impl Model {
    /// Computes a room from all of its events. Those that name events which nobody has are left out.
    pub(crate) fn of(
        rules: &'static RoomVersionRules,
        room_id: &RoomId,
        events: BTreeMap<OwnedEventId, Event>,
    ) -> Self {
        let mut model = Self {
            rules,
            events: Vec::new(),
            by_id: BTreeMap::new(),
        };
        let mut waiting = events;
        loop {
            let ready: Vec<OwnedEventId> = waiting
                .values()
                .filter(|event| model.is_ready(event, room_id))
                .map(|event| event.event_id().to_owned())
                .collect();
            if ready.is_empty() {
                return model;
            }
            for id in ready {
                let event = waiting.remove(&id).unwrap();
                model.judge(event);
            }
        }
    }

    fn is_ready(&self, event: &Event, room_id: &RoomId) -> bool {
        let here = |id: &EventId| self.by_id.contains_key(id);
        let is_create = event.kind() == "m.room.create";
        let create = create_of_room_id(self.rules, room_id).filter(|_| !is_create);
        event.room_id() == room_id
            && (is_create || !event.prev_events().is_empty())
            && event.prev_events().iter().all(here)
            && event
                .auth_events()
                .iter()
                .chain(create.as_deref())
                .all(here)
    }

    fn judge(&mut self, event: Event) {
        let prev: Vec<usize> = event
            .prev_events()
            .iter()
            .map(|id| self.by_id[id])
            .collect();
        let auth: Vec<usize> = event
            .auth_events()
            .iter()
            .map(|id| self.by_id[id])
            .collect();
        let before = self.resolve(&prev);
        let mut ancestors: BTreeSet<usize> = prev.iter().copied().collect();
        for prev in &prev {
            ancestors.extend(&self.events[*prev].ancestors);
        }
        let rejected = event.kind() != "m.room.create" && !self.allows(&event, &auth, &before);
        let mut after = before.clone();
        if let Some(state_key) = event.state_key()
            && !rejected
        {
            let place = (event.kind().to_owned(), state_key.to_owned());
            after.insert(place, self.events.len());
        }
        self.by_id
            .insert(event.event_id().to_owned(), self.events.len());
        self.events.push(Judged {
            event,
            auth: auth.into(),
            rejected,
            before,
            after,
            ancestors,
        });
    }

    fn allows(&self, event: &Event, auth: &[usize], before: &StateMap<usize>) -> bool {
        let lookup = |id: &EventId| {
            let judged = &self.events[*self.by_id.get(id)?];
            Some(KnownEvent {
                event: judged.event.clone(),
                rejected: judged.rejected,
            })
        };
        let mut cited: StateMap<usize> = StateMap::new();
        let create = create_of_room_id(self.rules, event.room_id());
        let create = create.and_then(|id| self.by_id.get(&id).copied());
        for at in auth.iter().copied().chain(create) {
            let judged = &self.events[at].event;
            if let Some(state_key) = judged.state_key() {
                cited.insert((judged.kind().to_owned(), state_key.to_owned()), at);
            }
        }
        check_state_independent(self.rules, event, lookup).is_ok()
            && check_state_dependent(self.rules, event, &View(self, cited)).is_ok()
            && check_state_dependent(self.rules, event, &View(self, before.clone())).is_ok()
    }

    fn resolve(&self, prev: &[usize]) -> StateMap<usize> {
        let mut states: Vec<StateMap<usize>> = Vec::new();
        for at in prev {
            let after = &self.events[*at].after;
            if !states.contains(after) {
                states.push(after.clone());
            }
        }
        match states.as_slice() {
            [] => StateMap::new(),
            [one] => one.clone(),
            _ => {
                let events = |at: usize| {
                    self.events.get(at).map(|judged| GraphEvent {
                        event: judged.event.clone(),
                        auth_events: Arc::clone(&judged.auth),
                        rejected: judged.rejected,
                    })
                };
                resolve_states(self.rules, &states, events).unwrap()
            }
        }
    }

    fn named(&self, state: &StateMap<usize>) -> BTreeSet<OwnedEventId> {
        let ids = state.values().map(|at| self.events[*at].event.event_id());
        ids.map(ToOwned::to_owned).collect()
    }

    fn at(&self, id: &EventId) -> Option<&Judged> {
        Some(&self.events[*self.by_id.get(id)?])
    }

    pub(crate) fn has(&self, id: &EventId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(crate) fn event(&self, id: &EventId) -> Option<&Event> {
        Some(&self.at(id)?.event)
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|judged| &judged.event)
    }

    /// The state before an event, as the ids of its events.
    pub(crate) fn before(&self, id: &EventId) -> Option<BTreeSet<OwnedEventId>> {
        Some(self.named(&self.at(id)?.before))
    }

    pub(crate) fn rejected(&self, id: &EventId) -> Option<bool> {
        Some(self.at(id)?.rejected)
    }

    /// The state at some ends of the graph.
    pub(crate) fn current(&self, ends: &BTreeSet<OwnedEventId>) -> BTreeSet<OwnedEventId> {
        let ends: Vec<usize> = ends
            .iter()
            .filter_map(|id| self.by_id.get(id).copied())
            .collect();
        self.named(&self.resolve(&ends))
    }

    /// Whether one event comes before another.
    pub(crate) fn precedes(&self, earlier: &EventId, later: &EventId) -> bool {
        let (earlier, later) = (self.by_id.get(earlier), self.at(later));
        matches!((earlier, later), (Some(earlier), Some(later)) if later.ancestors.contains(earlier))
    }

    /// Whether two events of this type, neither of which knew of the other, set the same place.
    pub(crate) fn has_conflict(&self, kind: &str) -> bool {
        let of_kind: Vec<&Event> = self.events().filter(|event| event.kind() == kind).collect();
        of_kind.iter().enumerate().any(|(nth, one)| {
            of_kind[nth + 1..].iter().any(|two| {
                let apart = !self.precedes(one.event_id(), two.event_id());
                apart && !self.precedes(two.event_id(), one.event_id())
            })
        })
    }

    /// Whether the graph has two ends at any place.
    pub(crate) fn has_fork(&self) -> bool {
        let mut children: BTreeMap<OwnedEventId, u32> = BTreeMap::new();
        for prev in self.events().flat_map(|event| event.prev_events().to_vec()) {
            *children.entry(prev).or_default() += 1;
        }
        children.values().any(|count| *count > 1)
    }

    fn content(&self, state: &StateMap<usize>, kind: &str, state_key: &str, key: &str) -> String {
        let at = state.get(&(kind.to_owned(), state_key.to_owned()));
        let content = at.map(|at| self.events[*at].event.content());
        let content: Value =
            content.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        content[key].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the room's history visibility shows an event to a person, by the words of the
    /// specification for the state before or after the event.
    ///
    /// spec: client-server v1.19 §Server behaviour of §Room History Visibility.
    pub(crate) fn may_see(&self, id: &EventId, user: &UserId) -> bool {
        let Some(judged) = self.at(id) else {
            return false;
        };
        let around = [&judged.before, &judged.after];
        around.into_iter().any(|visible| {
            let kind = "m.room.history_visibility";
            let visibility = self.content(visible, kind, "", "history_visibility");
            around.into_iter().any(|state| {
                let membership = self.content(state, "m.room.member", user.as_str(), "membership");
                match (visibility.as_str(), membership.as_str()) {
                    ("world_readable", _) | (_, "join") | ("invited", "invite") => true,
                    ("joined" | "invited", _) => false,
                    // `shared`, and all that is not understood.
                    _ => self.joins_after(id, user),
                }
            })
        })
    }

    /// Whether a person joined at any point after an event was sent. A join that knew nothing of the
    /// event, and that the event knew nothing of, counts: nothing says which of them was first.
    fn joins_after(&self, id: &EventId, user: &UserId) -> bool {
        self.joins(user)
            .any(|join| join.event_id() != id && !self.precedes(join.event_id(), id))
    }

    /// The joins of a person that the rules let pass.
    fn joins<'a>(&'a self, user: &'a UserId) -> impl Iterator<Item = &'a Event> {
        let accepted = self.events.iter().filter(|judged| !judged.rejected);
        accepted.map(|judged| &judged.event).filter(move |event| {
            let member = event.member().and_then(|member| member.membership);
            event.state_key() == Some(user.as_str()) && member == Some(Membership::Join)
        })
    }

    /// What decides whether somebody may see an event, for an error.
    pub(crate) fn about(&self, id: &EventId, user: &UserId) -> String {
        let Some(judged) = self.at(id) else {
            return "an event that nobody can place".to_owned();
        };
        let [before, after] = [&judged.before, &judged.after].map(|state| {
            let kind = "m.room.history_visibility";
            let visibility = self.content(state, kind, "", "history_visibility");
            let membership = self.content(state, "m.room.member", user.as_str(), "membership");
            format!("{visibility}/{membership}")
        });
        let (kind, key) = (judged.event.kind(), judged.event.state_key());
        let rejected = judged.rejected;
        format!("{kind} {key:?}, rejected {rejected}, before {before}, after {after}")
    }

    /// Whether somebody was ever a member of the room, by any event that was not rejected.
    pub(crate) fn ever_member(&self, user: &UserId) -> bool {
        self.joins(user).next().is_some()
    }

    /// The people who are named by any membership of the room.
    pub(crate) fn people(&self) -> BTreeSet<String> {
        let members = self.events().filter(|event| event.member().is_some());
        members
            .filter_map(|event| event.state_key().map(ToOwned::to_owned))
            .collect()
    }
}
