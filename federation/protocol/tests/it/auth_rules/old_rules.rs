//! Rules that later versions do not have any more.

use super::*;

/// spec: rooms/v1 §Authorisation rules 4, which rooms/v6 removed.
#[test]
fn aliases_are_of_the_senders_server_up_to_version_5() {
    let aliases = |sender, key| Attempt(sender, "m.room.aliases", key, json!({"aliases": []}));
    // Whoever it is, member or not.
    for sender in [BOB, CAROL, DAVE] {
        let server = sender.split_once(':').unwrap().1;
        allowed_in(1..=5, &[], aliases(sender, Some(server)));
    }
    for key in [None, Some(""), Some("one.test"), Some("two.test:8448")] {
        let rule = AuthError::AliasesOfOtherServer;
        refused_in(1..=5, &[], aliases(BOB, key), rule);
    }
    // From version 6 on it is a state event like any other.
    allowed_in(6..=12, &[], aliases(BOB, Some("one.test")));
    let kind = "m.room.aliases".to_owned();
    let rule = AuthError::RequiredPowerLevel { kind };
    refused_in(6..=12, &[], aliases(CAROL, Some("three.test")), rule);
    let outside = aliases(DAVE, Some("four.test"));
    refused_in(6..=12, &[], outside, AuthError::SenderNotJoined);
}

/// spec: rooms/v1 §Authorisation rules 3 stands before 4.
#[test]
fn aliases_of_other_servers_are_kept_out_of_a_room_without_federation() {
    for version in all_versions() {
        let (mut room, state) = TestRoom::new(version, &json!({"m.federate": false}));
        let attempt = Attempt(BOB, "m.room.aliases", Some("two.test"), json!({}));
        assert_eq!(
            verdict(&mut room, &state, &attempt),
            Err(AuthError::NotFederated)
        );
    }
}

/// spec: rooms/v1 §Authorisation rules 11, which rooms/v3 §Handling redactions replaced.
#[test]
fn redactions_are_authorized_by_level_or_event_id_up_to_version_2() {
    let redact = |sender, target: &str| {
        let content = json!({"redacts": target});
        Attempt(sender, "m.room.redaction", None, content)
    };
    let bobs_server = "$event:two.test";
    let carols_server = "$event:three.test";
    allowed(&[], redact(ALICE, bobs_server));
    allowed(&[], redact(BOB, carols_server));
    allowed(&[], redact(CAROL, carols_server));
    refused_in(
        1..=2,
        &[],
        redact(CAROL, bobs_server),
        AuthError::RedactLevel,
    );
    refused_in(1..=2, &[], redact(CAROL, "$hash"), AuthError::RedactLevel);
    let nothing = Attempt(CAROL, "m.room.redaction", None, json!({}));
    refused_in(1..=2, &[], nothing, AuthError::RedactLevel);
    let redact_60 = [levels(json!({"redact": 60}))];
    refused_in(
        1..=2,
        &redact_60,
        redact(BOB, carols_server),
        AuthError::RedactLevel,
    );
    allowed_in(1..=2, &redact_60, redact(BOB, bobs_server));
    // Later it is asked when the redaction is applied.
    allowed_in(3..=12, &redact_60, redact(CAROL, bobs_server));
    // In all versions the type has its level.
    let closed = [levels(json!({"events": {"m.room.redaction": 60}}))];
    let kind = "m.room.redaction".to_owned();
    let rule = AuthError::RequiredPowerLevel { kind };
    refused(&closed, redact(BOB, bobs_server), rule);
}
