//! Which events of the state decide whether another event is allowed.
//!
//! spec: server-server v1.19 §Auth events selection.

use std::borrow::Cow;

use ruma_common::UserId;

use crate::canonical_json::Object;
use crate::event::{Event, Field, MemberContent, Membership};
use crate::room_version::{AuthorizationRules, RoomVersionRules};

#[cfg(test)]
mod tests;

/// Type and state key of a state event.
pub type StateType<'a> = (&'static str, Cow<'a, str>);

/// The state that decides whether an event with this type, sender, state key and content is allowed:
/// what its `auth_events` should be, as far as such state exists.
#[must_use]
pub fn auth_types_for_event(
    rules: &RoomVersionRules,
    kind: &str,
    sender: &UserId,
    state_key: Option<&str>,
    content: &Object<'_>,
) -> Vec<StateType<'static>> {
    if kind == "m.room.create" {
        return Vec::new();
    }
    let member = (kind == "m.room.member").then(|| MemberContent::read(content));
    select(&rules.authorization, sender, state_key, member.as_ref())
        .into_iter()
        .map(|(kind, key)| (kind, Cow::Owned(key.into_owned())))
        .collect()
}

/// [`auth_types_for_event`] for an event that is already parsed.
#[must_use]
pub fn auth_types<'e>(rules: &RoomVersionRules, event: &'e Event) -> Vec<StateType<'e>> {
    // spec: "The `auth_events` for the `m.room.create` event in a room is empty".
    if event.kind() == "m.room.create" {
        return Vec::new();
    }
    select(
        &rules.authorization,
        event.sender(),
        event.state_key(),
        event.member(),
    )
}

fn select<'e>(
    rules: &AuthorizationRules,
    sender: &'e UserId,
    state_key: Option<&'e str>,
    member: Option<&'e MemberContent>,
) -> Vec<StateType<'e>> {
    let mut types: Vec<StateType<'e>> = Vec::with_capacity(6);
    let mut add = |kind: &'static str, key: &'e str| {
        if !types.iter().any(|(known, at)| *known == kind && at == key) {
            types.push((kind, Cow::Borrowed(key)));
        }
    };
    // "Depending on the room version, the `m.room.create` event."
    if rules.create_in_auth_events {
        add("m.room.create", "");
    }
    // "The current `m.room.power_levels` event, if any."
    add("m.room.power_levels", "");
    // "The sender's current `m.room.member` event, if any."
    add("m.room.member", sender.as_str());
    // "If type is `m.room.member`:"
    let (Some(member), Some(target)) = (member, state_key) else {
        return types;
    };
    // "The target's current `m.room.member` event, if any."
    add("m.room.member", target);
    // "If `membership` is `join`, `invite` or `knock`, the current `m.room.join_rules` event."
    if matches!(
        member.membership,
        Some(Membership::Join | Membership::Invite | Membership::Knock)
    ) {
        add("m.room.join_rules", "");
    }
    // "If membership is `invite` and `content` contains a `third_party_invite` property, the current
    // `m.room.third_party_invite` event with `state_key` matching
    // `content.third_party_invite.signed.token`".
    if member.membership == Some(Membership::Invite) {
        let signed = member
            .third_party_invite
            .as_ref()
            .and_then(|invite| invite.signed.as_ref());
        if let Some(signed) = signed {
            add("m.room.third_party_invite", &signed.token);
        }
    }
    // "If `membership` is `join`, `content.join_authorised_via_users_server` is present, and the room
    // version supports restricted rooms, then the `m.room.member` event with `state_key` matching".
    if rules.restricted_joins()
        && member.membership == Some(Membership::Join)
        && let Field::Present(user) = &member.join_authorised_via_users_server
    {
        add("m.room.member", user.as_str());
    }
    types
}
