//! The binary itself: starting, refusing to start, and ending.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::whole_table::note;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self, bind: SocketAddr, more: &str) -> PathBuf {
        let path = self.folder.path().join("hearth.toml");
        let data = self.data();
        let text = format!(
            "[server]\nname = \"one.test\"\ndata_dir = {data:?}\n\
             [[listener]]\nbind = \"{bind}\"\n{more}"
        );
        fs::write(&path, text).unwrap();
        path
    }
}

fn command(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearth"));
    command
        .arg("--config")
        .arg(config)
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

/// A running process and where it listens. Ends with the test.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(config: &Path) -> Self {
        let mut child = command(config).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = lines.find_map(|line| {
            line.unwrap()
                .split_once("addresses=[")
                .map(|(_, a)| a.to_owned())
        });
        let address = ready.expect("the line that says where it listens");
        let address = address.split(']').next().unwrap().parse().unwrap();
        Self { child, address }
    }

    fn end(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let started = now();
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        (status.code(), started.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test measures another process"
)]
fn now() -> Instant {
    Instant::now()
}

fn get(mut stream: impl Read + Write, path: &str) -> String {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    note("GET", path, answer[9..12].parse().unwrap());
    answer
}

fn free() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Exit code 1 and one sentence, without a trace of the program's inside.
fn sentence(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("hearth: "), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    last
}

#[test]
fn an_argument_that_does_not_exist_is_wrong_configuration_like_any_other() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hearth"))
            .args(arguments)
            .output();
        output.unwrap().status.code()
    };
    assert_eq!(run(&["--nope"]), Some(1));
    assert_eq!(run(&["--set", "foo"]), Some(1));
    assert_eq!(run(&["--help"]), Some(0));
    assert_eq!(run(&["--version"]), Some(0));
}

#[test]
fn it_starts_serves_ends_on_both_signals_and_starts_again() {
    let place = Place::new();
    let config = place.config(free(), "");
    let mut keys = Vec::new();
    for signal in ["-INT", "-TERM"] {
        let mut running = Running::start(&config);
        let answer = get(
            TcpStream::connect(running.address).unwrap(),
            "/_matrix/client/versions",
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // Who has not said what they want is not waited for.
        let mut half = TcpStream::connect(running.address).unwrap();
        half.write_all(b"GET / HTT").unwrap();
        let (code, took) = running.end(signal);
        assert_eq!(code, Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
        keys.push(fs::read_to_string(place.data().join("signing.key")).unwrap());
    }
    assert_eq!(keys[0], keys[1], "the key is made once");
}

#[test]
fn the_admin_socket_is_for_the_owner_alone_and_goes_with_the_process() {
    let place = Place::new();
    let mut running = Running::start(&place.config(free(), ""));
    let socket = place.data().join("admin.sock");
    assert_eq!(
        socket.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let answer = get(UnixStream::connect(&socket).unwrap(), "/health/ready");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = get(
        UnixStream::connect(&socket).unwrap(),
        "/_matrix/client/versions",
    );
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let status = get(
        UnixStream::connect(&socket).unwrap(),
        "/_hearth/admin/v1/server",
    );
    assert!(status.contains("\"server_name\":\"one.test\""), "{status}");
    // The same path over the network is none.
    let stream = TcpStream::connect(running.address).unwrap();
    assert!(get(stream, "/_hearth/admin/v1/server").starts_with("HTTP/1.1 401"));
    running.end("-TERM");
    assert!(!socket.exists());
}

#[test]
fn a_second_instance_on_the_same_data_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let config = place.config(free(), "");
    let running = Running::start(&config);
    let refused = sentence(&command(&config).output().unwrap());
    assert!(
        refused.contains("in use by another running Hearth"),
        "{refused}"
    );
    let answer = get(
        UnixStream::connect(place.data().join("admin.sock")).unwrap(),
        "/health/live",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(running);
}

#[test]
fn a_process_that_was_killed_leaves_nothing_in_the_way() {
    let place = Place::new();
    let config = place.config(free(), "");
    let mut running = Running::start(&config);
    assert_eq!(running.end("-KILL").0, None);
    assert_eq!(Running::start(&config).end("-TERM").0, Some(0));
}

#[test]
fn a_taken_port_is_one_sentence_and_leaves_no_key_behind() {
    let place = Place::new();
    let taken = TcpListener::bind(free()).unwrap();
    let address = taken.local_addr().unwrap();
    let refused = sentence(&command(&place.config(address, "")).output().unwrap());
    assert!(
        refused.contains(&address.to_string()) && refused.contains("another program"),
        "{refused}"
    );
    assert!(!place.data().join("signing.key").exists());
}

#[test]
fn a_database_of_another_server_is_refused_and_left_alone() {
    let place = Place::new();
    let config = place.config(free(), "");
    Running::start(&config).end("-TERM");
    let key = place.data().join("signing.key");
    let kept = fs::read(&key).unwrap();

    let renamed = fs::read_to_string(&config)
        .unwrap()
        .replace("one.test", "two.test");
    fs::write(&config, renamed).unwrap();
    let refused = sentence(&command(&config).output().unwrap());
    assert!(refused.contains("belongs to one.test"), "{refused}");

    // With its key lost the server would be a stranger to all others: no new key is put in place.
    let config = place.config(free(), "");
    fs::remove_file(&key).unwrap();
    let refused = sentence(&command(&config).output().unwrap());
    assert!(refused.contains("signing key"), "{refused}");
    assert!(!key.exists());

    fs::write(&key, kept).unwrap();
    assert_eq!(Running::start(&config).end("-TERM").0, Some(0));
}

#[test]
fn wrong_settings_and_a_damaged_key_are_one_sentence_each() {
    let place = Place::new();
    let refused = |more: &str| sentence(&command(&place.config(free(), more)).output().unwrap());
    let unknown = refused("[databose]\nurl = \"x\"\n");
    assert!(
        unknown.contains("databose") && unknown.contains("database"),
        "{unknown}"
    );
    let version = refused("[rooms]\ndefault_version = \"99\"\n");
    assert!(
        version.contains("99") && version.contains("11, 12"),
        "{version}"
    );
    let half = refused("tls_cert = \"/nowhere.crt\"\n");
    assert!(half.contains("tls_key"), "{half}");
    let missing = refused("tls_cert = \"/nowhere.crt\"\ntls_key = \"/nowhere.key\"\n");
    assert!(missing.contains("/nowhere.crt"), "{missing}");

    fs::create_dir_all(place.data()).unwrap();
    fs::write(place.data().join("signing.key"), "scribble").unwrap();
    let damaged = refused("");
    assert!(
        damaged.contains("signing.key") && damaged.contains("damaged"),
        "{damaged}"
    );
    let nowhere = sentence(
        &command(&place.folder.path().join("none.toml"))
            .output()
            .unwrap(),
    );
    assert!(nowhere.contains("none.toml"), "{nowhere}");
}
