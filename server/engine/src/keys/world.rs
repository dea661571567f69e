//! Two whole servers for tests of what they tell each other about keys: each asks the other through
//! a [`Peers`] that calls it, and `deliver` carries what is queued.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::signing::{SigningKey, signed_bytes};
use hearth_storage::driver::Engine;
use hearth_storage::tables::accounts::AccountCreate;
use hearth_storage::tables::outbox::{self, OutboxDelivered};
use hearth_storage::tables::state::MembershipRow;
use hearth_storage::tables::tokens::SessionOpen;
use hearth_storage::testing::{On, Scratch, identity};
use hearth_storage::{Commit, Guard, Storage};
use hearth_types::ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde_json::{Value, json};

use super::{KeyError, Keys};
use crate::context::{Context, Spawn as _};
use crate::device_lists::DeviceLists;
use crate::erased::Erased;
use crate::notifier::Notifier;
use crate::peers::{Answer, PeerError, Peers};
use crate::push::Push;
use crate::testing::{START_MS, SpawnNow, settings};
use crate::to_device::ToDevice;

/// A server with everything about keys.
pub(crate) struct Server {
    pub(crate) name: OwnedServerName,
    pub(crate) context: Arc<Context>,
    pub(crate) lists: Arc<DeviceLists>,
    pub(crate) keys: Keys,
    pub(crate) to_device: ToDevice,
}

/// What connects servers.
#[derive(Default)]
pub(crate) struct Wire {
    servers: Mutex<BTreeMap<OwnedServerName, Weak<Server>>>,
    /// Whether nobody can be reached.
    pub(crate) cut: AtomicBool,
    /// The questions that were asked.
    pub(crate) asked: Mutex<Vec<&'static str>>,
}

/// Two connected servers, `one.test` and `two.test`.
pub(crate) struct World {
    pub(crate) wire: Arc<Wire>,
    pub(crate) one: Arc<Server>,
    pub(crate) two: Arc<Server>,
    scratches: [Scratch; 2],
}

impl World {
    pub(crate) async fn new(first: Scratch) -> Self {
        let on = match first.options().connect_to {
            Engine::Sqlite(_) => On::Sqlite,
            Engine::Postgres(_) => On::Postgres,
        };
        let scratches = [first, Scratch::new(on).await];
        let wire = Arc::new(Wire::default());
        let one = Server::start("one.test", &scratches[0], &wire).await;
        let two = Server::start("two.test", &scratches[1], &wire).await;
        Self {
            wire,
            one,
            two,
            scratches,
        }
    }

    /// Stops `one.test` and starts it again on its database.
    pub(crate) async fn restart_one(&mut self) {
        self.one = Server::start("one.test", &self.scratches[0], &self.wire).await;
    }

    /// Puts people of both servers into a room that both servers know.
    pub(crate) async fn share_room(&self, room_nid: i64, users: &[&str]) {
        for server in [&self.one, &self.two] {
            for user in users {
                server.member(room_nid, user, "join").await;
            }
        }
    }

    /// Carries everything that waits in `one.test`'s queue over to `two.test`; returns how much.
    pub(crate) async fn deliver(&self) -> usize {
        let queued = self.one.queued(&self.two.name).await;
        for edu in &queued {
            self.two.receive(&self.one.name, edu).await.unwrap();
        }
        queued.len()
    }
}

impl Server {
    async fn start(name: &str, scratch: &Scratch, wire: &Arc<Wire>) -> Arc<Self> {
        let name = ServerName::parse(name).unwrap();
        let mut identity = identity();
        identity.server_name = name.to_string();
        let (storage, background) = Storage::open(&scratch.options(), &identity).await.unwrap();
        SpawnNow.spawn("database writer", Box::pin(background.writer.run()));
        let peers = PeersOf {
            name: name.clone(),
            wire: Arc::clone(wire),
        };
        let context = Arc::new(Context {
            erased: Erased::new(storage.clone()),
            push: Push::new(&storage, settings().memory),
            storage,
            server_name: name.clone(),
            signing_key: SigningKey::from_seed("test", &[7; 32]).unwrap(),
            clock: Arc::new(ManualClock::new(START_MS)),
            entropy: Arc::new(SeededEntropy::new(1)),
            tasks: Arc::new(SpawnNow),
            peers: Arc::new(peers),
            settings: settings(),
            notifier: Notifier::default(),
        });
        let lists = Arc::new(DeviceLists::new(Arc::clone(&context)));
        let server = Arc::new(Self {
            keys: Keys::new(Arc::clone(&context), Arc::clone(&lists)),
            to_device: ToDevice::new(Arc::clone(&context)),
            name: name.clone(),
            context,
            lists,
        });
        wire.servers
            .lock()
            .unwrap()
            .insert(name, Arc::downgrade(&server));
        server
    }

    pub(crate) async fn nid(&self, user: &str) -> i64 {
        let server = user.split_once(':').unwrap().1;
        self.context
            .storage
            .user_intern(user, server)
            .await
            .unwrap()
    }

    /// One of the server's people with these devices.
    pub(crate) async fn person(&self, user: &str, devices: &[&str]) -> OwnedUserId {
        let user_nid = self.nid(user).await;
        let account = AccountCreate {
            user_nid,
            password_hash: None,
            admin: false,
            guest: false,
            created_at_ms: 1,
        };
        let mut guards = vec![Guard::AccountCreate(account)];
        guards.extend(devices.iter().map(|device| {
            Guard::SessionOpen(SessionOpen {
                user_nid,
                password_hash: None,
                device_id: (*device).to_owned(),
                display_name: Some(format!("{user}'s {device}")),
                token_hash: format!("{user} {device}").into_bytes(),
                created_at_ms: 1,
                expires_at_ms: None,
                refresh: None,
            })
        }));
        self.commit(|commit| commit.guards = guards).await;
        UserId::parse(user).unwrap()
    }

    pub(crate) async fn member(&self, room_nid: i64, user: &str, membership: &str) {
        let user_nid = self.nid(user).await;
        let membership = membership.to_owned();
        self.commit(|commit| {
            let slot = commit.slot();
            commit.rows.memberships.push(MembershipRow {
                room_nid,
                user_nid,
                membership,
                event_nid: 1,
                slot,
            });
        })
        .await;
    }

    pub(crate) async fn commit(&self, plan: impl FnOnce(&mut Commit)) {
        let mut commit = Commit::default();
        plan(&mut commit);
        drop(self.context.storage.writer().commit(commit).await.unwrap());
    }

    pub(crate) fn position(&self) -> i64 {
        self.context.storage.writer().head().position()
    }

    /// Takes what waits for another server out of the queue.
    pub(crate) async fn queued(&self, server: &ServerName) -> Vec<Value> {
        let server_nid = self
            .context
            .storage
            .server_intern(server.as_str())
            .await
            .unwrap();
        let mut reader = self.context.storage.read().await.unwrap();
        let queued = outbox::outbox_queued(reader.conn(), server_nid, i64::MAX, 1_000).await;
        let queued = queued.unwrap();
        drop(reader);
        let position = queued.last().map_or(0, |last| last.position);
        self.commit(|commit| {
            commit.rows.delivered.push(OutboxDelivered {
                server_nid,
                position,
            });
        })
        .await;
        let edus = queued.into_iter().filter_map(|row| row.edu);
        edus.map(|edu| serde_json::from_slice(&edu).unwrap())
            .collect()
    }

    pub(crate) async fn receive(&self, origin: &ServerName, edu: &Value) -> Result<(), KeyError> {
        let content = serde_json::to_vec(&edu["content"]).unwrap();
        match edu["edu_type"].as_str().unwrap() {
            "m.device_list_update" => self.lists.receive_update(origin, &content).await,
            "m.signing_key_update" => self.lists.receive_signing_keys(origin, &content).await,
            "m.direct_to_device" => self.to_device.receive(origin, &content).await,
            other => panic!("{other}"),
        }
    }

    /// Uploads a body of `/keys/upload`.
    pub(crate) async fn upload(&self, user: &UserId, device: &str, body: Value) -> Value {
        let body = serde_json::to_vec(&body).unwrap();
        let counts = self.keys.upload(user, device.into(), &body).await.unwrap();
        serde_json::to_value(counts).unwrap()
    }

    /// What `asker` learns of `users`.
    pub(crate) async fn query(&self, asker: &UserId, users: &[&str]) -> Value {
        let wanted: BTreeMap<&str, Value> = users.iter().map(|user| (*user, json!([]))).collect();
        let body = serde_json::to_vec(&json!({ "device_keys": wanted })).unwrap();
        serde_json::to_value(self.keys.query(asker, &body).await.unwrap()).unwrap()
    }
}

/// An Ed25519 key of a device or person.
pub(crate) struct Pair(SigningKey);

impl Pair {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_seed("test", &[seed; 32]).unwrap())
    }

    pub(crate) fn public(&self) -> String {
        self.0.verify_key().to_base64()
    }

    /// Signs an object as `user` with the key named `name`.
    pub(crate) fn sign(&self, object: &mut Value, user: &str, name: &str) {
        let json = serde_json::to_vec(object).unwrap();
        let signed = signed_bytes(&parse_object(&json, CanonicalJsonRules::STRICT).unwrap());
        let signature = self.0.sign(&signed);
        object["signatures"][user][format!("ed25519:{name}")] = signature.into();
    }
}

/// 32 bytes that nobody looks into.
pub(crate) const CURVE: &str = "3C5BFWi2Y8MaVvjM8M22DBmh24PmgR0nPvJOIArzgyI";

/// A device's identity, signed by itself.
pub(crate) fn identity_of(user: &str, device: &str, pair: &Pair) -> Value {
    let mut keys = json!({
        "user_id": user,
        "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": {
            (format!("curve25519:{device}")): CURVE,
            (format!("ed25519:{device}")): pair.public(),
        },
    });
    pair.sign(&mut keys, user, device);
    keys
}

/// One-time keys with these ids.
pub(crate) fn one_time(user: &str, device: &str, pair: &Pair, ids: &[&str]) -> Value {
    let key = |id: &&str| {
        let mut key = json!({ "key": CURVE });
        pair.sign(&mut key, user, device);
        (format!("signed_curve25519:{id}"), key)
    };
    ids.iter()
        .map(key)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A cross-signing key, signed by the master key unless it is that itself.
pub(crate) fn cross_signing(user: &str, usage: &str, pair: &Pair, master: &Pair) -> Value {
    let public = pair.public();
    let mut key = json!({
        "user_id": user,
        "usage": [usage],
        "keys": { (format!("ed25519:{public}")): public },
    });
    if usage != "master" {
        master.sign(&mut key, user, &master.public());
    }
    key
}

/// How one server reaches the others.
struct PeersOf {
    name: OwnedServerName,
    wire: Arc<Wire>,
}

impl PeersOf {
    fn other(&self, server: &ServerName, question: &'static str) -> Result<Arc<Server>, PeerError> {
        self.wire.asked.lock().unwrap().push(question);
        let found = self
            .wire
            .servers
            .lock()
            .unwrap()
            .get(server)
            .and_then(Weak::upgrade);
        found
            .filter(|_| !self.wire.cut.load(Ordering::Relaxed))
            .ok_or_else(|| PeerError::Unreachable {
                server: server.to_string(),
                why: "it is cut off".to_owned(),
            })
    }
}

fn answer(answer: Result<impl serde::Serialize, KeyError>) -> Result<Value, PeerError> {
    let refused = |error: KeyError| PeerError::Refused {
        server: "the other".to_owned(),
        status: 404,
        errcode: "M_NOT_FOUND".to_owned(),
        message: error.to_string(),
    };
    Ok(serde_json::to_value(answer.map_err(refused)?).unwrap())
}

impl Peers for PeersOf {
    fn keys_query<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        Box::pin(async move {
            let other = self.other(server, "keys_query")?;
            let body = serde_json::to_vec(&body).unwrap();
            answer(other.keys.query_from(&self.name, &body).await)
        })
    }

    fn keys_claim<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        Box::pin(async move {
            let other = self.other(server, "keys_claim")?;
            let body = serde_json::to_vec(&body).unwrap();
            answer(other.keys.claim_from(&self.name, &body).await)
        })
    }

    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        Box::pin(async move {
            let other = self.other(server, "user_devices")?;
            answer(other.lists.devices_for(&self.name, user_id).await)
        })
    }
}
