//! Third-party invites.

use super::*;

fn identity_key() -> SigningKey {
    SigningKey::from_seed("0", &[3; 32]).unwrap()
}

/// `signed` as the identity server makes it.
fn signed(mxid: &str, token: &str, key: &SigningKey) -> Value {
    let json = json!({"mxid": mxid, "token": token, "sender": ALICE}).to_string();
    let mut object = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    sign_json(&mut object, server_name!("id.test"), key);
    serde_json::from_slice(&object.to_canonical()).unwrap()
}

fn redeem(sender: &'static str, signed: &Value) -> Attempt<'static> {
    let content = json!({"membership": "invite", "third_party_invite": {"signed": signed}});
    Attempt(sender, "m.room.member", Some(DAVE), content)
}

#[test]
fn redeeming_a_third_party_invite() {
    let public = identity_key().verify_key().to_base64();
    let good = signed(DAVE, "t", &identity_key());
    let fails = |rule| AuthError::ThirdPartyInvite(rule);
    for keys in [
        json!({"public_key": public}),
        json!({"public_keys": [{"public_key": public}]}),
    ] {
        let offer = || Attempt(ALICE, "m.room.third_party_invite", Some("t"), keys.clone());
        allowed(&[offer()], redeem(ALICE, &good));
        refused(
            &[offer(), member(ALICE, DAVE, "ban")],
            redeem(ALICE, &good),
            AuthError::TargetBanned,
        );
        let other_user = signed(CAROL, "t", &identity_key());
        refused(
            &[offer()],
            redeem(ALICE, &other_user),
            fails(ThirdPartyInviteRule::Mxid),
        );
        let other_token = signed(DAVE, "u", &identity_key());
        refused(
            &[offer()],
            redeem(ALICE, &other_token),
            fails(ThirdPartyInviteRule::Token),
        );
        refused(
            &[offer()],
            redeem(BOB, &good),
            fails(ThirdPartyInviteRule::Sender),
        );
        let stranger = SigningKey::from_seed("0", &[4; 32]).unwrap();
        let forged = signed(DAVE, "t", &stranger);
        refused(
            &[offer()],
            redeem(ALICE, &forged),
            fails(ThirdPartyInviteRule::Signature),
        );
        for incomplete in [json!({"mxid": DAVE}), json!({"token": "t"}), json!(1)] {
            let attempt = redeem(ALICE, &incomplete);
            refused(&[offer()], attempt, fails(ThirdPartyInviteRule::Signed));
        }
    }
    refused(
        &[],
        redeem(ALICE, &good),
        fails(ThirdPartyInviteRule::Token),
    );
}

#[test]
fn offering_a_third_party_invite_needs_the_invite_level() {
    let offer = |sender| Attempt(sender, "m.room.third_party_invite", Some("t"), json!({}));
    allowed(&[], offer(CAROL));
    refused(&[], offer(DAVE), AuthError::SenderNotJoined);
    let invite_50 = [levels(json!({"users": {}, "invite": 50}))];
    refused(&invite_50, offer(CAROL), AuthError::InviteLevel);
    allowed(&invite_50, offer(ALICE));
    // The level for its type has no say in it.
    let closed = [levels(json!({"events": {"m.room.third_party_invite": 60}}))];
    allowed(&closed, offer(CAROL));
}
