//! What is answered besides rooms: messages to the device, device lists, keys, account data; and with
//! rooms, besides their history: account data, receipts, who is typing.
//!
//! What belongs to no room does not change with a message in one, which is what most answers are about.
//! So what a look into the database found is remembered as long as nobody reports a change.

mod account_data;
mod ephemeral;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::super::SyncError;
use super::super::others::KeysLeft;
use super::super::token::{decode_to_device, encode_to_device};
use super::lists::Chosen;
use super::look::{Look, RoomsSeen};
use super::request::{Asked, SlidingRequest};
use crate::accounts::AccountData;
use crate::device_lists::Changes;
use crate::json::Json;
use crate::notifier::Watch;
use account_data::RoomsData;
use ephemeral::Events;

/// Where a client stands in what belongs to no room; none in what it does not ask for.
#[derive(Debug, Clone, Copy)]
struct Stand {
    messages: Option<i64>,
    devices: Option<i64>,
    data: Option<i64>,
}

/// A look that found nothing new.
#[derive(Debug, Clone)]
pub(super) struct Quiet {
    /// The watch that would have counted a change.
    watch: Arc<Watch>,
    /// Its count when the look began.
    count: u64,
    /// Nothing is new from here...
    from: Stand,
    /// ...to here, and nothing of the messages to there.
    until: i64,
    messages_until: i64,
    keys: Arc<KeysLeft>,
}

/// What there is besides rooms.
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// Messages to the device, and up to where these are all.
    messages: Vec<Bytes>,
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

/// What there is with rooms, besides their history.
#[derive(Debug, Default)]
pub(super) struct Beside {
    data: RoomsData,
    receipts: Events,
    typing: Events,
}

impl Beside {
    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.receipts.is_empty() && self.typing.is_empty()
    }
}

impl Quiet {
    /// Whether a client that stands there would be told nothing new.
    fn holds(&self, stand: Stand) -> bool {
        let within = |it: Option<i64>, from: Option<i64>, until| {
            it.is_none_or(|it| from.is_some_and(|from| (from..=until).contains(&it)))
        };
        within(stand.messages, self.from.messages, self.messages_until)
            && within(stand.devices, self.from.devices, self.until)
            && within(stand.data, self.from.data, self.until)
    }
}

impl Extras {
    /// Looks, into the database only where something may have changed.
    pub(super) async fn look(look: &Look<'_>) -> Result<Self, SyncError> {
        let (sync, session) = (look.sync, &look.request.session);
        // In this order: a change that is counted here is committed, and one that is committed here
        // is at or before the head or spoils the memory of this look.
        let count = look.watch.others();
        let committed = sync.ctx.storage.writer().head().committed();
        let stand = look.stand(committed);
        if let Some(found) = look.remembered(count, stand) {
            return Ok(found);
        }
        let mut extras = Self {
            messages_up_to: look.until,
            ..Self::default()
        };
        if let Some(since) = stand.messages {
            (extras.messages, extras.messages_up_to) = look.messages(since).await?;
        }
        if let Some(since) = stand.devices {
            let keys = KeysLeft::of(sync, session.user_nid, session.place().as_str());
            extras.keys = Arc::new(keys.await?);
            if since != 0 {
                let changes = sync.lists.changes(session.user_nid, since, look.until);
                extras.lists = changes.await?;
            }
        }
        if stand.data.is_some() {
            extras.data = look.changed_data().await?;
        }
        if look.from().is_some() && extras.is_empty() && committed <= look.until {
            // Who begins is told of no device, whatever there is: nothing is known of before.
            let devices = stand
                .devices
                .map(|it| if it == 0 { look.until } else { it });
            extras.quiet = Some(Quiet {
                watch: Arc::clone(&look.watch),
                count,
                from: Stand { devices, ..stand },
                until: look.until,
                messages_until: extras.messages_up_to,
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
        beside: &Beside,
        json: &mut Json,
    ) {
        let asked = &request.body.extensions;
        json.open_at("extensions");
        if asked.account_data().is_some() {
            beside.data.write(&self.data, json);
        }
        if asked.wants_e2ee() {
            json.open_at("e2ee");
            json.field("device_lists", &self.lists);
            json.field("device_one_time_keys_count", &self.keys.counts);
            json.field("device_unused_fallback_key_types", &self.keys.fallback);
            json.close();
        }
        if asked.receipts().is_some() {
            ephemeral::write("receipts", &beside.receipts, json);
        }
        if asked.to_device().is_some() {
            json.open_at("to_device");
            json.list_at("events", self.messages.iter().map(AsRef::as_ref));
            let next = encode_to_device(generation, self.messages_up_to);
            json.field("next_batch", &next);
            json.close();
        }
        if asked.typing().is_some() {
            ephemeral::write("typing", &beside.typing, json);
        }
        json.close();
    }
}

impl Look<'_> {
    /// What is new of rooms besides their history, and a note of it where the client has it.
    pub(super) async fn beside(
        &self,
        chosen: &Chosen,
        extras: &mut Extras,
        rooms: &mut RoomsSeen,
    ) -> Result<Beside, SyncError> {
        let (mut beside, asked) = (Beside::default(), &self.request.body.extensions);
        if let Some(asked) = asked.account_data() {
            let concerned = self.concerned(asked, chosen).await?;
            beside.data = self.data_of(&concerned, extras).await?;
            beside.data.take_note(&self.told, &mut rooms.told);
        }
        if let Some(asked) = asked.receipts() {
            let concerned = self.concerned(asked, chosen).await?;
            beside.receipts = self.receipts(&concerned, chosen, rooms).await?;
        }
        if let Some(asked) = asked.typing() {
            let concerned = self.concerned(asked, chosen).await?;
            beside.typing = self.typing(&concerned, chosen, rooms).await?;
        }
        Ok(beside)
    }

    /// The rooms that an extension is asked about: those of an answer's rooms that are in the lists it
    /// names, or are subscribed to and named.
    async fn concerned(&self, asked: &Asked, chosen: &Chosen) -> Result<BTreeSet<i64>, SyncError> {
        let named = self.named(asked).await?;
        let lists = &self.request.body.lists;
        let is_concerned = |nid: &i64| {
            let wants_room = || named.as_ref().is_none_or(|named| named.contains(nid));
            let wanted = (asked.lists.as_deref(), wants_room);
            let sum = chosen.rooms.get(nid);
            sum.is_some_and(|sum| self.rules.concern(sum, lists, wanted))
        };
        Ok(chosen.rooms.keys().copied().filter(is_concerned).collect())
    }

    /// The rooms subscribed to of which an extension is asked; none for all of them.
    async fn named(&self, asked: &Asked) -> Result<Option<BTreeSet<i64>>, SyncError> {
        let Some(rooms) = asked
            .rooms
            .as_ref()
            .filter(|rooms| !rooms.iter().any(|it| it == "*"))
        else {
            return Ok(None);
        };
        let mut named = BTreeSet::new();
        for nid in self.rules.subscribed.keys() {
            let room_id = self.sync.rooms.room_id(*nid).await?;
            if rooms.iter().any(|it| *it == room_id.as_str()) {
                named.insert(*nid);
            }
        }
        Ok(Some(named))
    }

    /// What the last look found, if it would find the same.
    fn remembered(&self, count: u64, stand: Stand) -> Option<Extras> {
        let quiet = self.connection.state().quiet.clone()?;
        let is_same = Arc::ptr_eq(&quiet.watch, &self.watch)
            && quiet.count == count
            && self.from().is_some()
            && quiet.holds(stand);
        is_same.then(|| Extras {
            messages_up_to: quiet.messages_until,
            keys: quiet.keys,
            ..Extras::default()
        })
    }

    /// Where the client stands in what it asks for.
    fn stand(&self, committed: i64) -> Stand {
        let asked = &self.request.body.extensions;
        let has_received = |since: &str| {
            let position = decode_to_device(self.sync.generation, since)?;
            (position <= committed).then_some(position)
        };
        let messages = asked.to_device().map(|asked| {
            let received = asked.since.as_deref().and_then(has_received);
            received.unwrap_or_default()
        });
        Stand {
            messages,
            devices: asked.wants_e2ee().then_some(self.point.devices),
            data: asked.account_data().map(|_| self.point.data),
        }
    }

    /// Messages to the device, and up to where these are all. What it has is deleted.
    async fn messages(&self, since: i64) -> Result<(Vec<Bytes>, i64), SyncError> {
        let (to_device, session) = (&self.sync.to_device, &self.request.session);
        let (user_nid, device_id) = (session.user_nid, session.place());
        if since != 0 {
            to_device.delivered(user_nid, device_id, since).await?;
        }
        let waiting = to_device.waiting(user_nid, device_id, since, self.until);
        let waiting = waiting.await?;
        Ok((waiting.events, waiting.up_to))
    }
}
