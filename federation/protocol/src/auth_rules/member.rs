//! spec: v12 5 (v11 4): "If type is `m.room.member`".

use ruma_common::UserId;

use super::{AuthError, Room, StateView, join, third_party_invite};
use crate::event::{AuthContent, Event, Field, JoinRule, MemberContent, Membership};

pub(super) fn check(
    room: &Room<'_, impl StateView>,
    event: &Event,
    content: &MemberContent,
) -> Result<(), AuthError> {
    // spec: v12 5.1 (v11 4.1): "If there is no `state_key` property, or no `membership` property in
    // `content`, reject." A state key that is no user id is nobody's membership.
    let target = event
        .state_key()
        .and_then(|state_key| <&UserId>::try_from(state_key).ok())
        .ok_or(AuthError::MemberStateKey)?;
    let membership = content.membership.ok_or(AuthError::NoMembership)?;
    // spec: v12 5.2 (v11 4.2): "If the event is not validly signed by the homeserver of the user ID
    // denoted by the key, reject." The verifier checked the signature; what denotes no user cannot
    // have one. (since v8)
    if room.rules.authorization.restricted_joins()
        && membership == Membership::Join
        && content.join_authorised_via_users_server == Field::Malformed
    {
        return Err(AuthError::MalformedAuthorizingUser);
    }
    match membership {
        // spec: v12 5.3 (v11 4.3)
        Membership::Join => join::check(room, event, content, target),
        // spec: v12 5.4 (v11 4.4)
        Membership::Invite => check_invite(room, event, content, target),
        // spec: v12 5.5 (v11 4.5)
        Membership::Leave => check_leave(room, event.sender(), target),
        // spec: v12 5.6 (v11 4.6)
        Membership::Ban => check_ban(room, event.sender(), target),
        // spec: v12 5.7 (v11 4.7), since v7
        Membership::Knock if room.rules.authorization.knocking() => {
            check_knock(room, event.sender(), target)
        }
        // spec: v12 5.8 (v11 4.8): "Otherwise, the membership is unknown. Reject."
        Membership::Knock | Membership::Unknown => Err(AuthError::UnknownMembership),
    }
}

/// spec: v12 5.4 (v11 4.4): "If `membership` is `invite`".
fn check_invite(
    room: &Room<'_, impl StateView>,
    event: &Event,
    content: &MemberContent,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.4.1 (v11 4.4.1): "If `content` has a `third_party_invite` property".
    if let Some(invite) = &content.third_party_invite {
        return third_party_invite::check(room, event.sender(), invite, target);
    }
    // spec: v12 5.4.2 (v11 4.4.2): "If the `sender`'s current membership state is not `join`,
    // reject."
    if room.membership(event.sender()) != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    // spec: v12 5.4.3 (v11 4.4.3): "If *target user*'s current membership state is `join` or `ban`,
    // reject."
    match room.membership(target) {
        Membership::Join => return Err(AuthError::TargetJoined),
        Membership::Ban => return Err(AuthError::TargetBanned),
        _ => {}
    }
    // spec: v12 5.4.4, 5.4.5 (v11 4.4.4, 4.4.5): "If the `sender`'s power level is greater than or
    // equal to the *invite level*, allow. Otherwise, reject."
    let power = room.power()?;
    if power.user_level(event.sender()).reaches(power.invite()) {
        return Ok(());
    }
    Err(AuthError::InviteLevel)
}

/// spec: v12 5.5 (v11 4.5): "If `membership` is `leave`".
fn check_leave(
    room: &Room<'_, impl StateView>,
    sender: &UserId,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.5.1 (v11 4.5.1): "If the `sender` matches `state_key`, allow if and only if that
    // user's current membership state is `invite`, `join`, or `knock`." (`knock` since v7)
    if sender == target {
        return match room.membership(sender) {
            Membership::Invite | Membership::Join => Ok(()),
            Membership::Knock if room.rules.authorization.knocking() => Ok(()),
            _ => Err(AuthError::NothingToLeave),
        };
    }
    // spec: v12 5.5.2 (v11 4.5.2): "If the `sender`'s current membership state is not `join`,
    // reject."
    if room.membership(sender) != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    let power = room.power()?;
    let sender_power = power.user_level(sender);
    // spec: v12 5.5.3 (v11 4.5.3): "If the *target user*'s current membership state is `ban`, and the
    // `sender`'s power level is less than the *ban level*, reject."
    if room.membership(target) == Membership::Ban && !sender_power.reaches(power.ban()) {
        return Err(AuthError::BanLevel);
    }
    // spec: v12 5.5.4, 5.5.5 (v11 4.5.4, 4.5.5): "If the `sender`'s power level is greater than or
    // equal to the *kick level*, and the *target user*'s power level is less than the `sender`'s
    // power level, allow. Otherwise, reject."
    if !sender_power.reaches(power.kick()) {
        return Err(AuthError::KickLevel);
    }
    if power.user_level(target) >= sender_power {
        return Err(AuthError::TargetPower);
    }
    Ok(())
}

/// spec: v12 5.6 (v11 4.6): "If `membership` is `ban`".
fn check_ban(
    room: &Room<'_, impl StateView>,
    sender: &UserId,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.6.1 (v11 4.6.1): "If the `sender`'s current membership state is not `join`,
    // reject."
    if room.membership(sender) != Membership::Join {
        return Err(AuthError::SenderNotJoined);
    }
    // spec: v12 5.6.2, 5.6.3 (v11 4.6.2, 4.6.3): "If the `sender`'s power level is greater than or
    // equal to the *ban level*, and the *target user*'s power level is less than the `sender`'s power
    // level, allow. Otherwise, reject."
    let power = room.power()?;
    let sender_power = power.user_level(sender);
    if !sender_power.reaches(power.ban()) {
        return Err(AuthError::BanLevel);
    }
    if power.user_level(target) >= sender_power {
        return Err(AuthError::TargetPower);
    }
    Ok(())
}

/// spec: v12 5.7 (v11 4.7): "If `membership` is `knock`".
fn check_knock(
    room: &Room<'_, impl StateView>,
    sender: &UserId,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.7.1 (v11 4.7.1): "If the `join_rule` is anything other than `knock` or
    // `knock_restricted`, reject."
    if !matches!(join_rule(room), JoinRule::Knock | JoinRule::KnockRestricted) {
        return Err(AuthError::KnockRule);
    }
    // spec: v12 5.7.2 (v11 4.7.2): "If `sender` does not match `state_key`, reject."
    if sender != target {
        return Err(AuthError::SenderIsNotTarget);
    }
    // spec: v12 5.7.3, 5.7.4 (v11 4.7.3, 4.7.4): "If the `sender`'s current membership is not `ban`,
    // `invite`, or `join`, allow. Otherwise, reject."
    match room.membership(sender) {
        Membership::Ban => Err(AuthError::TargetBanned),
        Membership::Invite | Membership::Join => Err(AuthError::NothingToKnockFor),
        _ => Ok(()),
    }
}

/// The room's join rule; one that the room version does not know counts as any other unknown rule. The
/// rules do not say what holds without one; like other servers, we take it as `invite`.
pub(super) fn join_rule(room: &Room<'_, impl StateView>) -> JoinRule {
    let event = room.state.get("m.room.join_rules", "");
    let rule = match event.as_ref().map(Event::auth_content) {
        Some(AuthContent::JoinRules(content)) => content.join_rule.unwrap_or(JoinRule::Invite),
        _ => JoinRule::Invite,
    };
    if room.rules.authorization.join_rules.contains(&rule) {
        rule
    } else {
        JoinRule::Other
    }
}
