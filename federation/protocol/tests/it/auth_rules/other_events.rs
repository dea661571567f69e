//! All other events.

use super::*;

#[test]
fn sending_needs_membership_and_the_required_power_level() {
    let message = |sender| Attempt(sender, "m.room.message", None, json!({"body": "hi"}));
    let topic = |sender| Attempt(sender, "m.room.topic", Some(""), json!({"topic": "t"}));
    allowed(&[], message(CAROL));
    refused(&[], message(DAVE), AuthError::SenderNotJoined);
    refused(
        &[member(ALICE, DAVE, "invite")],
        message(DAVE),
        AuthError::SenderNotJoined,
    );
    allowed(&[], topic(BOB));
    let kind = "m.room.topic".to_owned();
    refused(&[], topic(CAROL), AuthError::RequiredPowerLevel { kind });
}

#[test]
fn a_state_key_that_is_a_user_is_the_sender() {
    let status = |sender, key| Attempt(sender, "org.example.status", Some(key), json!({}));
    allowed(&[], status(BOB, BOB));
    allowed(&[], status(BOB, "bob"));
    refused(&[], status(BOB, ALICE), AuthError::StateKeyOfOtherUser);
    refused(&[], status(BOB, "@nobody"), AuthError::StateKeyOfOtherUser);
}

#[test]
fn without_power_levels_the_creator_rules() {
    for version in all_versions() {
        let (mut room, mut state) = TestRoom::new(version, &json!({}));
        let join = json!({"membership": "join"});
        room.send(&mut state, ALICE, "m.room.member", Some(ALICE), &join);
        let rule = json!({"join_rule": "public"});
        room.send(&mut state, ALICE, "m.room.join_rules", Some(""), &rule);
        room.send(&mut state, BOB, "m.room.member", Some(BOB), &join);
        let topic = |sender| Attempt(sender, "m.room.topic", Some(""), json!({}));
        let kind = "m.room.topic".to_owned();
        let refusal = Err(AuthError::RequiredPowerLevel { kind });
        assert_eq!(verdict(&mut room, &state, &topic(BOB)), refusal);
        assert_eq!(verdict(&mut room, &state, &topic(ALICE)), Ok(()));
        let message = Attempt(BOB, "m.room.message", None, json!({}));
        assert_eq!(verdict(&mut room, &state, &message), Ok(()));
        assert_eq!(
            verdict(&mut room, &state, &member(BOB, CAROL, "ban")),
            Err(AuthError::BanLevel)
        );
        assert_eq!(
            verdict(&mut room, &state, &member(ALICE, BOB, "ban")),
            Ok(())
        );
    }
}
