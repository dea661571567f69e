//! The power is cut under load, and what was written but not flushed is gone, all of it or some
//! sectors. PostgreSQL guards its own files; here it is SQLite, which we configure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::journal::{Journal, Loss};
use super::{Load, Random, rounds};
use crate::harness::{Authority, On, Server, Settings};

/// Disks that are made of one cut, each losing something else.
const DISKS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    for seed in rounds() {
        let lost = cut(seed, false).await;
        assert!(lost.is_empty(), "seed {seed}: {lost:#?}");
    }
}

/// The same on a disk that says "flushed" and is not, as if nothing were ever flushed: that must
/// show, or the test above could not fail.
#[tokio::test(flavor = "multi_thread")]
async fn without_flushes_the_same_test_finds_losses() {
    assert!(!cut(1, true).await.is_empty());
}

/// What is wrong with the disks after one cut.
async fn cut(seed: u64, lies: bool) -> Vec<String> {
    let mut random = Random::new(seed);
    let authority = Authority::new();
    let work = tempfile::tempdir().unwrap();
    let journal = work.path().join("journal");
    let mut server = Server::with(&authority, On::Sqlite, Settings::default()).await;
    // Room and people are made on a disk that keeps everything.
    let mut load = Load::new(&server).await;
    server.stop();
    let folder = server.folder().to_owned();
    let mut env = vec![
        ("LD_PRELOAD".to_owned(), shim(work.path())),
        ("UNSYNCED_FOLDER".to_owned(), folder.display().to_string()),
        ("UNSYNCED_JOURNAL".to_owned(), journal.display().to_string()),
    ];
    if lies {
        env.push(("UNSYNCED_LIE".to_owned(), "1".to_owned()));
    }
    server.set_env(env);
    server.start_again().await;
    let moment = Duration::from_micros(300_000 + random.below(900_000));
    let written = load.written();
    load.until(async || {
        written.reaches(20).await;
        tokio::time::sleep(moment).await;
        server.kill();
    })
    .await;
    server.set_env(Vec::new());
    let journal = Journal::read(&journal);
    let killed = work.path().join("killed");
    copy(&folder, &killed);
    let mut wrong = Vec::new();
    for disk in 0..DISKS {
        let loss = match disk {
            0 => Loss::Everything,
            _ => Loss::SomeSectors,
        };
        fs::remove_dir_all(&folder).unwrap();
        copy(&killed, &folder);
        journal.cut_power(loss, &mut random);
        // The index of the log is never flushed: any bytes may be there, or none.
        let index = folder.join("hearth.db-shm");
        if index.exists() && random.coin() {
            fs::remove_file(index).unwrap();
        }
        let before = wrong.len();
        if let Err(refusal) = server.try_start().await {
            wrong.push(format!("disk {disk}: it does not start: {refusal}"));
            continue;
        }
        wrong.extend(load.lost().await);
        server.kill();
        wrong.extend(server.unsound().await);
        if wrong.len() > before {
            let open = journal.open();
            wrong.push(format!("disk {disk}: {loss:?} of {open} changes"));
        }
    }
    wrong
}

/// Compiles `unsynced.c`.
pub(super) fn shim(folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("stories/faults/unsynced.c");
    let library: PathBuf = folder.join("unsynced.so");
    let compiled = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .arg(&library)
        .arg(source)
        .args(["-ldl", "-pthread"])
        .status()
        .expect("a C compiler: scripts/setup.sh installs one");
    assert!(compiled.success());
    library.display().to_string()
}

/// Copies files and folders; sockets stay behind.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
