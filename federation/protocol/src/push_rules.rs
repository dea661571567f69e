//! Push rules: whom an event concerns, and how much.
//!
//! A person's rules are compiled once ([`PushRules::compile`]); whoever has only the server's defaults
//! shares one compiled set ([`PushRules::server_default`]), in which "my user id" stands for whoever
//! reads. An event is prepared once ([`PushEvent`]) and then judged for each reader, which allocates
//! nothing for the rules that most people have.
//!
//! Everything is linear in the event: globs never go back, and paths are looked up, not searched.
//!
//! spec: client-server v1.19 §Push Rules.

mod condition;
mod event;
mod shared;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use ruma_common::push::{Action, ConditionalPushRule, Ruleset, SoundTweakValue};
use ruma_common::{OwnedRoomId, OwnedUserId, UserId, owned_user_id};

use condition::Condition;
pub use event::PushEvent;
pub use shared::{ByClass, Keyword, PushClass, RoomRules, SharedRules, named_rooms};

use crate::glob::WordGlob;
use crate::power_levels::RoomPower;

/// Somebody's push rules, compiled. Disabled rules, and those with a condition that nobody knows, are
/// not in it: they never match.
#[derive(Debug)]
pub struct PushRules {
    /// Override rules, then content rules.
    before: Vec<Rule>,
    rooms: BTreeMap<OwnedRoomId, Outcome>,
    senders: BTreeMap<OwnedUserId, Outcome>,
    /// Underride rules.
    after: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    conditions: Box<[Condition]>,
    outcome: Outcome,
}

/// What the rule that matched says.
#[derive(Clone, Debug)]
pub struct Outcome {
    rule_id: Box<str>,
    actions: Box<[Action]>,
    class: Class,
}

/// How an event counts for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It does not.
    Silent,
    /// It is an unread notification.
    Notify,
    /// It is one that stands out.
    Highlight,
}

/// The room at the event, as far as conditions ask for it.
#[derive(Clone, Copy, Debug)]
pub struct PushRoom<'a> {
    /// How many have joined.
    pub member_count: u64,
    /// Who may notify everybody; nobody may where it is not known.
    pub power: Option<&'a RoomPower>,
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Their id.
    pub user_id: &'a UserId,
    /// Their display name in the room.
    pub display_name: Option<&'a str>,
}

/// The rule that comes before all others, also before a person's own.
///
/// spec: client-server v1.19 §Predefined Rules.
const MASTER: &str = ".m.rule.master";

impl PushRules {
    /// Compiles the rules of `user_id`.
    #[must_use]
    pub fn compile(rules: &Ruleset, user_id: &UserId) -> Self {
        let mut overrides: Vec<&ConditionalPushRule> = rules.override_.iter().collect();
        overrides.sort_by_key(|rule| rule.rule_id != MASTER);
        let overrides = overrides
            .into_iter()
            .filter_map(|rule| Rule::conditional(rule, user_id));
        let contents = rules.content.iter().filter(|rule| rule.enabled);
        let contents = contents.map(|rule| Rule {
            conditions: [Condition::Body(WordGlob::compile(&fold(&rule.pattern)))].into(),
            outcome: Outcome::new(&rule.rule_id, &rule.actions),
        });
        let rooms = rules.room.iter().filter(|rule| rule.enabled);
        let rooms = rooms.map(|rule| {
            let outcome = Outcome::new(rule.rule_id.as_str(), &rule.actions);
            (rule.rule_id.clone(), outcome)
        });
        let senders = rules.sender.iter().filter(|rule| rule.enabled);
        let senders = senders.map(|rule| {
            let outcome = Outcome::new(rule.rule_id.as_str(), &rule.actions);
            (rule.rule_id.clone(), outcome)
        });
        let underrides = rules.underride.iter();
        Self {
            before: overrides.chain(contents).collect(),
            rooms: rooms.collect(),
            senders: senders.collect(),
            after: underrides
                .filter_map(|rule| Rule::conditional(rule, user_id))
                .collect(),
        }
    }

    /// The server's default rules, for whoever has changed nothing about them.
    ///
    /// spec: client-server v1.19 §Predefined Rules.
    #[must_use]
    pub fn server_default() -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<PushRules>> = LazyLock::new(|| {
            let anybody = owned_user_id!("@anybody:localhost");
            Arc::new(PushRules::compile(
                &Ruleset::server_default(&anybody),
                &anybody,
            ))
        });
        DEFAULT.clone()
    }

    /// What the first rule that matches says. `None` when none does, which is silence; the sender is
    /// never notified of their own event.
    ///
    /// spec: client-server v1.19 §Push Rules: override, content, room, sender, underride.
    #[must_use]
    pub fn evaluate(
        &self,
        event: &PushEvent<'_>,
        room: PushRoom<'_>,
        reader: Reader<'_>,
    ) -> Option<&Outcome> {
        if event.sender() == reader.user_id {
            return None;
        }
        self.evaluate_before(event, room, reader)
            .or_else(|| self.rooms.get(event.room_id()))
            .or_else(|| self.senders.get(event.sender()))
            .or_else(|| first(&self.after, event, room, reader))
    }

    /// What the first of the override and content rules says that matches.
    fn evaluate_before(
        &self,
        event: &PushEvent<'_>,
        room: PushRoom<'_>,
        reader: Reader<'_>,
    ) -> Option<&Outcome> {
        first(&self.before, event, room, reader)
    }

    /// What they take in memory, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        // A rule has a condition or two, compiled, and its actions.
        const RULE_BYTES: usize = 512;
        const NAMED_BYTES: usize = 192;
        (self.before.len() + self.after.len()) * RULE_BYTES
            + (self.rooms.len() + self.senders.len()) * NAMED_BYTES
    }
}

fn first<'r>(
    rules: &'r [Rule],
    event: &PushEvent<'_>,
    room: PushRoom<'_>,
    reader: Reader<'_>,
) -> Option<&'r Outcome> {
    let matches = |condition: &Condition| condition.holds(event, room, reader);
    let rule = rules
        .iter()
        .find(|rule| rule.conditions.iter().all(matches))?;
    Some(&rule.outcome)
}

impl Rule {
    /// `None` for a rule that never matches.
    fn conditional(rule: &ConditionalPushRule, user_id: &UserId) -> Option<Self> {
        if !rule.enabled {
            return None;
        }
        let conditions = rule.conditions.iter();
        let conditions = conditions.map(|condition| Condition::compile(condition, user_id));
        Some(Self {
            conditions: conditions.collect::<Option<_>>()?,
            outcome: Outcome::new(&rule.rule_id, &rule.actions),
        })
    }
}

impl Outcome {
    /// Actions that nobody knows, `dont_notify` and `coalesce` among them, are passed over.
    ///
    /// spec: client-server v1.19 §Historical Actions.
    fn new(rule_id: &str, actions: &[Action]) -> Self {
        let known = |action: &&Action| matches!(action, Action::Notify | Action::SetTweak(_));
        Self {
            rule_id: rule_id.into(),
            actions: actions.iter().filter(known).cloned().collect(),
            class: class_of(actions),
        }
    }

    /// Which rule it was.
    #[must_use]
    pub fn rule_id(&self) -> &str {
        &self.rule_id
    }

    /// Its actions, tweaks for push gateways included.
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// How the event counts.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether the event is an unread notification.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.class >= Class::Notify
    }

    /// The sound that it makes, if any.
    #[must_use]
    pub fn sound(&self) -> Option<&SoundTweakValue> {
        self.actions.iter().find_map(Action::sound)
    }
}

/// How an event counts on which a rule takes these actions.
fn class_of(actions: &[Action]) -> Class {
    match (
        actions.iter().any(Action::should_notify),
        actions.iter().any(Action::is_highlight),
    ) {
        (false, _) => Class::Silent,
        (true, false) => Class::Notify,
        (true, true) => Class::Highlight,
    }
}

/// The text without differences of case: what "case-insensitively" means here. Each character is put
/// in lower case by itself, so that a part of a text folds as it does within it (hence one sigma).
fn fold(text: &str) -> Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        return Cow::Borrowed(text);
    }
    let lower = text.chars().flat_map(char::to_lowercase);
    lower
        .map(|character| if character == 'ς' { 'σ' } else { character })
        .collect()
}
