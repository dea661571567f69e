//! Looking at a whole database: real traffic is sound, and each kind of damage is told by name.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hearth_storage::driver::Engine;
use hearth_storage::tables::events::{self, EventRedacted};
use hearth_storage::tables::log::Identity;
use hearth_storage::testing::{On, Scratch, execute, identity};
use hearth_storage::verify::{OwnKey, Report, checks, verify};
use hearth_storage::{Commit, Storage, inspect};
use sqlx::Connection as _;

mod damages;

use damages::{DAMAGES, Damage, MERGE, MERGE_ID, MORE};

/// Checks whose damage is planted by a test of its own, below.
const ELSEWHERE: &[&str] = &["event-hash", "event-signature", "page-damaged"];

#[test]
fn every_check_has_its_damage() {
    let checks = checks();
    let names: BTreeSet<&str> = checks.iter().copied().collect();
    assert_eq!(names.len(), checks.len(), "two checks have one name");
    let planted = DAMAGES.iter().flat_map(|damage| damage.checks);
    let planted: BTreeSet<&str> = planted.chain(ELSEWHERE).copied().collect();
    let unplanted: Vec<_> = names.difference(&planted).collect();
    assert!(
        unplanted.is_empty(),
        "nothing shows that these find anything: {unplanted:?}"
    );
    let unknown: Vec<_> = planted.difference(&names).collect();
    assert!(unknown.is_empty(), "no check has these names: {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    every_damage_is_told(On::Sqlite, "sqlite.db.gz").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    every_damage_is_told(On::Postgres, "postgres.sql.gz").await;
}

async fn every_damage_is_told(on: On, fixture: &str) {
    let scratch = traffic(on, fixture).await;
    run(&scratch, MORE).await;
    let sound = look(&scratch).await;
    assert_eq!(sound.findings, [], "real traffic is sound");
    assert!(sound.events > 20 && sound.snapshots > 5, "{sound:?}");
    let tables: BTreeSet<&str> = DAMAGES.iter().flat_map(Damage::tables).collect();
    let keep = |table| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
    run(&scratch, &tables.iter().map(keep).collect::<Vec<String>>()).await;
    let mut missed = Vec::new();
    for damage in DAMAGES {
        run(&scratch, damage.does).await;
        let told = look(&scratch).await;
        let names: BTreeSet<&str> = told.findings.iter().map(|it| it.check).collect();
        if !damage.checks.iter().all(|check| names.contains(check)) {
            missed.push(format!("{:?} shows as {names:?}", damage.does));
        }
        for finding in &told.findings {
            assert!(!finding.examples.is_empty() && finding.count > 0);
            let plain = |sentence: &String| !sentence.contains("{}") && sentence.len() > 20;
            assert!(finding.examples.iter().all(plain), "{finding:?}");
        }
        let tables: BTreeSet<&str> = damage.tables().collect();
        let restore = tables.iter().flat_map(|table| {
            let emptied = format!("DELETE FROM {table}");
            [
                emptied,
                format!("INSERT INTO {table} SELECT * FROM kept_{table}"),
            ]
        });
        run(&scratch, &restore.collect::<Vec<String>>()).await;
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(look(&scratch).await, sound);
}

impl Damage {
    /// The tables that its statements change.
    fn tables(&self) -> impl Iterator<Item = &'static str> {
        self.does.iter().map(|text| {
            let mut words = text.split_whitespace();
            let verb = words.next();
            words.nth(usize::from(verb != Some("UPDATE"))).unwrap()
        })
    }
}

async fn run<T: AsRef<str>>(scratch: &Scratch, texts: &[T]) {
    let texts = texts.iter().map(|text| text.as_ref().to_owned());
    let texts = texts.map(|text| sqlx::raw_sql(sqlx::AssertSqlSafe(text)));
    match scratch.options().connect_to {
        Engine::Sqlite(to) => {
            let mut conn = sqlx::SqliteConnection::connect_with(&to).await.unwrap();
            for text in texts {
                text.execute(&mut conn).await.unwrap();
            }
        }
        Engine::Postgres(to) => {
            let mut conn = sqlx::PgConnection::connect_with(&to).await.unwrap();
            for text in texts {
                text.execute(&mut conn).await.unwrap();
            }
        }
    }
}

async fn text(scratch: &Scratch, query: &'static str) -> String {
    match scratch.options().connect_to {
        Engine::Sqlite(to) => {
            let mut conn = sqlx::SqliteConnection::connect_with(&to).await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut conn).await
        }
        Engine::Postgres(to) => {
            let mut conn = sqlx::PgConnection::connect_with(&to).await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut conn).await
        }
    }
    .unwrap()
}

/// Content that was changed without its event's id: only the hash in the event tells.
#[tokio::test(flavor = "multi_thread")]
async fn changed_content_and_foreign_signatures_are_told() {
    let scratch = traffic(On::Sqlite, "sqlite.db.gz").await;
    let owner = owner(&scratch).await;
    let storage = scratch.open_as(&owner).await;
    let mut reader = storage.read().await.unwrap();
    let newest = events::outbound_after(reader.conn(), 0, i64::MAX, 1_000).await;
    let plain = newest.unwrap().into_iter().rev().find_map(|event| {
        let json = String::from_utf8(event.json.to_vec()).unwrap();
        let changed = json.replacen(r#""body":""#, r#""body":"not "#, 1);
        (changed != json).then_some((event.event_nid, changed))
    });
    drop(reader);
    let (event_nid, changed) = plain.expect("a message");
    let mut commit = Commit::default();
    commit.rows.redacted.push(EventRedacted {
        event_nid,
        by: "$changed".to_owned(),
        json: changed.into(),
    });
    storage.writer().commit(commit).await.unwrap();
    execute(
        &scratch,
        "UPDATE events SET redacted_by = NULL WHERE redacted_by = '$changed'",
    )
    .await;
    let told = look(&scratch).await;
    let names: Vec<&str> = told.findings.iter().map(|it| it.check).collect();
    assert_eq!(names, ["event-hash"]);
    let version = owner.signing_key_id.trim_start_matches("ed25519:");
    let other = OwnKey::from_seed(version, &[7; 32]).unwrap();
    let told = verify(&scratch.options().connect_to, Some(&other)).await;
    let signatures = told.unwrap().findings.into_iter();
    let signatures: Vec<u64> = signatures
        .filter(|it| it.check == "event-signature")
        .map(|it| it.count)
        .collect();
    assert!(signatures.len() == 1 && signatures[0] > 5, "{signatures:?}");
}

/// Of the merge itself, not only of what follows it.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_after_a_merge_is_that_of_all_that_it_follows() {
    for (on, fixture) in [
        (On::Sqlite, "sqlite.db.gz"),
        (On::Postgres, "postgres.sql.gz"),
    ] {
        let scratch = traffic(on, fixture).await;
        let merge = text(&scratch, MERGE_ID).await;
        run(&scratch, &[MERGE]).await;
        let told = look(&scratch).await;
        let finding = told
            .findings
            .iter()
            .find(|it| it.check == "state-after-event");
        let sentences = &finding.unwrap().examples;
        let names_it = sentences.iter().any(|sentence| sentence.contains(&merge));
        assert!(names_it, "{merge} is not in {sentences:?}");
    }
}

/// A page of an index of which a few bytes were overwritten. What does not need it is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_told() {
    let scratch = traffic(On::Sqlite, "sqlite.db.gz").await;
    let Engine::Sqlite(to) = scratch.options().connect_to else {
        panic!("this is SQLite");
    };
    let mut conn = sqlx::SqliteConnection::connect_with(&to).await.unwrap();
    let page = "SELECT rootpage FROM sqlite_schema WHERE name = 'events_by_snapshot'";
    let page: i64 = sqlx::query_scalar(page).fetch_one(&mut conn).await.unwrap();
    let bytes = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut conn)
        .await;
    let bytes: i64 = bytes.unwrap();
    conn.close().await.unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(to.get_filename());
    let end = u64::try_from(page * bytes).unwrap();
    file.unwrap().write_all_at(&[1, 1], end - 2).unwrap();
    let told = look(&scratch).await;
    let names: Vec<&str> = told.findings.iter().map(|it| it.check).collect();
    assert_eq!(names, ["page-damaged", "unreadable"], "{told:?}");
    assert!(told.events > 20 && told.snapshots > 5, "{told:?}");
}

/// What real servers wrote, brought to this version's schema.
async fn traffic(on: On, fixture: &str) -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/level-0012");
    let file = std::fs::File::open(folder.join(fixture)).unwrap();
    let mut contents = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut contents)
        .unwrap();
    let scratch = Scratch::holding(on, contents).await;
    let owner = owner(&scratch).await;
    let (storage, background) = Storage::open(&scratch.options(), &owner).await.unwrap();
    drop((storage, background.checkpointer));
    Box::pin(background.writer.run()).await;
    scratch
}

async fn owner(scratch: &Scratch) -> Identity {
    let owner = inspect::identity(&scratch.options().connect_to).await;
    owner.unwrap().unwrap()
}

async fn look(scratch: &Scratch) -> Report {
    verify(&scratch.options().connect_to, None).await.unwrap()
}

hearth_storage::both_engines! {
    async fn a_database_of_another_level_or_of_nobody_is_refused(scratch: Scratch) {
        let connect_to = scratch.options().connect_to;
        assert!(verify(&connect_to, None).await.is_err());
        let storage = scratch.open().await;
        let report = verify(&connect_to, None).await.unwrap();
        assert_eq!((report.findings, report.rooms), (Vec::new(), 0));
        execute(&scratch, "DELETE FROM _sqlx_migrations WHERE version > 1").await;
        execute(&scratch, "UPDATE _sqlx_migrations SET version = 0").await;
        let refusal = verify(&connect_to, None).await.unwrap_err().to_string();
        assert!(refusal.contains("start the server once"), "{refusal}");
        execute(&scratch, "UPDATE _sqlx_migrations SET version = 999999").await;
        let refusal = verify(&connect_to, None).await.unwrap_err().to_string();
        assert!(refusal.contains("newer version of Hearth"), "{refusal}");
        drop(storage);
    }
}

/// A running server writes; what is looked at is one moment of it.
#[tokio::test(flavor = "multi_thread")]
async fn looking_leaves_the_files_of_a_running_server_alone() {
    let scratch = Scratch::new(On::Sqlite).await;
    let storage = scratch.open().await;
    let before = storage
        .user_intern("@a:one.test", "one.test")
        .await
        .unwrap();
    let report = verify(&scratch.options().connect_to, None).await.unwrap();
    assert_eq!(report.findings, []);
    let after = storage
        .user_intern("@b:one.test", "one.test")
        .await
        .unwrap();
    assert!(after > before);
    assert_eq!(storage.identity(), &identity());
}
