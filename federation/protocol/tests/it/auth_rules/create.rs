//! Create events.

use super::*;

pub(super) fn create_draft(version: &str, content: &Value) -> PduDraft {
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
