//! What is answered besides rooms: messages to the device, device lists, keys, account data.
//!
//! None of it changes with a message in a room, which is what most answers are about. So what a look
//! into the database found is remembered as long as nobody reports a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hearth_types::ruma::OwnedRoomId;

use super::super::SyncError;
use super::super::json::Json;
use super::super::look::write_data;
use super::super::others::KeysLeft;
use super::super::token::{decode_to_device, encode_to_device};
use super::look::Look;
use super::request::SlidingRequest;
use super::told::Told;
use crate::accounts::AccountData;
use crate::device_lists::Changes;
use crate::notifier::Watch;

/// A look that found nothing new.
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    /// The watch that would have counted a change.
    watch: Arc<Watch>,
    /// Its count when the look began.
    count: u64,
    /// Nothing is new in this range.
    range: (i64, i64),
    /// Nor are there messages in this one.
    messages: (i64, i64),
    keys: Arc<KeysLeft>,
}

/// What there is besides rooms.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Messages to the device, and up to where these are all.
    pub(super) messages: Vec<Bytes>,
    messages_up_to: i64,
    /// Whose devices changed.
    lists: Changes,
    /// What is left of the device's keys.
    pub(super) keys: Arc<KeysLeft>,
    /// Account data that changed, of rooms too.
    data: Vec<AccountData>,
    /// Where nothing was found, what is worth remembering.
    pub(super) quiet: Option<Quiet>,
}

/// Account data of the rooms of an answer.
#[derive(Debug, Default)]
pub(super) struct RoomsData {
    by_room: BTreeMap<OwnedRoomId, Vec<AccountData>>,
    /// Rooms that the client has it of from now on.
    pub(super) told: BTreeSet<i64>,
    /// Rooms that it has not all of any more.
    pub(super) missed: BTreeSet<i64>,
}

impl Extras {
    /// Looks, into the database only where something may have changed.
    pub(super) async fn look(look: &Look<'_>) -> Result<Self, SyncError> {
        let (sync, request) = (look.sync, look.request);
        let (user_nid, device_id) = (request.session.user_nid, &request.session.device_id);
        // In this order: a change that is counted here is committed, and one that is committed here
        // is at or before the head or spoils the memory of this look.
        let count = look.watch.others();
        let committed = sync.ctx.storage.writer().head().committed();
        let received = look.received(committed);
        let since = received.unwrap_or_default();
        if let Some(found) = look.remembered(count, since) {
            return Ok(found);
        }
        let asked = &request.body.extensions;
        let mut extras = Self {
            messages_up_to: look.until,
            ..Self::default()
        };
        if asked.to_device().is_some() {
            if let Some(since) = received {
                sync.to_device.delivered(user_nid, device_id, since).await?;
            }
            let waiting = &sync.to_device;
            let waiting = waiting
                .waiting(user_nid, device_id, since, look.until)
                .await?;
            (extras.messages, extras.messages_up_to) = (waiting.events, waiting.up_to);
        }
        if asked.wants_e2ee() {
            let keys = KeysLeft::of(sync, user_nid, device_id.as_str()).await?;
            extras.keys = Arc::new(keys);
            if let Some(from) = look.from() {
                extras.lists = sync.lists.changes(user_nid, from, look.until).await?;
            }
        }
        if asked.account_data().is_some() {
            extras.data = look.changed_data().await?;
        }
        if let Some(from) = look.from()
            && extras.is_empty()
            && committed <= look.until
        {
            extras.quiet = Some(Quiet {
                watch: Arc::clone(&look.watch),
                count,
                range: (from, look.until),
                messages: (since, extras.messages_up_to),
                keys: Arc::clone(&extras.keys),
            });
        }
        Ok(extras)
    }

    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.data.is_empty() && self.lists == Changes::default()
    }

    /// Writes the part of an answer.
    pub(super) fn write(
        &self,
        request: &SlidingRequest,
        generation: [u8; 8],
        rooms: &RoomsData,
        json: &mut Json,
    ) {
        let asked = &request.body.extensions;
        json.open_at("extensions");
        if asked.account_data().is_some() {
            json.open_at("account_data");
            let global = self.data.iter().filter(|data| data.room_nid.is_none());
            write_data(json, "global", global);
            json.open_at("rooms");
            for (room_id, data) in &rooms.by_room {
                write_data(json, room_id.as_str(), data.iter());
            }
            json.close();
            json.close();
        }
        if asked.wants_e2ee() {
            json.open_at("e2ee");
            json.field("device_lists", &self.lists);
            json.field("device_one_time_keys_count", &self.keys.counts);
            json.field("device_unused_fallback_key_types", &self.keys.fallback);
            json.close();
        }
        if asked.to_device().is_some() {
            json.open_at("to_device");
            json.list_at("events", self.messages.iter().map(AsRef::as_ref));
            let next = encode_to_device(generation, self.messages_up_to);
            json.field("next_batch", &next);
            json.close();
        }
        json.close();
    }

    /// The account data of those of `rooms` of which the client has none, and what changed of it in
    /// the others.
    pub(super) async fn of_rooms(
        &mut self,
        look: &Look<'_>,
        rooms: &BTreeSet<i64>,
    ) -> Result<RoomsData, SyncError> {
        let has_data = |nid: &i64| has_data(&look.told, *nid);
        let mut found = RoomsData::default();
        let (known, new): (BTreeSet<i64>, Vec<i64>) = {
            let new = rooms.iter().copied().filter(|nid| !has_data(nid)).collect();
            (rooms.iter().copied().filter(has_data).collect(), new)
        };
        let (changed, global): (Vec<AccountData>, Vec<AccountData>) =
            std::mem::take(&mut self.data)
                .into_iter()
                .partition(|data| data.room_nid.is_some());
        self.data = global;
        let missed = changed.iter().filter_map(|data| data.room_nid);
        found.missed = missed
            .filter(|nid| has_data(nid) && !known.contains(nid))
            .collect();
        let mut all: Vec<AccountData> = changed
            .into_iter()
            .filter(|data| data.room_nid.is_some_and(|nid| known.contains(&nid)))
            .collect();
        if !new.is_empty() {
            let (accounts, session) = (&look.sync.accounts, &look.request.session);
            all.extend(
                accounts
                    .account_data_of_rooms(session, &new, look.until)
                    .await?,
            );
            found.told = new.into_iter().collect();
        }
        for data in all {
            let Some(nid) = data.room_nid else { continue };
            let room_id = look.sync.rooms.room_id(nid).await?;
            found.by_room.entry(room_id).or_default().push(data);
        }
        Ok(found)
    }
}

impl RoomsData {
    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.by_room.is_empty()
    }
}

fn has_data(told: &Told, nid: i64) -> bool {
    told.get(&nid).is_some_and(|told| told.has_data)
}

impl Look<'_> {
    /// What the last look found, if it would find the same.
    fn remembered(&self, count: u64, since: i64) -> Option<Extras> {
        let quiet = self.connection.state().quiet.clone()?;
        let within = |(first, last): (i64, i64), it: i64| (first..=last).contains(&it);
        let is_same = Arc::ptr_eq(&quiet.watch, &self.watch)
            && quiet.count == count
            && within(quiet.range, self.from()?)
            && within(quiet.messages, since);
        is_same.then(|| Extras {
            messages_up_to: quiet.messages.1,
            keys: quiet.keys,
            ..Extras::default()
        })
    }

    /// Up to where the client has its messages, as far as it says so.
    fn received(&self, committed: i64) -> Option<i64> {
        let asked = self.request.body.extensions.to_device()?;
        let position = decode_to_device(self.sync.generation, asked.since.as_deref()?)?;
        (position <= committed).then_some(position)
    }

    /// Account data that changed; all that belongs to no room where the client begins.
    async fn changed_data(&self) -> Result<Vec<AccountData>, SyncError> {
        let (accounts, session) = (&self.sync.accounts, &self.request.session);
        Ok(match self.from() {
            Some(from) => {
                accounts
                    .account_data_since(session, from, self.until)
                    .await?
            }
            None => accounts.global_account_data(session, self.until).await?,
        })
    }
}
