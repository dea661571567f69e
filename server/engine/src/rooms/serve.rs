//! Events as one reader is served them: each with the reader's own `unsigned`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hearth_protocol::event::Membership;
use hearth_storage::tables::events as rows;
use hearth_types::ruma::{DeviceId, EventId, UserId};
use serde_json::value::RawValue;

use crate::json::Json;
use crate::rooms::Rooms;
use crate::rooms::client_event::{self, Unsigned};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::{membership_name, state_key_row};
use crate::rooms::plan::ClientTxn;
use crate::rooms::read::is_joined;
use crate::rooms::view::Room;
use crate::rooms::viewpoint::Viewpoint;

/// Who is served, and when.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Their local id.
    pub user_nid: i64,
    /// Who they are.
    pub user_id: &'a UserId,
    /// The device that asks.
    pub device_id: Option<&'a DeviceId>,
    /// The time.
    pub now_ms: i64,
}

/// The device's own transaction ids, by the local id of the event.
pub type TxnIds = BTreeMap<i64, String>;

/// What is told of every event.
fn aged(reader: &Reader<'_>, known: &Known) -> Unsigned {
    Unsigned {
        age: Some((reader.now_ms - known.event.origin_server_ts()).max(0)),
        ..Unsigned::default()
    }
}

/// How long events are in client form, about: what is added is no longer than what is left out.
pub(crate) fn about(events: &[Known]) -> usize {
    events.iter().map(|known| known.event.json().len()).sum()
}

impl Rooms {
    /// Writes events of a timeline in client form for a reader as a list, in the order given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serve(
        &self,
        json: &mut Json,
        (reader, viewpoint): (&Reader<'_>, &Viewpoint),
        events: &[Known],
    ) -> Result<(), RoomError> {
        json.expect(about(events));
        json.open_list();
        self.serve_each(json, (reader, viewpoint), events).await?;
        json.close_list();
        Ok(())
    }

    /// Writes one event of a timeline in client form for a reader.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serve_one(
        &self,
        json: &mut Json,
        (reader, viewpoint): (&Reader<'_>, &Viewpoint),
        known: &Known,
    ) -> Result<(), RoomError> {
        let one = std::slice::from_ref(known);
        self.serve_each(json, (reader, viewpoint), one).await
    }

    async fn serve_each(
        &self,
        json: &mut Json,
        (reader, viewpoint): (&Reader<'_>, &Viewpoint),
        events: &[Known],
    ) -> Result<(), RoomError> {
        let mut txn_ids = self.txn_ids(reader, events.iter()).await?;
        let mut bundles = self.bundles(reader, viewpoint, events.iter()).await?;
        for known in events {
            let known = self.as_shown_to(viewpoint, known).await?;
            let mut unsigned = self.unsigned_of_timeline(reader, viewpoint, &known).await?;
            unsigned.relations = bundles.remove(&known.nid);
            unsigned.transaction_id = txn_ids.remove(&known.nid);
            json.raw_by(|out| client_event::write_whole(&known.event, &unsigned, out));
        }
        Ok(())
    }

    /// Writes events of a state in client form for a reader as a list, in the order given.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serve_state(
        &self,
        json: &mut Json,
        (reader, viewpoint): (&Reader<'_>, &Viewpoint),
        events: &[Known],
    ) -> Result<(), RoomError> {
        json.expect(about(events));
        json.open_list();
        for known in events {
            let known = self.as_shown_to(viewpoint, known).await?;
            let unsigned = self.unsigned(reader, viewpoint, &known).await?;
            json.raw_by(|out| client_event::write_whole(&known.event, &unsigned, out));
        }
        json.close_list();
        Ok(())
    }

    /// What a reader is told of an event of a timeline: besides [`Rooms::unsigned`], what it
    /// replaced and the reader's membership at it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsigned_of_timeline(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        known: &Known,
    ) -> Result<Unsigned, RoomError> {
        if let Some(unsigned) = self.unsigned_at_once(reader, viewpoint, known) {
            return Ok(unsigned);
        }
        // Boxed: a future is moved with all that it may become, and this one is large.
        Box::pin(self.unsigned_by_state(reader, viewpoint, known)).await
    }

    /// The same of an event that was not redacted, where what is in memory tells the reader's membership
    /// and what the event replaced.
    fn unsigned_at_once(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        known: &Known,
    ) -> Option<Unsigned> {
        if known.redacted_by.is_some() || !self.is_joined_at(viewpoint, known.snapshot_nid?)? {
            return None;
        }
        let mut unsigned = Unsigned {
            membership: Some(membership_name(Membership::Join)),
            ..aged(reader, known)
        };
        if known.event.is_state()
            && let Some(before) = self.replaced_at_once(&viewpoint.room, known)?
        {
            // Who is joined with it was so before it, or it is their own join: they may know what it replaced.
            unsigned.replace(self.is_shown_whole(&before).then_some(&before)?);
        }
        Some(unsigned)
    }

    async fn unsigned_by_state(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        known: &Known,
    ) -> Result<Unsigned, RoomError> {
        let mut unsigned = self.unsigned(reader, viewpoint, known).await?;
        unsigned.membership = self.membership_at(viewpoint, known).await?;
        if known.event.is_state()
            && known.is_placed()
            && let Some(before) = self.replaced(&viewpoint.room, known).await?
            && self.may_know(reader, viewpoint, (known, &before)).await?
        {
            unsigned.replace(&*self.as_shown_to(viewpoint, &before).await?);
        }
        Ok(unsigned)
    }

    /// What every reader is told of an event: its age, and what redacted it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsigned(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        known: &Known,
    ) -> Result<Unsigned, RoomError> {
        let mut unsigned = aged(reader, known);
        if let Some(by) = &known.redacted_by {
            // Boxed: a future is moved with all that it may become, and this one is large and rare.
            unsigned.redacted_because = Box::pin(self.redaction(viewpoint, by)).await?;
        }
        Ok(unsigned)
    }

    /// What redacted an event, in client form. That it is redacted, clients learn by this alone: so who
    /// may not see the redaction is shown it without its reason.
    async fn redaction(
        &self,
        viewpoint: &Viewpoint,
        by: &str,
    ) -> Result<Option<Box<RawValue>>, RoomError> {
        let rules = viewpoint.room.rules;
        let Ok(by) = <&EventId>::try_from(by) else {
            return Ok(None);
        };
        let Some(redaction) = self.known.one(rules, by).await? else {
            return Ok(None);
        };
        let shown = match self.sees(viewpoint, &redaction).await? {
            true => self.as_shown_to(viewpoint, &redaction).await?,
            false => Cow::Owned(redaction.pruned(rules)?),
        };
        let whole = client_event::whole(&shown.event, &Unsigned::default());
        Ok(Some(whole))
    }

    /// Whether a reader may know what an event took the place of: they see it, were in the room while it
    /// held, or it said what they themselves were.
    ///
    /// spec: client-server v1.19 §Room event format (`unsigned.prev_content`).
    async fn may_know(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        (known, before): (&Known, &Known),
    ) -> Result<bool, RoomError> {
        let member = Some(reader.user_id.as_str());
        let is_own = before.event.kind() == "m.room.member" && before.event.state_key() == member;
        if is_own || self.sees(viewpoint, before).await? {
            return Ok(true);
        }
        let (room, user_key) = (&viewpoint.room, viewpoint.user_key);
        let Some(nid) = self.held_before(room, known, user_key).await? else {
            return Ok(false);
        };
        let own = self.known.by_nid(room.rules, &[nid]).await?;
        Ok(own.values().any(is_joined))
    }

    /// The state event whose place another took.
    async fn replaced(&self, room: &Room, known: &Known) -> Result<Option<Known>, RoomError> {
        let state_key = known.event.state_key().unwrap_or_default();
        let (storage, kind) = (&self.ctx.storage, known.event.kind());
        let key = match storage.state_key_cached(kind, state_key) {
            Some(key) => Some(key),
            None => {
                let row = state_key_row(kind, state_key);
                storage.state_keys_intern(&[row]).await?.first().copied()
            }
        };
        let Some(key) = key else {
            return Ok(None);
        };
        let Some(nid) = self.held_before(room, known, key).await? else {
            return Ok(None);
        };
        Ok(self.known.by_nid(room.rules, &[nid]).await?.remove(&nid))
    }

    /// The same where it is in memory; none where it may be elsewhere.
    fn replaced_at_once(&self, room: &Room, known: &Known) -> Option<Option<Known>> {
        let state_key = known.event.state_key()?;
        let storage = &self.ctx.storage;
        let key = storage.state_key_cached(known.event.kind(), state_key)?;
        match self.held_before_at_once(room, known, key)? {
            Some(nid) => self.known.cached(nid).map(Some),
            None => Some(None),
        }
    }

    /// The reader's membership in the state after an event.
    ///
    /// spec: client-server v1.19 §Room event format (`unsigned.membership`).
    async fn membership_at(
        &self,
        viewpoint: &Viewpoint,
        known: &Known,
    ) -> Result<Option<&'static str>, RoomError> {
        let Some(nid) = known.snapshot_nid else {
            return Ok(None);
        };
        let after = self.snapshots.get(nid).await?;
        if viewpoint.has_been_joined_since(&after) {
            return Ok(Some(membership_name(Membership::Join)));
        }
        let member = match after.map.get(viewpoint.user_key) {
            Some(nid) => self.known.by_nid(viewpoint.room.rules, &[nid]).await?,
            None => BTreeMap::new(),
        };
        let membership = member.into_values().next();
        let membership = membership.and_then(|member| member.event.member()?.membership);
        Ok(Some(membership_name(
            membership.unwrap_or(Membership::Leave),
        )))
    }

    /// The transaction ids under which the reader's device sent events.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn txn_ids(
        &self,
        reader: &Reader<'_>,
        events: impl Iterator<Item = &Known>,
    ) -> Result<TxnIds, RoomError> {
        let Some(device_id) = reader.device_id else {
            return Ok(TxnIds::new());
        };
        let (user_nid, device_id) = (reader.user_nid, device_id.as_str());
        let mut found = TxnIds::new();
        let mut unknown = Vec::new();
        for known in events.filter(|known| known.event.sender() == reader.user_id) {
            let Some(beside) = &known.beside else {
                unknown.push(known.nid);
                continue;
            };
            let is_theirs =
                |txn: &&ClientTxn| txn.user_nid == user_nid && txn.device_id == device_id;
            if let Some(txn) = beside.txn().filter(is_theirs) {
                found.insert(known.nid, txn.txn_id.clone());
            }
        }
        if !unknown.is_empty() {
            let mut conn = self.ctx.storage.read().await?;
            let stored = rows::client_transactions_of(conn.conn(), user_nid, device_id, &unknown);
            found.extend(stored.await?);
        }
        Ok(found)
    }

    /// The member events of people in a state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_of<'u>(
        &self,
        viewpoint: &Viewpoint,
        people: impl Iterator<Item = &'u UserId>,
    ) -> Result<Vec<Known>, RoomError> {
        let keys: Vec<_> = people
            .map(|user| state_key_row("m.room.member", user.as_str()))
            .collect();
        let keys = self.ctx.storage.state_keys_intern(&keys).await?;
        let state = &viewpoint.state.map;
        let nids: Vec<i64> = keys.into_iter().filter_map(|key| state.get(key)).collect();
        let members = self.known.by_nid(viewpoint.room.rules, &nids).await?;
        Ok(members.into_values().collect())
    }
}
