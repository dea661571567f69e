//! What the rules say of an event, and of states that differ. Every question goes to the referee too.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;

use hearth_protocol::Event;
use hearth_protocol::auth_events::auth_types;
use hearth_protocol::auth_rules::{
    AuthError, KnownEvent, check_state_dependent, check_state_independent,
};
use hearth_protocol::event::create_of_room_id;
use hearth_protocol::state_resolution::{GraphEvent, resolve_states};

use super::{Fate, Id, Room, State, key_of};
use crate::referee::{Digest, Gid, fault};

impl Room {
    /// Looks at an accepted event without asking the rules: its sender is in the room, before the
    /// event and now, or is about to enter it.
    pub(super) fn refuse_banned(&self, event: &Event, before: &State) {
        // spec: rooms/v1 §Authorisation rules 4: aliases ask for nobody's membership.
        let aliases =
            self.rules.authorization.aliases_of_own_server && event.kind() == "m.room.aliases";
        if event.kind() == "m.room.create" || aliases || self.current.is_empty() {
            return;
        }
        for state in [before, &*self.current] {
            let membership = self.membership(state, event.sender());
            let enters = event.kind() == "m.room.member";
            if membership == "ban" || (membership != "join" && !enters) {
                fault(
                    "no word of the banned",
                    &format!("{event:?} by {membership}"),
                );
            }
        }
    }

    pub(super) fn judge(&self, gid: Gid, event: &Event, auth: &[Id], before: &State) -> Fate {
        if self.allowed_by_auth_events(gid, event, auth).is_err()
            || self.allows(gid, event, before).is_err()
        {
            return Fate::Rejected;
        }
        // The create event has no room before it.
        if !self.current.is_empty() && self.allows(gid, event, &self.current).is_err() {
            return Fate::SoftFailed;
        }
        Fate::Accepted
    }

    pub(super) fn allowed_by_auth_events(
        &self,
        gid: Gid,
        event: &Event,
        auth: &[Id],
    ) -> Result<(), AuthError> {
        let verdict = check_state_independent(self.rules, event, |id| {
            let held = self.held(id)?;
            Some(KnownEvent {
                event: held.pdu.event().clone(),
                rejected: held.fate == Fate::Rejected,
            })
        });
        let create = create_of_room_id(self.rules, event.room_id()).and_then(|id| self.find(&id));
        let auth = auth.iter().copied().chain(create);
        let rejected = auth
            .clone()
            .filter(|id| self.events[*id].fate == Fate::Rejected)
            .map(|id| self.events[id].gid);
        self.referee.independent(gid, &rejected.collect(), &verdict);
        verdict?;
        let state: State = auth
            .filter_map(|id| Some((key_of(self.event(id))?, id)))
            .collect();
        self.allows(gid, event, &state)
    }

    /// The verdict of a state on an event.
    pub(crate) fn allows(&self, gid: Gid, event: &Event, state: &State) -> Result<(), AuthError> {
        let verdict = check_state_dependent(self.rules, event, &|kind: &str, key: &str| {
            Some(self.event(self.at(state, kind, key)?).clone())
        });
        let mut types = vec![("m.room.create", Cow::Borrowed(""))];
        types.extend(auth_types(self.rules, event));
        let asked: BTreeSet<Gid> = types
            .iter()
            .filter_map(|(kind, key)| Some(self.events[self.at(state, kind, key)?].gid))
            .collect();
        let asked: Vec<Gid> = asked.into_iter().collect();
        self.referee.dependent(gid, &asked, &verdict, |kind, key| {
            Some(self.events[self.at(state, kind, key)?].gid)
        });
        verdict
    }

    /// One state of several.
    pub(crate) fn resolved(&self, states: &[Rc<State>]) -> Rc<State> {
        let mut distinct: Vec<Rc<State>> = Vec::new();
        for state in states {
            if !distinct
                .iter()
                .any(|other| Rc::ptr_eq(other, state) || other == state)
            {
                distinct.push(state.clone());
            }
        }
        match distinct.as_slice() {
            [] => Rc::default(),
            [only] => only.clone(),
            several => Rc::new(self.resolve(several)),
        }
    }

    fn resolve(&self, states: &[Rc<State>]) -> State {
        let maps: Vec<State> = states.iter().map(|state| (**state).clone()).collect();
        let resolved = resolve_states(self.rules, &maps, |id: Id| {
            let held = &self.events[id];
            Some(GraphEvent {
                event: held.pdu.event().clone(),
                auth_events: held.auth.clone(),
                rejected: held.fate == Fate::Rejected,
            })
        });
        let Ok(resolved) = resolved else {
            fault(
                "completeness",
                "state resolution lacks events of a closed auth chain",
            );
        };
        let digests: Vec<Digest> = maps.iter().map(|state| self.digest(state)).collect();
        let rejected = self
            .events
            .iter()
            .filter(|held| held.fate == Fate::Rejected)
            .map(|held| held.gid)
            .collect();
        let result = self.digest(&resolved);
        self.referee.resolution(&digests, &rejected, &result);
        resolved
    }
}
