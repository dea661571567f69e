//! Federation and memberships.

use super::*;

#[test]
fn a_room_without_federation_is_for_the_creators_server() {
    for version in VERSIONS {
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
    for version in VERSIONS {
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
    for version in VERSIONS {
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
    for closed in ["invite", "knock", "restricted", "knock_restricted"] {
        refused(&[join_rule(closed)], join(), AuthError::JoinRule);
        allowed(&[join_rule(closed), invite()], join());
        // Those who are in may say so again.
        allowed(&[join_rule(closed)], member(CAROL, CAROL, "join"));
    }
    for strange in ["private", "org.example.mystery"] {
        refused(&[join_rule(strange), invite()], join(), AuthError::JoinRule);
    }
}

#[test]
fn restricted_joins_need_a_member_who_may_invite() {
    let via = |user: &str| {
        let content = json!({"membership": "join", "join_authorised_via_users_server": user});
        Attempt(DAVE, "m.room.member", Some(DAVE), content)
    };
    let levels = |content| Attempt(ALICE, "m.room.power_levels", Some(""), content);
    for rule in ["restricted", "knock_restricted"] {
        allowed(&[join_rule(rule)], via(CAROL));
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
        for version in VERSIONS {
            let (mut room, mut state) = room_with(version, &[join_rule(rule)]);
            let Attempt(sender, kind, key, _) = levels(json!({}));
            let users = match version {
                "12" => json!({BOB: 50}),
                _ => json!({ALICE: 100, BOB: 50}),
            };
            room.send(
                &mut state,
                sender,
                kind,
                key,
                &json!({"users": users, "invite": 50}),
            );
            assert_eq!(
                verdict(&mut room, &state, &via(CAROL)),
                Err(AuthError::AuthorizingUser)
            );
            assert_eq!(verdict(&mut room, &state, &via(BOB)), Ok(()));
            assert_eq!(verdict(&mut room, &state, &via(ALICE)), Ok(()));
        }
    }
    refused(&[join_rule("invite")], via(CAROL), AuthError::JoinRule);
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
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let users = if version == "12" {
            json!({BOB: 50})
        } else {
            json!({ALICE: 100, BOB: 50})
        };
        let levels = json!({"users": users, "invite": 50});
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &levels);
        assert_eq!(
            verdict(&mut room, &state, &member(CAROL, DAVE, "invite")),
            Err(AuthError::InviteLevel)
        );
        assert_eq!(
            verdict(&mut room, &state, &member(BOB, DAVE, "invite")),
            Ok(())
        );
    }
}

#[test]
fn leaving_and_kicking() {
    allowed(&[], member(CAROL, CAROL, "leave"));
    allowed(
        &[member(ALICE, DAVE, "invite")],
        member(DAVE, DAVE, "leave"),
    );
    allowed(
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
}

#[test]
fn equals_do_not_remove_each_other() {
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let users = match version {
            "12" => json!({BOB: 50, CAROL: 50}),
            _ => json!({ALICE: 100, BOB: 50, CAROL: 50}),
        };
        room.send(
            &mut state,
            ALICE,
            "m.room.power_levels",
            Some(""),
            &json!({"users": users}),
        );
        for membership in ["leave", "ban"] {
            assert_eq!(
                verdict(&mut room, &state, &member(BOB, CAROL, membership)),
                Err(AuthError::TargetPower)
            );
        }
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
}

#[test]
fn knocking() {
    let knock = || member(DAVE, DAVE, "knock");
    for rule in ["knock", "knock_restricted"] {
        allowed(&[join_rule(rule)], knock());
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
    for rule in ["public", "invite", "restricted"] {
        refused(&[join_rule(rule)], knock(), AuthError::KnockRule);
    }
}
