//! Rules taken apart for a room judge as they do together.

use proptest::prelude::*;
use ruma_common::{owned_room_id, room_id};

use super::against_ruma::{events, rule_sets};
use super::*;
use crate::push_rules::{ByClass, PushClass, RoomRules, named_rooms};

fn push_room(member_count: u64, power: &RoomPower) -> PushRoom<'_> {
    PushRoom {
        member_count,
        power: Some(power),
    }
}

/// How an event counts for Alice by the parts of her rules; none where it has to be judged alone.
fn by_parts(rules: &Ruleset, event: &Event, member_count: u64, bob: i64) -> Option<Class> {
    let power = power(bob);
    let room = push_room(member_count, &power);
    let parts = RoomRules::new(rules, alice().user_id, room_id!("!room:here.test"));
    let event = PushEvent::new(self::rules(), event).unwrap();
    for keyword in parts.words.iter().filter(|keyword| keyword.is_word()) {
        let is_word = event.words().any(|word| word == keyword.pattern());
        assert_eq!(keyword.is_in(&event), is_word, "{keyword:?}");
    }
    let is_named = event.named().any(|name| name == ALICE);
    if parts.alone || is_named || parts.words.iter().any(|keyword| keyword.is_in(&event)) {
        return None;
    }
    Some(match &parts.shared {
        Some(shared) => shared.judge(&event, room),
        None => ByClass::of(&event, room).outcome(parts.class),
    })
}

fn whole(rules: &Ruleset, event: &Event, member_count: u64, bob: i64) -> Class {
    let rules = PushRules::compile(rules, alice().user_id);
    judged(&rules, event, member_count, bob).map_or(Class::Silent, |(_, class)| class)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn parts_judge_as_the_whole(rules in rule_sets(), event in events(), count in 1u64..5, bob in 48i64..52) {
        let mut rules: Ruleset = serde_json::from_value(rules).unwrap();
        rules.update_with_server_default(Ruleset::server_default(alice().user_id));
        if let Some(class) = by_parts(&rules, &event, count, bob) {
            prop_assert_eq!(class, whole(&rules, &event, count, bob), "{}", event.content());
        }
    }
}

fn with(change: impl FnOnce(&mut Ruleset)) -> RoomRules {
    let mut rules = Ruleset::server_default(alice().user_id);
    change(&mut rules);
    RoomRules::new(&rules, alice().user_id, room_id!("!room:here.test"))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "rules are written where they are used"
)]
fn add(rules: &mut Ruleset, kind: &str, rule: Value) {
    let json = json!({ kind: [rule] });
    let given: Ruleset = serde_json::from_value(json).unwrap();
    rules.room.extend(given.room);
    for rule in given.override_ {
        rules.override_.shift_insert(0, rule);
    }
    rules.content.extend(given.content);
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "rules are written where they are used"
)]
fn rule(rule_id: &str, actions: Value) -> Value {
    json!({ "rule_id": rule_id, "actions": actions, "enabled": true, "default": false })
}

#[test]
fn what_clients_offer_is_of_a_class() {
    assert_eq!(with(|_| {}).class, PushClass::All);
    assert!(with(|_| {}).shared.is_none());
    let mentions = with(|rules| add(rules, "room", rule(ROOM, json!([]))));
    assert_eq!(
        (mentions.class, mentions.shared.is_none()),
        (PushClass::Mentions, true)
    );
    let of_room = json!([{ "kind": "event_match", "key": "room_id", "pattern": ROOM }]);
    let mut muted = rule(ROOM, json!(["dont_notify"]));
    muted["conditions"] = of_room;
    let mute = with(|rules| add(rules, "override", muted));
    assert_eq!((mute.class, mute.shared.is_none()), (PushClass::Mute, true));
    let master = with(|rules| {
        let kind = ruma_common::push::RuleKind::Override;
        rules.set_enabled(kind, ".m.rule.master", true).unwrap();
    });
    assert_eq!(
        (master.class, master.shared.is_none()),
        (PushClass::Mute, true)
    );
    // Of another room, it says nothing here.
    let elsewhere = with(|rules| add(rules, "room", rule("!other:here.test", json!([]))));
    assert_eq!(
        (elsewhere.class, elsewhere.shared.is_none()),
        (PushClass::All, true)
    );
    let mut keyword = rule("word", json!(["notify"]));
    keyword["pattern"] = "Tea".into();
    let keyword = with(|rules| add(rules, "content", keyword));
    assert!(keyword.shared.is_none() && !keyword.alone);
    assert_eq!(keyword.words[0].pattern(), "tea");
    let loud = with(|rules| {
        let kind = ruma_common::push::RuleKind::Underride;
        rules
            .set_actions(kind, ".m.rule.message", Vec::new())
            .unwrap();
    });
    assert_eq!(
        (loud.class, loud.shared.is_none()),
        (PushClass::Mentions, false)
    );
    let mut rules = Ruleset::server_default(alice().user_id);
    add(&mut rules, "room", rule(ROOM, json!([])));
    assert_eq!(
        named_rooms(&rules).collect::<Vec<_>>(),
        [owned_room_id!("!room:here.test").as_str()]
    );
}
