//! A database of every migration level that has landed opens under the newest schema and holds what
//! it held. `tests/fixtures/make.py` makes them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use hearth_protocol::event::Event as ProtocolEvent;
use hearth_protocol::room_version::rules_for;
use hearth_storage::tables::events::{Fate, StoredEvent, events_by_id, events_by_nid};
use hearth_storage::tables::log::Identity;
use hearth_storage::tables::{intern, rooms, state};
use hearth_storage::testing::{On, Scratch, count};
use hearth_storage::{Storage, delta};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Every migration but the newest: whether there is a fixture of its level, or why there is none.
/// Whoever begins a new level says it here of the one before.
const LEVELS: &[(i64, Kept)] = &[
    (1, Kept::Fixture),
    (2, Kept::No("it landed with 4")),
    (3, Kept::No("it landed with 4")),
    (4, Kept::Fixture),
    (5, Kept::No("it landed with 12")),
    (6, Kept::No("it landed with 12")),
    (7, Kept::No("it landed with 12")),
    (8, Kept::No("it landed with 12")),
    (10, Kept::No("it landed with 12")),
    (11, Kept::No("it landed with 12")),
    (12, Kept::Fixture),
    (13, Kept::No("it landed with 14")),
];

/// Whether databases of a level are kept.
enum Kept {
    Fixture,
    /// No server that was landed ever wrote one.
    No(&'static str),
}

/// What a fixture's database holds.
#[derive(Deserialize)]
struct Manifest {
    identity: StoredIdentity,
    head: i64,
    rows: BTreeMap<String, i64>,
    rooms: Vec<Room>,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct StoredIdentity {
    server_name: String,
    signing_key_id: String,
    signing_key_fingerprint: String,
    generation: String,
    created_at_ms: i64,
}

#[derive(Deserialize)]
struct Room {
    room_id: String,
    /// Type, state key, event id: sorted.
    state: Vec<(String, String, String)>,
    members: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Event {
    event_id: String,
    room_id: String,
    depth: i64,
    live_position: Option<i64>,
    fate: i64,
    redacted_by: Option<String>,
    /// None where the level stored it packed.
    json_sha256: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_databases_of_every_level_open() {
    every_level_opens(On::Sqlite, "sqlite.db.gz", "sqlite.json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_databases_of_every_level_open() {
    every_level_opens(On::Postgres, "postgres.sql.gz", "postgres.json").await;
}

/// A fixture that was lost is noticed, and so is a level that landed without one.
#[test]
fn every_landed_level_is_kept() {
    let migrations = numbers("../../migrations/sqlite", "");
    assert_eq!(migrations, numbers("../../migrations/postgres", ""));
    let newest = migrations.last().unwrap();
    let listed: Vec<i64> = LEVELS.iter().map(|(level, _)| *level).collect();
    for level in migrations.iter().filter(|level| *level < newest) {
        assert!(
            listed.contains(level),
            "level {level} is not the newest any more: make its fixture with make.py"
        );
    }
    for level in &listed {
        assert!(migrations.contains(level), "there is no migration {level}");
    }
    assert_eq!(numbers("tests/fixtures", "level-"), fixtures());
    let reasons = LEVELS.iter().filter_map(|(_, kept)| match kept {
        Kept::Fixture => None,
        Kept::No(why) => Some(why),
    });
    assert!(reasons.into_iter().all(|why| why.len() > 10));
}

fn fixtures() -> Vec<i64> {
    let kept = LEVELS
        .iter()
        .filter(|(_, kept)| matches!(kept, Kept::Fixture));
    kept.map(|(level, _)| *level).collect()
}

/// The numbers of four digits in the names of a folder, after a prefix.
fn numbers(folder: &str, prefix: &str) -> Vec<i64> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut numbers: Vec<i64> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix(prefix)?.get(..4)?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

async fn every_level_opens(on: On, database: &str, manifest: &str) {
    for level in fixtures() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let level = fixtures.join(format!("level-{level:04}"));
        let manifest = std::fs::read(level.join(manifest)).unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
        let mut contents = Vec::new();
        flate2::read::GzDecoder::new(std::fs::File::open(level.join(database)).unwrap())
            .read_to_end(&mut contents)
            .unwrap();
        let scratch = Scratch::holding(on, contents).await;
        let storage = scratch.open_as(&identity(&manifest)).await;
        assert_eq!(storage.writer().head().position(), manifest.head);
        assert_eq!(storage.identity(), &identity(&manifest));
        check_rows(&storage, &manifest).await;
        check_events(&storage, &manifest).await;
        for room in &manifest.rooms {
            check_room(&storage, room).await;
        }
    }
}

fn identity(manifest: &Manifest) -> Identity {
    let stored = &manifest.identity;
    Identity {
        server_name: stored.server_name.clone(),
        signing_key_id: stored.signing_key_id.clone(),
        signing_key_fingerprint: stored.signing_key_fingerprint.clone(),
        generation: stored.generation.clone(),
        created_at_ms: stored.created_at_ms,
    }
}

async fn check_rows(storage: &Storage, manifest: &Manifest) {
    for (table, rows) in &manifest.rows {
        assert_eq!(count(storage, table).await, *rows, "{table}");
    }
}

async fn check_events(storage: &Storage, manifest: &Manifest) {
    let ids: Vec<String> = manifest.events.iter().map(|e| e.event_id.clone()).collect();
    let mut reader = storage.read().await.unwrap();
    let stored: BTreeMap<String, StoredEvent> = events_by_id(reader.conn(), &ids)
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.event_id.clone(), event))
        .collect();
    for expected in &manifest.events {
        let event = &stored[&expected.event_id];
        let room = rooms::room_by_nid(reader.conn(), event.room_nid)
            .await
            .unwrap()
            .unwrap();
        let fate = match event.fate {
            Fate::Accepted => 0,
            Fate::SoftFailed => 1,
            Fate::Rejected => 2,
            Fate::Outlier => 3,
        };
        assert_eq!(room.room_id, expected.room_id);
        assert_eq!(fate, expected.fate);
        assert_eq!(event.depth, expected.depth);
        assert_eq!(event.live_position, expected.live_position);
        assert_eq!(event.redacted_by, expected.redacted_by);
        match &expected.json_sha256 {
            Some(expected) => assert_eq!(digest(&event.json), *expected, "{}", event.event_id),
            // The id is a hash of it.
            None => {
                let rules = rules_for(&room.version).unwrap();
                let read = ProtocolEvent::from_trusted(rules, event.json.clone(), None).unwrap();
                assert_eq!(read.event_id().as_str(), event.event_id);
            }
        }
    }
}

fn digest(json: &[u8]) -> String {
    let bytes = Sha256::digest(json);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn check_room(storage: &Storage, expected: &Room) {
    let mut reader = storage.read().await.unwrap();
    let room = rooms::room_by_id(reader.conn(), &expected.room_id)
        .await
        .unwrap()
        .unwrap();
    let chain = state::snapshot_chain(reader.conn(), room.snapshot_nid.unwrap())
        .await
        .unwrap();
    let map = chain.iter().rev().fold(Vec::new(), |below, above| {
        delta::merge(&below, &above.delta)
    });
    let (keys, nids): (Vec<i64>, Vec<i64>) = map
        .into_iter()
        .filter_map(|(key, event)| Some((key, event?)))
        .unzip();
    let events: BTreeMap<i64, String> = events_by_nid(reader.conn(), &nids)
        .await
        .unwrap()
        .into_iter()
        .map(|event| (event.event_nid, event.event_id))
        .collect();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found: Vec<(String, String, String)> = storage
        .state_keys(&keys)
        .await
        .unwrap()
        .iter()
        .zip(&nids)
        .map(|(key, nid)| (text(&key.kind), text(&key.state_key), events[nid].clone()))
        .collect();
    found.sort();
    assert_eq!(found, expected.state);
    let members = state::memberships_in(reader.conn(), room.room_nid)
        .await
        .unwrap();
    let people: Vec<i64> = members.iter().map(|member| member.user_nid).collect();
    let names: BTreeMap<i64, String> = intern::user_ids(reader.conn(), &people)
        .await
        .unwrap()
        .into_iter()
        .collect();
    let found: BTreeMap<String, String> = members
        .into_iter()
        .map(|member| (names[&member.user_nid].clone(), member.membership))
        .collect();
    assert_eq!(found, expected.members);
}
