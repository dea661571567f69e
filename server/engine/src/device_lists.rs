//! Device lists: who is told that somebody's devices or keys changed, here and elsewhere, and the
//! copies that this server keeps of remote people's keys.
//!
//! A change is one row of the commit that makes it; the servers that share a room with the person
//! are told in the same commit. A remote person's keys are copied when somebody asks for them, kept
//! up to date by what their server tells, and asked for afresh when a link of that chain is missing.
//!
//! spec: client-server v1.19 §Tracking the device list for a user; server-server v1.19 §Device
//! Management.

mod edu;
mod inbound;
mod met;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hearth_storage::tables::device_lists::{self as table, RemoteDevice, RemoteListFill};
use hearth_storage::tables::{intern, sharing};
use hearth_storage::{Commit, CommitError, Guard, Refusal, Storage, StorageError};
use hearth_types::ruma::{OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

pub use edu::device_removed;
pub(crate) use edu::{changed_here, device_changed, device_deleted, signing_keys_changed};
pub(crate) use met::joined;

use crate::context::Context;
use crate::keys::error::KeyError;
use crate::keys::person::{self, Device, Person};
use crate::keys::remote;
use crate::keys::schema::Usage;
use crate::sync::token::{SyncToken, generation_mark};

/// Remote lists that are asked for afresh at the same time, and that may wait for it. Any beyond
/// that are asked for when somebody needs them.
const REFRESH_PARALLEL: usize = 8;
const REFRESH_WAITING_MAX: usize = 10_000;

/// How often a list is asked for in a row when news of it keeps coming in between.
const REFRESH_ATTEMPTS: usize = 3;

/// Device lists.
pub struct DeviceLists {
    context: Arc<Context>,
    refreshing: Mutex<BTreeSet<OwnedUserId>>,
    permits: Semaphore,
}

/// Whom a reader has to ask about again, and whom no longer, as `/sync` and `/keys/changes` say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Those whose devices or keys changed, or who newly share a room.
    pub changed: Vec<String>,
    /// Those who share no room any more.
    pub left: Vec<String>,
}

/// The answer to `GET /_matrix/federation/v1/user/devices/{userId}`.
#[derive(Debug, Serialize)]
pub struct UserDevices {
    user_id: String,
    stream_id: i64,
    devices: Vec<ListedDevice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_key: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_signing_key: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct ListedDevice {
    device_id: String,
    keys: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_display_name: Option<String>,
}

/// Wakes our people who share a room with somebody whose devices changed, and that person. Call it
/// when the receipt of the change is dropped.
///
/// # Errors
/// When the database fails.
pub async fn announce(context: &Context, user_nid: i64) -> Result<(), StorageError> {
    let watchers = watchers(context, user_nid).await?;
    context.notifier.wake(watchers);
    Ok(())
}

async fn watchers(context: &Context, user_nid: i64) -> Result<Vec<i64>, StorageError> {
    let ours = context
        .storage
        .server_intern(context.server_name.as_str())
        .await?;
    sharing::users_sharing(context.storage.read().await?.conn(), user_nid, ours).await
}

/// Adds to a commit that a device has another name, if anybody can know the device by its keys.
/// Call [`announce`] when the commit is done.
///
/// # Errors
/// When the database fails.
pub async fn device_renamed(
    storage: &Storage,
    commit: &mut Commit,
    (user_nid, user_id): (i64, &str),
    (device_id, display_name): (&str, &str),
) -> Result<(), StorageError> {
    let mut people = person::stored(storage, &[user_nid]).await?;
    person::signatures_add(storage, None, &mut people).await?;
    let device = people
        .get_mut(&user_nid)
        .and_then(|person| person.devices.get_mut(device_id));
    if let Some(device) = device {
        device.display_name = Some(display_name.to_owned());
        device_changed(commit, user_nid, user_id, (device_id, device));
    }
    Ok(())
}

impl DeviceLists {
    /// Device lists over `context`.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            refreshing: Mutex::default(),
            permits: Semaphore::new(REFRESH_PARALLEL),
        }
    }

    /// What changed for a reader in `(since, until]`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changes(
        &self,
        user_nid: i64,
        since: i64,
        until: i64,
    ) -> Result<Changes, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let changed = table::device_lists_changed(reader.conn(), user_nid, since, until).await?;
        let left = table::device_lists_left(reader.conn(), user_nid, since, until).await?;
        Ok(Changes { changed, left })
    }

    /// What changed for a reader between two tokens of `/sync`. Of a database that is not this one
    /// nothing is known, so that everyone counts as changed.
    ///
    /// # Errors
    /// When one is no token, or the database fails.
    pub async fn changes_between(
        &self,
        user_nid: i64,
        from: &str,
        to: &str,
    ) -> Result<Changes, KeyError> {
        let storage = &self.context.storage;
        let generation = generation_mark(&storage.identity().generation);
        let read = |text, field| {
            let token = SyncToken::decode(text);
            let token =
                token.ok_or_else(|| KeyError::invalid(field, "must be a token of /sync"))?;
            Ok::<_, KeyError>((token.generation == generation).then_some(token.others))
        };
        let (from, to) = (read(from, "from")?, read(to, "to")?);
        let until = to.unwrap_or_else(|| storage.writer().head().position());
        Ok(self
            .changes(user_nid, from.unwrap_or_default(), until)
            .await?)
    }

    /// One of our people's devices with their keys, for a server that may see them.
    ///
    /// # Errors
    /// [`KeyError::NotFound`] where it may not, or there is no such person.
    pub async fn devices_for(
        &self,
        origin: &ServerName,
        user_id: &UserId,
    ) -> Result<UserDevices, KeyError> {
        let storage = &self.context.storage;
        let Some(user_nid) = self.visible(origin, user_id).await? else {
            return Err(KeyError::NotFound("the user"));
        };
        // Read before the devices: a change in between is told as the next link, and repeating it
        // is harmless.
        let stream_id =
            table::device_list_stream_id(storage.read().await?.conn(), user_nid).await?;
        let mut people = person::stored(storage, &[user_nid]).await?;
        person::signatures_add(storage, None, &mut people).await?;
        let person = people.remove(&user_nid).unwrap_or_default();
        let key = |usage| {
            person
                .cross_signing
                .get(&usage)
                .map(|key| person::raw(key))
                .transpose()
        };
        let (master_key, self_signing_key) = (key(Usage::Master)?, key(Usage::SelfSigning)?);
        let listed = |(device_id, device): (&String, &Device)| {
            Ok(ListedDevice {
                device_id: device_id.clone(),
                keys: person::raw(&device.content)?,
                device_display_name: device.display_name.clone(),
            })
        };
        let devices: Result<_, StorageError> = person.devices.iter().map(listed).collect();
        Ok(UserDevices {
            user_id: user_id.to_string(),
            stream_id,
            devices: devices?,
            master_key,
            self_signing_key,
        })
    }

    /// The local id of one of our people whose keys `origin` may see.
    pub(crate) async fn visible(
        &self,
        origin: &ServerName,
        user_id: &UserId,
    ) -> Result<Option<i64>, StorageError> {
        let storage = &self.context.storage;
        if !self.context.is_ours(user_id.server_name().as_str()) {
            return Ok(None);
        }
        let Some(user_nid) = storage.user_find(user_id.as_str()).await? else {
            return Ok(None);
        };
        let Some(origin) = storage.server_find(origin.as_str()).await? else {
            return Ok(None);
        };
        let sees =
            sharing::server_may_see_keys(storage.read().await?.conn(), origin, user_nid).await?;
        Ok(sees.then_some(user_nid))
    }

    /// Asks for a remote person's list afresh, on a task of its own. Who is being asked about
    /// already is not asked about twice.
    fn refresh(self: &Arc<Self>, user_id: &UserId) {
        let mut refreshing = self
            .refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if refreshing.len() >= REFRESH_WAITING_MAX || !refreshing.insert(user_id.to_owned()) {
            return;
        }
        drop(refreshing);
        let (lists, user_id) = (Arc::clone(self), user_id.to_owned());
        let work = async move {
            if let Err(error) = lists.refresh_now(&user_id).await {
                tracing::debug!(%user_id, %error, "a device list could not be refreshed");
            }
            let mut refreshing = lists
                .refreshing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            refreshing.remove(&user_id);
        };
        self.context
            .tasks
            .spawn("device list refresh", Box::pin(work));
    }

    async fn refresh_now(&self, user_id: &UserId) -> Result<(), KeyError> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Ok(());
        };
        for _ in 0..REFRESH_ATTEMPTS {
            let Some(asked) = Asked::now(&self.context.storage, user_id).await? else {
                return Ok(());
            };
            let server = user_id.server_name();
            let answer = self.context.peers.user_devices(server, user_id).await?;
            let Some((person, stream_id)) = remote::from_devices(&answer, user_id.as_str()) else {
                tracing::debug!(%user_id, "a device list came malformed");
                return Ok(());
            };
            if self.keep(asked, &person, stream_id).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Keeps a copy of a remote person's keys; false when news of them came in since they were
    /// asked for.
    pub(crate) async fn keep(
        &self,
        asked: Asked,
        person: &Person,
        stream_id: i64,
    ) -> Result<bool, StorageError> {
        let device = |(device_id, device): (&String, &Device)| RemoteDevice {
            device_id: device_id.clone(),
            content: device.content.clone(),
            display_name: device.display_name.clone(),
        };
        let fill = RemoteListFill {
            user_nid: asked.user_nid,
            last_change: asked.last_change,
            asked_at: asked.asked_at,
            stream_id,
            devices: person.devices.iter().map(device).collect(),
            cross_signing: person.cross_signing_rows(asked.user_nid),
        };
        let commit = Commit {
            guards: vec![Guard::RemoteListFill(fill)],
            ..Commit::default()
        };
        match self.context.storage.writer().commit(commit).await {
            Ok(_) => Ok(true),
            Err(CommitError::Refused(Refusal::Changed)) => Ok(false),
            Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
            Err(CommitError::Storage(error)) => Err(error),
        }
    }

    /// Of these remote people, those whose keys are here up to date, with their local ids.
    pub(crate) async fn fresh(
        &self,
        user_ids: &[String],
    ) -> Result<Vec<(String, i64)>, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let known = intern::user_nids(reader.conn(), user_ids).await?;
        let nids: Vec<i64> = known.iter().map(|(_, nid)| *nid).collect();
        let fresh = table::remote_lists_fresh(reader.conn(), &nids).await?;
        let fresh: BTreeSet<i64> = fresh.into_iter().collect();
        Ok(known
            .into_iter()
            .filter(|(_, nid)| fresh.contains(nid))
            .collect())
    }
}

/// What was known of a remote person when their server was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) user_nid: i64,
    last_change: i64,
    asked_at: i64,
}

impl Asked {
    /// None for somebody whom nobody here has met: no room can be shared with them.
    pub(crate) async fn now(
        storage: &Storage,
        user_id: &UserId,
    ) -> Result<Option<Self>, StorageError> {
        let Some(user_nid) = storage.user_find(user_id.as_str()).await? else {
            return Ok(None);
        };
        let asked_at = storage.writer().head().position();
        let positions =
            table::device_list_positions(storage.read().await?.conn(), &[user_nid]).await?;
        Ok(Some(Self {
            user_nid,
            last_change: positions.first().copied().unwrap_or_default(),
            asked_at,
        }))
    }
}
