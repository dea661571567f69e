//! Secrets that are looked for where they must not be: in the log at the level that says the most,
//! and in the database.

use std::fs;

use hearth_storage::testing::{Scratch, dump};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Authority, On, Server, on_both_engines};

/// Somebody with a client that shows what is on the wire.
struct Wire {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Wire {
    fn new(authority: &Authority, server: &Server) -> Self {
        Self {
            client: authority.client(),
            base: server.url(""),
            token: None,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("/_matrix/client/v3{path}");
        let (status, answer) = self.ask(method, &path, &body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

fn word(answer: &Value, field: &str) -> String {
    answer[field].as_str().expect(field).to_owned()
}

fn password_login(password: &str) -> Value {
    json!({
        "type": "m.login.password", "password": password, "refresh_token": true,
        "identifier": { "type": "m.id.user", "user": "alice" },
    })
}

/// What was said that nobody else should find.
#[derive(Default)]
struct Secrets {
    /// Neither logged nor stored.
    credentials: Vec<String>,
    /// Stored where they belong, and not logged.
    contents: Vec<String>,
}

impl Secrets {
    fn credential(&mut self, secret: &str) -> String {
        self.credentials.push(secret.to_owned());
        secret.to_owned()
    }

    fn content(&mut self, secret: &str) -> String {
        self.contents.push(secret.to_owned());
        secret.to_owned()
    }

    /// The tokens of a registration or a login.
    fn tokens(&mut self, answer: &Value) -> String {
        if let Some(refresh) = answer["refresh_token"].as_str() {
            self.credential(refresh);
        }
        self.credential(&word(answer, "access_token"))
    }
}

/// A life with everything in it that carries a secret.
async fn live(authority: &Authority, server: &Server, secrets: &mut Secrets) {
    let first = secrets.credential("canary-password-one");
    let second = secrets.credential("canary-password-two");
    let wrong = secrets.credential("canary-password-wrong");
    let mut alice = Wire::new(authority, server);
    let registration = json!({
        "username": "alice", "password": first, "auth": { "type": "m.login.dummy" },
    });
    let registered = alice.call(Method::POST, "/register", registration).await;
    alice.token = Some(secrets.tokens(&registered));
    let (user_id, device_id) = (word(&registered, "user_id"), word(&registered, "device_id"));
    let login = "/_matrix/client/v3/login";
    let (status, _) = alice
        .ask(Method::POST, login, &password_login(&wrong))
        .await;
    assert_eq!(status, 403);
    let phone = alice
        .call(Method::POST, "/login", password_login(&first))
        .await;
    let phone_token = secrets.tokens(&phone);
    if let Some(refresh) = phone["refresh_token"].as_str() {
        let refreshed = alice.call(
            Method::POST,
            "/refresh",
            json!({ "refresh_token": refresh }),
        );
        secrets.tokens(&refreshed.await);
    }
    speak(&alice, &user_id, &device_id, secrets).await;
    let query = format!("/_matrix/client/v3/account/whoami?access_token={phone_token}");
    let anonymous = Wire::new(authority, server);
    anonymous.ask(Method::GET, &query, &json!({})).await;
    let unknown = secrets.credential("canary-token-unknown");
    let query = format!("/_matrix/client/v3/account/whoami?access_token={unknown}");
    let (status, _) = anonymous.ask(Method::GET, &query, &json!({})).await;
    assert_eq!(status, 401);
    let change = json!({
        "new_password": second,
        "auth": {
            "type": "m.login.password", "password": first,
            "identifier": { "type": "m.id.user", "user": user_id },
        },
    });
    alice.call(Method::POST, "/account/password", change).await;
    alice.call(Method::POST, "/logout/all", json!({})).await;
}

/// Messages, state, keys, and what clients keep with an account.
async fn speak(alice: &Wire, user_id: &str, device_id: &str, secrets: &mut Secrets) {
    let room = alice
        .call(
            Method::POST,
            "/createRoom",
            json!({ "preset": "private_chat" }),
        )
        .await;
    let room = word(&room, "room_id");
    for (path, content) in [
        (
            format!("/rooms/{room}/send/m.room.message/one"),
            json!({ "msgtype": "m.text", "body": secrets.content("canary-message") }),
        ),
        (
            format!("/rooms/{room}/send/m.room.encrypted/two"),
            json!({
                "algorithm": "m.megolm.v1.aes-sha2", "session_id": "s",
                "ciphertext": secrets.content("canary-ciphertext"),
            }),
        ),
        (
            format!("/rooms/{room}/state/m.room.topic/"),
            json!({ "topic": secrets.content("canary-topic") }),
        ),
        (
            format!("/user/{user_id}/account_data/org.test.canary"),
            json!({ "key": secrets.content("canary-account-data") }),
        ),
        (
            "/sendToDevice/m.room.encrypted/three".to_owned(),
            json!({ "messages": { user_id: { device_id: {
                "body": secrets.content("canary-to-device"),
            } } } }),
        ),
    ] {
        alice.call(Method::PUT, &path, content).await;
    }
    let keys = json!({ "device_keys": { user_id: [] } });
    alice.call(Method::POST, "/keys/query", keys).await;
    let broken = format!(
        "{{\"password\":\"{}\"",
        secrets.credential("canary-broken-body")
    );
    let url = format!("{}/_matrix/client/v3/login", alice.base);
    let answer = alice.client.post(url).body(broken).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let told = alice
        .call(Method::GET, "/sync?timeout=0", json!({}))
        .await
        .to_string();
    assert!(told.contains("canary-message") && told.contains("canary-to-device"));
}

on_both_engines! {
    async fn no_secret_is_logged_or_stored(on: On) {
        let authority = Authority::new();
        let mut server = Server::start(&authority, on).await;
        assert!(server.stop().success());
        let settings = [("HEARTH_LOG__LEVEL", "trace"), ("HEARTH_LOG__FORMAT", "json")];
        server.set_env(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        server.start_again().await;
        let mut secrets = Secrets::default();
        live(&authority, &server, &mut secrets).await;
        let key = fs::read_to_string(server.folder().join("data/signing.key")).unwrap();
        let seed = key.split_whitespace().nth(2).unwrap();
        secrets.credential(seed.trim_end_matches('='));
        // What is stored is looked at while the server runs: the write-ahead log is a part of it.
        let stored = dump(&Scratch::at(server.database())).await;
        assert!(server.stop().success());
        let logged = server.log_text();

        assert!(logged.contains("answered a request"));
        // What the device was handed over went with it.
        for content in secrets.contents.iter().filter(|it| *it != "canary-to-device") {
            assert!(stored.contains(content.as_str()), "{content} is stored, and is not found");
        }
        for secret in &secrets.credentials {
            assert!(!stored.contains(secret.as_str()), "{secret} is in the database");
        }
        for secret in secrets.credentials.iter().chain(&secrets.contents) {
            let line = logged.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{secret} is in the log");
        }
        let lines = logged.lines().filter(|line| line.starts_with('{'));
        let parsed = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let fields = ["timestamp", "level", "message", "target"];
        let mut count = 0;
        for line in parsed {
            count += 1;
            assert!(fields.iter().all(|field| line[field].is_string()), "{line}");
        }
        assert!(count > 10, "{count} lines of JSON");
    }
}
