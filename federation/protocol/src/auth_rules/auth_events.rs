//! spec: v12 2, 3 (v11 2): "Considering the event's `auth_events`".

use ruma_common::EventId;

use super::{AuthError, KnownEvent};
use crate::auth_events::auth_types;
use crate::event::{Event, create_of_room_id};
use crate::room_version::RoomVersionRules;

pub(super) fn check(
    rules: &RoomVersionRules,
    event: &Event,
    lookup: impl Fn(&EventId) -> Option<KnownEvent>,
) -> Result<(), AuthError> {
    let mut unknown = Vec::new();
    // spec: v12 2: "If the event's `room_id` is not an event ID for an accepted (not rejected)
    // `m.room.create` event, with the sigil `!` instead of `$`, reject."
    if let Some(create_id) = create_of_room_id(rules, event.room_id()) {
        match lookup(&create_id) {
            None => unknown.push(create_id),
            Some(create) if create.rejected || create.event.kind() != "m.room.create" => {
                return Err(AuthError::RoomIdWithoutCreate);
            }
            Some(_) => {}
        }
    }
    let mut known = Vec::with_capacity(event.auth_events().len());
    for id in event.auth_events().iter() {
        match lookup(id) {
            Some(auth_event) => known.push(auth_event),
            None => unknown.push(id.to_owned()),
        }
    }
    if !unknown.is_empty() {
        return Err(AuthError::UnknownEvents(unknown));
    }
    let expected = auth_types(rules, event);
    for (at, auth_event) in known.iter().enumerate() {
        let earlier = known.iter().take(at);
        check_auth_event(event, auth_event, earlier, &expected)?;
    }
    // spec: v11 2.4: "If there is no `m.room.create` event among the entries, reject."
    let is_create = |known: &KnownEvent| known.event.is_state_of("m.room.create", "");
    if rules.authorization.create_in_auth_events && !known.iter().any(is_create) {
        return Err(AuthError::NoCreateInAuthEvents);
    }
    Ok(())
}

fn check_auth_event<'k>(
    event: &Event,
    known: &KnownEvent,
    mut earlier: impl Iterator<Item = &'k KnownEvent>,
    expected: &[crate::auth_events::StateType<'_>],
) -> Result<(), AuthError> {
    let auth_event = &known.event;
    let (kind, state_key) = (auth_event.kind(), auth_event.state_key());
    // spec: v12 3.1 (v11 2.1): "If there are duplicate entries for a given `type` and `state_key`
    // pair, reject."
    if earlier.any(|other| other.event.kind() == kind && other.event.state_key() == state_key) {
        return Err(AuthError::DuplicateAuthEvent {
            kind: kind.to_owned(),
            state_key: state_key.unwrap_or_default().to_owned(),
        });
    }
    // spec: v12 3.2 (v11 2.2): "If there are entries whose `type` and `state_key` don't match those
    // specified by the auth events selection algorithm, reject."
    if !expected
        .iter()
        .any(|(wanted, key)| *wanted == kind && Some(key.as_ref()) == state_key)
    {
        return Err(AuthError::UnexpectedAuthEvent(
            auth_event.event_id().to_owned(),
        ));
    }
    // spec: v12 3.3 (v11 2.3): "If there are entries which were themselves rejected under the checks
    // performed on receipt of a PDU, reject."
    if known.rejected {
        return Err(AuthError::RejectedAuthEvent(
            auth_event.event_id().to_owned(),
        ));
    }
    // spec: v12 3.5 (v11 2.5): "If any event in `auth_events` has a `room_id` which does not match
    // that of the event being authorised, reject."
    if auth_event.room_id() != event.room_id() {
        return Err(AuthError::AuthEventOfOtherRoom(
            auth_event.event_id().to_owned(),
        ));
    }
    Ok(())
}
