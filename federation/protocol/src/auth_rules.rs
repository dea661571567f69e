//! The authorization rules: who may send what.
//!
//! An event is checked in two parts. [`check_state_independent`] looks at the event and at the auth
//! events it names, once. [`check_state_dependent`] looks at a state of the room and is asked several
//! times: against the state that the auth events form, the state before the event, and the current
//! state.
//!
//! The rules stand in the order of the specification; comments give their numbers as
//! `spec: v12 5.3.2 (v11 4.3.2)`, which are those of rooms/v12 and rooms/v11 §Authorisation rules.
//! Versions 8 to 11 share their numbers; rules that later versions do not have any more, or changed, go
//! by those of rooms/v1 (`spec: v1 4`). What a version lacks or does otherwise is a column of
//! [`AuthorizationRules`](crate::room_version::AuthorizationRules). Rules that speak of signatures (v12
//! 5.2) are the verifier's, see [`crate::verify`].

mod auth_events;
mod create;
mod error;
mod join;
mod member;
mod power_levels;
mod third_party_invite;

use ruma_common::{EventId, UserId};

pub use error::{AuthError, ThirdPartyInviteRule};

use crate::event::{AuthContent, CreateContent, Event, Membership};
use crate::power_levels::RoomPower;
use crate::room_version::{RedactionCheck, RoomVersionRules};

/// A state of a room: at most one event for each type and state key.
pub trait StateView {
    /// The event that holds this place.
    fn get(&self, kind: &str, state_key: &str) -> Option<Event>;
}

impl<F: Fn(&str, &str) -> Option<Event>> StateView for F {
    fn get(&self, kind: &str, state_key: &str) -> Option<Event> {
        self(kind, state_key)
    }
}

/// An event that we have, and what became of it.
#[derive(Clone, Debug)]
pub struct KnownEvent {
    /// The event.
    pub event: Event,
    /// Whether it was rejected.
    pub rejected: bool,
}

/// Checks the rules that do not depend on the state of the room: those on create events and on the
/// list of auth events. `lookup` finds the auth events, and the create event where the room id
/// implies it.
///
/// # Errors
/// The rule that the event breaks; or [`AuthError::UnknownEvents`], which says nothing against the
/// event, but names what has to be fetched first.
pub fn check_state_independent(
    rules: &RoomVersionRules,
    event: &Event,
    lookup: impl Fn(&EventId) -> Option<KnownEvent>,
) -> Result<(), AuthError> {
    // spec: v12 1 (v11 1)
    if let AuthContent::Create(content) = event.auth_content() {
        return create::check(rules, event, content);
    }
    // spec: v12 2, 3 (v11 2)
    auth_events::check(rules, event, lookup)
}

/// Checks the rules that depend on the state of the room.
///
/// # Errors
/// The rule that the event breaks.
pub fn check_state_dependent(
    rules: &RoomVersionRules,
    event: &Event,
    state: &impl StateView,
) -> Result<(), AuthError> {
    // Create events are allowed without regard to state (spec: v12 1.5).
    if let AuthContent::Create(_) = event.auth_content() {
        return Ok(());
    }
    let create = state
        .get("m.room.create", "")
        .ok_or(AuthError::NoCreateEvent)?;
    let AuthContent::Create(create_content) = create.auth_content() else {
        return Err(AuthError::NoCreateEvent);
    };
    check_federate(event, &create, create_content)?;
    // spec: v1 4: "If type is `m.room.aliases`"
    if rules.authorization.aliases_of_own_server && event.kind() == "m.room.aliases" {
        return check_aliases(event);
    }
    let room = Room {
        rules,
        state,
        create: &create,
    };

    // spec: v12 5 (v11 4): "If type is `m.room.member`"
    if let Some(content) = event.member() {
        return member::check(&room, event, content);
    }
    // spec: v12 6 (v11 5): "If the `sender`'s current membership state is not `join`, reject."
    if room.membership(event.sender()) != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    let power = room.power()?;
    let sender_power = power.user_level(event.sender());
    // spec: v12 7 (v11 6): "If type is `m.room.third_party_invite`: Allow if and only if `sender`'s
    // current power level is greater than or equal to the *invite level*."
    if event.kind() == "m.room.third_party_invite" {
        return sender_power
            .reaches(power.invite())
            .then_some(())
            .ok_or(AuthError::InviteLevel);
    }
    // spec: v12 8 (v11 7): "If the event type's *required power level* is greater than the
    // `sender`'s power level, reject."
    if !sender_power.reaches(power.required_for_event(event.kind(), event.is_state())) {
        return Err(AuthError::RequiredPowerLevel {
            kind: event.kind().to_owned(),
        });
    }
    // spec: v12 9 (v11 8): "If the event has a `state_key` that starts with an `@` and does not match
    // the `sender`, reject."
    if let Some(state_key) = event.state_key()
        && state_key.starts_with('@')
        && state_key != event.sender().as_str()
    {
        return Err(AuthError::StateKeyOfOtherUser);
    }
    // spec: v12 10 (v11 9): "If type is `m.room.power_levels`"
    if let AuthContent::PowerLevels(content) = event.auth_content() {
        let new = content
            .as_ref()
            .map_err(|error| AuthError::PowerLevels(*error))?;
        return power_levels::check(&room, event.sender(), new, &power);
    }
    // spec: v1 11: "If type is `m.room.redaction`"
    if rules.authorization.redactions == RedactionCheck::WhenAuthorized
        && event.kind() == "m.room.redaction"
    {
        return check_redaction(event, &power);
    }
    // spec: v12 11 (v11 10): "Otherwise, allow."
    Ok(())
}

/// spec: v12 4 (v11 3): "If the `content` of the `m.room.create` event in the room state has the
/// property `m.federate` set to `false`, and the `sender` domain of the event does not match the
/// `sender` domain of the create event, reject."
fn check_federate(event: &Event, create: &Event, content: &CreateContent) -> Result<(), AuthError> {
    if !content.federate && event.sender().server_name() != create.sender().server_name() {
        return Err(AuthError::NotFederated);
    }
    Ok(())
}

/// spec: v1 4.1–4.3: "If event has no `state_key`, reject. If sender's domain doesn't match
/// `state_key`, reject. Otherwise, allow."
fn check_aliases(event: &Event) -> Result<(), AuthError> {
    if event.state_key() == Some(event.sender().server_name().as_str()) {
        return Ok(());
    }
    Err(AuthError::AliasesOfOtherServer)
}

/// spec: v1 11.1–11.3: "If the `sender`'s power level is greater than or equal to the *redact level*,
/// allow. If the domain of the `event_id` of the event being redacted is the same as the domain of the
/// `event_id` of the `m.room.redaction`, allow. Otherwise, reject."
fn check_redaction(event: &Event, power: &RoomPower) -> Result<(), AuthError> {
    let target_server = event.redacts().and_then(EventId::server_name);
    if power.user_level(event.sender()).reaches(power.redact())
        || (target_server.is_some() && target_server == event.event_id().server_name())
    {
        return Ok(());
    }
    Err(AuthError::RedactLevel)
}

/// The room as the rules see it.
struct Room<'r, S> {
    rules: &'r RoomVersionRules,
    state: &'r S,
    create: &'r Event,
}

impl<S: StateView> Room<'_, S> {
    /// A user's current membership; everyone starts as `leave`.
    fn membership(&self, user: &UserId) -> Membership {
        self.state
            .get("m.room.member", user.as_str())
            .and_then(|event| event.member()?.membership)
            .unwrap_or(Membership::Leave)
    }

    fn power(&self) -> Result<RoomPower, AuthError> {
        let power_levels = self.state.get("m.room.power_levels", "");
        RoomPower::new(&self.rules.authorization, self.create.clone(), power_levels)
            .map_err(AuthError::PowerLevels)
    }
}
