//! A server with the whole table, over either engine, with everybody that bad input needs: Alice
//! with a room of her own, Mallory who is in none, a server that signs, and the log.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth::{
    http::{
        auth::{Authority, User},
        error::{Code, RouteError},
    },
    telemetry,
};
use hearth_config::{Config, LogLevel};
use hearth_engine::accounts::Accounts;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::OwnedServerName;
use http::Request;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tracing::subscriber::DefaultGuard;

use crate::{
    harness::{Listener, Reply, Setting, converse, listen_over, request},
    people::PASSWORD,
};

/// What a request is sent with to be taken as another server's.
pub(super) const SIGNED: &str = "authorization: X-Matrix two";

/// The server and those who talk to it.
pub(super) struct Place {
    listener: Listener,
    pub(super) alice: Account,
    pub(super) mallory: Account,
    /// Alice's room, which is nobody else's.
    pub(super) room_id: String,
    /// What Alice said there.
    pub(super) event_id: String,
    /// A filter of Alice's, and one of Mallory's.
    pub(super) filter_id: String,
    log: Log,
    _logging: DefaultGuard,
}

/// An account and its token.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) user_id: String,
    pub(super) device_id: String,
    pub(super) token: String,
}

/// Over which door a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Network,
    AdminSocket,
}

impl Place {
    pub(super) async fn over(scratch: Scratch) -> Self {
        let log = Log::default();
        let logging = log.clone().start();
        let listener = listen_over(scratch, Setting::default(), |parts| {
            let accounts = Arc::clone(&parts.accounts);
            Arc::new(PeopleAndTwo { accounts })
        })
        .await;
        let alice = register(&listener, "alice").await;
        let mallory = register(&listener, "mallory").await;
        let client = "/_matrix/client/v3";
        let created = json!({ "preset": "private_chat", "name": "Alice's" });
        let path = format!("{client}/createRoom");
        let room = as_person(&listener, &alice, "POST", &path, &created).await;
        let room_id = room["room_id"].as_str().unwrap().to_owned();
        let path = format!("{client}/rooms/{room_id}/send/m.room.message/first");
        let message = json!({ "msgtype": "m.text", "body": CANARY });
        let said = as_person(&listener, &alice, "PUT", &path, &message).await;
        let mut filters = Vec::new();
        for person in [&alice, &mallory] {
            let path = format!("{client}/user/{}/filter", person.user_id);
            let made = as_person(&listener, person, "POST", &path, &json!({})).await;
            filters.push(made["filter_id"].as_str().unwrap().to_owned());
        }
        assert_eq!(filters[0], filters[1], "one id serves in both their paths");
        Self {
            listener,
            alice,
            mallory,
            room_id,
            event_id: said["event_id"].as_str().unwrap().to_owned(),
            filter_id: filters.remove(0),
            log,
            _logging: logging,
        }
    }

    /// Sends these bytes and reads the answer.
    pub(super) async fn exchange(&self, door: Door, bytes: &[u8]) -> Reply {
        match door {
            Door::Network => {
                let stream = TcpStream::connect(self.listener.address);
                converse(stream.await.unwrap(), bytes).await
            }
            Door::AdminSocket => {
                let socket = UnixStream::connect(&self.listener.admin_socket);
                converse(socket.await.unwrap(), bytes).await
            }
        }
    }

    /// Everything that is stored.
    pub(super) async fn contents(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        hearth_storage::testing::contents(&self.listener.scratch).await
    }

    /// What was logged since the last time.
    pub(super) fn logged(&self) -> String {
        self.log.take()
    }
}

/// Something that must appear in no log.
pub(super) const CANARY: &str = "tell-nobody-of-this";

async fn register(listener: &Listener, username: &str) -> Account {
    let body = json!({
        "username": username, "password": PASSWORD, "auth": { "type": "m.login.dummy" },
    });
    let made = send(listener, "POST", "/_matrix/client/v3/register", &[], &body).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    Account {
        user_id: text("user_id"),
        device_id: text("device_id"),
        token: text("access_token"),
    }
}

async fn as_person(
    listener: &Listener,
    person: &Account,
    method: &str,
    path: &str,
    body: &Value,
) -> Value {
    let bearer = format!("authorization: Bearer {}", person.token);
    send(listener, method, path, &[&bearer], body).await
}

async fn send(
    listener: &Listener,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &Value,
) -> Value {
    let stream = TcpStream::connect(listener.address).await.unwrap();
    let reply = converse(stream, &request(method, path, headers, &body.to_string())).await;
    assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
    reply.json()
}

/// Knows the accounts, and one signature.
struct PeopleAndTwo {
    accounts: Arc<Accounts>,
}

impl Authority for PeopleAndTwo {
    fn user<'a>(
        &'a self,
        token: &'a str,
        _parts: &'a http::request::Parts,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<User, RouteError>> {
        async move {
            let session = self.accounts.authenticate(token).await?;
            Ok(User { session, address })
        }
        .boxed()
    }

    fn server<'a>(
        &'a self,
        request: &'a Request<Bytes>,
    ) -> BoxFuture<'a, Result<OwnedServerName, RouteError>> {
        let header = request.headers().get("authorization");
        let signed = header.is_some_and(|value| value == "X-Matrix two");
        let refused = || RouteError::refuse(Code::UNAUTHORIZED, "not signed");
        let name = signed.then(|| "two.test".try_into().unwrap());
        async move { name.ok_or_else(refused) }.boxed()
    }
}

/// What this thread logs, at the level that says the most of what is ours.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start(self) -> DefaultGuard {
        let text = "[server]\nname = \"one.test\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n";
        let config = Config::from_layers(Some(("test.toml".as_ref(), text)), &[], &[]).unwrap();
        let mut settings = config.log;
        settings.level = LogLevel::Trace;
        let lines = telemetry::subscriber(&settings, move || self.clone());
        tracing::subscriber::set_default(lines)
    }

    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
