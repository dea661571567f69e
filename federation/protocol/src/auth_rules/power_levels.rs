//! spec: v12 10 (v11 9, v1 10): "If type is `m.room.power_levels`". Rules 10.1–10.3 are the format,
//! which [`PowerLevels::read`] checks.

use std::collections::BTreeSet;

use ruma_common::UserId;

use super::{AuthError, Room, StateView};
use crate::power_levels::{LevelMap, LevelName, Power, PowerLevels, RoomPower, is_creator};
use crate::room_version::CreatorPower;

pub(super) fn check(
    room: &Room<'_, impl StateView>,
    sender: &UserId,
    new: &PowerLevels,
    power: &RoomPower,
) -> Result<(), AuthError> {
    // spec: v12 10.4: "If the `users` property in `content` contains the `sender` of the
    // `m.room.create` event or any of the `additional_creators` array, reject."
    let rules = &room.rules.authorization;
    if rules.creators == CreatorPower::Infinite {
        let is_creator = |(user, _): (&str, i64)| {
            <&UserId>::try_from(user).is_ok_and(|user| is_creator(rules, room.create, user))
        };
        if new.entries(LevelMap::Users).any(is_creator) {
            return Err(AuthError::CreatorInPowerLevels);
        }
    }
    // spec: v12 10.5 (v11 9.4): "If there is no previous `m.room.power_levels` event in the room,
    // allow."
    let Some(old) = power.power_levels() else {
        return Ok(());
    };
    let change = Change {
        old,
        new,
        sender,
        power: power.user_level(sender),
    };
    change.check_levels()?;
    change.check_map(LevelMap::Events)?;
    // spec: rooms/v6 §Authorisation rules ("now include a `notifications` property").
    if rules.notification_levels {
        change.check_map(LevelMap::Notifications)?;
    }
    change.check_map(LevelMap::Users)
    // spec: v12 10.11 (v11 9.10): "Otherwise, allow."
}

struct Change<'c> {
    old: &'c PowerLevels,
    new: &'c PowerLevels,
    sender: &'c UserId,
    power: Power,
}

impl Change<'_> {
    /// spec: v12 10.6 (v11 9.5): "For the properties `users_default`, `events_default`,
    /// `state_default`, `ban`, `redact`, `kick`, `invite` check if they were added, changed or
    /// removed. For each found alteration: If the current value is higher than the `sender`'s current
    /// power level, reject. If the new value is higher than the `sender`'s current power level,
    /// reject."
    ///
    /// A value that is not stated is not compared, though a default holds in its place. The text
    /// leaves this open; most servers of the network read it so, and servers must not disagree.
    fn check_levels(&self) -> Result<(), AuthError> {
        for name in LevelName::ALL {
            let (old, new) = (self.old.stated(name), self.new.stated(name));
            if old != new && (self.is_above(old) || self.is_above(new)) {
                return Err(AuthError::PowerLevelChange {
                    field: name.key(),
                    key: String::new(),
                });
            }
        }
        Ok(())
    }

    /// spec: v12 10.7–10.10 (v11 9.6–9.9), one entry after another.
    fn check_map(&self, map: LevelMap) -> Result<(), AuthError> {
        let keys: BTreeSet<&str> = self
            .old
            .entries(map)
            .chain(self.new.entries(map))
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            let (old, new) = (self.old.entry(map, key), self.new.entry(map, key));
            if old != new && (self.may_not_replace(map, key, old) || self.is_above(new)) {
                let key = key.to_owned();
                return Err(AuthError::PowerLevelChange {
                    field: map.key(),
                    key,
                });
            }
        }
        Ok(())
    }

    fn may_not_replace(&self, map: LevelMap, key: &str, old: Option<i64>) -> bool {
        match map {
            // spec: v12 10.7 (v11 9.6): "For each entry being changed in, or removed from, the
            // `events` or `notifications` properties: If the current value is greater than the
            // `sender`'s current power level, reject."
            LevelMap::Events | LevelMap::Notifications => self.is_above(old),
            // spec: v12 10.9 (v11 9.8): "For each entry being changed in, or removed from, the
            // `users` property, other than the `sender`'s own entry: If the current value is greater
            // than or equal to the `sender`'s current power level, reject."
            LevelMap::Users => {
                key != self.sender.as_str()
                    && old.is_some_and(|old| Power::Level(old) >= self.power)
            }
        }
    }

    /// spec: v12 10.8, 10.10 (v11 9.7, 9.9): "If the new value is greater than the `sender`'s current
    /// power level, reject."
    fn is_above(&self, level: Option<i64>) -> bool {
        level.is_some_and(|level| !self.power.reaches(level))
    }
}
