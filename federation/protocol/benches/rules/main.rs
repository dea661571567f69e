//! What the rules cost: `cargo bench -p hearth-protocol --bench rules`.
//!
//! CPU time of one call, the least of many batches. Signatures are compared with the bare curve
//! operation over the same bytes in the same run.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod measure;
mod rooms;

use std::hint::black_box;

use ed25519_dalek::{Signer as _, SigningKey};
use hearth_protocol::auth_rules::check_state_dependent;
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse};
use hearth_protocol::event::EventJson;
use hearth_protocol::push_rules::{PushEvent, PushRoom, PushRules, Reader};
use hearth_protocol::redaction::signing_payload;
use hearth_protocol::{Event, UnverifiedPdu, rules_for};
use ruma_common::push::Ruleset;
use ruma_common::user_id;
use serde_json::json;

use measure::{measure, report};
use rooms::{KEY, Keys, Room, SEED};

fn main() {
    for version in ["11", "12"] {
        let room = Room::new(version);
        for (name, event) in [("message", room.message()), ("member", room.member())] {
            let bytes = event.json().len();
            let name = format!("v{version} {name} of {bytes} bytes");
            signatures(&room, &name, &event);
            authorization(&room, &name, &event);
        }
    }
    canonical_json();
    push_rules();
}

fn signatures(room: &Room, name: &str, event: &Event) {
    let draft = room.draft_of(event);
    let json = EventJson::parse(event.json(), room.rules.canonical_json).unwrap();
    let payload = signing_payload(&room.rules.redaction, &json);
    let (key, server) = (&*KEY, event.sender().server_name());
    let keys = Keys(key.verify_key());
    let bare = SigningKey::from_bytes(&SEED);
    let signature = key.sign(&payload);
    let [sign, send, verify, receive, parse, read] = measure([
        &mut || _ = black_box(bare.sign(black_box(&payload))),
        &mut || drop(black_box(draft.sign(room.rules, server, key).unwrap())),
        &mut || assert!(keys.0.verifies(black_box(&payload), &signature)),
        &mut || {
            let parsed = UnverifiedPdu::parse(room.rules, black_box(event.json())).unwrap();
            drop(black_box(parsed.verify(&keys).unwrap()));
        },
        &mut || {
            let parsed = UnverifiedPdu::parse(room.rules, black_box(event.json()));
            drop(black_box(parsed.unwrap()));
        },
        &mut || {
            let id = Some(event.event_id().to_owned());
            drop(black_box(
                Event::from_trusted(room.rules, event.json().clone(), id).unwrap(),
            ));
        },
    ]);
    let compared = format!("{sign:.2} + {:.2} µs", send - sign);
    report(
        &format!("{name}: build, hash, sign"),
        send,
        &compared,
        Some(sign + 6.0),
    );
    let compared = format!("{verify:.2} + {:.2} µs", receive - verify);
    report(
        &format!("{name}: parse, hash, verify"),
        receive,
        &compared,
        Some(verify + 5.0),
    );
    report(&format!("{name}: parse, hash"), parse, "", None);
    report(&format!("{name}: read from storage"), read, "", None);
}

fn authorization(room: &Room, name: &str, event: &Event) {
    let state = |kind: &str, state_key: &str| room.state(kind, state_key);
    let [check] = measure([&mut || {
        check_state_dependent(room.rules, black_box(event), &state).unwrap();
    }]);
    report(&format!("{name}: authorize by state"), check, "", Some(3.0));
}

fn canonical_json() {
    let event = Room::new("11").message();
    let spaced: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
    let spaced = serde_json::to_vec_pretty(&spaced).unwrap();
    let value = parse(event.json(), CanonicalJsonRules::STRICT).unwrap();
    let brackets = "[".repeat(65_000).into_bytes();
    let text = format!("[\"{}\"]", "lorem ipsum ".repeat(5_400)).into_bytes();
    let parsed = |json: &[u8]| {
        drop(black_box(parse(
            black_box(json),
            CanonicalJsonRules::STRICT,
        )));
    };
    let [canonical, other, write, brackets, text] = measure([
        &mut || parsed(event.json()),
        &mut || parsed(&spaced),
        &mut || drop(black_box(value.to_canonical())),
        &mut || parsed(&brackets),
        &mut || parsed(&text),
    ]);
    let bytes = event.json().len();
    report(
        &format!("canonical JSON: parse {bytes} bytes"),
        canonical,
        "",
        None,
    );
    let bytes = spaced.len();
    report(
        &format!("canonical JSON: parse {bytes} bytes with white space"),
        other,
        "",
        None,
    );
    report("canonical JSON: write the same", write, "", None);
    report(
        "canonical JSON: refuse 65 kB of brackets",
        brackets,
        "",
        None,
    );
    report("canonical JSON: parse 65 kB of text", text, "", None);
}

fn push_rules() {
    let rules = rules_for("11").unwrap();
    let room = Room::new("11");
    let event = room.message();
    let power = room.power();
    let context = PushRoom {
        member_count: 500,
        power: Some(&power),
    };
    let reader = Reader {
        user_id: user_id!("@reader:one.test"),
        display_name: Some("A. Reader"),
    };
    let defaults = PushRules::server_default();
    let keywords: Vec<_> = (0..20)
        .map(|at| json!({ "rule_id": format!("{at}"), "pattern": format!("keyword{at}"), "actions": ["notify"], "default": false, "enabled": true }))
        .collect();
    let globs: Vec<_> = (0..20)
        .map(|at| json!({ "rule_id": format!("{at}"), "pattern": format!("key*word{at}"), "actions": ["notify"], "default": false, "enabled": true }))
        .collect();
    let with = |content| {
        let mut rules = serde_json::to_value(Ruleset::server_default(reader.user_id)).unwrap();
        rules["content"] = serde_json::Value::Array(content);
        serde_json::from_value::<Ruleset>(rules).unwrap()
    };
    let theirs = with(keywords);
    let keywords = PushRules::compile(&theirs, reader.user_id);
    let globs = PushRules::compile(&with(globs), reader.user_id);
    let prepared = PushEvent::new(rules, &event).unwrap();
    let [compile, prepare, default, keywords, globs] = measure([
        &mut || drop(black_box(PushRules::compile(&theirs, reader.user_id))),
        &mut || drop(black_box(PushEvent::new(rules, &event).unwrap())),
        &mut || _ = black_box(defaults.evaluate(&prepared, context, reader)),
        &mut || _ = black_box(keywords.evaluate(&prepared, context, reader)),
        &mut || _ = black_box(globs.evaluate(&prepared, context, reader)),
    ]);
    report(
        "push rules: compile the defaults and 20 keywords",
        compile,
        "",
        None,
    );
    report("push rules: prepare an event", prepare, "", None);
    report("push rules: judge by the defaults", default, "", Some(1.0));
    report(
        "push rules: judge by the defaults and 20 keywords",
        keywords,
        "",
        None,
    );
    report(
        "push rules: judge by the defaults and 20 globs",
        globs,
        "",
        None,
    );
}
