//! A change of somebody's push rules, and what is kept of them after it.

use hearth_types::ruma::push::{
    NewConditionalPushRule, NewPatternedPushRule, NewPushRule, NewSimplePushRule, PushCondition,
};
use hearth_types::ruma::{OwnedRoomId, OwnedUserId};
use serde::Deserialize;

use super::{
    AccountError, Action, InsertPushRuleError, RemovePushRuleError, RuleKind, RuleNotFoundError,
    Ruleset, UserId, fault,
};

/// The longest id of a rule.
const RULE_ID_BYTES_MAX: usize = 255;

/// The longest pattern, of a content rule or of a condition.
const PATTERN_BYTES_MAX: usize = 255;

/// Conditions of one rule, and actions of one.
const PARTS_MAX: usize = 32;

/// Rules of a person's own that have conditions or a pattern, which each event is held against.
const MATCHED_MAX: usize = 500;

/// Rules of a person's own for rooms and senders, which are looked up.
const NAMED_MAX: usize = 1_000;

/// What all that is kept of a person's rules may take.
const KEPT_BYTES_MAX: usize = 512 << 10;

/// Actions of old clients that mean nothing any more.
///
/// spec: client-server v1.19 §Historical Actions
const HISTORICAL: [&str; 2] = ["dont_notify", "coalesce"];

/// A change of somebody's push rules.
#[derive(Debug, Clone)]
pub struct RuleChange(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Put {
        rule: NewPushRule,
        before: Option<String>,
        after: Option<String>,
    },
    Remove(RuleKind, String),
    Enable(RuleKind, String, bool),
    Act(RuleKind, String, Vec<Action>),
}

impl RuleChange {
    /// Makes a rule, or replaces the one of the same id; `body` is what the client sent. It becomes
    /// the next more important one `before` another, or the next less important one `after`.
    ///
    /// # Errors
    /// [`AccountError::Json`], or [`AccountError::Invalid`] where it breaks a rule.
    pub fn put(
        kind: &str,
        rule_id: &str,
        body: &[u8],
        (before, after): (Option<String>, Option<String>),
    ) -> Result<Self, AccountError> {
        check_rule_id(rule_id)?;
        let rule = new_rule(rule_kind(kind)?, rule_id, serde_json::from_slice(body)?)?;
        Ok(Self(Kind::Put {
            rule,
            before,
            after,
        }))
    }

    /// Removes a rule of the person's own.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] where there is no such kind of rules.
    pub fn remove(kind: &str, rule_id: &str) -> Result<Self, AccountError> {
        Ok(Self(Kind::Remove(rule_kind(kind)?, rule_id.to_owned())))
    }

    /// Switches a rule on or off.
    ///
    /// # Errors
    /// As [`RuleChange::remove`].
    pub fn enable(kind: &str, rule_id: &str, enabled: bool) -> Result<Self, AccountError> {
        let kind = rule_kind(kind)?;
        Ok(Self(Kind::Enable(kind, rule_id.to_owned(), enabled)))
    }

    /// Replaces the actions of a rule.
    ///
    /// # Errors
    /// As [`RuleChange::put`].
    pub fn act(kind: &str, rule_id: &str, actions: Vec<Action>) -> Result<Self, AccountError> {
        let (kind, actions) = (rule_kind(kind)?, checked_actions(actions)?);
        Ok(Self(Kind::Act(kind, rule_id.to_owned(), actions)))
    }

    pub(super) fn apply(&self, rules: &mut Ruleset) -> Result<(), AccountError> {
        let not_found = |_: RuleNotFoundError| AccountError::NotFound("the push rule");
        match self.0.clone() {
            Kind::Put {
                rule,
                before,
                after,
            } => rules
                .insert(rule, after.as_deref(), before.as_deref())
                .map_err(not_inserted),
            Kind::Remove(kind, rule_id) => {
                rules.remove(kind, rule_id).map_err(|error| match error {
                    RemovePushRuleError::ServerDefault => AccountError::Invalid {
                        field: "ruleId",
                        rule: "names a rule of the server's, which can be switched off but not removed",
                    },
                    _ => AccountError::NotFound("the push rule"),
                })
            }
            Kind::Enable(kind, rule_id, enabled) => rules
                .set_enabled(kind, rule_id, enabled)
                .map_err(not_found),
            Kind::Act(kind, rule_id, actions) => rules
                .set_actions(kind, rule_id, actions)
                .map_err(not_found),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn not_inserted(error: InsertPushRuleError) -> AccountError {
    let (field, rule) = match error {
        InsertPushRuleError::UnknownRuleId => (
            "before",
            "or `after` names no rule of this kind that the person made",
        ),
        InsertPushRuleError::RelativeToServerDefaultRule => (
            "before",
            "or `after` names a rule of the server's, which always comes last",
        ),
        InsertPushRuleError::BeforeHigherThanAfter => {
            ("before", "names a rule that comes before that of `after`")
        }
        _ => ("ruleId", "cannot be the id of a rule"),
    };
    AccountError::Invalid { field, rule }
}

fn rule_kind(kind: &str) -> Result<RuleKind, AccountError> {
    match RuleKind::from(kind) {
        RuleKind::_Custom(_) => Err(AccountError::Invalid {
            field: "kind",
            rule: "must be `override`, `content`, `room`, `sender` or `underride`",
        }),
        kind => Ok(kind),
    }
}

fn check_rule_id(rule_id: &str) -> Result<(), AccountError> {
    let bad = |rule| AccountError::Invalid {
        field: "ruleId",
        rule,
    };
    if rule_id.is_empty() || rule_id.len() > RULE_ID_BYTES_MAX {
        return Err(bad("must have 1 to 255 bytes"));
    }
    if rule_id.starts_with('.') {
        return Err(bad("must not begin with a dot, as the server's rules do"));
    }
    if rule_id.contains(['/', '\\', '\0']) {
        return Err(bad("must not contain `/`, `\\` or U+0000"));
    }
    Ok(())
}

/// What a client sends of a rule.
#[derive(Debug, Deserialize)]
struct Given {
    actions: Vec<Action>,
    #[serde(default)]
    conditions: Vec<PushCondition>,
    pattern: Option<String>,
}

fn new_rule(kind: RuleKind, rule_id: &str, given: Given) -> Result<NewPushRule, AccountError> {
    let no_id = |rule| AccountError::Invalid {
        field: "ruleId",
        rule,
    };
    let actions = checked_actions(given.actions)?;
    Ok(match kind {
        RuleKind::Content => {
            let pattern = given.pattern.ok_or(AccountError::Missing("pattern"))?;
            check_pattern("pattern", &pattern)?;
            let rule = NewPatternedPushRule::new(rule_id.to_owned(), pattern, actions);
            NewPushRule::Content(rule)
        }
        RuleKind::Room => {
            let room_id: OwnedRoomId = rule_id
                .try_into()
                .map_err(|_| no_id("must be the id of the room"))?;
            NewPushRule::Room(NewSimplePushRule::new(room_id, actions))
        }
        RuleKind::Sender => {
            let sender: OwnedUserId = rule_id
                .try_into()
                .map_err(|_| no_id("must be the id of the sender"))?;
            NewPushRule::Sender(NewSimplePushRule::new(sender, actions))
        }
        kind => {
            check_conditions(&given.conditions)?;
            let rule = NewConditionalPushRule::new(rule_id.to_owned(), given.conditions, actions);
            match kind {
                RuleKind::Override => NewPushRule::Override(rule),
                _ => NewPushRule::Underride(rule),
            }
        }
    })
}

/// Conditions that nobody knows are kept: they match nothing.
fn check_conditions(conditions: &[PushCondition]) -> Result<(), AccountError> {
    if conditions.len() > PARTS_MAX {
        return Err(AccountError::Invalid {
            field: "conditions",
            rule: "must be at most 32",
        });
    }
    conditions.iter().try_for_each(|condition| match condition {
        PushCondition::EventMatch(data) => {
            check_pattern("key", &data.key)?;
            check_pattern("pattern", &data.pattern)
        }
        PushCondition::EventPropertyIs(data) => check_pattern("key", &data.key),
        PushCondition::EventPropertyContains(data) => check_pattern("key", &data.key),
        _ => Ok(()),
    })
}

fn check_pattern(field: &'static str, pattern: &str) -> Result<(), AccountError> {
    if pattern.len() <= PATTERN_BYTES_MAX {
        return Ok(());
    }
    Err(AccountError::Invalid {
        field,
        rule: "must have at most 255 bytes",
    })
}

/// Historical actions are left out, those that nobody knows refused.
fn checked_actions(actions: Vec<Action>) -> Result<Vec<Action>, AccountError> {
    if actions.len() > PARTS_MAX {
        return Err(AccountError::Invalid {
            field: "actions",
            rule: "must be at most 32",
        });
    }
    let mut checked = Vec::with_capacity(actions.len());
    for action in actions {
        match action {
            Action::Notify | Action::SetTweak(_) => checked.push(action),
            historical if is_historical(&historical) => {}
            _ => {
                return Err(AccountError::Invalid {
                    field: "actions",
                    rule: "must be `notify` or objects with `set_tweak`",
                });
            }
        }
    }
    Ok(checked)
}

fn is_historical(action: &Action) -> bool {
    let json = serde_json::to_value(action).unwrap_or_default();
    json.as_str().is_some_and(|name| HISTORICAL.contains(&name))
}

/// What is kept of a person's rules, as JSON: their own ones, and the defaults that they changed.
pub(super) fn kept(mut rules: Ruleset, user_id: &UserId) -> Result<Vec<u8>, AccountError> {
    let defaults = Ruleset::server_default(user_id);
    let own = |rules: &Ruleset, default: bool| {
        let conditional = rules.override_.iter().chain(&rules.underride);
        conditional.filter(|rule| rule.default == default).count()
    };
    if own(&rules, false) + rules.content.len() > MATCHED_MAX
        || rules.room.len() + rules.sender.len() > NAMED_MAX
    {
        return Err(AccountError::TooMany("push rules"));
    }
    for (rules, defaults) in [
        (&mut rules.override_, &defaults.override_),
        (&mut rules.underride, &defaults.underride),
    ] {
        rules.retain(|rule| {
            !rule.default
                || defaults.get(rule.rule_id.as_str()).is_none_or(|default| {
                    rule.enabled != default.enabled || !are_same(&rule.actions, &default.actions)
                })
        });
    }
    let kept = serde_json::to_vec(&rules).map_err(fault)?;
    match kept.len() > KEPT_BYTES_MAX {
        true => Err(AccountError::TooMany("bytes of push rules")),
        false => Ok(kept),
    }
}

fn are_same(these: &[Action], those: &[Action]) -> bool {
    let json = |actions| serde_json::to_value(actions).ok();
    json(these) == json(those)
}
