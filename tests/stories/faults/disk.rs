//! A disk that is full, or that cannot be written. It is a small one of its own, in memory, that only
//! the server sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::Load;
use crate::harness::{Authority, On, Server, Settings};

/// The size of the disk.
const MIB: usize = 24;

/// A disk, mounted where only its holder and what the holder's wrapper runs see it.
struct Disk {
    holder: Child,
    at: PathBuf,
    _folder: tempfile::TempDir,
}

impl Disk {
    /// None where this machine does not let us mount; as root, that is a failure.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        let script = format!(
            "mount -t tmpfs -o size={MIB}m tmpfs {0} && echo ready && exec sleep 600",
            at.display()
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare, of util-linux");
        let mut ready = [0; 5];
        let mounted = std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut ready);
        let disk = Self {
            holder,
            at,
            _folder: folder,
        };
        if mounted.is_ok() {
            return Some(disk);
        }
        let root = fs::metadata("/proc/self")
            .is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
        assert!(!root, "root cannot mount a disk of its own");
        eprintln!(
            "SKIPPED: only root can mount a disk of its own, so full disks are not tested here"
        );
        None
    }

    /// The words before a command that shall see the disk.
    fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        ["nsenter", "--mount", "--target", &holder, "--"]
            .map(str::to_owned)
            .into()
    }

    /// A file of the disk as we reach it.
    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.holder.id().to_string())
            .join("root")
            .join(self.at.strip_prefix("/").unwrap())
            .join(name)
    }

    fn settings(&self) -> Settings {
        let path = self.at.join("hearth.db");
        Settings {
            database: Some(format!("sqlite://{}", path.display())),
            wrapper: self.wrapper(),
            ..Settings::default()
        }
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::create(self.file("filler")).unwrap();
        let block = vec![7; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let mut words = self.wrapper();
        words.extend(["mount", "-o", &options, self.at.to_str().unwrap()].map(str::to_owned));
        let done = Command::new(&words[0]).args(&words[1..]).status().unwrap();
        assert!(done.success(), "{words:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Lines of the log at error level, and those that say that it works again.
fn told(server: &Server, from: usize) -> (Vec<String>, usize) {
    let log = server.log_text();
    let lines = log[from..].lines();
    let again = lines
        .clone()
        .filter(|line| line.contains("works again"))
        .count();
    let errors = lines
        .filter(|line| line.contains("ERROR"))
        .map(str::to_owned)
        .collect();
    (errors, again)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_until_there_is_room_again() {
    let Some(disk) = Disk::new() else { return };
    let authority = Authority::new();
    let mut server = Server::with(&authority, On::Sqlite, disk.settings()).await;
    let mut load = Load::new(&server).await;
    let alice = server.person("carol").await;
    let room = alice.create_room("12", "private_chat").await;
    alice.send(&room, "before").await;
    load.until(async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        disk.fill();
    })
    .await;
    let from = server.log_text().len();
    for number in 0..20 {
        let path = format!("/rooms/{room}/send/m.room.message/full{number}");
        let body = json!({ "msgtype": "m.text", "body": "x".repeat(20_000) });
        let (status, answer) = alice.ask(Method::PUT, &path, Some(&body)).await.unwrap();
        assert_eq!(
            (status, answer["errcode"].as_str()),
            (507, Some("M_UNKNOWN")),
            "{answer}"
        );
        let said = answer["error"].as_str().unwrap();
        assert!(said.contains("the disk of the database is full"), "{said}");
    }
    assert_eq!(
        told(&server, from),
        (vec![], 0),
        "the condition was logged when it began"
    );
    let errors = told(&server, 0).0;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(
        errors[0].contains("the disk of the database is full"),
        "{errors:#?}"
    );
    // What was there can be read.
    assert_eq!(alice.messages(&room).await.len(), 1);

    fs::remove_file(disk.file("filler")).unwrap();
    alice.send(&room, "after").await;
    alice.reads(&room, &["before", "after"]).await;
    assert_eq!(told(&server, from), (vec![], 1));
    load.holds().await;
    load.retries_count_once().await;
    assert!(server.stop().success());
    let sound = sound(&disk, &server).await;
    assert!(sound.is_empty(), "{sound:#?}");
}

/// The stored data, looked at through a copy: the disk is not mounted where we are.
async fn sound(disk: &Disk, server: &Server) -> Vec<String> {
    let copy = server.folder().join("copy.db");
    fs::copy(disk.file("hearth.db"), &copy).unwrap();
    server
        .unsound_at(&format!("sqlite://{}", copy.display()))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written_is_refused_with_a_sentence() {
    let Some(disk) = Disk::new() else { return };
    let authority = Authority::new();
    let mut server = Server::with(&authority, On::Sqlite, disk.settings()).await;
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    alice.send(&room, "kept").await;
    assert!(server.stop().success());
    disk.remount("ro");
    let refusal = server.try_start().await.unwrap_err();
    assert!(
        refusal.contains("cannot be opened") && refusal.contains("hearth.db"),
        "{refusal}"
    );
    disk.remount("rw");
    server.start_again().await;
    assert_eq!(alice.messages(&room).await.len(), 1);
}
