//! People with a device each, and what their clients know after each answer.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::testing::Scratch;
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::accounts::{Accounts, Registration, Session};
use crate::device_lists::DeviceLists;
use crate::keys::Keys;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::receipts::Receipts;
use crate::rooms::Rooms;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::ClientTxn;
use crate::rooms::send::Send;
use crate::sync::filter::Filter;
use crate::sync::{ClientSync, SetPresence, Sources, StateAt, SyncError, SyncRequest};
use crate::testing::{TestServer, new_room};
use crate::to_device::ToDevice;

/// A server with everything that `/sync` is made of.
pub(crate) struct House {
    pub(crate) server: TestServer,
    pub(crate) rooms: Rooms,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) to_device: Arc<ToDevice>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) receipts: Arc<Receipts>,
    pub(crate) presence: Presence,
    pub(crate) sync: ClientSync,
}

pub(crate) fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:one.test")).unwrap()
}

impl House {
    pub(crate) async fn new(scratch: &Scratch) -> Self {
        let server = TestServer::new(scratch).await;
        Self::over(server)
    }

    /// The same server after a restart: nothing in memory.
    pub(crate) fn restarted(self) -> Self {
        Self::over(self.server)
    }

    fn over(server: TestServer) -> Self {
        let ctx = &server.context;
        let rooms = Rooms::new(Arc::clone(ctx));
        let accounts = Arc::new(Accounts::new(Arc::clone(ctx)));
        let lists = Arc::new(DeviceLists::new(Arc::clone(ctx)));
        let to_device = Arc::new(ToDevice::new(Arc::clone(ctx)));
        let keys = Arc::new(Keys::new(Arc::clone(ctx), Arc::clone(&lists)));
        let receipts = Arc::new(Receipts::new(Arc::clone(ctx), rooms.clone()));
        let presence = Presence::new(
            Arc::clone(ctx),
            rooms.clone(),
            Outbox::new(Arc::clone(ctx), rooms.clone()),
        );
        let sources = Sources {
            rooms: rooms.clone(),
            accounts: Arc::clone(&accounts),
            keys: Arc::clone(&keys),
            lists,
            to_device: Arc::clone(&to_device),
            receipts: Arc::clone(&receipts),
            presence: presence.clone(),
        };
        let sync = ClientSync::new(Arc::clone(ctx), sources);
        Self {
            server,
            rooms,
            accounts,
            to_device,
            keys,
            receipts,
            presence,
            sync,
        }
    }

    pub(crate) async fn person(&self, name: &str) -> Arc<Session> {
        let registration = Registration {
            username: Some(name.to_owned()),
            password: Some("correct horse".to_owned()),
            ..Registration::default()
        };
        let dummy: AuthData = serde_json::from_value(json!({ "type": "m.login.dummy" })).unwrap();
        let made = self
            .accounts
            .register(registration, Some(&dummy))
            .await
            .unwrap();
        let token = made.session.unwrap().access_token;
        self.accounts.authenticate(&token).await.unwrap()
    }

    pub(crate) async fn create(&self, creator: &str, preset: Preset) -> OwnedRoomId {
        self.rooms
            .create(CreateRoom {
                name: Some("Hearth".to_owned()),
                ..new_room(user(creator), preset)
            })
            .await
            .unwrap()
    }

    pub(crate) async fn say(&self, room_id: &OwnedRoomId, name: &str, body: &str) -> OwnedEventId {
        let send = message(name, body, None);
        self.rooms.send(room_id, send).await.unwrap()
    }

    pub(crate) async fn change(
        &self,
        room_id: &OwnedRoomId,
        (sender, target): (&str, &str),
        membership: &'static str,
    ) {
        let change = SetMembership {
            sender: user(sender),
            target: user(target),
            membership,
            reason: None,
            is_direct: false,
        };
        self.rooms.change(room_id, change).await.unwrap();
    }

    pub(crate) async fn ask(&self, request: &SyncRequest) -> Result<Value, SyncError> {
        let json = self.sync.sync(request, std::future::pending()).await?;
        Ok(serde_json::from_slice(&json).unwrap())
    }

    /// A sync that does not wait.
    pub(crate) async fn sync(&self, session: &Arc<Session>, since: Option<&str>) -> Value {
        self.ask(&request(session, since)).await.unwrap()
    }
}

pub(crate) fn message(name: &str, body: &str, txn: Option<ClientTxn>) -> Send {
    Send {
        sender: user(name),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap(),
        txn,
    }
}

pub(crate) fn request(session: &Arc<Session>, since: Option<&str>) -> SyncRequest {
    SyncRequest {
        session: Arc::clone(session),
        since: since.map(str::to_owned),
        filter: Arc::default(),
        full_state: false,
        state_at: StateAt::Start,
        timeout: Duration::ZERO,
        set_presence: SetPresence::Offline,
    }
}

pub(crate) fn filter(value: &Value) -> Arc<Filter> {
    Arc::new(Filter::read(value.to_string().as_bytes()).unwrap())
}

/// The token to go on from.
pub(crate) fn next(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

/// The bodies of the messages in a list of events, in order.
pub(crate) fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

/// The types of a list of events, in order.
pub(crate) fn types(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect()
}
