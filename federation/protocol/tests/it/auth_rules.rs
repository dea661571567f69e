//! Every authorization rule, in both polarities, in the room versions that have it.

use std::collections::BTreeMap;

use hearth_protocol::auth_rules::{
    AuthError, KnownEvent, ThirdPartyInviteRule, check_state_independent,
};
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::power_levels::PowerLevelsError;
use hearth_protocol::signing::{SigningKey, sign_json};
use hearth_protocol::{Event, PduDraft};
use ruma::server_name;
use serde_json::{Value, json, value::to_raw_value};

use crate::test_room::{ALICE, BOB, CAROL, Id, State, TestRoom};

const VERSIONS: [&str; 2] = ["11", "12"];
const DAVE: &str = "@dave:four.test";

/// One event of a case: sender, type, state key, content.
struct Attempt<'c>(&'c str, &'c str, Option<&'c str>, Value);

fn member<'c>(sender: &'c str, target: &'c str, membership: &str) -> Attempt<'c> {
    Attempt(
        sender,
        "m.room.member",
        Some(target),
        json!({"membership": membership}),
    )
}

/// A room where Alice (the creator) has 100 or infinite power, Bob 50 and Carol 0, with `setup` on top
/// of it.
fn room_with(version: &str, setup: &[Attempt<'_>]) -> (TestRoom, State) {
    let users = match version {
        "12" => json!({BOB: 50}),
        _ => json!({ALICE: 100, BOB: 50}),
    };
    let (mut room, mut state) = TestRoom::with_members(version, &users);
    for Attempt(sender, kind, state_key, content) in setup {
        room.send(&mut state, sender, kind, *state_key, content);
    }
    (room, state)
}

fn verdict(room: &mut TestRoom, state: &State, attempt: &Attempt<'_>) -> Result<(), AuthError> {
    let Attempt(sender, kind, state_key, content) = attempt;
    let id = room.event(state, &[], sender, kind, *state_key, content);
    let verdict = room.check(id, state);
    assert_eq!(
        verdict.is_ok(),
        room.ruma_check(id, state).is_ok(),
        "ruma differs: {content}"
    );
    verdict
}

/// Tries `attempt` in a room with `setup`, in all versions.
#[track_caller]
fn check(setup: &[Attempt<'_>], attempt: &Attempt<'_>, expected: &Result<(), AuthError>) {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, setup);
        assert_eq!(
            &verdict(&mut room, &state, attempt),
            expected,
            "version {version}"
        );
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a table of cases reads better without `&`"
)]
#[track_caller]
fn allowed(setup: &[Attempt<'_>], attempt: Attempt<'_>) {
    check(setup, &attempt, &Ok(()));
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a table of cases reads better without `&`"
)]
#[track_caller]
fn refused(setup: &[Attempt<'_>], attempt: Attempt<'_>, rule: AuthError) {
    check(setup, &attempt, &Err(rule));
}

fn join_rule(rule: &str) -> Attempt<'static> {
    Attempt(
        ALICE,
        "m.room.join_rules",
        Some(""),
        json!({"join_rule": rule}),
    )
}

// --- create events -------------------------------------------------------------------------------

fn create_draft(version: &str, content: &Value) -> PduDraft {
    PduDraft {
        room_id: (version == "11").then(|| "!r:one.test".try_into().unwrap()),
        sender: ALICE.try_into().unwrap(),
        kind: "m.room.create".to_owned(),
        state_key: Some(String::new()),
        content: to_raw_value(content).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: 1,
        redacts: None,
    }
}

fn check_create(version: &str, draft: &PduDraft) -> Result<(), AuthError> {
    let rules = hearth_protocol::rules_for(version).unwrap();
    let key = SigningKey::from_seed("k", &[7; 32]).unwrap();
    let event = draft.sign(rules, server_name!("one.test"), &key).unwrap();
    check_state_independent(rules, &event, |_| None)
}

#[test]
fn create_is_allowed() {
    for version in VERSIONS {
        let draft = create_draft(version, &json!({"room_version": version}));
        assert_eq!(check_create(version, &draft), Ok(()));
        let draft = create_draft(version, &json!({}));
        assert_eq!(
            check_create(version, &draft),
            Ok(()),
            "no version means version 1"
        );
    }
}

#[test]
fn create_has_no_prev_events() {
    for version in VERSIONS {
        let mut draft = create_draft(version, &json!({}));
        draft.prev_events = vec!["$x".try_into().unwrap()];
        assert_eq!(
            check_create(version, &draft),
            Err(AuthError::CreateHasPrevEvents)
        );
    }
}

#[test]
fn create_is_of_its_senders_server_in_version_11() {
    for room_id in ["!r:two.test", "!r"] {
        let mut draft = create_draft("11", &json!({}));
        draft.room_id = Some(room_id.try_into().unwrap());
        assert_eq!(
            check_create("11", &draft),
            Err(AuthError::CreateOfOtherServer)
        );
    }
}

#[test]
fn create_names_a_known_room_version() {
    for version in VERSIONS {
        for unknown in [json!("org.example.nonsense"), json!(11), json!(null)] {
            let draft = create_draft(version, &json!({"room_version": unknown}));
            assert_eq!(
                check_create(version, &draft),
                Err(AuthError::UnknownRoomVersion)
            );
        }
    }
}

#[test]
fn additional_creators_are_user_ids_in_version_12() {
    for malformed in [
        json!("@bob:two.test"),
        json!(["bob"]),
        json!([1]),
        json!({}),
    ] {
        let draft = create_draft("12", &json!({"additional_creators": malformed}));
        assert_eq!(
            check_create("12", &draft),
            Err(AuthError::AdditionalCreators)
        );
        // Version 11 does not know the field.
        let draft = create_draft("11", &json!({"additional_creators": malformed}));
        assert_eq!(check_create("11", &draft), Ok(()));
    }
    let draft = create_draft("12", &json!({"additional_creators": [BOB, CAROL]}));
    assert_eq!(check_create("12", &draft), Ok(()));
}

// --- auth events ---------------------------------------------------------------------------------

/// A message by Bob that cites the events at `places` of the current state.
fn citing(room: &mut TestRoom, state: &State, places: &[(&str, &str)]) -> Id {
    let mut partial = State::new();
    for (kind, key) in places {
        let key = ((*kind).to_owned(), (*key).to_owned());
        partial.insert(key.clone(), state[&key]);
    }
    room.event(&partial, &[], BOB, "m.room.message", None, &json!({}))
}

fn check_cited(room: &TestRoom, id: Id, rejected: Option<Id>) -> Result<(), AuthError> {
    check_state_independent(room.rules, &room.events[id], |event_id| {
        let known = room.known(event_id)?;
        let rejected = rejected.is_some_and(|rejected| room.id(rejected) == *event_id);
        Some(KnownEvent { rejected, ..known })
    })
}

/// Signs a draft of a message by Bob with exactly these auth events.
fn message_with(room: &mut TestRoom, auth_events: &[Id]) -> Id {
    let draft = PduDraft {
        room_id: Some(room.events[0].room_id().to_owned()),
        sender: BOB.try_into().unwrap(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: to_raw_value(&json!({})).unwrap(),
        prev_events: vec![],
        auth_events: auth_events.iter().map(|id| room.id(*id)).collect(),
        depth: 1,
        origin_server_ts: 1,
        redacts: None,
    };
    room.sign(&draft)
}

fn at(state: &State, kind: &str, key: &str) -> Id {
    state[&(kind.to_owned(), key.to_owned())]
}

#[test]
fn auth_events_that_decide_are_allowed() {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, &[]);
        let mut places = vec![("m.room.power_levels", ""), ("m.room.member", BOB)];
        if version == "11" {
            places.push(("m.room.create", ""));
        }
        let id = citing(&mut room, &state, &places);
        assert_eq!(check_cited(&room, id, None), Ok(()));
        assert_eq!(room.ruma_check_independent(id), Ok(()));
    }
}

#[test]
fn auth_events_have_no_duplicate_places() {
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let first = at(&state, "m.room.member", BOB);
        let Attempt(_, kind, key, content) = member(BOB, BOB, "join");
        let second = room.send(&mut state, BOB, kind, key, &content);
        let id = message_with(&mut room, &[first, second]);
        let (kind, state_key) = ("m.room.member".to_owned(), BOB.to_owned());
        assert_eq!(
            check_cited(&room, id, None),
            Err(AuthError::DuplicateAuthEvent { kind, state_key })
        );
        room.ruma_check_independent(id).unwrap_err();
    }
}

#[test]
fn auth_events_that_decide_nothing_are_refused() {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, &[]);
        let unrelated = at(&state, "m.room.join_rules", "");
        let id = message_with(&mut room, &[unrelated]);
        let rule = AuthError::UnexpectedAuthEvent(room.id(unrelated));
        assert_eq!(check_cited(&room, id, None), Err(rule));
        room.ruma_check_independent(id).unwrap_err();
    }
}

#[test]
fn the_create_event_is_cited_in_version_11_and_never_in_version_12() {
    let (mut room, state) = room_with("11", &[]);
    let joined = at(&state, "m.room.member", BOB);
    let id = message_with(&mut room, &[joined]);
    assert_eq!(
        check_cited(&room, id, None),
        Err(AuthError::NoCreateInAuthEvents)
    );

    let (mut room, _) = room_with("12", &[]);
    let id = message_with(&mut room, &[0]);
    let rule = AuthError::UnexpectedAuthEvent(room.id(0));
    assert_eq!(check_cited(&room, id, None), Err(rule));
}

#[test]
fn rejected_auth_events_are_refused() {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, &[]);
        let id = room.event(&state, &[], BOB, "m.room.message", None, &json!({}));
        let rejected = at(&state, "m.room.member", BOB);
        let rule = AuthError::RejectedAuthEvent(room.id(rejected));
        assert_eq!(check_cited(&room, id, Some(rejected)), Err(rule));
    }
}

#[test]
fn a_rejected_create_event_carries_nothing_in_version_12() {
    let (mut room, state) = room_with("12", &[]);
    let id = room.event(&state, &[], BOB, "m.room.message", None, &json!({}));
    assert_eq!(
        check_cited(&room, id, Some(0)),
        Err(AuthError::RoomIdWithoutCreate)
    );
}

#[test]
fn auth_events_of_another_room_are_refused() {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, &[]);
        let id = room.event(&state, &[], BOB, "m.room.message", None, &json!({}));
        let foreign_join = at(&state, "m.room.member", BOB);
        // The same lookup, but Bob's join is one of another room.
        let mut draft = create_draft(version, &json!({}));
        draft.room_id = Some("!other:one.test".try_into().unwrap());
        draft.kind = "m.room.member".to_owned();
        draft.sender = BOB.try_into().unwrap();
        draft.state_key = Some(BOB.to_owned());
        draft.content = to_raw_value(&json!({"membership": "join"})).unwrap();
        let key = SigningKey::from_seed("k", &[7; 32]).unwrap();
        let foreign: Event = draft
            .sign(room.rules, server_name!("two.test"), &key)
            .unwrap();
        let verdict = check_state_independent(room.rules, &room.events[id], |event_id| {
            let known = room.known(event_id)?;
            let is_join = room.id(foreign_join) == *event_id;
            let event = if is_join {
                foreign.clone()
            } else {
                known.event
            };
            Some(KnownEvent {
                event,
                rejected: false,
            })
        });
        assert_eq!(
            verdict,
            Err(AuthError::AuthEventOfOtherRoom(
                foreign.event_id().to_owned()
            ))
        );
    }
}

#[test]
fn unknown_auth_events_are_named_not_judged() {
    for version in VERSIONS {
        let (mut room, state) = room_with(version, &[]);
        let id = room.event(&state, &[], BOB, "m.room.message", None, &json!({}));
        let error = check_state_independent(room.rules, &room.events[id], |_| None).unwrap_err();
        let AuthError::UnknownEvents(mut unknown) = error else {
            panic!("{error}")
        };
        unknown.sort();
        let mut expected: Vec<_> = room.events[id].auth_events().to_vec();
        if version == "12" {
            expected.push(room.id(0));
        }
        expected.sort();
        assert_eq!(unknown, expected);
    }
}

// --- federation and membership -------------------------------------------------------------------

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

// --- third-party invites -------------------------------------------------------------------------

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
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let users = if version == "12" {
            json!({})
        } else {
            json!({ALICE: 100})
        };
        let levels = json!({"users": users, "invite": 50});
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &levels);
        assert_eq!(
            verdict(&mut room, &state, &offer(CAROL)),
            Err(AuthError::InviteLevel)
        );
        assert_eq!(verdict(&mut room, &state, &offer(ALICE)), Ok(()));
    }
}

// --- all other events ----------------------------------------------------------------------------

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
    for version in VERSIONS {
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

// --- power levels --------------------------------------------------------------------------------

/// Power levels by Bob, who has 50, over those where `base` is stated beside the users.
#[track_caller]
fn levels_by_bob(base: &Value, new: &Value, expected: Result<(), (&'static str, &str)>) {
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let mut before = json!({"users": {BOB: 50, CAROL: 0}});
        if version == "11" {
            before["users"][ALICE] = json!(100);
        }
        merge(&mut before, base);
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &before);
        let mut after = before.clone();
        merge(&mut after, new);
        let expected = expected.map_err(|(field, key)| AuthError::PowerLevelChange {
            field,
            key: key.to_owned(),
        });
        let id = room.event(&state, &[], BOB, "m.room.power_levels", Some(""), &after);
        assert_eq!(
            room.check(id, &state),
            expected,
            "{base} → {new} in version {version}"
        );
    }
}

/// Lays `over` on top of `base`; null removes.
fn merge(base: &mut Value, over: &Value) {
    for (key, value) in over.as_object().unwrap() {
        match value {
            Value::Null => {
                base.as_object_mut().unwrap().remove(key);
            }
            Value::Object(_) if base.get(key).is_some() => merge(&mut base[key], value),
            _ => base[key] = value.clone(),
        }
    }
}

#[test]
fn levels_change_within_the_senders_power() {
    for field in [
        "users_default",
        "events_default",
        "state_default",
        "ban",
        "redact",
        "kick",
        "invite",
    ] {
        let refusal = Err((field, ""));
        levels_by_bob(&json!({field: 10}), &json!({field: 50}), Ok(()));
        levels_by_bob(&json!({field: 10}), &json!({field: 51}), refusal);
        levels_by_bob(&json!({field: 10}), &json!({field: null}), Ok(()));
        levels_by_bob(&json!({}), &json!({field: 50}), Ok(()));
        levels_by_bob(&json!({}), &json!({field: 51}), refusal);
    }
    // Bob must still reach what power levels themselves require.
    for field in [
        "users_default",
        "events_default",
        "ban",
        "redact",
        "kick",
        "invite",
    ] {
        levels_by_bob(&json!({field: 60}), &json!({field: 40}), Err((field, "")));
        levels_by_bob(&json!({field: 60}), &json!({field: null}), Err((field, "")));
        levels_by_bob(&json!({field: 60}), &json!({}), Ok(()));
    }
}

#[test]
fn entries_of_events_and_notifications_change_within_the_senders_power() {
    for map in ["events", "notifications"] {
        let refusal = Err((map, "x"));
        levels_by_bob(&json!({map: {"x": 10}}), &json!({map: {"x": 50}}), Ok(()));
        levels_by_bob(&json!({map: {"x": 10}}), &json!({map: {"x": 51}}), refusal);
        levels_by_bob(&json!({map: {"x": 50}}), &json!({map: {"x": 10}}), Ok(()));
        levels_by_bob(&json!({map: {"x": 51}}), &json!({map: {"x": 10}}), refusal);
        levels_by_bob(
            &json!({map: {"x": 51}}),
            &json!({map: {"x": null}}),
            refusal,
        );
        levels_by_bob(&json!({map: {"x": 51}}), &json!({}), Ok(()));
        levels_by_bob(&json!({map: {}}), &json!({map: {"x": 51}}), refusal);
        levels_by_bob(&json!({}), &json!({map: {"x": 50}}), Ok(()));
    }
}

#[test]
fn users_raise_others_up_to_their_own_power_and_lower_those_below() {
    let dave = |level: Value| json!({"users": {DAVE: level}});
    let refusal = Err(("users", DAVE));
    levels_by_bob(&json!({}), &dave(json!(50)), Ok(()));
    levels_by_bob(&json!({}), &dave(json!(51)), refusal);
    levels_by_bob(&dave(json!(49)), &dave(json!(0)), Ok(()));
    levels_by_bob(&dave(json!(49)), &dave(json!(null)), Ok(()));
    levels_by_bob(&dave(json!(50)), &dave(json!(0)), refusal);
    levels_by_bob(&dave(json!(50)), &dave(json!(null)), refusal);
    levels_by_bob(&dave(json!(51)), &dave(json!(0)), refusal);
    // One's own power one may give up, not raise.
    levels_by_bob(&json!({}), &json!({"users": {BOB: 10}}), Ok(()));
    levels_by_bob(
        &json!({}),
        &json!({"users": {BOB: 51}}),
        Err(("users", BOB)),
    );
}

#[test]
fn a_level_that_is_not_stated_is_not_compared() {
    // The default of `ban` is 50, which Bob could not change if it counted at 40.
    for version in VERSIONS {
        let (mut room, mut state) = room_with(version, &[]);
        let users = if version == "12" {
            json!({BOB: 40})
        } else {
            json!({ALICE: 100, BOB: 40})
        };
        let open = json!({"users": users, "events": {"m.room.power_levels": 0}});
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &open);
        let mut new = open.clone();
        new["ban"] = json!(10);
        let id = room.event(&state, &[], BOB, "m.room.power_levels", Some(""), &new);
        assert_eq!(room.check(id, &state), Ok(()));
    }
}

#[test]
fn power_levels_are_integers() {
    let attempt = |content| Attempt(ALICE, "m.room.power_levels", Some(""), content);
    let refuse = |content, rule| refused(&[], attempt(content), AuthError::PowerLevels(rule));
    for field in [
        "users_default",
        "events_default",
        "state_default",
        "ban",
        "redact",
        "kick",
        "invite",
    ] {
        for malformed in [json!("50"), json!(null), json!([])] {
            refuse(
                json!({field: malformed}),
                PowerLevelsError::NotAnInteger(field),
            );
        }
    }
    for map in ["events", "notifications", "users"] {
        for malformed in [
            json!(1),
            json!([]),
            json!({"@x:y": "50"}),
            json!({"@x:y": null}),
        ] {
            refuse(
                json!({map: malformed}),
                PowerLevelsError::NotAMapOfIntegers(map),
            );
        }
    }
    refuse(json!({"users": {"bob": 50}}), PowerLevelsError::NotAUserId);
}

#[test]
fn creators_stand_above_power_levels_in_version_12() {
    let (mut room, mut state) = TestRoom::new("12", &json!({"additional_creators": [BOB]}));
    let join = json!({"membership": "join"});
    room.send(&mut state, ALICE, "m.room.member", Some(ALICE), &join);
    let levels = json!({"users": {CAROL: 1_000_000}, "state_default": 2_000_000, "ban": 2_000_000});
    room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &levels);
    let rule = json!({"join_rule": "public"});
    room.send(&mut state, ALICE, "m.room.join_rules", Some(""), &rule);
    for user in [BOB, CAROL] {
        room.send(&mut state, user, "m.room.member", Some(user), &join);
    }
    for creator in [ALICE, BOB] {
        let topic = Attempt(creator, "m.room.topic", Some(""), json!({}));
        assert_eq!(verdict(&mut room, &state, &topic), Ok(()));
        assert_eq!(
            verdict(&mut room, &state, &member(creator, CAROL, "ban")),
            Ok(())
        );
        let named = Attempt(
            ALICE,
            "m.room.power_levels",
            Some(""),
            json!({"users": {creator: 100}}),
        );
        assert_eq!(
            verdict(&mut room, &state, &named),
            Err(AuthError::CreatorInPowerLevels)
        );
    }
    let coup = member(ALICE, BOB, "ban");
    assert_eq!(
        verdict(&mut room, &state, &coup),
        Err(AuthError::TargetPower),
        "creators are equals"
    );
}

#[test]
fn creators_are_named_in_power_levels_in_version_11() {
    let (mut room, mut state) = room_with("11", &[]);
    let demoted = json!({"users": {BOB: 100}});
    room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &demoted);
    let topic = Attempt(ALICE, "m.room.topic", Some(""), json!({}));
    assert!(verdict(&mut room, &state, &topic).is_err());
}

#[test]
fn every_rule_has_a_sentence() {
    let errors: BTreeMap<String, AuthError> = [
        AuthError::CreateHasPrevEvents,
        AuthError::PowerLevels(PowerLevelsError::NotAnInteger("ban")),
        AuthError::ThirdPartyInvite(ThirdPartyInviteRule::Mxid),
    ]
    .into_iter()
    .map(|error| (error.to_string(), error))
    .collect();
    let sentences: Vec<_> = errors.keys().map(String::as_str).collect();
    assert_eq!(
        sentences,
        [
            "`m.room.create` must not have prev events",
            "power levels: field `ban` must be an integer",
            "third-party invite: `mxid` must be the target user",
        ]
    );
}
