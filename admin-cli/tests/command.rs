//! `hearthctl` as a process: what it prints where, and its exit code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn hearthctl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hearthctl"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("HEARTH_CONFIG")
        .output()
        .unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn init_says_what_to_do_next_and_the_doctor_accepts_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let init = [
        "init",
        "--server-name",
        "one.test:1",
        "--bind",
        "127.0.0.1:0",
        "--json",
    ];
    let made = hearthctl(folder.path(), &init);
    assert!(made.status.success());
    let next = json(&made)["next"].as_str().unwrap().to_owned();
    assert!(next.starts_with("hearth --config "), "{next}");

    let doctor = hearthctl(folder.path(), &["doctor", "--json"]);
    assert_eq!(
        (doctor.status.code(), json(&doctor)["healthy"].as_bool()),
        (Some(0), Some(true))
    );
    assert_eq!(json(&doctor)["checks"][0]["name"], "configuration");
}

#[test]
fn a_failure_is_one_sentence_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    hearthctl(folder.path(), &["init", "--server-name", "one.test"]);
    for (arguments, expected) in [
        (
            &["init", "--server-name", "one.test"][..],
            "exists already; nothing was changed",
        ),
        (&["user", "list"], "no server answers on"),
        (
            &["user", "create", "a", "--password-file", "absent"],
            "cannot read the password from",
        ),
        (
            &["--config", "absent.toml", "status"],
            "cannot read the configuration file absent.toml",
        ),
        (
            &["--set", "server.nam=x", "status"],
            "did you mean `server.name`?",
        ),
    ] {
        let plain = hearthctl(folder.path(), arguments);
        let sentence = String::from_utf8(plain.stderr).unwrap();
        assert_eq!(plain.status.code(), Some(1), "{sentence}");
        assert!(sentence.contains(expected), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");

        let machine = hearthctl(folder.path(), &[arguments, &["--json"]].concat());
        assert_eq!(machine.status.code(), Some(1));
        assert!(json(&machine)["error"].as_str().unwrap().contains(expected));
    }
}

#[test]
fn a_database_that_is_not_there_or_empty_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    hearthctl(folder.path(), &["init", "--server-name", "one.test"]);
    let absent = hearthctl(folder.path(), &["db", "verify"]);
    let sentence = String::from_utf8(absent.stderr).unwrap();
    assert_eq!(absent.status.code(), Some(1));
    assert!(sentence.contains("is not there"), "{sentence}");

    std::fs::write(folder.path().join("data/hearth.db"), "").unwrap();
    let empty = hearthctl(folder.path(), &["db", "verify", "--json"]);
    assert_eq!(empty.status.code(), Some(1));
    let sentence = json(&empty)["error"].as_str().unwrap().to_owned();
    assert!(sentence.contains("no server has set it up"), "{sentence}");
}

/// Runs `hearthctl completions bash` with standard output going there.
fn completions_into(out: impl Into<Stdio>) -> Output {
    let script = Command::new(env!("CARGO_BIN_EXE_hearthctl"))
        .args(["completions", "bash"])
        .stdout(out)
        .stderr(Stdio::piped())
        .spawn();
    script.unwrap().wait_with_output().unwrap()
}

#[test]
fn who_has_read_enough_ends_it_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = completions_into(writer);
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_of_one_sentence() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let ended = completions_into(full);
    let sentence = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(
        sentence.starts_with("hearthctl: cannot write the answer: No space left"),
        "{sentence}"
    );
}
