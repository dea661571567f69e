//! Generated rule sets and events, judged by ruma too.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use ruma_common::power_levels::NotificationPowerLevels;
use ruma_common::push::{PushConditionPowerLevelsCtx, PushConditionRoomCtx};
use ruma_common::room_version_rules::{AuthorizationRules, RoomPowerLevelsRules};
use ruma_common::serde::Raw;
use ruma_common::{owned_room_id, owned_user_id};

use super::*;

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(values).prop_map(str::to_owned)
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[abÄé _!-]{0,8}",
        one_of(&["m.text", "m.notice", ALICE, BOB, "Alice L. too", ROOM])
    ]
}

/// No two wildcards in a row, of which ruma takes the second for a plain character.
fn patterns() -> impl Strategy<Value = String> {
    prop_oneof![
        "[*?]?([abÄé _!-]{1,2}[*?]?){1,3}",
        one_of(&["m.*", "M.TEXT", ALICE, "*", "alice ?."])
    ]
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        (-2i64..3).prop_map(Into::into),
        texts().prop_map(Into::into),
    ]
}

fn keys() -> impl Strategy<Value = String> {
    one_of(&[
        "type",
        "sender",
        "room_id",
        "state_key",
        "content.body",
        "content.msgtype",
        "content.list",
        r"content.m\.mentions.user_ids",
        r"content.m\.mentions.room",
        r"content.m\.mentions",
        "depth",
        r"content.back\\slash",
        "absent.deep",
    ])
}

fn conditions() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (keys(), patterns()).prop_map(|(key, pattern)| json!({ "kind": "event_match", "key": key, "pattern": pattern })),
        2 => (keys(), scalars()).prop_map(|(key, value)| json!({ "kind": "event_property_is", "key": key, "value": value })),
        2 => (keys(), scalars()).prop_map(|(key, value)| json!({ "kind": "event_property_contains", "key": key, "value": value })),
        1 => Just(json!({ "kind": "contains_display_name" })),
        1 => ("(==|<|>|<=|>=)?", 1u8..5).prop_map(|(prefix, count)| json!({ "kind": "room_member_count", "is": format!("{prefix}{count}") })),
        1 => Just(json!({ "kind": "sender_notification_permission", "key": "room" })),
        1 => Just(json!({ "kind": "org.example.unheard" })),
    ]
}

fn rules_with(rest: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let actions = prop::sample::select(vec![
        json!([]),
        json!(["notify"]),
        json!(["notify", { "set_tweak": "highlight" }]),
        json!(["notify", { "set_tweak": "sound", "value": "ping" }]),
    ]);
    let rule =
        (rest, actions, prop::bool::weighted(0.8)).prop_map(|(mut rule, actions, enabled)| {
            rule["actions"] = actions;
            rule["enabled"] = enabled.into();
            rule["default"] = false.into();
            rule
        });
    prop::collection::vec(rule, 0..4).prop_map(|mut rules| {
        for (at, rule) in rules.iter_mut().enumerate() {
            if rule["rule_id"].is_null() {
                rule["rule_id"] = format!("rule {at}").into();
            }
        }
        rules.into()
    })
}

pub(super) fn rule_sets() -> impl Strategy<Value = Value> {
    let conditional = || {
        rules_with(
            prop::collection::vec(conditions(), 0..3)
                .prop_map(|conditions| json!({ "conditions": conditions })),
        )
    };
    let content = rules_with(patterns().prop_map(|pattern| json!({ "pattern": pattern })));
    let of = |ids: &'static [&'static str]| {
        rules_with(one_of(ids).prop_map(|id| json!({ "rule_id": id })))
    };
    (conditional(), content, of(&[ROOM, "!other:here.test"]), of(&[BOB, ALICE]), conditional()).prop_map(
        |(overrides, content, room, sender, underride)| {
            json!({ "override": overrides, "content": content, "room": room, "sender": sender, "underride": underride })
        },
    )
}

pub(super) fn events() -> impl Strategy<Value = Event> {
    let content = (
        scalars(),
        texts(),
        prop::collection::vec(scalars(), 0..3),
        scalars(),
        prop::option::of(texts()),
    );
    let kind = one_of(&["m.room.message", "m.room.member", "m.reaction"]);
    (kind, prop::option::of(texts()), content).prop_map(
        |(kind, state_key, (body, msgtype, list, room, back))| {
            let content = json!({
                "body": body, "msgtype": msgtype, "list": list, "back\\slash": back,
                "m.mentions": { "room": room, "user_ids": list },
            });
            event(&kind, state_key.as_deref(), content)
        },
    )
}

/// ruma's futures wait for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

fn by_ruma(rules: &Ruleset, event: &Event, member_count: u8, bob: i64) -> Option<(String, Class)> {
    let power_levels = PushConditionPowerLevelsCtx::new(
        [(owned_user_id!("@bob:there.test"), bob.try_into().unwrap())].into(),
        0u8.into(),
        NotificationPowerLevels::default(),
        RoomPowerLevelsRules::new(&AuthorizationRules::V11, None),
    );
    let context = PushConditionRoomCtx::new(
        owned_room_id!("!room:here.test"),
        member_count.into(),
        owned_user_id!("@alice:here.test"),
        "Alice L.".to_owned(),
    )
    .with_power_levels(power_levels);
    let event: Raw<Value> =
        Raw::from_json_string(String::from_utf8(event.json().to_vec()).unwrap()).unwrap();
    let rule = now(rules.get_match(&event, &context))?;
    let class = match (rule.triggers_notification(), rule.triggers_highlight()) {
        (false, _) => Class::Silent,
        (true, false) => Class::Notify,
        (true, true) => Class::Highlight,
    };
    Some((rule.rule_id().to_owned(), class))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn generated_rules_judge_as_rumas_do(rules in rule_sets(), event in events(), count in 1u8..5, bob in 48i64..52) {
        let rules: Ruleset = serde_json::from_value(rules).unwrap();
        let ours = PushRules::compile(&rules, user_id!("@alice:here.test"));
        prop_assert_eq!(judged(&ours, &event, count.into(), bob), by_ruma(&rules, &event, count, bob), "{}", event.content());
    }

    #[test]
    fn the_default_rules_judge_as_rumas_do(event in events(), count in 1u8..5, bob in 48i64..52) {
        let theirs = Ruleset::server_default(user_id!("@alice:here.test"));
        let ours = PushRules::server_default();
        prop_assert_eq!(judged(&ours, &event, count.into(), bob), by_ruma(&theirs, &event, count, bob));
    }
}
