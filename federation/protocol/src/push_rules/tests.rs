mod against_ruma;
mod apart;

use ruma_common::push::Ruleset;
use ruma_common::{UserId, user_id};
use serde_json::{Value, json};

use super::{Class, PushEvent, PushRoom, PushRules, Reader};
use crate::event::Event;
use crate::power_levels::RoomPower;
use crate::room_version::{RoomVersionRules, rules_for};

const ALICE: &str = "@alice:here.test";
const BOB: &str = "@bob:there.test";
const ROOM: &str = "!room:here.test";

fn rules() -> &'static RoomVersionRules {
    rules_for("11").unwrap()
}

/// An event of Bob's.
fn event(kind: &str, state_key: Option<&str>, content: Value) -> Event {
    let mut json = json!({
        "auth_events": [], "depth": 7, "hashes": { "sha256": "" },
        "origin_server_ts": 1, "prev_events": [], "room_id": ROOM, "sender": BOB,
        "signatures": {}, "type": kind,
    });
    json["content"] = content;
    if let Some(state_key) = state_key {
        json["state_key"] = state_key.into();
    }
    Event::from_trusted(rules(), json.to_string().into(), None).unwrap()
}

fn message(content: Value) -> Event {
    event("m.room.message", None, content)
}

fn text(body: &str) -> Event {
    message(json!({ "msgtype": "m.text", "body": body }))
}

/// A room in which Bob's level is `level`, and 50 notifies everybody.
fn power(level: i64) -> RoomPower {
    let create = event("m.room.create", Some(""), json!({ "room_version": "11" }));
    let levels = json!({ "users": { BOB: level }, "notifications": { "other": 10 } });
    let levels = event("m.room.power_levels", Some(""), levels);
    RoomPower::new(&rules().authorization, create, Some(levels)).unwrap()
}

fn alice() -> Reader<'static> {
    Reader {
        user_id: user_id!("@alice:here.test"),
        display_name: Some("Alice L."),
    }
}

/// The rule that decides, and how the event counts by it.
fn judged(
    rules: &PushRules,
    event: &Event,
    member_count: u64,
    bob: i64,
) -> Option<(String, Class)> {
    let power = power(bob);
    let room = PushRoom {
        member_count,
        power: Some(&power),
    };
    let event = PushEvent::new(self::rules(), event).unwrap();
    let outcome = rules.evaluate(&event, room, alice())?;
    Some((outcome.rule_id().to_owned(), outcome.class()))
}

fn by_default(event: &Event, member_count: u64) -> Option<(String, Class)> {
    judged(&PushRules::server_default(), event, member_count, 0)
}

#[track_caller]
fn expect(event: &Event, member_count: u64, rule_id: &str, class: Class) {
    let expected = Some((rule_id.to_owned(), class));
    assert_eq!(by_default(event, member_count), expected);
}

/// spec: client-server v1.19 §Predefined Rules.
#[test]
fn the_default_rules() {
    use Class::{Highlight, Notify, Silent};
    expect(&text("hi"), 2, ".m.rule.room_one_to_one", Notify);
    expect(&text("hi"), 3, ".m.rule.message", Notify);
    let encrypted = event("m.room.encrypted", None, json!({}));
    expect(&encrypted, 2, ".m.rule.encrypted_room_one_to_one", Notify);
    expect(&encrypted, 3, ".m.rule.encrypted", Notify);
    expect(
        &event("m.call.invite", None, json!({})),
        2,
        ".m.rule.call",
        Notify,
    );
    let notice = message(json!({ "msgtype": "m.notice", "body": "beep" }));
    expect(&notice, 2, ".m.rule.suppress_notices", Silent);
    let invite = |user: &str| {
        event(
            "m.room.member",
            Some(user),
            json!({ "membership": "invite" }),
        )
    };
    expect(&invite(ALICE), 2, ".m.rule.invite_for_me", Notify);
    expect(
        &invite("@alice:there.test"),
        2,
        ".m.rule.member_event",
        Silent,
    );
    let mention =
        |users: Value| message(json!({ "body": "", "m.mentions": { "user_ids": users } }));
    expect(
        &mention(json!([BOB, ALICE])),
        3,
        ".m.rule.is_user_mention",
        Highlight,
    );
    expect(&mention(json!([BOB])), 3, ".m.rule.message", Notify);
    expect(&mention(json!(ALICE)), 3, ".m.rule.message", Notify);
    expect(
        &event("m.room.tombstone", Some(""), json!({})),
        3,
        ".m.rule.tombstone",
        Highlight,
    );
    expect(
        &event("m.reaction", None, json!({})),
        3,
        ".m.rule.reaction",
        Silent,
    );
    let acl = event("m.room.server_acl", Some(""), json!({}));
    expect(&acl, 3, ".m.rule.room.server_acl", Silent);
    let edit = message(json!({ "body": "", "m.relates_to": { "rel_type": "m.replace" } }));
    expect(&edit, 3, ".m.rule.suppress_edits", Silent);
    assert_eq!(
        by_default(&event("m.room.topic", Some(""), json!({})), 3),
        None
    );
    assert_eq!(
        by_default(&event("m.room.tombstone", None, json!({})), 3),
        None
    );
}

#[test]
fn only_who_has_the_power_mentions_the_room() {
    let event = message(json!({ "body": "", "m.mentions": { "room": true } }));
    let judged = |bob| judged(&PushRules::server_default(), &event, 3, bob).unwrap();
    assert_eq!(
        judged(50),
        (".m.rule.is_room_mention".to_owned(), Class::Highlight)
    );
    assert_eq!(judged(49), (".m.rule.message".to_owned(), Class::Notify));
}

#[test]
fn nobody_is_notified_of_their_own_event() {
    let (event, power) = (text("hi"), power(0));
    let event = PushEvent::new(rules(), &event).unwrap();
    let room = PushRoom {
        member_count: 2,
        power: Some(&power),
    };
    let bob = Reader {
        user_id: <&UserId>::try_from(BOB).unwrap(),
        display_name: None,
    };
    assert!(
        PushRules::server_default()
            .evaluate(&event, room, bob)
            .is_none()
    );
}

/// Compiles rules of Alice's, each of them notifying.
fn compile(mut kinds: Value) -> PushRules {
    for rules in kinds.as_object_mut().unwrap().values_mut() {
        for rule in rules.as_array_mut().unwrap() {
            for (key, value) in [
                ("default", json!(false)),
                ("enabled", json!(true)),
                ("actions", json!(["notify"])),
            ] {
                rule.as_object_mut().unwrap().entry(key).or_insert(value);
            }
        }
    }
    let rules: Ruleset = serde_json::from_value(kinds).unwrap();
    PushRules::compile(&rules, user_id!("@alice:here.test"))
}

/// Whether an override rule with this condition matches.
fn holds(condition: Value, event: &Event) -> bool {
    let mut rule = json!({ "rule_id": "it" });
    rule["conditions"] = vec![condition].into();
    let rules = compile(json!({ "override": vec![rule] }));
    judged(&rules, event, 7, 20).is_some()
}

#[test]
fn event_match_compares_texts_as_a_whole_and_without_case() {
    let topic = |topic: Value| {
        event(
            "m.room.topic",
            Some(""),
            json!({ "topic": topic, "a.b": { "c\\d": "X" } }),
        )
    };
    let matches = |key: &str, pattern: &str, value: Value| {
        holds(
            json!({ "kind": "event_match", "key": key, "pattern": pattern }),
            &topic(value),
        )
    };
    assert!(matches("content.topic", "lunc?*", "Lunch plans".into()));
    assert!(matches("content.topic", "LUNC?*", "lunch".into()));
    assert!(!matches("content.topic", "lunc?*", " lunch".into()));
    assert!(!matches("content.topic", "*", Value::Null));
    assert!(!matches("content.topic", "*", 5.into()));
    assert!(!matches("content.absent", "*", "".into()));
    assert!(matches("content.topic", "ÄΣς", "äσΣ".into()));
    assert!(matches(r"content.a\.b.c\\d", "x", "".into()));
    assert!(!matches(r"content.a.b.c\\d", "x", "".into()));
    assert!(matches("type", "m.ROOM.*", "".into()));
    assert!(matches("sender", "@bob:*", "".into()));
    assert!(matches("room_id", ROOM, "".into()));
    assert!(matches("event_id", "$*", "".into()));
    assert!(matches("state_key", "", "".into()));
    assert!(!matches("content", "*", "".into()));
}

#[test]
fn the_body_is_matched_by_words() {
    let matches = |pattern: &str, body: &str| {
        holds(
            json!({ "kind": "event_match", "key": "content.body", "pattern": pattern }),
            &text(body),
        )
    };
    assert!(matches("Cake", "the CAKE is a lie"));
    assert!(!matches("cake", "cakes"));
    assert!(matches("cake*lie", "the cake, a lie"));
    assert!(matches("cake*lie", "the cake\nis a lie"));
}

#[test]
fn property_conditions_compare_scalars_exactly() {
    let event = event(
        "m.x",
        None,
        json!({ "n": 1, "t": true, "z": null, "s": "a", "l": ["a", 1, true, null, ["b"]] }),
    );
    let is = |key: &str, value: Value| {
        holds(
            json!({ "kind": "event_property_is", "key": key, "value": value }),
            &event,
        )
    };
    assert!(is("content.n", 1.into()));
    assert!(is("content.t", true.into()));
    assert!(is("content.z", Value::Null));
    assert!(is("content.s", "a".into()));
    assert!(is("depth", 7.into()));
    assert!(!is("content.n", true.into()));
    assert!(!is("content.t", "true".into()));
    assert!(!is("content.s", "A".into()));
    assert!(!is("content.y", Value::Null));
    let contains = |key: &str, value: Value| {
        holds(
            json!({ "kind": "event_property_contains", "key": key, "value": value }),
            &event,
        )
    };
    for value in [json!("a"), json!(1), json!(true), json!(null)] {
        assert!(contains("content.l", value));
    }
    assert!(!contains("content.l", "b".into()));
    assert!(!contains("content.s", "a".into()));
}

#[test]
fn conditions_about_the_room_and_the_reader() {
    let hi = text("hi");
    let count = |is: &str| holds(json!({ "kind": "room_member_count", "is": is }), &hi);
    for is in ["7", "==7", "<8", "<=7", ">6", ">=7"] {
        assert!(count(is), "{is}");
    }
    for is in ["8", "<7", ">7", ">=8", "<=6"] {
        assert!(!count(is), "{is}");
    }
    let name = |body: &str| holds(json!({ "kind": "contains_display_name" }), &text(body));
    assert!(name("hey ALICE L., look"));
    assert!(!name("hey malice l."));
    let may = |key: &str| {
        holds(
            json!({ "kind": "sender_notification_permission", "key": key }),
            &hi,
        )
    };
    assert!(may("other"));
    assert!(!may("room"));
    assert!(!may("unheard"));
    assert!(!holds(json!({ "kind": "phase_of_the_moon" }), &hi));
}

/// spec: client-server v1.19 §Push Rules: "the different `kind`s of rule, in the order that they are
/// checked".
#[test]
fn kinds_of_rules_are_asked_in_order() {
    let mut kinds = json!({
        "override": [{ "rule_id": "override", "conditions": [] }],
        "content": [{ "rule_id": "content", "pattern": "hi" }],
        "room": [{ "rule_id": ROOM }],
        "sender": [{ "rule_id": BOB }],
        "underride": [{ "rule_id": "underride", "conditions": [] }],
    });
    for (kind, rule_id) in [
        ("override", "override"),
        ("content", "content"),
        ("room", ROOM),
        ("sender", BOB),
        ("underride", "underride"),
    ] {
        let (first, _) = judged(&compile(kinds.clone()), &text("hi"), 3, 0).unwrap();
        assert_eq!(first, rule_id);
        kinds[kind][0]["enabled"] = false.into();
    }
    assert_eq!(judged(&compile(kinds), &text("hi"), 3, 0), None);
}

#[test]
fn the_master_rule_comes_first_wherever_it_stands() {
    let rules = compile(json!({ "override": [
        { "rule_id": "mine", "conditions": [] },
        { "rule_id": ".m.rule.master", "conditions": [], "actions": [] },
    ]}));
    let expected = (".m.rule.master".to_owned(), Class::Silent);
    assert_eq!(judged(&rules, &text("hi"), 3, 0), Some(expected));
}

#[test]
fn unknown_actions_say_nothing() {
    let class = |actions: Value| {
        let rules = compile(
            json!({ "override": [{ "rule_id": "it", "conditions": [], "actions": actions }] }),
        );
        judged(&rules, &text("hi"), 3, 0).unwrap().1
    };
    assert_eq!(class(json!(["dont_notify"])), Class::Silent);
    assert_eq!(class(json!(["coalesce", "notify"])), Class::Notify);
    assert_eq!(
        class(json!(["notify", { "set_tweak": "highlight" }])),
        Class::Highlight
    );
    assert_eq!(
        class(json!(["notify", { "set_tweak": "highlight", "value": false }])),
        Class::Notify
    );
    assert_eq!(class(json!([{ "set_tweak": "highlight" }])), Class::Silent);
}

/// CVE-2021-29471: patterns are people's own, the texts are anybody's.
#[test]
fn no_rule_is_slow() {
    let event = text(&"a".repeat(60_000));
    let rules: Vec<Value> = (0..50)
        .map(|at| json!({ "rule_id": format!("{at}"), "pattern": "*a".repeat(100) + "?b" }))
        .collect();
    assert_eq!(
        judged(&compile(json!({ "content": rules })), &event, 3, 0),
        None
    );
}
