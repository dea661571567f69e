//! Looking at a whole database: real traffic is sound, and each kind of damage is told by name.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use hearth_storage::driver::Engine;
use hearth_storage::tables::events::{self, EventRedacted};
use hearth_storage::tables::log::Identity;
use hearth_storage::testing::{On, Scratch, execute, identity};
use hearth_storage::verify::{OwnKey, Report, verify};
use hearth_storage::{Commit, Storage, inspect};
use sqlx::Connection as _;

/// What is done to a database, and the checks that must report it.
struct Damage {
    checks: &'static [&'static str],
    does: &'static [&'static str],
}

const DAMAGES: &[Damage] = &[
    Damage {
        checks: &["dehydrated_devices-device"],
        does: &[
            "INSERT INTO dehydrated_devices (user_nid, device_id, device_data)
                 VALUES (987654, 'X', '{}')",
        ],
    },
    Damage {
        checks: &["backed_up_keys-version"],
        does: &[
            "INSERT INTO backed_up_keys (user_nid, version, room_id, session_id,
                 first_message_index, forwarded_count, is_verified, session_data)
                 VALUES (1, 7, '!a', 's', 0, 0, FALSE, '{}')",
        ],
    },
    Damage {
        checks: &["key_backups-count", "key_backups-user_nid"],
        does: &[
            "INSERT INTO key_backups (user_nid, version, algorithm, auth_data, etag,
                 key_count, size_bytes, deleted) VALUES (987654, 7, 'x', '{}', 1, 1, 1, FALSE)",
        ],
    },
    Damage {
        checks: &["event-json-missing"],
        does: &["DELETE FROM event_json WHERE event_nid = (SELECT MIN(event_nid) FROM events)"],
    },
    Damage {
        checks: &["event-json-damaged"],
        does: &[
            "UPDATE event_json SET json = SUBSTR(json, 1, LENGTH(json) - 1)
                 WHERE event_nid = (SELECT MIN(event_nid) FROM events)",
        ],
    },
    Damage {
        checks: &["event_json-event_nid"],
        does: &[
            "INSERT INTO event_json (event_nid, json) SELECT 987654, json FROM event_json
                 WHERE event_nid = (SELECT MIN(event_nid) FROM event_json)",
        ],
    },
    Damage {
        checks: &["event-id", "event-row", "prev-edges", "auth-edges"],
        does: &["UPDATE event_json SET json = (SELECT json FROM event_json
                 WHERE event_nid = (SELECT MIN(event_nid) FROM event_json))
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["event-row"],
        does: &["UPDATE events SET origin_server_ts = 12
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events)"],
    },
    Damage {
        checks: &["prev-edges", "extremity-missing"],
        does: &["DELETE FROM event_edges WHERE event_nid =
                 (SELECT MAX(d.event_nid) FROM event_edges d JOIN events e
                  ON e.event_nid = d.event_nid WHERE e.outbound)"],
    },
    Damage {
        checks: &["auth-edges"],
        does: &["DELETE FROM event_auth WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0 AND outbound)"],
    },
    Damage {
        checks: &["cycle", "prev-edges"],
        does: &["INSERT INTO event_edges (event_nid, prev_nid)
                 SELECT MIN(d.prev_nid), MIN(d.event_nid) FROM event_edges d
                 WHERE d.event_nid = (SELECT MAX(event_nid) FROM event_edges)"],
    },
    Damage {
        checks: &["auth-cycle", "auth-edges"],
        does: &["INSERT INTO event_auth (event_nid, auth_nid)
                 SELECT MIN(a.auth_nid), MIN(a.event_nid) FROM event_auth a
                 WHERE a.event_nid = (SELECT MAX(event_nid) FROM events WHERE outbound)"],
    },
    Damage {
        checks: &["depth"],
        does: &["UPDATE events SET depth = depth + 1 WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE outbound)"],
    },
    Damage {
        checks: &["extremity-has-child"],
        does: &["INSERT INTO forward_extremities (room_nid, event_nid)
                 SELECT room_nid, MIN(event_nid) FROM events WHERE outbound AND fate = 0
                 GROUP BY room_nid ORDER BY room_nid LIMIT 1"],
    },
    Damage {
        checks: &["extremities-none", "extremity-missing"],
        does: &["DELETE FROM forward_extremities WHERE room_nid =
                 (SELECT MIN(room_nid) FROM forward_extremities)"],
    },
    Damage {
        checks: &["extremity-not-accepted"],
        does: &["INSERT INTO forward_extremities (room_nid, event_nid)
                 SELECT room_nid, event_nid FROM events WHERE fate = 3
                 ORDER BY event_nid LIMIT 1"],
    },
    Damage {
        checks: &["snapshot-damaged"],
        does: &[
            "UPDATE state_snapshots SET delta = SUBSTR(delta, 1, LENGTH(delta) - 1)
                 WHERE snapshot_nid = (SELECT snapshot_nid FROM rooms
                 WHERE snapshot_nid IS NOT NULL ORDER BY room_nid LIMIT 1)",
        ],
    },
    Damage {
        checks: &["state_snapshots-base_nid", "snapshot-base"],
        does: &[
            "UPDATE state_snapshots SET base_nid = 987654 WHERE snapshot_nid =
                 (SELECT MAX(snapshot_nid) FROM state_snapshots WHERE base_nid IS NOT NULL)",
        ],
    },
    Damage {
        checks: &["events-snapshot_nid"],
        does: &["UPDATE events SET snapshot_nid = 987654 WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["state-after-event"],
        does: &[
            "UPDATE events SET snapshot_nid = (SELECT e.snapshot_nid FROM events e
                     WHERE e.room_nid = events.room_nid AND e.fate = 0
                     ORDER BY e.event_nid LIMIT 1)
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events
                     WHERE outbound AND fate = 0 AND state_key_nid IS NOT NULL)",
        ],
    },
    Damage {
        checks: &["current-state", "state-changes", "membership"],
        does: &[
            "UPDATE rooms SET snapshot_nid = (SELECT e.snapshot_nid FROM events e
                     WHERE e.room_nid = rooms.room_nid AND e.snapshot_nid IS NOT NULL
                     ORDER BY e.event_nid LIMIT 1) WHERE room_nid =
                 (SELECT room_nid FROM events WHERE outbound ORDER BY event_nid LIMIT 1)",
        ],
    },
    Damage {
        checks: &["accepted-without-state"],
        does: &["UPDATE events SET snapshot_nid = NULL WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["membership"],
        does: &["UPDATE memberships SET membership = 'ban' WHERE membership = 'join'"],
    },
    Damage {
        checks: &["membership"],
        does: &["DELETE FROM memberships WHERE membership = 'join'"],
    },
    Damage {
        checks: &["memberships-event_nid"],
        does: &["UPDATE memberships SET event_nid = 987654 WHERE membership = 'join'"],
    },
    Damage {
        checks: &["state-changes"],
        does: &["UPDATE state_changes SET event_nid = NULL WHERE position =
                 (SELECT MAX(position) FROM state_changes)"],
    },
    Damage {
        checks: &["events-ahead-of-log", "state_changes-ahead-of-log"],
        does: &["UPDATE log_head SET position = 3"],
    },
    Damage {
        checks: &["log-head-missing"],
        does: &["DELETE FROM log_head"],
    },
    Damage {
        checks: &["position-twice"],
        does: &["UPDATE events SET live_position =
                     (SELECT MIN(live_position) FROM events WHERE fate = 0)
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["event-ids-not-reserved"],
        does: &["UPDATE nid_blocks SET next = 2 WHERE kind = 'event'"],
    },
    Damage {
        checks: &["redacted-by"],
        does: &["DELETE FROM redactions"],
    },
    Damage {
        checks: &["redaction-lost"],
        does: &["UPDATE events SET redacted_by = NULL"],
    },
    Damage {
        checks: &["events-sender_nid", "users-server_nid"],
        does: &[
            "DELETE FROM users WHERE user_nid = (SELECT MIN(sender_nid) FROM events)",
            "UPDATE users SET server_nid = 987654 WHERE user_nid =
             (SELECT MAX(sender_nid) FROM events)",
        ],
    },
    Damage {
        checks: &["purpose_tokens-device", "refresh_tokens-device"],
        does: &[
            "INSERT INTO refresh_tokens (user_nid, device_id, family_hash) VALUES (1, 'NONE', 'f')",
            "INSERT INTO purpose_tokens (token_hash, purpose, user_nid, device_id, expires_at_ms)
             VALUES ('t', 'login', 1, 'NONE', 1)",
        ],
    },
    Damage {
        checks: &["access_tokens-device", "to_device-device"],
        does: &["DELETE FROM devices"],
    },
    Damage {
        checks: &["room-version-unknown"],
        does: &["UPDATE rooms SET version = 'org.example'"],
    },
    Damage {
        checks: &["fate-unknown"],
        does: &["UPDATE events SET fate = 9 WHERE event_nid = (SELECT MAX(event_nid) FROM events)"],
    },
];

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
    let sound = look(&scratch).await;
    assert_eq!(sound.findings, [], "real traffic is sound");
    assert!(sound.events > 20 && sound.snapshots > 5, "{sound:?}");
    let tables: BTreeSet<&str> = DAMAGES.iter().flat_map(Damage::tables).collect();
    for table in &tables {
        let keep = format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
        run(&scratch, &[keep]).await;
    }
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
        for table in damage.tables() {
            let emptied = format!("DELETE FROM {table}");
            let restored = format!("INSERT INTO {table} SELECT * FROM kept_{table}");
            run(&scratch, &[emptied, restored]).await;
        }
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
    for text in texts {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(text.as_ref().to_owned()));
        match scratch.options().connect_to {
            Engine::Sqlite(to) => {
                let mut conn = sqlx::SqliteConnection::connect_with(&to).await.unwrap();
                query.execute(&mut conn).await.map(drop)
            }
            Engine::Postgres(to) => {
                let mut conn = sqlx::PgConnection::connect_with(&to).await.unwrap();
                query.execute(&mut conn).await.map(drop)
            }
        }
        .unwrap();
    }
}

/// Content that was changed without its event's id: only the hash in the event tells.
#[tokio::test(flavor = "multi_thread")]
async fn changed_content_and_foreign_signatures_are_told() {
    let scratch = traffic(On::Sqlite, "sqlite.db.gz").await;
    let owner = inspect::identity(&scratch.options().connect_to).await;
    let owner = owner.unwrap().unwrap();
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

/// What real servers wrote, brought to this version's schema.
async fn traffic(on: On, fixture: &str) -> Scratch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/level-0001");
    let file = std::fs::File::open(folder.join(fixture)).unwrap();
    let mut contents = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut contents)
        .unwrap();
    let scratch = Scratch::holding(on, contents).await;
    let owner = inspect::identity(&scratch.options().connect_to).await;
    let owner: Identity = owner.unwrap().unwrap();
    let (storage, background) = Storage::open(&scratch.options(), &owner).await.unwrap();
    drop((storage, background.checkpointer));
    background.writer.run().await;
    scratch
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
