//! Federation and memberships.

use super::*;

#[test]
fn a_room_without_federation_is_for_the_creators_server() {
    for version in all_versions() {
        for (federate, expected) in [
            (json!(false), Err(AuthError::NotFederated)),
            (json!(true), Ok(())),
        ] {
            let (mut room, mut state) = TestRoom::new(version, &json!({"m.federate": federate}));
            let join = json!({"membership": "join"});
            room.send(&mut state, ALICE, "m.room.member", Some(ALICE), &join);
            let rule = json!({"join_rule": "public"});
            room.send(&mut state, ALICE, "m.room.join_rules", Some(""), &rule);
            assert_eq!(
                verdict(&mut room, &state, &member(BOB, BOB, "join")),
                expected
            );
            let local = "@local:one.test";
            assert_eq!(
                verdict(&mut room, &state, &member(local, local, "join")),
                Ok(())
            );
        }
    }
}

#[test]
fn the_state_has_a_create_event() {
    for version in all_versions() {
        let (mut room, mut state) = room_with(version, &[]);
        let id = room.event(&state, &[], ALICE, "m.room.message", None, &json!({}));
        state.remove(&("m.room.create".to_owned(), String::new()));
        assert_eq!(room.check(id, &state), Err(AuthError::NoCreateEvent));
    }
}

#[test]
fn member_events_need_a_user_and_a_membership() {
    let content = json!({"membership": "join"});
    refused(
        &[],
        Attempt(BOB, "m.room.member", None, content.clone()),
        AuthError::MemberStateKey,
    );
    refused(
        &[],
        Attempt(BOB, "m.room.member", Some("bob"), content),
        AuthError::MemberStateKey,
    );
    for malformed in [json!({}), json!({"membership": 1})] {
        let attempt = Attempt(BOB, "m.room.member", Some(BOB), malformed);
        refused(&[], attempt, AuthError::NoMembership);
    }
    refused(
        &[],
        member(BOB, BOB, "dancing"),
        AuthError::UnknownMembership,
    );
}

#[test]
fn the_creator_joins_directly_after_the_create_event() {
    for version in all_versions() {
        let (mut room, state) = TestRoom::new(version, &json!({}));
        let join = json!({"membership": "join"});
        let mut verdict = |prev: &[Id], user: &str| {
            let id = room.event(&state, prev, user, "m.room.member", Some(user), &join);
            room.check(id, &state)
        };
        assert_eq!(verdict(&[0], ALICE), Ok(()));
        assert_eq!(verdict(&[0], BOB), Err(AuthError::JoinRule));
        assert_eq!(verdict(&[], ALICE), Err(AuthError::JoinRule));
        assert_eq!(verdict(&[0, 0], ALICE), Err(AuthError::JoinRule));
    }
}

#[test]
fn joining() {
    let invite = || member(ALICE, DAVE, "invite");
    let join = || member(DAVE, DAVE, "join");
    allowed(&[], join());
    refused(
        &[],
        member(ALICE, DAVE, "join"),
        AuthError::SenderIsNotTarget,
    );
    refused(
        &[member(ALICE, DAVE, "ban")],
        join(),
        AuthError::TargetBanned,
    );
    for (closed, since) in CLOSED {
        // Where the rule means nothing yet, nobody can join by it, invited or not.
        refused(&[join_rule(closed)], join(), AuthError::JoinRule);
        allowed_in(since..=12, &[join_rule(closed), invite()], join());
        refused_in(
            1..=since - 1,
            &[join_rule(closed), invite()],
            join(),
            AuthError::JoinRule,
        );
        // Those who are in may say so again.
        allowed_in(
            since..=12,
            &[join_rule(closed)],
            member(CAROL, CAROL, "join"),
        );
    }
    for strange in ["private", "org.example.mystery"] {
        refused(&[join_rule(strange), invite()], join(), AuthError::JoinRule);
    }
}

/// The join rules that do not let everybody in, and the room versions that first had them.
const CLOSED: [(&str, usize); 4] = [
    ("invite", 1),
    ("knock", 7),
    ("restricted", 8),
    ("knock_restricted", 10),
];

#[test]
fn restricted_joins_need_a_member_who_may_invite() {
    let via = |user: &str| {
        let content = json!({"membership": "join", "join_authorised_via_users_server": user});
        Attempt(DAVE, "m.room.member", Some(DAVE), content)
    };
    for (rule, since) in [("restricted", 8), ("knock_restricted", 10)] {
        let refused = |setup: &[_], attempt, rule| refused_in(since..=12, setup, attempt, rule);
        allowed_in(since..=12, &[join_rule(rule)], via(CAROL));
        refused_in(
            1..=since - 1,
            &[join_rule(rule)],
            via(CAROL),
            AuthError::JoinRule,
        );
        refused(
            &[join_rule(rule)],
            via("@nobody:one.test"),
            AuthError::AuthorizingUser,
        );
        refused(
            &[join_rule(rule), member(ALICE, CAROL, "leave")],
            via(CAROL),
            AuthError::AuthorizingUser,
        );
        refused(
            &[join_rule(rule)],
            via("no user"),
            AuthError::MalformedAuthorizingUser,
        );
        let invite_50 = [join_rule(rule), levels(json!({"invite": 50}))];
        refused(&invite_50, via(CAROL), AuthError::AuthorizingUser);
        allowed_in(since..=12, &invite_50, via(BOB));
        allowed_in(since..=12, &invite_50, via(ALICE));
    }
    refused(&[join_rule("invite")], via(CAROL), AuthError::JoinRule);
    // Before restricted joins, the field says nothing.
    allowed_in(1..=7, &[], via("no user"));
    // After that, a join that names nobody has nobody's signature, whatever the join rule.
    for version in versions(8..=12) {
        let (mut room, state) = room_with(version, &[]);
        let Attempt(sender, kind, key, content) = via("no user");
        let id = room.event(&state, &[], sender, kind, key, &content);
        assert_eq!(
            room.check(id, &state),
            Err(AuthError::MalformedAuthorizingUser)
        );
    }
}

#[test]
fn inviting() {
    allowed(&[], member(CAROL, DAVE, "invite"));
    refused(
        &[],
        member(DAVE, "@else:one.test", "invite"),
        AuthError::SenderNotJoined,
    );
    refused(&[], member(ALICE, BOB, "invite"), AuthError::TargetJoined);
    refused(
        &[member(ALICE, DAVE, "ban")],
        member(ALICE, DAVE, "invite"),
        AuthError::TargetBanned,
    );
    let invite_50 = [levels(json!({"invite": 50}))];
    refused(
        &invite_50,
        member(CAROL, DAVE, "invite"),
        AuthError::InviteLevel,
    );
    allowed(&invite_50, member(BOB, DAVE, "invite"));
    // Who was invited can be invited again, by somebody else too.
    let invited = [member(ALICE, DAVE, "invite")];
    allowed(&invited, member(ALICE, DAVE, "invite"));
    allowed(&invited, member(CAROL, DAVE, "invite"));
    refused(
        &[levels(json!({"invite": 50})), member(ALICE, DAVE, "invite")],
        member(CAROL, DAVE, "invite"),
        AuthError::InviteLevel,
    );
    // Who knocked can be invited.
    let knocked = [join_rule("knock"), member(DAVE, DAVE, "knock")];
    allowed_in(7..=12, &knocked, member(CAROL, DAVE, "invite"));
}

#[test]
fn leaving_and_kicking() {
    allowed(&[], member(CAROL, CAROL, "leave"));
    allowed(
        &[member(ALICE, DAVE, "invite")],
        member(DAVE, DAVE, "leave"),
    );
    allowed_in(
        7..=12,
        &[join_rule("knock"), member(DAVE, DAVE, "knock")],
        member(DAVE, DAVE, "leave"),
    );
    refused(&[], member(DAVE, DAVE, "leave"), AuthError::NothingToLeave);
    refused(
        &[member(ALICE, DAVE, "ban")],
        member(DAVE, DAVE, "leave"),
        AuthError::NothingToLeave,
    );

    allowed(&[], member(BOB, CAROL, "leave"));
    allowed(&[], member(ALICE, BOB, "leave"));
    refused(
        &[],
        member(DAVE, CAROL, "leave"),
        AuthError::SenderNotJoined,
    );
    refused(&[], member(CAROL, DAVE, "leave"), AuthError::KickLevel);
    refused(&[], member(BOB, ALICE, "leave"), AuthError::TargetPower);
    let kick_60 = [levels(json!({"kick": 60}))];
    refused(&kick_60, member(BOB, CAROL, "leave"), AuthError::KickLevel);
    allowed(&kick_60, member(ALICE, CAROL, "leave"));
}

#[test]
fn equals_do_not_remove_each_other() {
    let equals = [levels(json!({"users": {BOB: 50, CAROL: 50}}))];
    for membership in ["leave", "ban"] {
        let attempt = member(BOB, CAROL, membership);
        refused(&equals, attempt, AuthError::TargetPower);
    }
}

#[test]
fn banning_and_unbanning() {
    let banned = || [member(ALICE, DAVE, "ban")];
    allowed(&[], member(BOB, CAROL, "ban"));
    allowed(&[], member(BOB, DAVE, "ban"));
    refused(&[], member(DAVE, CAROL, "ban"), AuthError::SenderNotJoined);
    refused(&[], member(CAROL, DAVE, "ban"), AuthError::BanLevel);
    refused(&[], member(BOB, ALICE, "ban"), AuthError::TargetPower);
    allowed(&banned(), member(BOB, DAVE, "leave"));
    refused(&banned(), member(CAROL, DAVE, "leave"), AuthError::BanLevel);
    // Whoever lifts a ban also has to reach the kick level.
    let kick_60 = [member(ALICE, DAVE, "ban"), levels(json!({"kick": 60}))];
    refused(&kick_60, member(BOB, DAVE, "leave"), AuthError::KickLevel);
    let ban_60 = [member(ALICE, DAVE, "ban"), levels(json!({"ban": 60}))];
    refused(&ban_60, member(BOB, DAVE, "leave"), AuthError::BanLevel);
    refused(&ban_60, member(BOB, CAROL, "ban"), AuthError::BanLevel);
}

#[test]
fn knocking() {
    let knock = || member(DAVE, DAVE, "knock");
    for (rule, since) in [("knock", 7), ("knock_restricted", 10)] {
        let refused = |setup: &[_], attempt, rule| refused_in(since..=12, setup, attempt, rule);
        allowed_in(since..=12, &[join_rule(rule)], knock());
        allowed_in(
            since..=12,
            &[join_rule(rule), knock(), member(ALICE, DAVE, "leave")],
            knock(),
        );
        // Who has knocked may knock again, while the door is one to knock on.
        let knocked = [join_rule(rule), knock()];
        allowed_in(since..=12, &knocked, knock());
        let closed = [join_rule(rule), knock(), join_rule("invite")];
        refused(&closed, knock(), AuthError::KnockRule);
        refused(
            &[join_rule(rule)],
            member(ALICE, DAVE, "knock"),
            AuthError::SenderIsNotTarget,
        );
        refused(
            &[join_rule(rule), member(ALICE, DAVE, "ban")],
            knock(),
            AuthError::TargetBanned,
        );
        let invited = [join_rule(rule), member(ALICE, DAVE, "invite")];
        refused(&invited, knock(), AuthError::NothingToKnockFor);
        refused(
            &[join_rule(rule)],
            member(CAROL, CAROL, "knock"),
            AuthError::NothingToKnockFor,
        );
    }
    refused_in(
        1..=6,
        &[join_rule("knock")],
        knock(),
        AuthError::UnknownMembership,
    );
    let both = [join_rule("knock_restricted")];
    refused_in(7..=9, &both, knock(), AuthError::KnockRule);
    for rule in ["public", "invite", "restricted"] {
        refused_in(7..=12, &[join_rule(rule)], knock(), AuthError::KnockRule);
    }
}
