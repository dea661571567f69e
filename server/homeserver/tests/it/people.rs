//! A whole server, and people who talk to it over its sockets.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hearth::{
    ambient::{SystemClock, SystemEntropy},
    homeserver::{Homeserver, Surroundings},
};
use hearth_config::Config;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use crate::{
    harness::{Reply, exchange, request},
    whole_table::Talk,
};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A server named `one.test` with open registration.
pub(crate) struct Town {
    address: SocketAddr,
    admin_socket: PathBuf,
    homeserver: Homeserver,
    folder: tempfile::TempDir,
    _talk: Talk,
}

/// Somebody with an account and a token.
pub(crate) struct Person<'t> {
    town: &'t Town,
    pub(crate) user_id: String,
    pub(crate) device_id: String,
    pub(crate) token: String,
}

/// The settings of a server for tests.
pub(crate) fn settings(data_dir: &std::path::Path) -> String {
    format!(
        "[server]\nname = \"one.test\"\ndata_dir = {data_dir:?}\n\
         [[listener]]\nbind = \"127.0.0.1:0\"\n\
         [registration]\nenabled = true\n\
         [password]\nargon2_memory_kib = 64\nargon2_passes = 1\n\
         [rate_limit]\nenabled = false\n"
    )
}

/// Waits until this process holds no file of a database any more. A server's own process ends with it; in a
/// test, the threads of its connections go on for a moment, and would write into what takes the files' place.
async fn closed(folder: &Path) {
    let is_database = |entry: std::io::Result<std::fs::DirEntry>| {
        let target = entry.and_then(|entry| std::fs::read_link(entry.path()));
        target.is_ok_and(|target| {
            let name = target.file_name().unwrap_or_default().to_string_lossy();
            target.starts_with(folder) && name.starts_with("hearth.db")
        })
    };
    for _ in 0..1_000 {
        let mut open = std::fs::read_dir("/proc/self/fd").unwrap();
        if !open.any(is_database) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the database in {} stays open", folder.display());
}

impl Town {
    pub(crate) async fn start() -> Self {
        Self::with(|settings| settings).await
    }

    /// A server whose settings are changed.
    pub(crate) async fn with(change: impl FnOnce(String) -> String) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// Stops the server, lets something be done in its folder, and starts it again.
    pub(crate) async fn restart(self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.homeserver.stop(Duration::from_secs(10)).await.unwrap();
        closed(self.folder.path()).await;
        meanwhile(self.folder.path());
        Self::start_in(self.folder, |settings| settings).await
    }

    async fn start_in(folder: tempfile::TempDir, change: impl FnOnce(String) -> String) -> Self {
        let text = change(settings(folder.path()));
        let config = Config::from_layers(Some(("test.toml".as_ref(), &text)), &[], &[]).unwrap();
        let admin_socket = config.admin_socket();
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        let homeserver = Homeserver::start(config, surroundings).await.unwrap();
        Self {
            address: homeserver.addresses()[0],
            admin_socket,
            homeserver,
            folder,
            _talk: Talk::begin(),
        }
    }

    /// Sends a request to `/_matrix/client/v3` without a token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, None, &text_of(body)).await
    }

    /// Sends a request over the admin socket.
    pub(crate) async fn on_socket(&self, path: &str) -> Reply {
        let stream = UnixStream::connect(&self.admin_socket).await.unwrap();
        exchange(stream, &request("GET", path, &[], "")).await
    }

    /// Sends a request to the admin API.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &Value) -> Reply {
        let stream = UnixStream::connect(&self.admin_socket).await.unwrap();
        let path = format!("/_hearth/admin/v1{path}");
        exchange(stream, &request(method, &path, &[], &text_of(body))).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Reply {
        // Another API's path is given whole.
        let path = match path.starts_with("/_matrix") {
            true => path.to_owned(),
            false => format!("/_matrix/client/v3{path}"),
        };
        self.send_to(method, &path, token, body).await
    }

    async fn send_at(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
        let path = format!("/_matrix/client{path}");
        self.send_to(method, &path, token, body).await
    }

    /// Sends a request to a whole path, with or without a token.
    pub(crate) async fn at(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Reply {
        self.send_to(method, path, token, &text_of(body)).await
    }

    async fn send_to(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let bearer = token.map(|token| format!("authorization: Bearer {token}"));
        let headers: Vec<&str> = bearer.iter().map(String::as_str).collect();
        exchange(stream, &request(method, path, &headers, body)).await
    }

    /// Tries a password, as a trusted proxy tells of it that stands before an address.
    pub(crate) async fn login_from(&self, address: &str, user: &str, password: &str) -> Reply {
        let body = json!({ "type": "m.login.password", "user": user, "password": password });
        let header = format!("x-forwarded-for: {address}");
        let (path, body) = ("/_matrix/client/v3/login", body.to_string());
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, &request("POST", path, &[&header], &body)).await
    }

    /// Registers somebody.
    pub(crate) async fn register(&self, username: &str) -> Person<'_> {
        let body = json!({
            "username": username,
            "password": PASSWORD,
            "auth": { "type": "m.login.dummy" },
        });
        self.person(&self.call("POST", "/register", &body).await)
    }

    /// Makes somebody who administers the server, and signs them in.
    pub(crate) async fn administrator(&self, username: &str) -> Person<'_> {
        let body = json!({ "localpart": username, "password": PASSWORD, "admin": true });
        let made = self.admin("POST", "/users", &body).await;
        assert_eq!(made.status, 201, "{made:?}");
        self.person(&self.login(username, PASSWORD).await)
    }

    /// Signs somebody in.
    pub(crate) async fn login(&self, user: &str, password: &str) -> Reply {
        let body = json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.user", "user": user },
            "password": password,
        });
        self.call("POST", "/login", &body).await
    }

    /// Somebody who was signed in before a restart.
    pub(crate) fn again(&self, session: &Session) -> Person<'_> {
        Person {
            town: self,
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone(),
            token: session.token.clone(),
        }
    }

    /// Whom an answer to a registration or a login makes.
    pub(crate) fn person(&self, reply: &Reply) -> Person<'_> {
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        Person {
            town: self,
            user_id: text("user_id"),
            device_id: text("device_id"),
            token: text("access_token"),
        }
    }
}

/// What a person needs to be known again.
pub(crate) struct Session {
    user_id: String,
    device_id: String,
    token: String,
}

impl Person<'_> {
    pub(crate) fn session(&self) -> Session {
        Session {
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
            token: self.token.clone(),
        }
    }

    /// Sends a request to `/_matrix/client/v3` (or to a whole path) with the person's token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &text_of(body)).await
    }

    /// As [`Person::call`], of another version than `v3`.
    pub(crate) async fn call_at(&self, method: &str, path: &str, body: &Value) -> Reply {
        let token = Some(self.token.as_str());
        self.town.send_at(method, path, token, &text_of(body)).await
    }

    /// Sends a request to a whole path with the person's token.
    pub(crate) async fn at(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.town.at(method, path, Some(&self.token), body).await
    }

    /// As [`Person::call`], with any text as the body.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        self.town.send(method, path, Some(&self.token), body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &Value::Null).await
    }

    /// Whether the token is good.
    pub(crate) async fn is_signed_in(&self) -> bool {
        let reply = self.get("/account/whoami").await;
        if reply.status == 200 {
            assert_eq!(reply.json()["user_id"], self.user_id);
            return true;
        }
        assert_eq!(says(&reply), (401, "M_UNKNOWN_TOKEN".to_owned()));
        false
    }
}

/// Status and `errcode` of a refusal.
pub(crate) fn says(reply: &Reply) -> (u16, String) {
    (reply.status, reply.errcode())
}

fn text_of(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        body => body.to_string(),
    }
}
