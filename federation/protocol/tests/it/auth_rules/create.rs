//! Create events.

use hearth_protocol::room_version::RoomIdFormat;

use super::*;

/// Content with what the oldest versions ask for on top.
fn with_creator(content: &Value) -> Value {
    let mut content = content.clone();
    content["creator"] = json!(ALICE);
    content
}

pub(super) fn create_draft(version: &str, content: &Value) -> PduDraft {
    let format = &hearth_protocol::rules_for(version).unwrap().event_format;
    PduDraft {
        room_id: (format.room_id == RoomIdFormat::ServerAssigned)
            .then(|| "!r:one.test".try_into().unwrap()),
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
    let event = draft
        .sign_referencing(rules, server_name!("one.test"), &key, |_| {
            Some(String::new())
        })
        .unwrap();
    check_state_independent(rules, &event, |_| None)
}

#[test]
fn create_is_allowed() {
    for version in all_versions() {
        let draft = create_draft(version, &with_creator(&json!({"room_version": version})));
        assert_eq!(check_create(version, &draft), Ok(()));
        let draft = create_draft(version, &with_creator(&json!({})));
        assert_eq!(
            check_create(version, &draft),
            Ok(()),
            "no version means version 1"
        );
    }
}

#[test]
fn create_has_no_prev_events() {
    for version in all_versions() {
        let mut draft = create_draft(version, &with_creator(&json!({})));
        draft.prev_events = vec!["$x:y".try_into().unwrap()];
        assert_eq!(
            check_create(version, &draft),
            Err(AuthError::CreateHasPrevEvents)
        );
    }
}

#[test]
fn create_is_of_its_senders_server_up_to_version_11() {
    for version in versions(1..=11) {
        for room_id in ["!r:two.test", "!r"] {
            let mut draft = create_draft(version, &with_creator(&json!({})));
            draft.room_id = Some(room_id.try_into().unwrap());
            assert_eq!(
                check_create(version, &draft),
                Err(AuthError::CreateOfOtherServer)
            );
        }
    }
}

#[test]
fn create_names_a_known_room_version() {
    for version in all_versions() {
        for unknown in [json!("org.example.nonsense"), json!(11), json!(null)] {
            let draft = create_draft(version, &with_creator(&json!({"room_version": unknown})));
            assert_eq!(
                check_create(version, &draft),
                Err(AuthError::UnknownRoomVersion)
            );
        }
    }
}

#[test]
fn create_names_its_creator_up_to_version_10() {
    for version in versions(1..=10) {
        let draft = create_draft(version, &json!({}));
        assert_eq!(check_create(version, &draft), Err(AuthError::NoCreator));
    }
    for version in versions(11..=12) {
        let draft = create_draft(version, &json!({}));
        assert_eq!(check_create(version, &draft), Ok(()));
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
        let content = with_creator(&json!({"additional_creators": malformed}));
        let draft = create_draft("12", &content);
        assert_eq!(
            check_create("12", &draft),
            Err(AuthError::AdditionalCreators)
        );
        // The versions before do not know the field.
        for version in versions(1..=11) {
            let draft = create_draft(version, &content);
            assert_eq!(check_create(version, &draft), Ok(()));
        }
    }
    let draft = create_draft("12", &json!({"additional_creators": [BOB, CAROL]}));
    assert_eq!(check_create("12", &draft), Ok(()));
}

/// spec: rooms/v1 §Authorisation rules 5.2.1; rooms/v11 §Remove the `creator` property.
#[test]
fn the_creator_is_whom_the_version_says() {
    for version in all_versions() {
        let (mut room, state) = TestRoom::new(version, &json!({"creator": BOB}));
        let join = json!({"membership": "join"});
        let mut directly_after_create = |user: &str| {
            let id = room.event(&state, &[0], user, "m.room.member", Some(user), &join);
            room.check(id, &state)
        };
        let is_bob = versions(1..=10).any(|old| old == version);
        let outcome = |creates: bool| {
            if creates {
                Ok(())
            } else {
                Err(AuthError::JoinRule)
            }
        };
        assert_eq!(directly_after_create(BOB), outcome(is_bob), "{version}");
        assert_eq!(directly_after_create(ALICE), outcome(!is_bob), "{version}");
    }
}
