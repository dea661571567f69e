//! The kernel makes a file system read-only under the open files of a server, as it does when a disk
//! fails.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Load, power_cut};
use crate::harness::{Authority, On, Server, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn files_that_become_read_only_refuse_writes_until_they_are_not() {
    let authority = Authority::new();
    let work = tempfile::tempdir().unwrap();
    let mark = work.path().join("read-only");
    let mut server = Server::with(&authority, On::Sqlite, Settings::default()).await;
    let mut load = Load::new(&server).await;
    let alice = server.person("carol").await;
    let room = alice.create_room("12", "private_chat").await;
    server.stop();
    let told_in = |name: &str, path: std::path::Display<'_>| (name.to_owned(), path.to_string());
    server.set_env(vec![
        ("LD_PRELOAD".to_owned(), power_cut::shim(work.path())),
        told_in("UNSYNCED_FOLDER", server.folder().display()),
        told_in("UNSYNCED_JOURNAL", work.path().join("journal").display()),
        told_in("UNSYNCED_READ_ONLY", mark.display()),
    ]);
    server.start_again().await;
    alice.send(&room, "before").await;
    let written = load.written();
    load.until(async || {
        written.reaches(20).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        fs::write(&mark, "").unwrap();
    })
    .await;

    let from = server.log_text().len();
    for number in 0..20 {
        let path = format!("/rooms/{room}/send/m.room.message/refused{number}");
        let body = json!({ "msgtype": "m.text", "body": "refused" });
        let (status, answer) = alice.ask(Method::PUT, &path, Some(&body)).await.unwrap();
        assert_eq!(status, 503, "{answer}");
        let said = answer["error"].as_str().unwrap();
        assert!(said.contains("the disk of the database fails"), "{said}");
    }
    let log = server.log_text();
    let errors = |log: &str| log.lines().filter(|line| line.contains("ERROR")).count();
    assert_eq!((errors(&log), errors(&log[from..])), (1, 0), "{log}");
    // What was there can be read.
    assert_eq!(alice.messages(&room).await.len(), 1);

    fs::remove_file(&mark).unwrap();
    alice.send(&room, "after").await;
    alice.reads(&room, &["before", "after"]).await;
    let log = server.log_text();
    assert!(log[from..].contains("the database works again"), "{log}");
    load.holds().await;
    load.retries_count_once().await;
    assert!(server.stop().success());
    server.set_env(Vec::new());
    let unsound = server.unsound().await;
    assert!(unsound.is_empty(), "{unsound:#?}");
}
