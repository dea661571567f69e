//! Whom of ours the events of a room concern, and by which rules.
//!
//! Only those stand here whose rules or lists are their own: everybody else is told what the defaults
//! say, and costs nothing. Those whose rules agree in what is shared are judged together; what asks for
//! one reader is looked for in the event once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::push_rules::{
    ByClass, Class, Keyword, PushClass, PushEvent, PushRoom, RoomRules, SharedRules,
};
use hearth_types::ruma::{OwnedUserId, RoomId, UserId};

use crate::push::rules::{Own, PersonRules};

/// Whom of ours the events of a room concern.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audience {
    /// How many changes of rules are in it (see `RuleSets::since`).
    pub(crate) as_of: u64,
    /// How many have joined, of all servers.
    pub(crate) joined: u64,
    /// How many of those are of other servers.
    pub(crate) elsewhere: u64,
    people: BTreeMap<i64, Member>,
    /// Those whose rules are of no class: all who share the same.
    groups: BTreeMap<Box<str>, Group>,
    /// Who looks for which word.
    words: BTreeMap<Box<str>, BTreeSet<i64>>,
    /// Who looks for what is not one word.
    patterns: Vec<(Keyword, i64)>,
    /// Who is judged alone, whatever the event.
    alone: BTreeSet<i64>,
    /// Who wants to hear nothing of whom.
    ignored: BTreeMap<OwnedUserId, BTreeSet<i64>>,
}

#[derive(Debug, Clone)]
struct Member {
    rules: Arc<PersonRules>,
    class: PushClass,
    group: Option<Box<str>>,
}

#[derive(Debug, Clone)]
struct Group {
    rules: Arc<SharedRules>,
    people: BTreeSet<i64>,
}

/// For whom an event counts otherwise than most.
#[derive(Debug, Default)]
pub(crate) struct Concerned {
    /// What is decided of people.
    pub(crate) outcomes: BTreeMap<i64, Class>,
    /// Those to be judged alone.
    pub(crate) alone: BTreeSet<i64>,
}

impl Audience {
    /// Of a room of so many, and so many of other servers among them, all of whom have the defaults.
    pub(crate) fn new(as_of: u64, joined: u64, elsewhere: u64) -> Self {
        Self {
            as_of,
            joined,
            elsewhere,
            ..Self::default()
        }
    }

    /// Takes somebody in who joined or whose rules changed.
    pub(crate) fn take(&mut self, room_id: &RoomId, user_nid: i64, own: &Own) {
        self.drop_member(user_nid);
        for ignored in own.ignored.get(&user_nid).into_iter().flatten() {
            let by = self.ignored.entry(ignored.clone()).or_default();
            by.insert(user_nid);
        }
        let Some(rules) = own.rules.get(&user_nid) else {
            return;
        };
        let in_room = RoomRules::new(&rules.set, &rules.user_id, room_id);
        if in_room.alone {
            self.alone.insert(user_nid);
        }
        for keyword in in_room.words {
            match keyword.is_word() {
                true => {
                    let by = self.words.entry(keyword.pattern().into()).or_default();
                    by.insert(user_nid);
                }
                false => self.patterns.push((keyword, user_nid)),
            }
        }
        let group = in_room.shared.map(|shared| {
            let key = shared.key.clone();
            let group = self.groups.entry(key.clone()).or_insert_with(|| Group {
                rules: Arc::new(shared),
                people: BTreeSet::new(),
            });
            group.people.insert(user_nid);
            key
        });
        let member = Member {
            rules: Arc::clone(rules),
            class: in_room.class,
            group,
        };
        self.people.insert(user_nid, member);
    }

    /// Lets somebody go who left.
    pub(crate) fn drop_member(&mut self, user_nid: i64) {
        self.ignored.retain(|_, by| {
            by.remove(&user_nid);
            !by.is_empty()
        });
        let Some(member) = self.people.remove(&user_nid) else {
            return;
        };
        if let Some(key) = member.group {
            let group = self.groups.get_mut(&key);
            let is_empty = group.is_some_and(|group| {
                group.people.remove(&user_nid);
                group.people.is_empty()
            });
            if is_empty {
                self.groups.remove(&key);
            }
        }
        self.words.retain(|_, by| {
            by.remove(&user_nid);
            !by.is_empty()
        });
        self.patterns.retain(|(_, by)| *by != user_nid);
        self.alone.remove(&user_nid);
    }

    /// Whether there is anybody with rules of their own.
    pub(crate) fn has_own_rules(&self) -> bool {
        !self.people.is_empty()
    }

    /// Whether somebody's rules are their own.
    pub(crate) fn has(&self, user_nid: i64) -> bool {
        self.people.contains_key(&user_nid)
    }

    /// Somebody's rules, where they are their own.
    pub(crate) fn rules_of(&self, user_nid: i64) -> Option<&Arc<PersonRules>> {
        self.people.get(&user_nid).map(|member| &member.rules)
    }

    /// By which class events count for somebody.
    pub(crate) fn class_of(&self, user_nid: i64) -> PushClass {
        let member = self.people.get(&user_nid);
        member.map_or(PushClass::All, |member| member.class)
    }

    /// Judges an event for all who share rules, and finds those for whom it has to be judged alone.
    /// Whom it names is not here: those may have the defaults.
    pub(crate) fn concerned(
        &self,
        event: &PushEvent<'_>,
        room: PushRoom<'_>,
        by_class: ByClass,
    ) -> Concerned {
        let mut concerned = Concerned {
            alone: self.alone.clone(),
            ..Concerned::default()
        };
        for group in self.groups.values() {
            let outcome = group.rules.judge(event, room);
            let differs = |nid: &&i64| by_class.outcome(self.class_of(**nid)) != outcome;
            let people = group.people.iter().filter(differs);
            concerned.outcomes.extend(people.map(|nid| (*nid, outcome)));
        }
        if !self.words.is_empty() {
            let by = event.words().filter_map(|word| self.words.get(word));
            concerned.alone.extend(by.flatten());
        }
        for (keyword, by) in &self.patterns {
            if !concerned.alone.contains(by) && keyword.is_in(event) {
                concerned.alone.insert(*by);
            }
        }
        concerned
    }

    /// Who wants to hear nothing of somebody.
    pub(crate) fn ignoring(&self, sender: &UserId) -> impl Iterator<Item = i64> {
        self.ignored.get(sender).into_iter().flatten().copied()
    }
}
