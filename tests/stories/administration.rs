//! Somebody looks after a server with `hearthctl`: on its machine, and over the network.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Authority, On, Server, Settings, on_both_engines};

/// A server that serves the admin API to the network too.
const CONTRACT: &str = include_str!("launch.toml");

/// A way to a server.
struct Desk {
    arguments: Vec<String>,
}

impl Desk {
    /// On the server's machine, over its socket.
    fn beside(server: &Server) -> Self {
        let config = server.folder().join("hearth.toml");
        Self {
            arguments: vec!["--config".to_owned(), config.display().to_string()],
        }
    }

    /// Over the network, with an access token.
    fn afar(server: &Server, authority: &Authority, token: &str) -> Self {
        let file: PathBuf = server.folder().join("token");
        fs::write(&file, format!("{token}\n")).unwrap();
        let words = [
            "--server",
            &format!("https://{}", server.name),
            "--token-file",
            &file.display().to_string(),
            "--trusted-ca",
            &authority.file().display().to_string(),
        ];
        Self {
            arguments: words.map(str::to_owned).to_vec(),
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hearthctl-under-test"))
            .args(&self.arguments)
            .args(words)
            .env_remove("HEARTH_CONFIG")
            .output()
            .unwrap()
    }

    /// What a verb answers to a program.
    fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{words:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words:?}: {text}"))
    }

    /// What a verb answers to people.
    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let refusal = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {refusal}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Why a verb was not done: one sentence.
    fn refusal(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        sentence
    }
}

async fn started(authority: &Authority, on: On) -> Server {
    let settings = Settings {
        file: Some(CONTRACT.to_owned()),
        ..Settings::default()
    };
    Server::with(authority, on, settings).await
}

on_both_engines! {
    async fn an_account_is_looked_after_from_its_first_to_its_last_day(on: On) {
        let authority = Authority::new();
        let server = started(&authority, on).await;
        let desk = Desk::beside(&server);
        let made = desk.json(&["user", "create", "bob"]);
        let (bob, password) = (&made["user_id"], made["password"].as_str().unwrap());
        assert_eq!(*bob, format!("@bob:{}", server.name));
        assert!(desk.text(&["user", "list"]).contains("@bob:"));

        let login = async |password: &str| {
            let body = json!({ "type": "m.login.password", "user": "bob", "password": password });
            server.post("/_matrix/client/v3/login", &body).await
        };
        assert_eq!(login(password).await.0, 200);
        let changed = desk.json(&["user", "password", "bob"]);
        assert_eq!(login(password).await.0, 403);
        let password = changed["password"].as_str().unwrap();
        assert_eq!(login(password).await.0, 200);

        assert_eq!(desk.json(&["user", "lock", "bob"])["locked"], true);
        assert_eq!(login(password).await.1["errcode"], "M_USER_LOCKED");
        assert_eq!(desk.json(&["user", "unlock", "bob"])["locked"], false);
        let suspended = desk.text(&["user", "suspend", "bob"]);
        assert!(suspended.contains("suspended"), "{suspended}");
        assert_eq!(desk.json(&["user", "show", "bob"])["suspended"], true);
        desk.json(&["user", "unsuspend", "bob"]);

        let opened = desk.json(&["user", "token", "bob", "--device-name", "rescue"]);
        let (token, device) = (opened["access_token"].as_str().unwrap(), &opened["device_id"]);
        let whoami = "/_matrix/client/v3/account/whoami";
        assert_eq!(server.get(whoami, token).await.1["device_id"], *device);
        let devices = desk.json(&["user", "devices", "bob"]);
        assert!(devices["devices"].as_array().unwrap().iter().any(|it| it["device_id"] == *device));
        let left = desk.json(&["user", "devices", "bob", "--log-out", device.as_str().unwrap()]);
        assert!(left["devices"].as_array().unwrap().iter().all(|it| it["device_id"] != *device));
        assert_eq!(server.get(whoami, token).await.0, 401);

        let closed = desk.text(&["user", "deactivate", "bob", "--erase"]);
        assert!(closed.contains("Closed the account of @bob:"), "{closed}");
        assert_eq!(desk.json(&["user", "show", "bob"])["deactivated"], true);
        assert_eq!(login(password).await.0, 403);
        let sentence = desk.refusal(&["user", "lock", "bob"]);
        assert!(sentence.contains("This account is deactivated"), "{sentence}");
        server.is_sound().await;
    }
}

on_both_engines! {
    async fn rooms_and_tokens_are_listed_and_shown(on: On) {
        let authority = Authority::new();
        let server = started(&authority, on).await;
        let desk = Desk::beside(&server);
        assert!(desk.text(&["room", "list"]).contains("No rooms yet"));
        let alice = server.person("alice").await;
        let room = alice.create_room("12", "private_chat").await;
        let listed = desk.json(&["room", "list"]);
        assert_eq!(listed["rooms"][0]["room_id"], room);
        let shown = desk.json(&["room", "show", &room]);
        assert_eq!((&shown["version"], &shown["join_rule"]), (&json!("12"), &json!("invite")));
        assert_eq!((&shown["joined_members"], &shown["creator"]), (&json!(1), &json!(alice.id)));
        assert!(desk.refusal(&["room", "show", "!none:localhost"]).contains("not known"));

        assert!(desk.text(&["report", "list"]).contains("Nobody reported anything"));
        let event_id = alice.send(&room, "unkind").await;
        let path = format!("/rooms/{room}/report/{event_id}");
        alice.call(Method::POST, &path, Some(&json!({ "reason": "it is\nunkind" }))).await;
        let reports = desk.json(&["report", "list"]);
        let report = &reports["reports"][0];
        assert_eq!((&report["event_id"], &report["reporter"]), (&json!(event_id), &json!(alice.id)));
        let id = report["id"].to_string();
        let shown = desk.json(&["report", "show", &id]);
        assert_eq!(shown["event"]["content"]["body"], "unkind");
        assert!(desk.text(&["report", "list"]).contains("it is unkind"));
        assert!(desk.text(&["report", "delete", &id]).contains("Removed report"));
        let gone = desk.refusal(&["report", "show", &id]);
        assert!(gone.contains("The report is not known"), "{gone}");

        assert!(desk.text(&["registration-token", "list"]).contains("create makes one"));
        let made = desk.json(&["registration-token", "create", "--uses", "2", "--valid-for", "7d"]);
        let token = made["token"].as_str().unwrap();
        let valid = async || {
            let path = "/_matrix/client/v1/register/m.login.registration_token/validity?token=";
            server.get(&format!("{path}{token}"), "").await.1["valid"].clone()
        };
        assert_eq!(valid().await, true);
        assert_eq!(desk.json(&["registration-token", "list"])["tokens"][0], made);
        assert_eq!(desk.json(&["registration-token", "show", token]), made);
        let twice = desk.refusal(&["registration-token", "create", "--token", token]);
        assert!(twice.contains("exists already"), "{twice}");
        desk.text(&["registration-token", "delete", token]);
        assert_eq!(valid().await, false);
        assert!(desk.refusal(&["registration-token", "show", token]).contains("was not found"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_does_the_same_from_elsewhere() {
    let authority = Authority::new();
    let server = started(&authority, On::Sqlite).await;
    let beside = Desk::beside(&server);
    beside.json(&["user", "create", "root", "--admin"]);
    let token = beside.json(&["user", "token", "root"]);
    let token = token["access_token"].as_str().unwrap();
    let afar = Desk::afar(&server, &authority, token);
    let status = afar.json(&["server", "status"]);
    assert_eq!(status["server_name"], server.name);
    assert!(afar.text(&["server", "status"]).contains("runs Hearth"));
    afar.json(&["user", "create", "carol"]);
    assert_eq!(afar.json(&["user", "lock", "carol"])["locked"], true);
    assert_eq!(afar.json(&["user", "list"]), beside.json(&["user", "list"]));

    let carol = beside.json(&["user", "create", "dave"]);
    assert!(carol["password"].is_string());
    let dave = beside.json(&["user", "token", "dave"]);
    let weak = Desk::afar(&server, &authority, dave["access_token"].as_str().unwrap());
    let sentence = weak.refusal(&["user", "list"]);
    assert!(
        sentence.contains("must be an administrator's"),
        "{sentence}"
    );
    let stranger = Desk::afar(&server, &authority, "nothing");
    let sentence = stranger.refusal(&["user", "list"]);
    assert!(sentence.contains("sign in again"), "{sentence}");
    let distrust = Desk {
        arguments: afar.arguments[..4].to_vec(),
    };
    let sentence = distrust.refusal(&["user", "list"]);
    assert!(sentence.contains("cannot be reached"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shells_complete_every_verb() {
    let desk = Desk {
        arguments: Vec::new(),
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.text(&["completions", shell]);
        for word in ["registration-token", "unsuspend", "hearthctl"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let checked = Command::new("bash")
        .args(["-n", "-c", &desk.text(&["completions", "bash"])])
        .status()
        .unwrap();
    assert!(checked.success(), "bash reads it");
}
