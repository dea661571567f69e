//! A person with an account and a device.

use std::time::Duration;

use anyhow::{Context, Result};
use matrix_sdk::ruma::api::client::account::register::v3 as register;
use matrix_sdk::ruma::api::client::receipt::create_receipt::v3::ReceiptType;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Dummy, Password, UserIdentifier};
use matrix_sdk::ruma::events::receipt::ReceiptThread;
use matrix_sdk::ruma::events::room::message::RoomMessageEventContent;
use matrix_sdk::ruma::{OwnedEventId, RoomId, UserId};
use matrix_sdk::sliding_sync::VersionBuilder;
use matrix_sdk::{Client, Room};
use matrix_sdk_ui::sync_service::SyncService;
use matrix_sdk_ui::timeline::{RoomExt, Timeline};

pub const DEADLINE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse battery";

/// What a look gives, as soon as it gives something.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, looking).await;
    found.with_context(|| format!("waited {DEADLINE:?} for {what}"))
}

/// A person on one device, syncing.
pub struct Person {
    server: String,
    pub client: Client,
    sync: SyncService,
}

impl Person {
    /// Somebody new.
    pub async fn register(server: &str, name: &str) -> Result<Self> {
        let client = client(server).await?;
        let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let mut request = register::Request::new();
        request.username = Some(format!("{name}{unique:x}"));
        request.password = Some(PASSWORD.to_owned());
        request.auth = Some(AuthData::Dummy(Dummy::new()));
        client.matrix_auth().register(request).await?;
        let identifier = UserIdentifier::Matrix(
            matrix_sdk::ruma::api::client::uiaa::MatrixUserIdentifier::new(
                client.user_id().context("an account")?.to_string(),
            ),
        );
        let auth = AuthData::Password(Password::new(identifier, PASSWORD.to_owned()));
        client
            .encryption()
            .bootstrap_cross_signing_if_needed(Some(auth))
            .await?;
        Self::syncing(server, client).await
    }

    /// The same person on a new device.
    pub async fn another_device(&self) -> Result<Self> {
        let client = client(&self.server).await?;
        client
            .matrix_auth()
            .login_username(self.user_id(), PASSWORD)
            .await?;
        Self::syncing(&self.server, client).await
    }

    /// Begins to sync as Element X does: one connection for rooms, one for encryption.
    async fn syncing(server: &str, client: Client) -> Result<Self> {
        let sync = SyncService::builder(client.clone()).build().await?;
        sync.start().await;
        Ok(Self {
            server: server.to_owned(),
            client,
            sync,
        })
    }

    pub async fn stop(&self) {
        self.sync.stop().await;
    }

    pub fn user_id(&self) -> &UserId {
        self.client.user_id().expect("somebody who is signed in")
    }

    pub async fn say(&self, room_id: &RoomId, text: &str) -> Result<()> {
        let content = RoomMessageEventContent::text_plain(text);
        self.room(room_id)?.send(content).await?;
        Ok(())
    }

    /// Reads up to the newest event.
    pub async fn reads(&self, room_id: &RoomId) -> Result<OwnedEventId> {
        let room = self.room(room_id)?;
        let newest = room.timeline().await?.latest_event_id().await;
        let newest = newest.context("something to read")?;
        room.send_single_receipt(ReceiptType::Read, ReceiptThread::Unthreaded, newest.clone())
            .await?;
        Ok(newest)
    }

    /// Waits until a message can be read, as its sender's.
    pub async fn hears(&self, room_id: &RoomId, sender: &UserId, text: &str) -> Result<()> {
        let timeline = self.room(room_id)?.timeline().await?;
        until(text, async || {
            says(&timeline, Some(sender), text).await.then_some(())
        })
        .await
    }

    /// Looks back in the room until a message can be read.
    pub async fn reads_back(&self, room_id: &RoomId, text: &str) -> Result<()> {
        let timeline = self.room(room_id)?.timeline().await?;
        until(text, async || {
            // What is already there may become readable, so an end is no reason to stop.
            let _ = timeline.paginate_backwards(20).await;
            says(&timeline, None, text).await.then_some(())
        })
        .await
    }

    pub fn room(&self, room_id: &RoomId) -> Result<Room> {
        self.client.get_room(room_id).context("the room")
    }
}

async fn client(server: &str) -> Result<Client> {
    let client = Client::builder()
        .homeserver_url(server)
        .sliding_sync_version_builder(VersionBuilder::DiscoverNative)
        .build()
        .await?;
    Ok(client)
}

/// Whether a timeline shows a message.
async fn says(timeline: &Timeline, sender: Option<&UserId>, text: &str) -> bool {
    timeline.items().await.iter().any(|item| {
        item.as_event().is_some_and(|event| {
            let message = event.content().as_message();
            message.is_some_and(|message| message.body() == text)
                && sender.is_none_or(|sender| event.sender() == sender)
        })
    })
}
