//! Power levels.

use super::*;

/// Power levels by Bob, who has 50, over those where `base` is stated beside the users.
#[track_caller]
fn levels_by_bob_in(
    range: RangeInclusive<usize>,
    base: &Value,
    new: &Value,
    expected: Result<(), (&'static str, &str)>,
) {
    for version in versions(range) {
        let (mut room, mut state) = room_with(version, &[]);
        let mut before = json!({"users": with_alice(version, &json!({BOB: 50, CAROL: 0}))});
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

#[track_caller]
fn levels_by_bob(base: &Value, new: &Value, expected: Result<(), (&'static str, &str)>) {
    levels_by_bob_in(ALL, base, new, expected);
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
    for (map, since) in [("events", 1), ("notifications", 6)] {
        let case = |base, new, refused: bool| {
            let refusal = if refused { Err((map, "x")) } else { Ok(()) };
            levels_by_bob_in(since..=12, &base, &new, refusal);
            // Before, whoever may set power levels sets these at will.
            levels_by_bob_in(1..=since - 1, &base, &new, Ok(()));
        };
        case(json!({map: {"x": 10}}), json!({map: {"x": 50}}), false);
        case(json!({map: {"x": 10}}), json!({map: {"x": 51}}), true);
        case(json!({map: {"x": 50}}), json!({map: {"x": 10}}), false);
        case(json!({map: {"x": 51}}), json!({map: {"x": 10}}), true);
        case(json!({map: {"x": 51}}), json!({map: {"x": null}}), true);
        case(json!({map: {"x": 51}}), json!({}), false);
        case(json!({map: {}}), json!({map: {"x": 51}}), true);
        case(json!({}), json!({map: {"x": 50}}), false);
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
    for version in all_versions() {
        let (mut room, mut state) = room_with(version, &[]);
        let users = with_alice(version, &json!({BOB: 40}));
        let open = json!({"users": users, "events": {"m.room.power_levels": 0}});
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &open);
        let mut new = open.clone();
        new["ban"] = json!(10);
        let id = room.event(&state, &[], BOB, "m.room.power_levels", Some(""), &new);
        assert_eq!(room.check(id, &state), Ok(()));
    }
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
fn creators_are_named_in_power_levels_up_to_version_11() {
    for version in versions(1..=11) {
        let (mut room, mut state) = room_with(version, &[]);
        let demoted = json!({"users": {BOB: 100}});
        room.send(&mut state, ALICE, "m.room.power_levels", Some(""), &demoted);
        let topic = Attempt(ALICE, "m.room.topic", Some(""), json!({}));
        assert!(verdict(&mut room, &state, &topic).is_err());
    }
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
