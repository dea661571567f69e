//! The list of auth events.

use super::create::create_draft;
use super::*;

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
    for version in all_versions() {
        let (mut room, state) = room_with(version, &[]);
        let mut places = vec![("m.room.power_levels", ""), ("m.room.member", BOB)];
        if version != "12" {
            places.push(("m.room.create", ""));
        }
        let id = citing(&mut room, &state, &places);
        assert_eq!(check_cited(&room, id, None), Ok(()));
        assert_eq!(room.ruma_check_independent(id), Ok(()));
    }
}

#[test]
fn auth_events_have_no_duplicate_places() {
    for version in all_versions() {
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
    for version in all_versions() {
        let (mut room, state) = room_with(version, &[]);
        let unrelated = at(&state, "m.room.join_rules", "");
        let id = message_with(&mut room, &[unrelated]);
        let rule = AuthError::UnexpectedAuthEvent(room.id(unrelated));
        assert_eq!(check_cited(&room, id, None), Err(rule));
        room.ruma_check_independent(id).unwrap_err();
    }
}

#[test]
fn the_create_event_is_cited_up_to_version_11_and_never_in_version_12() {
    for version in versions(1..=11) {
        let (mut room, state) = room_with(version, &[]);
        let joined = at(&state, "m.room.member", BOB);
        let id = message_with(&mut room, &[joined]);
        assert_eq!(
            check_cited(&room, id, None),
            Err(AuthError::NoCreateInAuthEvents)
        );
    }

    let (mut room, _) = room_with("12", &[]);
    let id = message_with(&mut room, &[0]);
    let rule = AuthError::UnexpectedAuthEvent(room.id(0));
    assert_eq!(check_cited(&room, id, None), Err(rule));
}

#[test]
fn rejected_auth_events_are_refused() {
    for version in all_versions() {
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
    for version in all_versions() {
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
            .sign_referencing(room.rules, server_name!("two.test"), &key, |_| None)
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
    for version in all_versions() {
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
