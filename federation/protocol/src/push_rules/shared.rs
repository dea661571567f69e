//! Somebody's rules, taken apart for one room: what decides alike for everybody who has the same, and
//! what depends on who reads.
//!
//! An event in a room of many is judged once for all whose rules agree in what is shared. A rule that
//! asks for the reader (their id, their name) or for a word that they chose needs something in the
//! event that can be looked for once; only those whose it is are judged one by one.
//!
//! spec: client-server v1.19 §Push Rules; the rules that it knows by name, §Predefined Rules.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use ruma_common::push::{Action, ConditionalPushRule, PushCondition, Ruleset, ScalarJsonValue};
use ruma_common::{RoomId, UserId, owned_user_id, room_id};

use super::{Class, Condition, MASTER, PushEvent, PushRoom, PushRules, Reader, fold};
use crate::glob::WordGlob;

/// The path of the people whom an event mentions.
const MENTIONED: &str = r"content.m\.mentions.user_ids";
/// The path of "it mentions everybody".
const ROOM_MENTION: &str = r"content.m\.mentions.room";

/// How events count for most people: one of three classes fits nearly everybody in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushClass {
    /// As the server's defaults say.
    All,
    /// As the defaults say, but only what mentions people.
    Mentions,
    /// Not at all.
    Mute,
}

/// How an event counts for each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByClass {
    /// For [`PushClass::All`].
    pub all: Class,
    /// For [`PushClass::Mentions`].
    pub mentions: Class,
}

/// Somebody's rules, taken apart for one room.
#[derive(Debug)]
pub struct RoomRules {
    /// The class that fits best.
    pub class: PushClass,
    /// What decides alike for all who have the same; none where the class says the same.
    pub shared: Option<SharedRules>,
    /// Words and patterns: an event with one of them is judged for this person alone.
    pub words: Vec<Keyword>,
    /// Whether every event is judged for this person alone: they have a rule for which nothing can be
    /// looked for.
    pub alone: bool,
}

/// The part of somebody's rules that decides alike for all who have the same.
#[derive(Debug)]
pub struct SharedRules {
    /// Two with the same key are the same.
    pub key: Box<str>,
    /// The rules.
    pub rules: PushRules,
}

/// A pattern that messages are searched for.
#[derive(Clone, Debug)]
pub struct Keyword {
    pattern: Box<str>,
    glob: WordGlob,
}

impl Keyword {
    fn compile(pattern: &str) -> Self {
        let pattern = fold(pattern);
        Self {
            glob: WordGlob::compile(&pattern),
            pattern: pattern.into(),
        }
    }

    /// The pattern, without differences of case.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether it is one plain word: then a message has it if it is among [`PushEvent::words`].
    #[must_use]
    pub fn is_word(&self) -> bool {
        !self.pattern.is_empty() && self.pattern.bytes().all(is_word_byte)
    }

    /// Whether a message has it.
    #[must_use]
    pub fn is_in(&self, event: &PushEvent<'_>) -> bool {
        event
            .folded_body()
            .is_some_and(|body| self.glob.matches(body))
    }
}

pub(super) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl ByClass {
    /// Judges an event by the server's defaults.
    #[must_use]
    pub fn of(event: &PushEvent<'_>, room: PushRoom<'_>) -> Self {
        let rules = shared_defaults();
        let nobody = nobody();
        let judge =
            |outcome: Option<&super::Outcome>| outcome.map_or(Class::Silent, super::Outcome::class);
        Self {
            all: judge(rules.evaluate(event, room, nobody)),
            mentions: judge(rules.evaluate_before(event, room, nobody)),
        }
    }

    /// How it counts for a class.
    #[must_use]
    pub fn outcome(self, class: PushClass) -> Class {
        match class {
            PushClass::All => self.all,
            PushClass::Mentions => self.mentions,
            PushClass::Mute => Class::Silent,
        }
    }
}

/// Of rules without those that ask for the reader: whoever has not sent the event.
fn nobody() -> Reader<'static> {
    static NOBODY: LazyLock<ruma_common::OwnedUserId> =
        LazyLock::new(|| owned_user_id!("@:nobody.invalid"));
    Reader {
        user_id: &NOBODY,
        display_name: None,
    }
}

/// The defaults without those that ask for the reader.
fn shared_defaults() -> Arc<PushRules> {
    static SHARED: LazyLock<Arc<PushRules>> = LazyLock::new(|| {
        let user_id = nobody().user_id;
        let mut parts = Parts::default();
        parts.take(
            &Ruleset::server_default(user_id),
            user_id,
            room_id!("!any:nobody.invalid"),
        );
        Arc::new(PushRules::compile(&parts.shared, user_id))
    });
    SHARED.clone()
}

impl SharedRules {
    /// How an event counts for those who have these rules, apart from the rules that ask for the
    /// reader.
    #[must_use]
    pub fn judge(&self, event: &PushEvent<'_>, room: PushRoom<'_>) -> Class {
        let outcome = self.rules.evaluate(event, room, nobody());
        outcome.map_or(Class::Silent, super::Outcome::class)
    }
}

impl RoomRules {
    /// Takes somebody's rules apart for a room.
    #[must_use]
    pub fn new(rules: &Ruleset, user_id: &UserId, room_id: &RoomId) -> Self {
        let parts = Parts::of(rules, user_id, room_id);
        let class = parts.exact_class(user_id, room_id);
        Self {
            class: class.unwrap_or_else(|| parts.likely_class()),
            shared: class.is_none().then(|| SharedRules {
                rules: PushRules::compile(&parts.shared, user_id),
                key: parts.key.clone().into(),
            }),
            words: parts
                .words
                .iter()
                .map(|word| Keyword::compile(word))
                .collect(),
            alone: parts.alone,
        }
    }

    /// The class that fits somebody's rules best in a room.
    #[must_use]
    pub fn class(rules: &Ruleset, user_id: &UserId, room_id: &RoomId) -> PushClass {
        let parts = Parts::of(rules, user_id, room_id);
        let exact = parts.exact_class(user_id, room_id);
        exact.unwrap_or_else(|| parts.likely_class())
    }
}

/// The rooms that somebody's rules name one by one: there they may be of another class than elsewhere.
pub fn named_rooms(rules: &Ruleset) -> impl Iterator<Item = &str> {
    let by_rule = rules.room.iter().map(|rule| rule.rule_id.as_str());
    let conditional = rules.override_.iter().chain(&rules.underride);
    let conditions = conditional.flat_map(|rule| &rule.conditions);
    by_rule.chain(conditions.filter_map(|condition| match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" => Some(data.pattern.as_str()),
        _ => None,
    }))
}

/// Rules in the making, apart.
#[derive(Default)]
struct Parts {
    shared: Ruleset,
    key: String,
    words: Vec<String>,
    alone: bool,
    /// A rule that always matches: nothing after it ever does.
    ended: bool,
    /// How much of the key is of override rules.
    overrides: usize,
}

/// What makes a rule match for one person alone.
enum Trigger {
    /// Something that every event shows anyway: whom it mentions, whom it is about.
    Shown,
    Word(String),
    /// Nothing that could be looked for.
    Unknown,
}

impl Parts {
    fn of(rules: &Ruleset, user_id: &UserId, room_id: &RoomId) -> Self {
        let mut parts = Self::default();
        parts.take(rules, user_id, room_id);
        parts
    }

    fn take(&mut self, rules: &Ruleset, user_id: &UserId, room_id: &RoomId) {
        let (master, others): (Vec<_>, Vec<_>) = rules
            .override_
            .iter()
            .partition(|rule| rule.rule_id == MASTER);
        for rule in master.into_iter().chain(others) {
            if let Some(rule) = self.conditional('o', rule, user_id, room_id) {
                self.shared.override_.insert(rule);
            }
        }
        self.overrides = self.key.len();
        for rule in rules.content.iter().filter(|rule| rule.enabled) {
            if !self.ended {
                self.words.push(rule.pattern.clone());
            }
        }
        let of_room = rules.room.iter();
        for rule in of_room.filter(|rule| rule.enabled && rule.rule_id == room_id) {
            if self.add('r', "", &rule.actions) {
                self.shared.room.insert(rule.clone());
                self.ended = true;
            }
        }
        for rule in rules.sender.iter().filter(|rule| rule.enabled) {
            if self.add('s', rule.rule_id.as_str(), &rule.actions) {
                self.shared.sender.insert(rule.clone());
            }
        }
        for rule in &rules.underride {
            if let Some(rule) = self.conditional('u', rule, user_id, room_id) {
                self.shared.underride.insert(rule);
            }
        }
    }

    /// Adds a rule to the key; false where it can no longer match.
    fn add(&mut self, kind: char, what: &str, actions: &[Action]) -> bool {
        if self.ended {
            return false;
        }
        let class = super::class_of(actions);
        // Into a text nothing fails to be written.
        let _ = write!(self.key, "{kind}{class:?} {what};");
        true
    }

    /// A conditional rule as far as it is shared.
    fn conditional(
        &mut self,
        kind: char,
        rule: &ConditionalPushRule,
        user_id: &UserId,
        room_id: &RoomId,
    ) -> Option<ConditionalPushRule> {
        let known = |condition: &PushCondition| Condition::compile(condition, user_id).is_some();
        if self.ended || !rule.enabled || !rule.conditions.iter().all(known) {
            return None;
        }
        let mut rule = rule.clone();
        if rule
            .conditions
            .iter()
            .any(|it| is_of_another_room(it, room_id))
        {
            return None;
        }
        rule.conditions.retain(|it| !is_of_room(it, room_id));
        let triggers = rule.conditions.iter().filter_map(|it| trigger(it, user_id));
        if let Some(trigger) = triggers.min_by_key(Trigger::cost) {
            match trigger {
                Trigger::Shown => {}
                Trigger::Word(word) => self.words.push(word),
                Trigger::Unknown => self.alone = true,
            }
            return None;
        }
        let conditions = serde_json::to_string(&rule.conditions).unwrap_or_default();
        let is_added = self.add(kind, &conditions, &rule.actions);
        self.ended |= rule.conditions.is_empty();
        is_added.then_some(rule)
    }

    fn exact_class(&self, user_id: &UserId, room_id: &RoomId) -> Option<PushClass> {
        // The first rule that is left ends everything.
        if self.key == "oSilent [];" {
            return Some(PushClass::Mute);
        }
        let defaults = Self::of(&Ruleset::server_default(user_id), user_id, room_id);
        if self.key == defaults.key {
            return Some(PushClass::All);
        }
        let mentions = defaults.key.get(..defaults.overrides).unwrap_or_default();
        let rest = self.key.strip_prefix(mentions);
        (rest == Some("rSilent ;")).then_some(PushClass::Mentions)
    }

    /// Which class comes nearest, where none is the same.
    fn likely_class(&self) -> PushClass {
        let notifies = |rule: &ConditionalPushRule| super::class_of(&rule.actions) > Class::Silent;
        let is_of_messages = |it: &PushCondition| match it {
            PushCondition::EventMatch(data) => {
                data.key == "type" && data.pattern == "m.room.message"
            }
            _ => false,
        };
        let tells_messages = |rule: &ConditionalPushRule| {
            notifies(rule) && rule.conditions.iter().all(is_of_messages)
        };
        let tells_mentions = |rule: &ConditionalPushRule| {
            notifies(rule)
                && rule.conditions.iter().any(|it| match it {
                    PushCondition::EventPropertyIs(data) => data.key == ROOM_MENTION,
                    _ => false,
                })
        };
        let conditional = || self.shared.override_.iter().chain(&self.shared.underride);
        let tells_room = |actions: &[Action]| super::class_of(actions) > Class::Silent;
        if conditional().any(tells_messages)
            || self
                .shared
                .room
                .iter()
                .any(|rule| tells_room(&rule.actions))
        {
            return PushClass::All;
        }
        match conditional().any(tells_mentions) {
            true => PushClass::Mentions,
            false => PushClass::Mute,
        }
    }
}

impl Trigger {
    /// The rule needs all of its conditions: to look for the cheapest is enough.
    fn cost(&self) -> u8 {
        match self {
            Self::Shown => 0,
            Self::Word(_) => 1,
            Self::Unknown => 2,
        }
    }
}

/// What a condition that asks for the reader can be found by.
fn trigger(condition: &PushCondition, user_id: &UserId) -> Option<Trigger> {
    let is_reader = |value: &ScalarJsonValue| match value {
        ScalarJsonValue::String(text) => text == user_id.as_str(),
        _ => false,
    };
    #[expect(deprecated, reason = "people may still have rules with it")]
    match condition {
        PushCondition::EventMatch(data) if data.key == "content.body" => {
            Some(Trigger::Word(data.pattern.clone()))
        }
        PushCondition::EventMatch(data) if data.pattern == user_id.as_str() => {
            Some(match data.key.as_str() {
                "state_key" => Trigger::Shown,
                _ => Trigger::Unknown,
            })
        }
        PushCondition::EventPropertyContains(data) if is_reader(&data.value) => {
            Some(match data.key.as_str() {
                MENTIONED => Trigger::Shown,
                _ => Trigger::Unknown,
            })
        }
        PushCondition::EventPropertyIs(data) if is_reader(&data.value) => Some(Trigger::Unknown),
        PushCondition::ContainsDisplayName => Some(Trigger::Unknown),
        _ => None,
    }
}

/// The room that a condition names, unless it is a pattern.
fn room_of(condition: &PushCondition) -> Option<&str> {
    match condition {
        PushCondition::EventMatch(data) if data.key == "room_id" => {
            let pattern = data.pattern.as_str();
            (!pattern.contains(['*', '?'])).then_some(pattern)
        }
        _ => None,
    }
}

fn is_of_room(condition: &PushCondition, room_id: &RoomId) -> bool {
    room_of(condition).is_some_and(|named| fold(named) == fold(room_id.as_str()))
}

fn is_of_another_room(condition: &PushCondition, room_id: &RoomId) -> bool {
    room_of(condition).is_some_and(|named| fold(named) != fold(room_id.as_str()))
}
