//! What an answer says apart from rooms: account data, messages to the device, device lists, and
//! how many keys are left.
//!
//! None of it changes with a message in a room, which is what most answers are about. So what a look
//! into the database found is remembered as long as nobody reports a change.

use std::sync::Arc;

use bytes::Bytes;
use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::waiting::for_device;

use super::look::Since;
use super::{ClientSync, SyncError, SyncRequest};
use crate::accounts::{AccountData, Accounts};
use crate::device_lists::Changes;
use crate::keys::{self, KeyCounts};
use crate::notifier::Watch;
use crate::to_device::{BATCH_LOOK, Batch};

/// What there is apart from rooms.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Global and per room.
    pub(super) data: Vec<AccountData>,
    /// Messages to the device.
    pub(super) messages: Vec<Bytes>,
    /// Whose devices changed.
    pub(super) lists: Changes,
    /// Everything up to here is in it.
    pub(super) up_to: i64,
    /// What is left of the device's keys.
    pub(super) keys: Arc<KeysLeft>,
}

/// What is left of a device's keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeysLeft {
    /// One-time keys by algorithm.
    pub(super) counts: KeyCounts,
    /// Algorithms whose fallback key has not been issued.
    pub(super) fallback: Vec<String>,
}

impl KeysLeft {
    /// Asks for what is left.
    pub(super) async fn of(
        sync: &ClientSync,
        user_nid: i64,
        device_id: &str,
    ) -> Result<Self, SyncError> {
        Ok(Self {
            counts: sync.keys.one_time_key_counts(user_nid, device_id).await?,
            fallback: sync.keys.unused_fallback_types(user_nid, device_id).await?,
        })
    }
}

/// A look that found nothing new.
#[derive(Debug, Clone)]
struct Quiet {
    /// The watch that would have counted a change.
    watch: Arc<Watch>,
    /// Its count when the look began.
    count: u64,
    /// Nothing is new in this range.
    range: (i64, i64),
    keys: Arc<KeysLeft>,
}

/// The last looks that found nothing new.
#[derive(Debug)]
pub(super) struct QuietDevices(Bounded<(i64, String), Quiet>);

impl QuietDevices {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }
}

impl Size for Quiet {
    fn size_bytes(&self) -> usize {
        // A device has one or two algorithms.
        const KEYS_BYTES: usize = 160;
        size_of::<Self>() + size_of::<KeysLeft>() + KEYS_BYTES
    }
}

impl Others {
    /// Looks, into the database only where something may have changed. `until` is the head of the
    /// log.
    pub(super) async fn look(
        sync: &ClientSync,
        request: &SyncRequest,
        since: Since,
        (watch, until): (&Arc<Watch>, i64),
    ) -> Result<Self, SyncError> {
        let session = &request.session;
        let (user_nid, device_id) = (session.user_nid, session.place());
        let key = (user_nid, device_id.to_string());
        let from = since.token.map_or(0, |token| token.others);
        // In this order: a change that is counted here is committed, and one that is committed here
        // is at or before the head or spoils the memory of this look.
        let count = watch.others();
        let committed = sync.ctx.storage.writer().head().committed();
        if let Some(quiet) = sync.quiet.0.get(&key)
            && Arc::ptr_eq(&quiet.watch, watch)
            && quiet.count == count
            && since.token.is_some()
            && (quiet.range.0..=quiet.range.1).contains(&from)
        {
            return Ok(Self {
                up_to: quiet.range.1,
                keys: quiet.keys,
                ..Self::default()
            });
        }
        if since.token.is_some() {
            sync.to_device.delivered(user_nid, device_id, from).await?;
        }
        let device = (user_nid, device_id.as_str());
        let mut reader = sync.ctx.storage.read().await?;
        let found = for_device(reader.conn(), device, (from, until), BATCH_LOOK).await?;
        drop(reader);
        let messages = Batch::of(found.messages, until);
        let keys = Arc::new(KeysLeft {
            counts: keys::counted(found.one_time_keys),
            fallback: found.fallback_keys,
        });
        let others = Self {
            data: Accounts::changed_data(session, found.data, from == 0)?,
            lists: lists(sync, user_nid, since, until).await?,
            messages: messages.events,
            up_to: messages.up_to,
            keys: Arc::clone(&keys),
        };
        if others.is_empty() && committed <= until {
            let quiet = Quiet {
                watch: Arc::clone(watch),
                count,
                range: (from, until),
                keys,
            };
            sync.quiet.0.insert(key, quiet);
        }
        Ok(others)
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.messages.is_empty() && self.lists == Changes::default()
    }
}

/// Whose devices changed. A client that begins asks for everybody anyway.
async fn lists(
    sync: &ClientSync,
    user_nid: i64,
    since: Since,
    until: i64,
) -> Result<Changes, SyncError> {
    let from = match since.token {
        Some(token) => token.others,
        None if since.gap => 0,
        None => return Ok(Changes::default()),
    };
    let mut changes = sync.lists.changes(user_nid, from, until).await?;
    if since.gap {
        changes.left.clear();
    }
    Ok(changes)
}
