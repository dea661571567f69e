//! A server with the whole table, over either engine, with everybody that bad input needs: Alice
//! with a room of her own, Mallory who is in none, a server that signs, and the log.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth::http::{
    auth::{Authority, User},
    error::{Code, RouteError},
};
use hearth_engine::{accounts::Accounts, appservices::Appservice};
use hearth_storage::testing::Scratch;
use hearth_types::ruma::OwnedServerName;
use http::Request;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use super::log::Log;
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
    /// Who was never in the room.
    pub(super) mallory: Account,
    /// Who was asked in, who was in it and left, and who was thrown out.
    invited: Account,
    left: Account,
    banned: Account,
    /// Alice's room, which is nobody else's.
    pub(super) room_id: String,
    /// What Alice said there.
    pub(super) event_id: String,
    /// A filter of Alice's, and one of Mallory's.
    pub(super) filter_id: String,
    log: Log,
    /// What the ids of this place's requests begin with: others are logged, too.
    pub(super) request_ids: String,
}

/// An account and its token.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) user_id: String,
    pub(super) device_id: String,
    pub(super) token: String,
}

impl Account {
    /// Whom an answer to a registration or a login makes.
    fn of(made: &Value) -> Self {
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self {
            user_id: text("user_id"),
            device_id: text("device_id"),
            token: text("access_token"),
        }
    }
}

/// Over which door a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Network,
    AdminSocket,
}

impl Place {
    pub(super) async fn over(scratch: Scratch) -> Self {
        Self::with(scratch, Setting::default()).await
    }

    /// As [`Place::over`], with a listener that differs from the usual.
    pub(super) async fn with(scratch: Scratch, setting: Setting) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let log = Log::listen();
        let request_ids = format!("place{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let setting = Setting {
            request_ids: request_ids.clone(),
            ..setting
        };
        let listener = listen_over(scratch, setting, |parts| {
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
        let mut others = Vec::new();
        for (username, deeds) in [
            ("invited", &[("alice", "invite")][..]),
            ("left", &[("alice", "invite"), ("", "join"), ("", "leave")]),
            ("banned", &[("alice", "ban")]),
        ] {
            let person = register(&listener, username).await;
            for (who, deed) in deeds {
                let path = format!("{client}/rooms/{room_id}/{deed}");
                let (by, body) = match *who {
                    "alice" => (&alice, json!({ "user_id": person.user_id })),
                    _ => (&person, json!({})),
                };
                as_person(&listener, by, "POST", &path, &body).await;
            }
            others.push(person);
        }
        let mut filters = Vec::new();
        for person in [&alice, &mallory].into_iter().chain(&others) {
            let path = format!("{client}/user/{}/filter", person.user_id);
            let made = as_person(&listener, person, "POST", &path, &json!({})).await;
            filters.push(made["filter_id"].as_str().unwrap().to_owned());
        }
        filters.dedup();
        assert_eq!(filters.len(), 1, "one id serves in the paths of all");
        let Ok([invited, left, banned]) = <[Account; 3]>::try_from(others) else {
            panic!("there are three others");
        };
        Self {
            listener,
            alice,
            mallory,
            invited,
            left,
            banned,
            room_id,
            event_id: said["event_id"].as_str().unwrap().to_owned(),
            filter_id: filters.remove(0),
            log,
            request_ids: format!("{request_ids}-"),
        }
    }

    /// Those who are not in the room, by what they have to do with it.
    pub(super) fn outsiders(&self) -> [(&'static str, &Account); 4] {
        [
            ("was never there", &self.mallory),
            ("is invited", &self.invited),
            ("left", &self.left),
            ("is banned", &self.banned),
        ]
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.listener.address).await.unwrap()
    }

    /// Sends these bytes and reads the answer.
    pub(super) async fn exchange(&self, door: Door, bytes: &[u8]) -> Reply {
        match door {
            Door::Network => converse(self.connect().await, bytes).await,
            Door::AdminSocket => {
                let socket = UnixStream::connect(&self.listener.admin_socket);
                converse(socket.await.unwrap(), bytes).await
            }
        }
    }

    /// One more person.
    pub(super) async fn register(&self, username: &str) -> Account {
        register(&self.listener, username).await
    }

    /// Somebody who administers the server.
    pub(super) async fn administrator(&self, username: &str) -> Account {
        let body = json!({ "localpart": username, "password": PASSWORD, "admin": true });
        self.administer("POST", "/_hearth/admin/v1/users", &body)
            .await;
        let body = json!({
            "type": "m.login.password", "password": PASSWORD,
            "identifier": { "type": "m.id.user", "user": username },
        });
        let path = "/_matrix/client/v3/login";
        Account::of(&send(&self.listener, "POST", path, &[], &body).await)
    }

    /// What the owner of the process does.
    pub(super) async fn administer(&self, method: &str, path: &str, body: &Value) {
        let bytes = request(method, path, &[], &body.to_string());
        let reply = self.exchange(Door::AdminSocket, &bytes).await;
        assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
    }

    /// Everything that is stored.
    pub(super) async fn contents(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        hearth_storage::testing::contents(&self.listener.scratch).await
    }

    /// What was logged since the last time, also by other tests.
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
    Account::of(&send(listener, "POST", "/_matrix/client/v3/register", &[], &body).await)
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

    fn appservice(&self, _as_token: &str) -> Option<Arc<Appservice>> {
        None
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
