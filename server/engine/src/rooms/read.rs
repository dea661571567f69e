//! Reading a room: its state, its members, the servers in it.

use std::sync::Arc;

use bytes::Bytes;
use hearth_protocol::event::{AuthContent, Membership};
use hearth_storage::tables::{sliding, state as state_rows};
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, UserId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::people::{RoomMembership, joined};
use crate::rooms::place::state_key_row;
use crate::rooms::view::Room;
use crate::rooms::viewpoint::Viewpoint;
use crate::state::snapshots::Snapshot;

/// A page of the rooms to which two people are both joined.
#[derive(Debug)]
pub struct Mutual {
    /// The rooms, by local id.
    pub joined: Vec<OwnedRoomId>,
    /// How many there are in all.
    pub count: usize,
    /// The local id after which the next page begins, unless this is the last one.
    pub next: Option<i64>,
}

impl Rooms {
    /// The whole state that a person sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state(&self, viewpoint: &Viewpoint) -> Result<Vec<Known>, RoomError> {
        let entries = viewpoint.state.map.entries().into_iter();
        let mut nids: Vec<i64> = entries.map(|(_, nid)| nid).collect();
        nids.sort_unstable();
        Ok(self.known.in_order(viewpoint.room.rules, &nids).await?)
    }

    /// One state event that a person sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state_event(
        &self,
        viewpoint: &Viewpoint,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Known>, RoomError> {
        self.state_event_in(&viewpoint.room, &viewpoint.state, kind, state_key)
            .await
    }

    /// One state event of a snapshot.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state_event_in(
        &self,
        room: &Room,
        state: &Snapshot,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Known>, RoomError> {
        let Some(nid) = self.nid_at(state, kind, state_key).await? else {
            return Ok(None);
        };
        Ok(self.known.by_nid(room.rules, &[nid]).await?.remove(&nid))
    }

    /// The local id of the event in a place of a state. What no state holds gets no name: who asks in
    /// vain leaves nothing behind.
    pub(super) async fn nid_at(
        &self,
        state: &Snapshot,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<i64>, RoomError> {
        let key = state_key_row(kind, state_key);
        let key = self.ctx.storage.state_key_find(key).await?;
        Ok(key.and_then(|key| state.map.get(key)))
    }

    /// The member events of a room in the state that a person sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self, viewpoint: &Viewpoint) -> Result<Vec<Known>, RoomError> {
        self.member_events(&viewpoint.room, &viewpoint.state).await
    }

    /// The member events of a state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_events(
        &self,
        room: &Room,
        state: &Snapshot,
    ) -> Result<Vec<Known>, RoomError> {
        let mut members = self.member_nids(state).await?;
        members.sort_unstable();
        Ok(self.known.in_order(room.rules, &members).await?)
    }

    /// The local ids of the member events of a state.
    pub(super) async fn member_nids(&self, state: &Snapshot) -> Result<Vec<i64>, RoomError> {
        self.nids_of_kind(state, "m.room.member").await
    }

    /// The events of one type of a state.
    pub(super) async fn events_of_kind(
        &self,
        room: &Room,
        state: &Snapshot,
        kind: &str,
    ) -> Result<Vec<Known>, RoomError> {
        let nids = self.nids_of_kind(state, kind).await?;
        let events = self.known.by_nid(room.rules, &nids).await?;
        Ok(events.into_values().collect())
    }

    async fn nids_of_kind(&self, state: &Snapshot, kind: &str) -> Result<Vec<i64>, RoomError> {
        let entries = state.map.entries();
        let keys: Vec<i64> = entries.iter().map(|(key, _)| *key).collect();
        let names = self.ctx.storage.state_keys(&keys).await?;
        Ok(entries
            .into_iter()
            .zip(names)
            .filter(|(_, name)| name.kind == kind.as_bytes())
            .map(|((_, nid), _)| nid)
            .collect())
    }

    /// Events as they are federated, by local id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn jsons(&self, room: &Room, nids: &[i64]) -> Result<Vec<Bytes>, RoomError> {
        let known = self.known.by_nid(room.rules, nids).await?;
        Ok(known
            .into_values()
            .map(|known| known.event.json().clone())
            .collect())
    }

    /// Event ids of local ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ids(&self, room: &Room, nids: &[i64]) -> Result<Vec<OwnedEventId>, RoomError> {
        let known = self.known.by_nid(room.rules, nids).await?;
        Ok(known
            .into_values()
            .map(|known| known.event.event_id().to_owned())
            .collect())
    }

    /// The local id of a person who is joined to a room.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn joined_person(
        &self,
        room: &Room,
        user_id: &UserId,
    ) -> Result<Option<i64>, RoomError> {
        // Whoever was never heard of is in no room, and is given no local id for being asked about.
        let Some(nid) = self.ctx.storage.user_find(user_id.as_str()).await? else {
            return Ok(None);
        };
        let state = room.live().current.clone();
        let member = self
            .state_event_in(room, &state, "m.room.member", user_id.as_str())
            .await?;
        Ok(member.filter(is_joined).map(|_| nid))
    }

    /// The rooms that a person is joined to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn joined(&self, user_nid: i64) -> Result<Vec<OwnedRoomId>, RoomError> {
        let memberships = self.people.of(user_nid).await?;
        let joined: Vec<i64> = joined(&memberships).collect();
        self.ids_of(&joined).await
    }

    async fn ids_of(&self, room_nids: &[i64]) -> Result<Vec<OwnedRoomId>, RoomError> {
        let mut ids = Vec::with_capacity(room_nids.len());
        for nid in room_nids {
            ids.push(self.room_by_nid(*nid).await?.id.clone());
        }
        Ok(ids)
    }

    /// The rooms to which two people are both joined.
    ///
    /// spec: client-server v1.19 §Mutual Rooms.
    ///
    /// # Errors
    /// `Invalid` for the same person twice, or a user id that is no valid one any more.
    pub async fn mutual(
        &self,
        (user_nid, user_id): (i64, &UserId),
        other: &UserId,
        (after, limit): (i64, usize),
    ) -> Result<Mutual, RoomError> {
        if other == user_id || other.validate_strict().is_err() {
            return Err(RoomError::Invalid {
                field: "user_id",
                rule: "it must be the id of somebody else".to_owned(),
            });
        }
        let mine = self.people.of(user_nid).await?;
        let theirs = match self.ctx.storage.user_find(other.as_str()).await? {
            Some(nid) => self.people.of(nid).await?,
            None => Arc::default(),
        };
        let is_theirs = |nid: &i64| theirs.get(nid).is_some_and(RoomMembership::is_joined);
        let both: Vec<i64> = joined(&mine).filter(is_theirs).collect();
        let from = both.partition_point(|nid| *nid <= after);
        let shown = &both[from..both.len().min(from.saturating_add(limit))];
        let is_more = from + shown.len() < both.len();
        Ok(Mutual {
            joined: self.ids_of(shown).await?,
            count: both.len(),
            next: shown.last().copied().filter(|_| is_more),
        })
    }

    /// What an invited or knocking person is shown of a room: a JSON array of stripped state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shown_to_invited(
        &self,
        room_nid: i64,
        user_nid: i64,
    ) -> Result<Option<Vec<u8>>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        Ok(state_rows::stripped_state(reader.conn(), room_nid, user_nid).await?)
    }

    /// The same of several rooms, by local id: JSON arrays.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn shown_to(
        &self,
        user_nid: i64,
        room_nids: &[i64],
    ) -> Result<Vec<(i64, Vec<u8>)>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        Ok(sliding::stripped_states_of(reader.conn(), user_nid, room_nids).await?)
    }

    /// The servers with people joined to the room, in its visible state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn servers_in(
        &self,
        room: &Room,
        state: &Snapshot,
    ) -> Result<std::collections::BTreeSet<hearth_types::ruma::OwnedServerName>, RoomError> {
        let joined = self.member_events(room, state).await?;
        Ok(joined
            .iter()
            .filter(|known| is_joined(known))
            .filter_map(|known| <&UserId>::try_from(known.event.state_key()?).ok())
            .map(|user| user.server_name().to_owned())
            .collect())
    }
}

pub(super) fn is_joined(known: &Known) -> bool {
    match known.event.auth_content() {
        AuthContent::Member(member) => member.membership == Some(Membership::Join),
        _ => false,
    }
}
