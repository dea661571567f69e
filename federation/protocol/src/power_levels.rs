//! Power levels: the content of `m.room.power_levels`, and the view of a room's powers that the rules
//! ask.
//!
//! spec: client-server v1.19 §m.room.power_levels; server-server v1.19 §Definitions; rooms/v1
//! §Deprecated event content schemas; rooms/v12 §Authorisation rules (creators).

use std::num::IntErrorKind;

use ruma_common::{OwnedUserId, UserId};

use crate::canonical_json::{Object, Value};
use crate::event::{AuthContent, Event};
use crate::room_version::{
    AuthorizationRules, CreatorField, CreatorPower, LevelValues, RedactionCheck,
};

#[cfg(test)]
mod tests;

/// A user's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Power {
    /// A level as in the power levels event.
    Level(i64),
    /// Above every level: a creator, in the room versions that have such.
    Infinite,
}

impl Power {
    /// Whether this power reaches `level`.
    #[must_use]
    pub fn reaches(self, level: i64) -> bool {
        self >= Power::Level(level)
    }
}

/// A level by name, apart from the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelName {
    /// `ban`
    Ban,
    /// `events_default`
    EventsDefault,
    /// `invite`
    Invite,
    /// `kick`
    Kick,
    /// `redact`
    Redact,
    /// `state_default`
    StateDefault,
    /// `users_default`
    UsersDefault,
}

impl LevelName {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Ban,
        Self::EventsDefault,
        Self::Invite,
        Self::Kick,
        Self::Redact,
        Self::StateDefault,
        Self::UsersDefault,
    ];

    /// The key in the content.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::EventsDefault => "events_default",
            Self::Invite => "invite",
            Self::Kick => "kick",
            Self::Redact => "redact",
            Self::StateDefault => "state_default",
            Self::UsersDefault => "users_default",
        }
    }

    /// The level where the power levels event names none.
    #[must_use]
    pub fn default(self) -> i64 {
        match self {
            Self::EventsDefault | Self::Invite | Self::UsersDefault => 0,
            Self::Ban | Self::Kick | Self::Redact | Self::StateDefault => 50,
        }
    }
}

/// A map of the power levels event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelMap {
    /// `events`
    Events,
    /// `notifications`
    Notifications,
    /// `users`
    Users,
}

impl LevelMap {
    /// The key in the content.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Notifications => "notifications",
            Self::Users => "users",
        }
    }
}

/// Which rule on its format a power levels event breaks.
///
/// spec: rooms/v1 §Authorisation rules 10.1; rooms/v10 9.1–9.3; rooms/v12 10.1–10.3. Up to version 9
/// the text speaks of `users` alone; what is malformed elsewhere has no meaning that servers could
/// share, so it is refused there too, as by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PowerLevelsError {
    /// A level must be an integer, in old room versions also a string that holds one or a float.
    #[error("power levels: field `{0}` must be an integer")]
    NotAnInteger(&'static str),
    /// A map must be an object of integers.
    #[error("power levels: field `{0}` must be an object with integers as values")]
    NotAMapOfIntegers(&'static str),
    /// The keys of `users` must be user ids.
    #[error("power levels: the keys of `users` must be user ids")]
    NotAUserId,
}

/// Content of `m.room.power_levels`, well-formed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerLevels {
    levels: [Option<i64>; 7],
    events: Levels,
    notifications: Levels,
    users: Levels,
}

/// Entries sorted by key.
type Levels = Box<[(Box<str>, i64)]>;

impl PowerLevels {
    /// Reads the content.
    ///
    /// # Errors
    /// The rule on the format that it breaks.
    pub fn read(
        rules: &AuthorizationRules,
        content: &Object<'_>,
    ) -> Result<Self, PowerLevelsError> {
        let values = rules.level_values;
        // spec: rooms/v12 10.1 (v10 9.1)
        let mut levels = [None; 7];
        for (slot, name) in levels.iter_mut().zip(LevelName::ALL) {
            if let Some(value) = content.get(name.key()) {
                let level = read_level(values, value);
                *slot = Some(level.ok_or(PowerLevelsError::NotAnInteger(name.key()))?);
            }
        }
        // spec: rooms/v12 10.2 (v10 9.2)
        let events = read_map(values, content, LevelMap::Events)?;
        let notifications = read_map(values, content, LevelMap::Notifications)?;
        // spec: rooms/v12 10.3 (v10 9.3, v1 10.1)
        let users = read_map(values, content, LevelMap::Users)?;
        if users
            .iter()
            .any(|(user, _)| <&UserId>::try_from(user.as_ref()).is_err())
        {
            return Err(PowerLevelsError::NotAUserId);
        }
        Ok(Self {
            levels,
            events,
            notifications,
            users,
        })
    }

    /// The level under this name, if the content states it.
    #[must_use]
    pub fn stated(&self, name: LevelName) -> Option<i64> {
        self.levels.get(name as usize).copied().flatten()
    }

    /// The level under this name, or its default.
    #[must_use]
    pub fn level(&self, name: LevelName) -> i64 {
        self.stated(name).unwrap_or_else(|| name.default())
    }

    /// The level that a map states for `key`.
    #[must_use]
    pub fn entry(&self, map: LevelMap, key: &str) -> Option<i64> {
        let entries = self.map(map);
        let at = entries
            .binary_search_by(|(probe, _)| probe.as_ref().cmp(key))
            .ok()?;
        entries.get(at).map(|(_, level)| *level)
    }

    /// The entries of a map, sorted by key.
    pub fn entries(&self, map: LevelMap) -> impl Iterator<Item = (&str, i64)> {
        self.map(map)
            .iter()
            .map(|(key, level)| (key.as_ref(), *level))
    }

    fn map(&self, map: LevelMap) -> &Levels {
        match map {
            LevelMap::Events => &self.events,
            LevelMap::Notifications => &self.notifications,
            LevelMap::Users => &self.users,
        }
    }
}

fn read_map(
    values: LevelValues,
    content: &Object<'_>,
    map: LevelMap,
) -> Result<Levels, PowerLevelsError> {
    let error = PowerLevelsError::NotAMapOfIntegers(map.key());
    let Some(value) = content.get(map.key()) else {
        return Ok(Levels::default());
    };
    let entry = |(key, value): (&str, &Value<'_>)| Some((key.into(), read_level(values, value)?));
    value
        .as_object()
        .and_then(|entries| entries.iter().map(entry).collect())
        .ok_or(error)
}

/// A level beyond 64 bits counts as the greatest or the least: it is above or below all that anybody
/// was given in earnest.
fn read_level(values: LevelValues, value: &Value<'_>) -> Option<i64> {
    match (values, value) {
        (_, Value::Integer(level)) => Some(*level),
        (LevelValues::Integers, _) => None,
        (LevelValues::Lenient, Value::LongInteger(digits)) => read_digits(digits),
        (LevelValues::Lenient, Value::Float(level)) => Some(truncate(level.get())),
        // spec: rooms/v1 §Deprecated event content schemas: "optionally with any number of leading or
        // trailing whitespace characters".
        (LevelValues::Lenient, Value::String(text)) => read_digits(text.trim()),
        (LevelValues::Lenient, _) => None,
    }
}

/// spec: rooms/v1 §Deprecated event content schemas: "a single base 10 integer […] optionally with any
/// number of leading zeroes; optionally prefixed with a single `-` or `+` character".
fn read_digits(text: &str) -> Option<i64> {
    match text.parse() {
        Ok(level) => Some(level),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

/// spec: rooms/v1 §Deprecated event content schemas: "the value is truncated at the decimal point".
#[expect(
    clippy::cast_possible_truncation,
    reason = "the conversion truncates at the decimal point, and stops at both ends of the range"
)]
fn truncate(level: f64) -> i64 {
    level as i64
}

/// The powers in a room: its power levels, or what holds without them, and its creators.
#[derive(Clone, Debug)]
pub struct RoomPower {
    rules: AuthorizationRules,
    create: Event,
    power_levels: Option<Event>,
}

impl RoomPower {
    /// The powers given by a room's create event and its current power levels event, if any.
    ///
    /// # Errors
    /// When the power levels event is malformed, which no accepted one is.
    pub fn new(
        rules: &AuthorizationRules,
        create: Event,
        power_levels: Option<Event>,
    ) -> Result<Self, PowerLevelsError> {
        if let Some(AuthContent::PowerLevels(Err(error))) =
            power_levels.as_ref().map(Event::auth_content)
        {
            return Err(*error);
        }
        Ok(Self {
            rules: *rules,
            create,
            power_levels,
        })
    }

    /// The content of the power levels event, if there is one.
    #[must_use]
    pub fn power_levels(&self) -> Option<&PowerLevels> {
        match self.power_levels.as_ref()?.auth_content() {
            AuthContent::PowerLevels(Ok(levels)) => Some(levels),
            _ => None,
        }
    }

    /// A user's power.
    #[must_use]
    pub fn user_level(&self, user: &UserId) -> Power {
        let is_creator = || is_creator(&self.rules, &self.create, user);
        match (self.rules.creators, self.power_levels()) {
            // spec: rooms/v12 §Authorisation rules: "The power level of 'room creators' is
            // infinitely high."
            (CreatorPower::Infinite, _) if is_creator() => Power::Infinite,
            (_, Some(levels)) => Power::Level(
                levels
                    .entry(LevelMap::Users, user.as_str())
                    .unwrap_or_else(|| levels.level(LevelName::UsersDefault)),
            ),
            // spec: client-server v1.19 §m.room.power_levels: without the event, the creator has
            // 100 and all others have 0.
            (CreatorPower::UntilPowerLevels, None) if is_creator() => Power::Level(100),
            (_, None) => Power::Level(0),
        }
    }

    /// The power needed to send an event of type `kind`.
    ///
    /// spec: server-server v1.19 §Definitions, *required power level*.
    #[must_use]
    pub fn required_for_event(&self, kind: &str, is_state: bool) -> i64 {
        let name = if is_state {
            LevelName::StateDefault
        } else {
            LevelName::EventsDefault
        };
        self.power_levels()
            .and_then(|levels| levels.entry(LevelMap::Events, kind))
            .unwrap_or_else(|| self.level(name))
    }

    /// The power needed to do what `name` says.
    #[must_use]
    pub fn level(&self, name: LevelName) -> i64 {
        self.power_levels()
            .map_or(name.default(), |levels| levels.level(name))
    }

    /// The power needed to invite.
    #[must_use]
    pub fn invite(&self) -> i64 {
        self.level(LevelName::Invite)
    }

    /// The power needed to kick.
    #[must_use]
    pub fn kick(&self) -> i64 {
        self.level(LevelName::Kick)
    }

    /// The power needed to ban.
    #[must_use]
    pub fn ban(&self) -> i64 {
        self.level(LevelName::Ban)
    }

    /// The power needed to redact the events of others.
    #[must_use]
    pub fn redact(&self) -> i64 {
        self.level(LevelName::Redact)
    }

    /// The power needed to trigger the notification `key` (such as `room`).
    ///
    /// spec: client-server v1.19 §m.room.power_levels, `notifications` (default 50).
    #[must_use]
    pub fn notification(&self, key: &str) -> i64 {
        self.power_levels()
            .and_then(|levels| levels.entry(LevelMap::Notifications, key))
            .unwrap_or(50)
    }

    /// Whether an authorized redaction by `sender` takes effect on an event of `target_sender`. Both
    /// events are needed to ask this, so it is asked when a redaction is applied.
    ///
    /// spec: rooms/v3 §Handling redactions; rooms/v1 §Authorisation rules 11, which left nothing to ask.
    #[must_use]
    pub fn may_redact(&self, sender: &UserId, target_sender: &UserId) -> bool {
        self.rules.redactions == RedactionCheck::WhenAuthorized
            || self.user_level(sender).reaches(self.redact())
            || sender.server_name() == target_sender.server_name()
    }
}

/// Who created the room: whom the create event names, in the place where the room version has it.
///
/// spec: rooms/v11 §Remove the `creator` property of `m.room.create` events.
#[must_use]
pub fn creator<'e>(rules: &AuthorizationRules, create: &'e Event) -> Option<&'e UserId> {
    match (rules.creator, create.auth_content()) {
        (CreatorField::Sender, _) => Some(create.sender()),
        (CreatorField::Content, AuthContent::Create(content)) => {
            content.creator.present().map(|creator| &**creator)
        }
        (CreatorField::Content, _) => None,
    }
}

/// Whether the create event gives `user` power: its creator, and the additional creators in the room
/// versions that have such.
///
/// spec: rooms/v12 §Authorisation rules, *room creators*.
#[must_use]
pub fn is_creator(rules: &AuthorizationRules, create: &Event, user: &UserId) -> bool {
    if creator(rules, create) == Some(user) {
        return true;
    }
    match (rules.creators, create.auth_content()) {
        (CreatorPower::Infinite, AuthContent::Create(content)) => content
            .additional_creators
            .present()
            .is_some_and(|others| others.iter().any(|other: &OwnedUserId| other == user)),
        _ => false,
    }
}
