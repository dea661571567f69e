//! A server with people and rooms to read.

use std::sync::Arc;
use std::time::Duration;

use hearth_engine::accounts::{Accounts, Registration, Session};
use hearth_engine::device_lists::DeviceLists;
use hearth_engine::json::Json;
use hearth_engine::keys::Keys;
use hearth_engine::outbox::Outbox;
use hearth_engine::presence::Presence;
use hearth_engine::receipts::Receipts;
use hearth_engine::rooms::Rooms;
use hearth_engine::rooms::create::{CreateRoom, InitialState, Preset};
use hearth_engine::rooms::history::HistoryPlace;
use hearth_engine::rooms::plan::ClientTxn;
use hearth_engine::rooms::send::Send;
use hearth_engine::rooms::serve::Reader;
use hearth_engine::sync::{ClientSync, SetPresence, Sources, StateAt, SyncRequest};
use hearth_engine::testing::{START_MS, TestServer, new_room};
use hearth_engine::to_device::ToDevice;
use hearth_storage::testing::Scratch;
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::OwnedRoomId;
use serde_json::json;
use serde_json::value::to_raw_value;

/// Everything that `/sync` and `/messages` are made of.
pub(crate) struct House {
    server: TestServer,
    rooms: Rooms,
    accounts: Arc<Accounts>,
    sync: ClientSync,
}

impl House {
    pub(crate) async fn new(scratch: &Scratch) -> Self {
        Self::over(TestServer::new(scratch).await)
    }

    /// The same over the same database.
    pub(crate) fn with_nothing_in_memory(&self) -> Self {
        Self::over(TestServer {
            context: Arc::clone(&self.server.context),
            clock: Arc::clone(&self.server.clock),
        })
    }

    fn over(server: TestServer) -> Self {
        let ctx = &server.context;
        let rooms = Rooms::new(Arc::clone(ctx));
        let accounts = Arc::new(Accounts::new(Arc::clone(ctx)));
        let lists = Arc::new(DeviceLists::new(Arc::clone(ctx)));
        let outbox = Outbox::new(Arc::clone(ctx), rooms.clone());
        let sources = Sources {
            rooms: rooms.clone(),
            accounts: Arc::clone(&accounts),
            keys: Arc::new(Keys::new(Arc::clone(ctx), Arc::clone(&lists))),
            lists,
            to_device: Arc::new(ToDevice::new(Arc::clone(ctx))),
            receipts: Arc::new(Receipts::new(Arc::clone(ctx), rooms.clone())),
            presence: Presence::new(Arc::clone(ctx), rooms.clone(), outbox),
        };
        let sync = ClientSync::new(Arc::clone(ctx), sources);
        Self {
            server,
            rooms,
            accounts,
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
        let registered = self.accounts.register(registration, Some(&dummy)).await;
        let token = registered.unwrap().session.unwrap().access_token;
        self.accounts.authenticate(&token).await.unwrap()
    }

    /// A room with so many state events besides those of its creation, and so many messages after them.
    pub(crate) async fn room(&self, owner: &Session, state: usize, messages: usize) -> OwnedRoomId {
        let initial_state = (0..state).map(|number| InitialState {
            kind: "com.example.load".to_owned(),
            state_key: number.to_string(),
            content: json!({ "number": number }),
        });
        let create = CreateRoom {
            initial_state: initial_state.collect(),
            ..new_room(owner.user_id.clone(), Preset::PublicChat)
        };
        let room_id = self.rooms.create(create).await.unwrap();
        for number in 0..messages {
            let body = format!("The quick brown fox jumps over the lazy dog; this is {number}.");
            let send = Send {
                sender: owner.user_id.clone(),
                kind: "m.room.message".to_owned(),
                state_key: None,
                content: to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap(),
                txn: Some(ClientTxn {
                    user_nid: owner.user_nid,
                    device_id: owner.place().to_string(),
                    endpoint: "send/m.room.message".to_owned(),
                    txn_id: format!("chat{number}"),
                }),
            };
            self.rooms.send(&room_id, send).await.unwrap();
        }
        room_id
    }

    /// The answer to a first sync.
    pub(crate) async fn sync(&self, session: &Arc<Session>) -> bytes::Bytes {
        let request = SyncRequest {
            session: Arc::clone(session),
            since: None,
            filter: Arc::default(),
            full_state: false,
            state_at: StateAt::Start,
            timeout: Duration::ZERO,
            set_presence: SetPresence::Offline,
        };
        let answer = self.sync.sync(&request, std::future::pending()).await;
        answer.unwrap()
    }

    /// Where the pages of a room's history begin.
    pub(crate) async fn pages(
        &self,
        session: &Session,
        room_id: &OwnedRoomId,
    ) -> Vec<HistoryPlace> {
        let mut places = vec![self.rooms.history_now()];
        while let Some(next) = self
            .read(session, room_id, places[places.len() - 1])
            .await
            .1
        {
            places.push(next);
        }
        places
    }

    /// A page of a room's history, as it is answered.
    pub(crate) async fn page(
        &self,
        session: &Session,
        room_id: &OwnedRoomId,
        from: HistoryPlace,
    ) -> Vec<u8> {
        self.read(session, room_id, from).await.0
    }

    async fn read(
        &self,
        session: &Session,
        room_id: &OwnedRoomId,
        from: HistoryPlace,
    ) -> (Vec<u8>, Option<HistoryPlace>) {
        let (rooms, user_nid, user_id) = (&self.rooms, session.user_nid, &*session.user_id);
        let viewpoint = rooms.viewpoint(room_id, user_nid, user_id).await.unwrap();
        let page = rooms.history(&viewpoint, from, 100, &|_| true).await;
        let page = page.unwrap();
        let reader = Reader {
            user_nid,
            user_id,
            device_id: session.device_id.as_deref(),
            now_ms: START_MS,
        };
        let mut json = Json::default();
        let served = rooms.serve(&mut json, (&reader, &viewpoint), &page.events);
        served.await.unwrap();
        (json.into_bytes(), page.next)
    }
}
