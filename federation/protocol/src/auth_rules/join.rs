//! spec: v12 5.3 (v11 4.3): "If `membership` is `join`".

use ruma_common::UserId;

use super::member::join_rule;
use super::{AuthError, Room, StateView};
use crate::event::{Event, Field, JoinRule, MemberContent, Membership};
use crate::power_levels::creator;

pub(super) fn check(
    room: &Room<'_, impl StateView>,
    event: &Event,
    content: &MemberContent,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.3.1 (v11 4.3.1): "If the only previous event is an `m.room.create` and the
    // `state_key` is the sender of the `m.room.create`, allow." (v1 5.2.1: "[…] is the creator")
    if let Some(only) = event.prev_events().only()
        && only == room.create.event_id()
        && creator(&room.rules.authorization, room.create) == Some(target)
    {
        return Ok(());
    }
    // spec: v12 5.3.2 (v11 4.3.2): "If the `sender` does not match `state_key`, reject."
    if event.sender() != target {
        return Err(AuthError::SenderIsNotTarget);
    }
    // spec: v12 5.3.3 (v11 4.3.3): "If the `sender` is banned, reject."
    let membership = room.membership(target);
    if membership == Membership::Ban {
        return Err(AuthError::TargetBanned);
    }
    let is_in_or_invited = matches!(membership, Membership::Invite | Membership::Join);
    match join_rule(room) {
        // spec: v12 5.3.4 (v11 4.3.4): "If the `join_rule` is `invite` or `knock` then allow if
        // membership state is `invite` or `join`." (`knock` since v7)
        JoinRule::Invite | JoinRule::Knock if is_in_or_invited => Ok(()),
        // spec: v12 5.3.5 (v11 4.3.5): "If the `join_rule` is `restricted` or `knock_restricted`:
        // If membership state is `join` or `invite`, allow." (since v8 and v10)
        JoinRule::Restricted | JoinRule::KnockRestricted if is_in_or_invited => Ok(()),
        JoinRule::Restricted | JoinRule::KnockRestricted => check_authorizing_user(room, content),
        // spec: v12 5.3.6 (v11 4.3.6): "If the `join_rule` is `public`, allow."
        JoinRule::Public => Ok(()),
        // spec: v12 5.3.7 (v11 4.3.7): "Otherwise, reject."
        _ => Err(AuthError::JoinRule),
    }
}

/// spec: v12 5.3.5.2, 5.3.5.3 (v11 4.3.5.2, 4.3.5.3): "If the `join_authorised_via_users_server` key
/// in `content` is not a user with sufficient permission to invite other users or is not a joined
/// member of the room, reject. Otherwise, allow."
fn check_authorizing_user(
    room: &Room<'_, impl StateView>,
    content: &MemberContent,
) -> Result<(), AuthError> {
    let Field::Present(user) = &content.join_authorised_via_users_server else {
        return Err(AuthError::JoinRule);
    };
    if room.membership(user) != Membership::Join {
        return Err(AuthError::AuthorizingUser);
    }
    let power = room.power()?;
    if power.user_level(user).reaches(power.invite()) {
        return Ok(());
    }
    Err(AuthError::AuthorizingUser)
}
