//! Files that are not what was written: cut short, emptied, or with foreign bytes in them.

use std::fs;
use std::path::Path;

use super::Random;
use crate::harness::{Authority, On, Person, Server};

/// A server that was killed with its write-ahead log full, and what it had acknowledged.
async fn killed(authority: &Authority) -> (Server, Person, String, Vec<String>) {
    let mut server = Server::start(authority, On::Sqlite).await;
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    let mut sent = Vec::new();
    for number in 0..40 {
        sent.push(alice.send(&room, &format!("message {number}")).await);
    }
    server.kill();
    (server, alice, room, sent)
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Bytes after what was flushed are no part of the log, whatever they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_before_a_torn_tail_survives() {
    let authority = Authority::new();
    let (mut server, alice, room, sent) = killed(&authority).await;
    let log = server.folder().join("hearth.db-wal");
    let mut random = Random::new(1);
    change(&log, |bytes| {
        let torn = 3_000 + random.below(20_000);
        bytes.extend((0..torn).map(|_| random.next().to_le_bytes()[0]));
    });
    server.is_sound().await;
    server.start_again().await;
    let there: Vec<String> = alice
        .messages(&room)
        .await
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert_eq!(there, sent);
}

/// A log that was cut short has lost its end and nothing else: the stored data is sound as of then.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_short_is_sound_up_to_there() {
    let authority = Authority::new();
    let (mut server, alice, room, sent) = killed(&authority).await;
    let log = server.folder().join("hearth.db-wal");
    change(&log, |bytes| bytes.truncate(bytes.len() * 3 / 4 + 17));
    server.is_sound().await;
    server.start_again().await;
    let there: Vec<String> = alice
        .messages(&room)
        .await
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert!(
        sent.starts_with(&there) && there.len() < sent.len(),
        "{}",
        there.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_or_missing_database_is_not_taken_for_a_new_one() {
    let authority = Authority::new();
    let (mut server, ..) = killed(&authority).await;
    let database = server.folder().join("hearth.db");
    for file in ["hearth.db-wal", "hearth.db-shm"] {
        fs::remove_file(server.folder().join(file)).unwrap();
    }
    fs::write(&database, "").unwrap();
    let refusal = server.try_start().await.unwrap_err();
    assert!(
        refusal.contains("put that one back from a backup"),
        "{refusal}"
    );
    assert_eq!(
        fs::metadata(&database).unwrap().len(),
        0,
        "nothing was touched"
    );
    fs::remove_file(&database).unwrap();
    let refusal = server.try_start().await.unwrap_err();
    assert!(
        refusal.contains("put that one back from a backup"),
        "{refusal}"
    );
    assert!(!database.exists());
    // What the sentence says to do, does it.
    fs::remove_file(server.folder().join("data/database.used")).unwrap();
    server.start_again().await;
}

/// The size of a page, as the file's head has it (SQLite, "Database File Format", 1.3.2).
fn page_bytes(file: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([file[16], file[17]]))
}

/// A database that was cut short or has foreign bytes in it is refused, or verifying says where it is
/// damaged; it is never served as if it were whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_told() {
    let authority = Authority::new();
    let mut server = Server::start(&authority, On::Sqlite).await;
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    for number in 0..40 {
        alice.send(&room, &format!("message {number}")).await;
    }
    assert!(server.stop().success());
    let database = server.folder().join("hearth.db");
    let whole = fs::read(&database).unwrap();
    let page_bytes = page_bytes(&whole);
    let pages = whole.len() / page_bytes;
    type Damage<'a> = (&'static str, &'a dyn Fn(&mut Vec<u8>));
    let damages: [Damage<'_>; 4] = [
        ("half of it is gone", &|bytes| {
            bytes.truncate(pages / 2 * page_bytes);
        }),
        ("its end is torn", &|bytes| {
            bytes.truncate(bytes.len() - 5_000);
        }),
        ("its head is foreign", &|bytes| bytes[..100].fill(0x5a)),
        ("pages are foreign", &|bytes| {
            for page in (2..pages).step_by(3) {
                bytes[page * page_bytes..][..page_bytes].fill(0x5a);
            }
        }),
    ];
    for (what, damage) in damages {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&database, bytes).unwrap();
        let unsound = server.unsound().await;
        assert!(!unsound.is_empty(), "{what}: verifying finds nothing");
        if let Err(refusal) = server.try_start().await {
            assert!(refusal.starts_with("hearth: "), "{what}: {refusal}");
            assert!(!refusal.contains("panick"), "{what}: {refusal}");
        } else {
            // It opens as far as it is whole; what is damaged is refused, not made up.
            let path = format!("/rooms/{room}/messages?dir=b&limit=100");
            let answer = alice.ask(reqwest::Method::GET, &path, None).await;
            let (status, _) = answer.expect("an answer");
            assert!(
                matches!(status, 200 | 401 | 403 | 404 | 500 | 503),
                "{what}: {status}"
            );
            server.kill();
        }
        for left in ["hearth.db-wal", "hearth.db-shm"] {
            let _not_there = fs::remove_file(server.folder().join(left));
        }
    }
    fs::write(&database, &whole).unwrap();
    server.start_again().await;
    assert_eq!(alice.messages(&room).await.len(), 40);
}
