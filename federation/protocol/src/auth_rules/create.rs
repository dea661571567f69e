//! spec: v12 1 (v11 1): "If type is `m.room.create`".

use super::AuthError;
use crate::event::{CreateContent, Event, Field};
use crate::room_version::{CreatorField, CreatorPower, RoomIdFormat, RoomVersionRules, rules_for};

pub(super) fn check(
    rules: &RoomVersionRules,
    event: &Event,
    content: &CreateContent,
) -> Result<(), AuthError> {
    // spec: v12 1.1 (v11 1.1): "If it has any `prev_events`, reject."
    if !event.prev_events().is_empty() {
        return Err(AuthError::CreateHasPrevEvents);
    }
    // spec: v11 1.2: "If the domain of the `room_id` does not match the domain of the `sender`,
    // reject." Its successor, v12 1.2 ("If the event has a `room_id`, reject"), is part of the event
    // format here: such an event would claim two rooms.
    if rules.event_format.room_id == RoomIdFormat::ServerAssigned
        && event.room_id().server_name() != Some(event.sender().server_name())
    {
        return Err(AuthError::CreateOfOtherServer);
    }
    // spec: v12 1.3 (v11 1.3): "If `content.room_version` is present and is not a recognised version,
    // reject."
    match &content.room_version {
        Field::Present(version) if rules_for(version).is_none() => {
            return Err(AuthError::UnknownRoomVersion);
        }
        Field::Malformed => return Err(AuthError::UnknownRoomVersion),
        Field::Present(_) | Field::Absent => {}
    }
    // spec: v1 1.4: "If `content` has no `creator` property, reject."
    if rules.authorization.creator == CreatorField::Content && content.creator == Field::Absent {
        return Err(AuthError::NoCreator);
    }
    // spec: v12 1.4: "If `additional_creators` is present in `content` and is not an array of strings
    // where each string passes the same user ID validation applied to `sender`, reject."
    if rules.authorization.creators == CreatorPower::Infinite
        && content.additional_creators == Field::Malformed
    {
        return Err(AuthError::AdditionalCreators);
    }
    // spec: v12 1.5 (v11 1.4): "Otherwise, allow."
    Ok(())
}
