//! What readers see of a room, as the specification has it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::rooms::known::Known;

/// State by place: what holds it.
pub(super) type State = BTreeMap<(String, String), String>;

/// The types of which somebody outside is shown what they join.
///
/// spec: client-server v1.19 §Stripped state.
const STRIPPED: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

/// What the model knows of an event.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) state_key: Option<String>,
    pub(super) sender: String,
    pub(super) content: Value,
    pub(super) time_ms: i64,
}

impl Fact {
    pub(super) fn of(known: &Known) -> Self {
        let event = &known.event;
        Self {
            id: event.event_id().to_string(),
            kind: event.kind().to_owned(),
            state_key: event.state_key().map(str::to_owned),
            sender: event.sender().to_string(),
            content: serde_json::from_str(event.content()).unwrap(),
            time_ms: event.origin_server_ts(),
        }
    }

    pub(super) fn membership_of(&self, user_id: &str) -> Option<&str> {
        let own = self.kind == "m.room.member" && self.state_key.as_deref() == Some(user_id);
        own.then(|| self.content["membership"].as_str().unwrap())
    }

    fn visibility(&self) -> Option<&str> {
        let it = self.kind == "m.room.history_visibility";
        it.then(|| self.content["history_visibility"].as_str().unwrap())
    }

    pub(super) fn target(&self, rel_type: &str) -> Option<&str> {
        let relation = &self.content["m.relates_to"];
        let is = relation["rel_type"] == rel_type;
        is.then(|| relation["event_id"].as_str().unwrap())
    }

    fn place(&self) -> Option<(String, String)> {
        Some((self.kind.clone(), self.state_key.clone()?))
    }
}

/// One reader of a room.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    pub(super) facts: &'a [Fact],
    pub(super) user_id: &'a str,
    pub(super) forgotten: bool,
    pub(super) ignored: &'a BTreeSet<String>,
}

/// How a reader stands to the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Inside,
    /// They see up to this event, with which their last stay ended; beyond it, what everybody may see.
    Left(usize),
    /// They look in, since everybody may.
    Outside,
    Refused,
}

impl Model<'_> {
    pub(super) fn memberships(&self) -> Vec<(usize, &str)> {
        let own = self.facts.iter().enumerate();
        own.filter_map(|(at, fact)| Some((at, fact.membership_of(self.user_id)?)))
            .collect()
    }

    /// The membership that somebody was given last, and by which event.
    pub(super) fn membership(&self) -> Option<(usize, &str)> {
        self.memberships().pop()
    }

    pub(super) fn is(&self, membership: &str) -> bool {
        self.membership().is_some_and(|(_, it)| it == membership)
    }

    /// Whether they are out of a room that they had to do with.
    pub(super) fn is_out(&self) -> bool {
        self.is("leave") || self.is("ban")
    }

    pub(super) fn membership_after(&self, at: Option<usize>) -> &str {
        let own = self.memberships().into_iter().rev();
        let mut own = own.filter(|(own, _)| at.is_some_and(|at| *own <= at));
        own.next().map_or("leave", |(_, membership)| membership)
    }

    fn visibility_after(&self, at: Option<usize>) -> &str {
        let facts = at.map_or(&self.facts[..0], |at| &self.facts[..=at]);
        facts
            .iter()
            .rev()
            .find_map(Fact::visibility)
            .unwrap_or("shared")
    }

    /// Who may read the room now.
    pub(super) fn visibility(&self) -> &str {
        self.visibility_after(Some(self.facts.len() - 1))
    }

    pub(super) fn standing(&self) -> Standing {
        let last = self.facts.len() - 1;
        let now = self.membership_after(Some(last));
        if now == "join" {
            return Standing::Inside;
        }
        let own = self.memberships();
        let joined = own
            .iter()
            .rposition(|(_, membership)| *membership == "join");
        let out = matches!(now, "leave" | "ban") && !self.forgotten;
        if let Some(joined) = joined.filter(|_| out) {
            return Standing::Left(own[joined + 1].0);
        }
        match self.is_open() {
            true => Standing::Outside,
            false => Standing::Refused,
        }
    }

    /// Whether everybody may look in now.
    pub(super) fn is_open(&self) -> bool {
        self.visibility() == "world_readable"
    }

    pub(super) fn sees(&self, at: usize) -> bool {
        let fact = &self.facts[at];
        let unheard = fact.state_key.is_none() && self.ignored.contains(&fact.sender);
        !unheard && self.may_see(at)
    }

    /// The same of who wants to hear everybody.
    pub(super) fn may_see(&self, at: usize) -> bool {
        let fact = &self.facts[at];
        let standing = self.standing();
        let beyond = matches!(standing, Standing::Left(end) if at > end);
        if standing == Standing::Refused || (beyond && !self.is_open()) {
            return false;
        }
        let before = at.checked_sub(1);
        let mut visibilities = vec![self.visibility_after(Some(at))];
        if fact.visibility().is_some() {
            visibilities.push(self.visibility_after(before));
        }
        if visibilities.contains(&"world_readable") {
            return true;
        }
        if standing == Standing::Outside || beyond {
            return false;
        }
        let mut memberships = vec![self.membership_after(Some(at))];
        if fact.membership_of(self.user_id).is_some() {
            memberships.push(self.membership_after(before));
        }
        let own = self.memberships();
        let joins_later = own.iter().any(|(own, what)| *own > at && *what == "join");
        memberships.contains(&"join")
            || (visibilities.contains(&"shared") && joins_later)
            || (visibilities.contains(&"invited") && memberships.contains(&"invite"))
    }

    /// What a state event took the place of, where the reader may see that.
    ///
    /// spec: client-server v1.19 §Room event format: `prev_content` is told if "the client has permission
    /// to see the previous content".
    pub(super) fn replaced(&self, at: usize) -> Option<&Value> {
        let place = self.facts[at].place()?;
        let mut before = self.facts[..at].iter();
        let before = before.rposition(|fact| fact.place().as_ref() == Some(&place))?;
        let fact = &self.facts[before];
        let was_inside = self.membership_after(at.checked_sub(1)) == "join";
        let is_own = fact.membership_of(self.user_id).is_some();
        (self.may_see(before) || was_inside || is_own).then_some(&fact.content)
    }

    /// The ids of what the reader sees, oldest first, as far as it is `wanted`.
    pub(super) fn seen(&self, wanted: impl Fn(&Fact) -> bool) -> Vec<String> {
        let all = self.facts.iter().enumerate();
        all.filter(|(at, fact)| wanted(fact) && self.sees(*at))
            .map(|(_, fact)| fact.id.clone())
            .collect()
    }

    /// The same of events from one place to another.
    pub(super) fn seen_between(&self, first: usize, last: usize) -> Vec<String> {
        let facts = self.facts[..=last].iter().enumerate().skip(first);
        facts
            .filter(|(at, _)| self.sees(*at))
            .map(|(_, fact)| fact.id.clone())
            .collect()
    }

    /// The same as far as a client is told of it that follows the room: up to the end of a stay.
    pub(super) fn told(&self) -> Vec<String> {
        self.seen_between(0, self.end())
    }

    /// The last event of a stay that ended, else the last of all.
    pub(super) fn end(&self) -> usize {
        match self.standing() {
            Standing::Left(end) => end,
            _ => self.facts.len() - 1,
        }
    }

    /// The state that the reader is shown, by place: the current one where everybody may look in.
    pub(super) fn state(&self) -> State {
        match self.is_open() {
            true => self.state_at(self.facts.len() - 1),
            false => self.state_at(self.end()),
        }
    }

    pub(super) fn state_at(&self, end: usize) -> State {
        let facts = self.facts[..=end].iter();
        facts
            .filter_map(|fact| Some((fact.place()?, fact.id.clone())))
            .collect()
    }

    /// Keeps of a timeline what the state at its end can be filled from: a change that does not hold then,
    /// since what came after it is not shown, lies in a gap with all before it. Whether there is one.
    pub(super) fn add_up(&self, shown: &mut Vec<String>, end: usize) -> bool {
        let (mut state, holds) = (State::new(), self.state_at(end));
        let mut lost = None;
        for (at, id) in shown.iter().enumerate().rev() {
            let mut facts = self.facts.iter();
            let place = facts.find(|fact| fact.id == *id).and_then(Fact::place);
            let Some(place) = place.filter(|place| !state.contains_key(place)) else {
                continue;
            };
            if holds[&place] != *id {
                lost = Some(at);
                break;
            }
            state.insert(place, id.clone());
        }
        drop(lost.map(|at| shown.drain(..=at)));
        lost.is_some()
    }

    /// What a state event says; nothing where there is none.
    pub(super) fn content(&self, (kind, key): (&str, &str)) -> &Value {
        let holds = |it: &&Fact| it.kind == kind && it.state_key.as_deref() == Some(key);
        let fact = self.facts.iter().rev().find(holds);
        fact.map_or(&Value::Null, |fact| &fact.content)
    }

    /// What somebody who was invited, or who knocked, is shown of the room: as it was then.
    pub(super) fn shown_outside(&self) -> Option<BTreeSet<String>> {
        let (at, membership) = self.membership()?;
        if !matches!(membership, "invite" | "knock") {
            return None;
        }
        let then = Self {
            facts: &self.facts[..=at],
            ..*self
        };
        let sender = &self.facts[at].sender;
        let members = [sender.as_str(), self.user_id];
        let members = members.map(|user_id| ("m.room.member", user_id));
        let places = STRIPPED.map(|kind| (kind, "")).into_iter().chain(members);
        let shown = places.filter_map(|(kind, key)| {
            let holds = |it: &&Fact| it.kind == kind && it.state_key.as_deref() == Some(key);
            let fact = then.facts.iter().rev().find(holds)?;
            let (sender, content) = (&fact.sender, &fact.content);
            let stripped =
                json!({ "type": kind, "state_key": key, "sender": sender, "content": content });
            Some(stripped.to_string())
        });
        Some(shown.collect())
    }

    /// Whether somebody is told that there is such a room: who has to do with it, and everybody where
    /// everybody may look in, or may ask to come in.
    ///
    /// spec: client-server v1.19 §Room summaries.
    pub(super) fn may_know(&self) -> bool {
        let is_in = ["join", "invite", "knock"]
            .into_iter()
            .any(|it| self.is(it));
        is_in || self.may_anybody_know()
    }

    pub(super) fn may_anybody_know(&self) -> bool {
        let rule = &self.content(("m.room.join_rules", ""))["join_rule"];
        self.is_open() || ["public", "knock"].contains(&rule.as_str().unwrap())
    }

    /// How many people are in the room.
    pub(super) fn joined(&self) -> usize {
        let mut members = BTreeMap::new();
        for fact in self
            .facts
            .iter()
            .filter(|fact| fact.kind == "m.room.member")
        {
            members.insert(&fact.state_key, &fact.content["membership"]);
        }
        members.values().filter(|it| **it == "join").count()
    }
}
