//! spec: v12 5.4.1 (v11 4.4.1): "If `content` has a `third_party_invite` property".

use ruma_common::UserId;

use super::error::ThirdPartyInviteRule as Rule;
use super::{AuthError, Room, StateView};
use crate::event::{
    AuthContent, Membership, SignedThirdPartyInvite, ThirdPartyInvite, ThirdPartyInviteContent,
};
use crate::signing::VerifyKey;

pub(super) fn check(
    room: &Room<'_, impl StateView>,
    sender: &UserId,
    invite: &ThirdPartyInvite,
    target: &UserId,
) -> Result<(), AuthError> {
    // spec: v12 5.4.1.1 (v11 4.4.1.1): "If *target user* is banned, reject."
    if room.membership(target) == Membership::Ban {
        return Err(AuthError::TargetBanned);
    }
    check_signed(room.state, sender, invite, target).map_err(AuthError::ThirdPartyInvite)
}

fn check_signed(
    state: &impl StateView,
    sender: &UserId,
    invite: &ThirdPartyInvite,
    target: &UserId,
) -> Result<(), Rule> {
    // spec: v12 5.4.1.2, 5.4.1.3: "If `content.third_party_invite` does not have a `signed` property,
    // reject. If `signed` does not have `mxid` and `token` properties, reject."
    let signed = invite.signed.as_ref().ok_or(Rule::Signed)?;
    // spec: v12 5.4.1.4: "If `mxid` does not match `state_key`, reject."
    if signed.mxid.as_ref() != target.as_str() {
        return Err(Rule::Mxid);
    }
    // spec: v12 5.4.1.5: "If there is no `m.room.third_party_invite` event in the current room state
    // with `state_key` matching `token`, reject."
    let event = state
        .get("m.room.third_party_invite", &signed.token)
        .ok_or(Rule::Token)?;
    let AuthContent::ThirdPartyInvite(content) = event.auth_content() else {
        return Err(Rule::Token);
    };
    // spec: v12 5.4.1.6: "If `sender` does not match `sender` of the `m.room.third_party_invite`,
    // reject."
    if event.sender() != sender {
        return Err(Rule::Sender);
    }
    // spec: v12 5.4.1.7, 5.4.1.8: "If any signature in `signed` matches any public key in the
    // `m.room.third_party_invite` event, allow. Otherwise, reject."
    if is_signed_by_any(signed, content) {
        Ok(())
    } else {
        Err(Rule::Signature)
    }
}

/// Both lists come from other servers and every pair may cost a verification, so their product is
/// bounded. Identity servers publish two keys and sign once.
const MAX_VERIFICATIONS: usize = 64;

fn is_signed_by_any(signed: &SignedThirdPartyInvite, content: &ThirdPartyInviteContent) -> bool {
    content
        .public_keys
        .iter()
        .filter_map(|key| VerifyKey::from_base64(key))
        .flat_map(|key| {
            signed
                .signatures
                .iter()
                .map(move |signature| (key, signature))
        })
        .take(MAX_VERIFICATIONS)
        .any(|(key, signature)| key.verifies(&signed.payload, signature))
}
