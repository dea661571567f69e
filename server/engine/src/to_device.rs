//! Messages from device to device, each handed over exactly once.
//!
//! A message takes a position and stays until its device has asked for what comes after it, so that
//! an answer that is lost on the way is given again. What goes to other servers is queued in the
//! commit that acknowledges it.
//!
//! spec: client-server v1.19 §Send-to-Device messaging; server-server v1.19 §Send-to-device
//! messaging.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hearth_protocol::canonical_json::{Object, Value};
use hearth_storage::tables::outbox::OutboxRow;
use hearth_storage::tables::to_device::{
    self as table, ReceiveOnce, SendOnce, ToDeviceDelivered, ToDeviceRow,
};
use hearth_storage::{Commit, CommitError, Guard, Refusal, StorageError};
use hearth_types::ruma::{DeviceId, OwnedUserId, ServerName, UserId};

use crate::context::Context;
use crate::keys::KeyError;
use crate::keys::schema;

/// Messages in one answer, as the specification recommends.
const BATCH_MAX: i64 = 100;

/// Messages that are looked for: one more tells that others wait behind the answer.
pub(crate) const BATCH_LOOK: i64 = BATCH_MAX + 1;

/// The longest event type, in bytes.
const TYPE_MAX_BYTES: usize = 255;

/// Messages in one request or EDU.
const MESSAGES_MAX: usize = 5_000;

/// The largest message: with names and type around it, it still fits into an EDU.
const MESSAGE_MAX_BYTES: usize = 64_000;

/// What the messages of one EDU take together. Other servers refuse a whole transaction for an EDU
/// larger than an event may be, and so would take nothing more from us.
const EDU_MAX_BYTES: usize = 64_500;

/// All devices of a person.
const ALL_DEVICES: &str = "*";

/// Messages from device to device.
pub struct ToDevice {
    context: Arc<Context>,
}

/// What waits for a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The events (`sender`, `type`, `content`) as JSON, in the order of arrival.
    pub events: Vec<Bytes>,
    /// The device has moved past these messages when it comes back with this position; it lies
    /// before the one asked for when more are waiting.
    pub up_to: i64,
}

impl Batch {
    /// What is handed out of the first [`BATCH_LOOK`] messages up to a position.
    pub(crate) fn of(mut found: Vec<table::Waiting>, until: i64) -> Self {
        let mut up_to = until;
        if found.len() > usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) {
            found.pop();
            up_to = found.last().map_or(until, |last| last.position);
        }
        Self {
            events: found
                .into_iter()
                .map(|waiting| waiting.message.into())
                .collect(),
            up_to,
        }
    }
}

/// By person and device, the content of a message.
type Messages<'o> = BTreeMap<OwnedUserId, &'o Object<'o>>;

/// Person, device and content.
type Addressed<'o> = (&'o UserId, &'o str, &'o Value<'o>);

impl ToDevice {
    /// Messages over `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`: the same transaction again takes
    /// no effect.
    ///
    /// # Errors
    /// When the body breaks a rule or the database fails.
    pub async fn send(
        &self,
        sender: (&UserId, &DeviceId),
        (event_type, txn_id): (&str, &str),
        body: &[u8],
    ) -> Result<(), KeyError> {
        let body = schema::body(body)?;
        if !schema::is_id(txn_id) {
            return Err(KeyError::invalid(
                "txnId",
                "must be 1 to 255 bytes without controls",
            ));
        }
        let message = Message::new(sender.0.as_str(), event_type)?;
        let messages = messages(body.object("messages")?, &message)?;
        let (ours, theirs) = self.split(messages);
        let storage = &self.context.storage;
        let user_nid = storage
            .user_intern(sender.0.as_str(), self.context.server_name.as_str())
            .await?;
        let mut commit = Commit::default();
        commit.guards.push(Guard::SendOnce(SendOnce {
            user_nid,
            device_id: sender.1.to_string(),
            txn_id: txn_id.to_owned(),
            now_ms: self.context.clock.now_ms(),
        }));
        let recipients = self.deliver(&mut commit, &message, &ours).await?;
        if self.context.settings.federation_enabled {
            self.queue(&mut commit, &message, &theirs).await?;
        }
        self.commit_once(commit, recipients).await
    }

    /// Takes the content of an `m.direct_to_device`; the same message again takes no effect.
    ///
    /// # Errors
    /// When it is malformed, the sender is of another server, or the database fails; only the last
    /// is worth a retry.
    pub async fn receive(&self, origin: &ServerName, content: &[u8]) -> Result<(), KeyError> {
        let content = schema::body(content)?;
        let sender = UserId::parse(content.string("sender")?)
            .map_err(|_| KeyError::invalid("sender", "must be a user id"))?;
        if sender.server_name() != origin {
            return Err(KeyError::invalid(
                "sender",
                "must be of the server that sends it",
            ));
        }
        let message_id = content.string("message_id")?;
        if !schema::is_id(message_id) {
            return Err(KeyError::invalid(
                "message_id",
                "must be 1 to 255 bytes without controls",
            ));
        }
        let message = Message::new(sender.as_str(), content.string("type")?)?;
        let messages = messages(content.object("messages")?, &message)?;
        let (ours, _not_ours) = self.split(messages);
        let now_ms = self.context.clock.now_ms();
        let mut commit = Commit::default();
        commit.guards.push(Guard::ReceiveOnce(ReceiveOnce {
            server_nid: self.context.storage.server_intern(origin.as_str()).await?,
            message_id: message_id.to_owned(),
            now_ms,
        }));
        let recipients = self.deliver(&mut commit, &message, &ours).await?;
        self.commit_once(commit, recipients).await
    }

    /// What waits for a device in `(since, until]`, as far as it fits into one answer.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting(
        &self,
        user_nid: i64,
        device_id: &DeviceId,
        since: i64,
        until: i64,
    ) -> Result<Batch, StorageError> {
        let device = (user_nid, device_id.as_str());
        let mut reader = self.context.storage.read().await?;
        let found =
            table::to_device_waiting(reader.conn(), device, since, until, BATCH_LOOK).await?;
        Ok(Batch::of(found, until))
    }

    /// Deletes what a device has moved past. Nothing is written where nothing waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivered(
        &self,
        user_nid: i64,
        device_id: &DeviceId,
        up_to: i64,
    ) -> Result<(), StorageError> {
        let device = (user_nid, device_id.as_str());
        let mut reader = self.context.storage.read().await?;
        if !table::to_device_any(reader.conn(), device, up_to).await? {
            return Ok(());
        }
        drop(reader);
        let mut commit = Commit::default();
        commit.rows.to_device_delivered.push(ToDeviceDelivered {
            user_nid,
            device_id: device_id.to_string(),
            position: up_to,
        });
        match self.context.storage.writer().commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Storage(error)) => Err(error),
            Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
        }
    }

    fn split<'o>(&self, messages: Messages<'o>) -> (Messages<'o>, Messages<'o>) {
        messages
            .into_iter()
            .partition(|(user, _)| self.context.is_ours(user.server_name().as_str()))
    }

    /// Adds the messages for our own devices; returns whose they are.
    async fn deliver(
        &self,
        commit: &mut Commit,
        message: &Message<'_>,
        ours: &Messages<'_>,
    ) -> Result<Vec<i64>, StorageError> {
        let mut recipients = BTreeMap::new();
        for (user, contents) in ours {
            if let Some(user_nid) = self.context.storage.user_find(user.as_str()).await? {
                recipients.insert(user_nid, *contents);
            }
        }
        let everywhere = recipients
            .iter()
            .filter(|(_, it)| it.get(ALL_DEVICES).is_some());
        let everywhere: Vec<i64> = everywhere.map(|(nid, _)| *nid).collect();
        let mut reader = self.context.storage.read().await?;
        let devices = table::devices_of_users(reader.conn(), &everywhere).await?;
        drop(reader);
        for (user_nid, device_id) in devices {
            let contents = recipients.get(&user_nid);
            if let Some(content) = contents.and_then(|contents| contents.get(ALL_DEVICES)) {
                push(commit, user_nid, device_id, message.event(content));
            }
        }
        for (user_nid, contents) in &recipients {
            let named = contents
                .iter()
                .filter(|(device_id, _)| *device_id != ALL_DEVICES);
            for (device_id, content) in named {
                push(
                    commit,
                    *user_nid,
                    device_id.to_owned(),
                    message.event(content),
                );
            }
        }
        Ok(recipients.into_keys().collect())
    }

    /// Adds EDUs for other servers, as few as hold the messages.
    async fn queue(
        &self,
        commit: &mut Commit,
        message: &Message<'_>,
        theirs: &Messages<'_>,
    ) -> Result<(), StorageError> {
        let mut by_server: BTreeMap<&ServerName, Vec<Addressed<'_>>> = BTreeMap::new();
        for (user, contents) in theirs {
            let of_server = by_server.entry(user.server_name()).or_default();
            of_server.extend(contents.iter().map(|(device, it)| (&**user, device, it)));
        }
        for (server, messages) in by_server {
            let server_nid = self.context.storage.server_intern(server.as_str()).await?;
            for messages in portions(messages) {
                let slot = commit.slot();
                commit.rows.outbox.push(OutboxRow {
                    server_nid,
                    slot,
                    event_nid: None,
                    edu: Some(message.edu(&self.context.random_word::<16>(), messages)),
                });
            }
        }
        Ok(())
    }

    /// A commit that was done before counts as done.
    async fn commit_once(&self, commit: Commit, recipients: Vec<i64>) -> Result<(), KeyError> {
        match self.context.storage.writer().commit(commit).await {
            Ok(receipt) => drop(receipt),
            Err(CommitError::Refused(Refusal::Taken)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.context.notifier.wake(recipients);
        Ok(())
    }
}

/// What all messages of one request share.
struct Message<'a> {
    sender: &'a str,
    event_type: &'a str,
}

impl<'a> Message<'a> {
    fn new(sender: &'a str, event_type: &'a str) -> Result<Self, KeyError> {
        if event_type.is_empty() || event_type.len() > TYPE_MAX_BYTES {
            return Err(KeyError::invalid("type", "must be 1 to 255 bytes"));
        }
        Ok(Self { sender, event_type })
    }

    fn event(&self, content: &Value<'_>) -> Vec<u8> {
        let mut event = Object::new();
        event.insert("content", content.clone());
        event.insert("sender", self.sender);
        event.insert("type", self.event_type);
        event.to_canonical()
    }

    fn edu(&self, message_id: &str, messages: Object<'_>) -> Vec<u8> {
        let mut content = Object::new();
        content.insert("message_id", message_id);
        content.insert("messages", messages);
        content.insert("sender", self.sender);
        content.insert("type", self.event_type);
        let mut edu = Object::new();
        edu.insert("content", content);
        edu.insert("edu_type", "m.direct_to_device");
        edu.to_canonical()
    }
}

/// Cuts messages into portions that fit into one EDU each.
fn portions(messages: Vec<Addressed<'_>>) -> Vec<Object<'_>> {
    let mut portions: Vec<BTreeMap<&UserId, Object<'_>>> = Vec::new();
    let mut size_bytes = 0;
    for (user, device_id, content) in messages {
        let added = user.as_str().len() + device_id.len() + content.to_canonical().len();
        size_bytes += added;
        if size_bytes > EDU_MAX_BYTES || portions.is_empty() {
            portions.push(BTreeMap::new());
            size_bytes = added;
        }
        if let Some(portion) = portions.last_mut() {
            let of_user = portion.entry(user).or_default();
            of_user.insert(device_id, content.clone());
        }
    }
    let object = |portion: BTreeMap<&UserId, _>| {
        let mut object = Object::new();
        for (user, of_user) in portion {
            object.insert(user.to_string(), of_user);
        }
        object
    };
    portions.into_iter().map(object).collect()
}

fn push(commit: &mut Commit, user_nid: i64, device_id: String, message: Vec<u8>) {
    let slot = commit.slot();
    commit.rows.to_device.push(ToDeviceRow {
        user_nid,
        device_id,
        slot,
        message,
    });
}

fn messages<'o>(messages: &'o Object<'_>, message: &Message<'_>) -> Result<Messages<'o>, KeyError> {
    let mut by_user = Messages::new();
    let mut count = 0;
    for (user, contents) in messages.iter() {
        let field = || format!("messages.{user}");
        let user_id = UserId::parse(user)
            .map_err(|_| KeyError::invalid(field(), "must be named by a user id"))?;
        let by_device = contents.as_object();
        let well_formed = |(device_id, content): (&str, &Value<'_>)| {
            schema::is_id(device_id) && content.as_object().is_some()
        };
        let by_device = by_device
            .filter(|all| all.iter().all(well_formed))
            .ok_or_else(|| {
                KeyError::invalid(field(), "must map device ids to contents that are objects")
            })?;
        for (_, content) in by_device.iter() {
            if message.event(content).len() > MESSAGE_MAX_BYTES {
                return Err(too_large(&field(), MESSAGE_MAX_BYTES, "bytes"));
            }
        }
        count += by_device.len();
        by_user.insert(user_id, by_device);
    }
    if count > MESSAGES_MAX {
        return Err(too_large("messages", MESSAGES_MAX, "messages"));
    }
    Ok(by_user)
}

fn too_large(field: &str, limit: usize, unit: &'static str) -> KeyError {
    KeyError::TooLarge {
        field: field.to_owned(),
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        unit,
    }
}
