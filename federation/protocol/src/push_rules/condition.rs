//! The conditions of push rules.

use ruma_common::UserId;
use ruma_common::push::{ComparisonOperator, PushCondition, RoomMemberCountIs, ScalarJsonValue};

use super::event::{Path, PushEvent};
use super::{PushRoom, Reader, fold};
use crate::canonical_json::Value;
use crate::glob::{Glob, WordGlob};

/// A condition, compiled.
///
/// spec: client-server v1.19 §Conditions.
#[derive(Debug)]
pub(super) enum Condition {
    /// `event_match` of the type, which most rules ask for.
    Kind(Glob),
    /// `event_match` of the text of the message, by words.
    Body(WordGlob),
    /// `event_match` of another property.
    Text { path: Path, glob: Glob },
    /// `event_match` whose pattern is the reader's user id.
    TextIsReader { path: Path },
    /// `event_property_is`
    Is { path: Path, value: Scalar },
    /// `event_property_contains`
    Contains { path: Path, value: Scalar },
    /// `contains_display_name`
    DisplayName,
    /// `room_member_count`
    MemberCount(RoomMemberCountIs),
    /// `sender_notification_permission`
    SenderMayNotify(Box<str>),
}

/// A value to compare with.
#[derive(Debug)]
pub(super) enum Scalar {
    /// The reader's user id.
    Reader,
    Value(Value<'static>),
}

impl Condition {
    /// `None` for a condition that nobody knows, which no event meets. Where the rules name `user_id`,
    /// whose they are, the reader is meant.
    pub(super) fn compile(condition: &PushCondition, user_id: &UserId) -> Option<Self> {
        #[expect(deprecated, reason = "people may still have rules with it")]
        Some(match condition {
            PushCondition::EventMatch(data) => Self::event_match(&data.key, &data.pattern, user_id),
            PushCondition::EventPropertyIs(data) => Self::Is {
                path: Path::parse(&data.key),
                value: Scalar::new(&data.value, user_id),
            },
            PushCondition::EventPropertyContains(data) => Self::Contains {
                path: Path::parse(&data.key),
                value: Scalar::new(&data.value, user_id),
            },
            PushCondition::ContainsDisplayName => Self::DisplayName,
            PushCondition::RoomMemberCount(data) => Self::MemberCount(data.is),
            PushCondition::SenderNotificationPermission(data) => {
                Self::SenderMayNotify(data.key.as_str().into())
            }
            _ => return None,
        })
    }

    fn event_match(key: &str, pattern: &str, user_id: &UserId) -> Self {
        let folded = fold(pattern);
        match key {
            "type" => Self::Kind(Glob::compile(&folded)),
            "content.body" => Self::Body(WordGlob::compile(&folded)),
            _ => {
                let path = Path::parse(key);
                if pattern == user_id.as_str() {
                    return Self::TextIsReader { path };
                }
                let glob = Glob::compile(&folded);
                Self::Text { path, glob }
            }
        }
    }

    pub(super) fn holds(
        &self,
        event: &PushEvent<'_>,
        room: PushRoom<'_>,
        reader: Reader<'_>,
    ) -> bool {
        let text = |path| event.property(path).and_then(Value::as_str);
        match self {
            Self::Kind(glob) => glob.matches(event.folded_kind()),
            Self::Body(words) => event.folded_body().is_some_and(|body| words.matches(body)),
            Self::Text { path, glob } => text(path).is_some_and(|text| glob.matches(&fold(text))),
            Self::TextIsReader { path } => {
                text(path).is_some_and(|text| fold(text) == fold(reader.user_id.as_str()))
            }
            Self::Is { path, value } => event
                .property(path)
                .is_some_and(|found| value.is(found, reader)),
            Self::Contains { path, value } => event
                .property(path)
                .and_then(Value::as_array)
                .is_some_and(|items| items.iter().any(|found| value.is(found, reader))),
            Self::DisplayName => match (event.folded_body(), reader.display_name) {
                (Some(body), Some(name)) if !name.is_empty() => contains_name(body, name),
                _ => false,
            },
            Self::MemberCount(is) => is_count(*is, room.member_count),
            Self::SenderMayNotify(key) => room.power.is_some_and(|power| {
                let sender = power.user_level(event.sender());
                sender.reaches(power.notification(key))
            }),
        }
    }
}

impl Scalar {
    fn new(value: &ScalarJsonValue, user_id: &UserId) -> Self {
        Self::Value(match value {
            ScalarJsonValue::String(text) if text == user_id.as_str() => return Self::Reader,
            ScalarJsonValue::String(text) => Value::from(text.clone()),
            ScalarJsonValue::Integer(number) => Value::Integer(i64::from(*number)),
            ScalarJsonValue::Bool(truth) => Value::Bool(*truth),
            ScalarJsonValue::Null => Value::Null,
        })
    }

    fn is(&self, found: &Value<'_>, reader: Reader<'_>) -> bool {
        match self {
            Self::Reader => found.as_str() == Some(reader.user_id.as_str()),
            Self::Value(value) => found == value,
        }
    }
}

/// Names change without the rules being compiled anew, so this one is compiled here; few texts contain
/// it at all.
fn contains_name(body: &str, name: &str) -> bool {
    let name = fold(name);
    body.contains(&*name) && WordGlob::literal(&name).matches(body)
}

fn is_count(is: RoomMemberCountIs, member_count: u64) -> bool {
    let order = member_count.cmp(&u64::from(is.count));
    match is.prefix {
        ComparisonOperator::Eq => order.is_eq(),
        ComparisonOperator::Lt => order.is_lt(),
        ComparisonOperator::Gt => order.is_gt(),
        ComparisonOperator::Ge => order.is_ge(),
        ComparisonOperator::Le => order.is_le(),
    }
}
