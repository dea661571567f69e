//! Rooms of every version, written down once: `tests/fixtures/<scenario>/v<version>.json`.
//!
//! Each event stands there as it travelled; beside it, its id, its reference hash, what a redaction leaves
//! of its content and the verdict on it; of a fork, the states and what they resolve to. Whatever the
//! code becomes, it must read them as it did. ruma is asked the same questions about the same bytes.

mod scenarios;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hearth_protocol::auth_rules::check_state_independent;
use hearth_protocol::canonical_json::CanonicalJsonRules;
use hearth_protocol::state_resolution::resolve_states;
use hearth_protocol::{Event, UnverifiedPdu};
use ruma::CanonicalJsonObject;
use ruma_signatures::reference_hash;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::ruma_oracle;
use crate::signers::Keys;
use crate::test_room::{Id, State, TestRoom, all_versions};

fn path(scenario: &str, version: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(scenario).join(format!("v{version}.json"))
}

/// A state as JSON: by `type|state_key`, the index of the event.
fn state_to_json(state: &State) -> Value {
    let entry = |((kind, key), id): (&(String, String), &Id)| (format!("{kind}|{key}"), json!(id));
    Value::Object(state.iter().map(entry).collect())
}

fn state_from_json(json: &Value) -> State {
    let entry = |(place, id): (&String, &Value)| {
        let (kind, key) = place.split_once('|').unwrap();
        let id = usize::try_from(id.as_u64().unwrap()).unwrap();
        ((kind.to_owned(), key.to_owned()), id)
    };
    json.as_object().unwrap().iter().map(entry).collect()
}

/// What is written down about an event, given the state before it.
fn describe(room: &TestRoom, id: Id, before: &State) -> Map<String, Value> {
    let event = &room.events[id];
    let raw = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let independent = check_state_independent(room.rules, event, |id| room.known(id));
    let verdict = match independent.and(room.check(id, before)) {
        Ok(()) => "allowed".to_owned(),
        Err(rule) => rule.to_string(),
    };
    let redacted = event.redacted(room.rules).unwrap();
    Map::from_iter([
        ("event_id".to_owned(), json!(event.event_id())),
        (
            "reference_hash".to_owned(),
            json!(event.reference_hash(room.rules).unwrap()),
        ),
        ("kept_content".to_owned(), raw(redacted.content())),
        ("verdict".to_owned(), json!(verdict)),
    ])
}

/// One event after another: each is put in its place if it was allowed.
fn follow(room: &TestRoom) -> Vec<Map<String, Value>> {
    let mut state = State::new();
    let mut described = vec![];
    for id in 0..room.events.len() {
        let facts = describe(room, id, &state);
        if facts["verdict"] == "allowed" && room.events[id].is_state() {
            room.apply(&mut state, id);
        }
        described.push(facts);
    }
    described
}

fn resolve(room: &TestRoom, states: &[State]) -> State {
    resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap()
}

/// Reads the events of a fixture as another server's.
fn read_events(version: &str, fixture: &Fixture) -> TestRoom {
    let rules = hearth_protocol::rules_for(version).unwrap();
    let jsons: Vec<Box<RawValue>> = serde_json::from_str(fixture["events"].get()).unwrap();
    let events = jsons.iter().map(|json| {
        let json = json.get().as_bytes();
        let pdu = UnverifiedPdu::parse(rules, json).unwrap();
        let pdu = pdu.verify(&Keys::valid_until(i64::MAX)).unwrap();
        assert!(!pdu.was_redacted());
        assert_eq!(pdu.json(), json, "stored byte for byte");
        pdu.into_event()
    });
    TestRoom::of_events(version, events.collect())
}

fn same_as_by_ruma(room: &TestRoom, id: Id, facts: &Value) {
    let rules = ruma_oracle::rules(room.rules.id);
    let object: CanonicalJsonObject = serde_json::from_slice(room.events[id].json()).unwrap();
    let hash = reference_hash(&object, &rules).unwrap();
    let plain = hash.replace('-', "+").replace('_', "/");
    assert_eq!(facts["reference_hash"], plain);
    if facts["event_id"].as_str().unwrap().contains(':') {
        assert_eq!(
            facts["event_id"],
            serde_json::to_value(&object["event_id"]).unwrap()
        );
    } else {
        assert_eq!(facts["event_id"], format!("${hash}"));
    }
    let redacted = ruma::canonical_json::redact(object, &rules.redaction, None).unwrap();
    let content = serde_json::to_value(&redacted["content"]).unwrap();
    assert_eq!(facts["kept_content"], content);
}

#[test]
fn an_ordinary_room_reads_as_it_did() {
    for version in all_versions() {
        let fixture = load("ordinary_room", version);
        let room = read_events(version, &fixture);
        let written = parse(&fixture["facts"]);
        let mut state = State::new();
        let mut ruma_follows = true;
        for (id, facts) in follow(&room).into_iter().enumerate() {
            let facts = Value::Object(facts);
            assert_eq!(facts, written[id], "version {version}, event {id}");
            let allowed = facts["verdict"] == "allowed";
            // ruma knows neither floats nor long integers; they are in the last chapter only.
            ruma_follows &= !room.events[id].content().contains("40.7");
            if ruma_follows {
                same_as_by_ruma(&room, id, &facts);
                let by_ruma = room.ruma_check(id, &state);
                assert_eq!(by_ruma.is_ok(), allowed, "version {version}, event {id}");
            }
            if allowed && room.events[id].is_state() {
                room.apply(&mut state, id);
            }
        }
        let written = parse(&fixture["state"]);
        assert_eq!(state_to_json(&state), written, "version {version}");
        let lenient = room.rules.canonical_json == CanonicalJsonRules::LENIENT;
        assert_eq!(ruma_follows, !lenient, "version {version}");
    }
}

#[test]
fn forks_resolve_as_they_did() {
    for (scenario, _) in scenarios::FORKS {
        for version in all_versions() {
            let fixture = load(scenario, version);
            let room = read_events(version, &fixture);
            let states = parse(&fixture["states"]);
            let states = states.as_array().unwrap().iter().map(state_from_json);
            let states: Vec<State> = states.collect();
            let resolved = resolve(&room, &states);
            let written = parse(&fixture["resolved"]);
            let case = format!("{scenario} in version {version}");
            assert_eq!(state_to_json(&resolved), written, "{case}");
            let second = room.second_resolve(&states);
            assert_eq!(resolved, second, "{case}");
        }
    }
}

/// A fixture's lists by name.
type Fixture = BTreeMap<String, Box<RawValue>>;

fn parse(part: &RawValue) -> Value {
    serde_json::from_str(part.get()).unwrap()
}

fn load(scenario: &str, version: &str) -> Fixture {
    let path = path(scenario, version);
    let json = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&json).unwrap()
}

/// An event, or what is said about it, on a line of its own, so that a change of the file can be read.
fn store(scenario: &str, version: &str, room: &TestRoom, rest: &[(&str, String)]) {
    let event = |event: &Event| String::from_utf8(event.json().to_vec()).unwrap();
    let events = lines(room.events.iter().map(event));
    let mut text = format!("{{\n\"events\": {events}");
    for (key, value) in rest {
        text += &format!(",\n\"{key}\": {value}");
    }
    text += "\n}\n";
    let path = path(scenario, version);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn lines(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[\n{}\n]", items.join(",\n"))
}

/// Writes all fixtures anew. What they say is only worth something while they are older than the code,
/// so this is run when a scenario is added, and its outcome reviewed.
#[test]
#[ignore = "writes the fixtures anew"]
fn write_fixtures() {
    for version in all_versions() {
        let room = scenarios::ordinary_room(version);
        let mut state = State::new();
        let facts = follow(&room);
        for (id, facts) in facts.iter().enumerate() {
            if facts["verdict"] == "allowed" && room.events[id].is_state() {
                room.apply(&mut state, id);
            }
        }
        let facts = lines(
            facts
                .into_iter()
                .map(|facts| Value::Object(facts).to_string()),
        );
        let state = state_to_json(&state).to_string();
        let rest = [("facts", facts), ("state", state)];
        store("ordinary_room", version, &room, &rest);
        for (scenario, make) in scenarios::FORKS {
            let (room, states) = make(version);
            let resolved = state_to_json(&resolve(&room, &states)).to_string();
            let states = lines(states.iter().map(|state| state_to_json(state).to_string()));
            let rest = [("states", states), ("resolved", resolved)];
            store(scenario, version, &room, &rest);
        }
    }
}
