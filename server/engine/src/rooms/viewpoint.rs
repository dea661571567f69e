//! From where a person sees a room, and how far.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hearth_protocol::event::Membership;
use hearth_protocol::visibility::{Around, HistoryVisibility, may_see};
use hearth_storage::tables::events as rows;
use hearth_types::ruma::{EventId, RoomId, UserId};

use crate::rooms::RoomMembership;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::ignored::Ignored;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::read::is_joined;
use crate::rooms::view::{Room, SharedRoom};
use crate::state::snapshots::Snapshot;

/// From where a person sees a room: its current state for members and where everybody may look in, the
/// state they left for others who left.
#[derive(Debug, Clone)]
pub struct Viewpoint {
    /// The room.
    pub room: SharedRoom,
    /// The state that they see.
    pub state: Snapshot,
    /// Their membership.
    pub membership: Membership,
    /// The last live position that they may see: none for those who are joined, and where everybody may look in.
    pub until: Option<i64>,
    /// Their last stay in the room.
    pub stay: Stay,
    /// Whom they do not want to hear.
    pub ignored: Arc<Ignored>,
    /// The place of their member event in a state.
    pub user_key: i64,
    visibility_key: i64,
    joined_at: JoinedAt,
}

/// The last state that a viewpoint was compared with in which they were joined by the membership that still
/// holds: it is that of the next event, mostly.
#[derive(Debug)]
struct JoinedAt(AtomicI64);

impl Default for JoinedAt {
    fn default() -> Self {
        // No state has this id.
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Clone for JoinedAt {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Viewpoint {
    /// The same with another state.
    #[must_use]
    pub(super) fn with_state(self, state: Snapshot) -> Self {
        Self {
            state,
            joined_at: JoinedAt::default(),
            ..self
        }
    }

    /// The same of who wants to hear everybody.
    pub(super) fn hearing_everybody(self) -> Self {
        Self {
            ignored: Arc::default(),
            ..self
        }
    }

    /// Whether they were joined in a state by the membership that still holds.
    pub(super) fn has_been_joined_since(&self, state: &Snapshot) -> bool {
        let own = self.state.map.get(self.user_key);
        self.membership == Membership::Join && own.is_some() && state.map.get(self.user_key) == own
    }

    /// Whether they look in, since everybody may: as strangers, or having left the room.
    #[must_use]
    pub fn looks_in(&self) -> bool {
        self.membership != Membership::Join && self.until.is_none()
    }

    /// Refuses those who look back at a room that they left.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn must_be_joined(&self) -> Result<(), RoomError> {
        match self.membership {
            Membership::Join => Ok(()),
            _ => Err(RoomError::outside()),
        }
    }
}

/// Somebody's last stay in a room: what happened before its end, they joined after or during.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// They were joined at this position. Of what happened since, while somebody reads, only the state at it
    /// tells whether they still were.
    Now(i64),
    /// They left at this position.
    Until(i64),
    /// They look in from outside: they see what everybody may see.
    Outside,
}

impl Stay {
    /// Whether it ended after an event, which then was followed by a join or fell into the stay.
    fn ends_after(self, known: &Known) -> bool {
        match self {
            Self::Now(end) | Self::Until(end) => {
                known.live_position.is_none_or(|position| position <= end)
            }
            Self::Outside => false,
        }
    }

    /// Whether an event lies beyond all that they were there for: of it, they see what everybody may see.
    fn is_over_at(self, known: &Known) -> bool {
        match self {
            Self::Now(_) => false,
            Self::Until(_) => !self.ends_after(known),
            Self::Outside => true,
        }
    }
}

/// How many member events are followed back in search of a join.
const MEMBERSHIPS_MAX: usize = 100;

impl Rooms {
    /// From where a person sees a room: as one who is or was in it, and from outside, where the room lets
    /// everybody look in.
    ///
    /// # Errors
    /// `Forbidden` for those who may not look in.
    pub async fn viewpoint(
        &self,
        room_id: &RoomId,
        user_nid: i64,
        user: &UserId,
    ) -> Result<Viewpoint, RoomError> {
        let room = self.room_for(room_id).await?;
        let rooms = self.people.of(user_nid).await?;
        let known = rooms.get(&room.nid);
        if let Some(known) = known.filter(|known| !known.forgotten) {
            match self.viewpoint_in(Arc::clone(&room), known, user).await {
                Err(RoomError::Forbidden(_)) => {}
                Ok(left) if left.until.is_some() => return self.looking_in(left).await,
                inside => return inside,
            }
        }
        let membership = known.map(|known| Membership::from_name(&known.membership));
        self.viewpoint_outside(room, membership.unwrap_or(Membership::Leave), user)
            .await
    }

    /// Lets who left a room that is world-readable now see also what strangers see.
    async fn looking_in(&self, left: Viewpoint) -> Result<Viewpoint, RoomError> {
        if !self.is_world_readable(&left.room).await? {
            return Ok(left);
        }
        let state = left.room.live().current.clone();
        Ok(Viewpoint {
            until: None,
            ..left.with_state(state)
        })
    }

    async fn is_world_readable(&self, room: &Room) -> Result<bool, RoomError> {
        let event = self
            .current_event(room, "m.room.history_visibility", "")
            .await?;
        Ok(event.as_ref().map(visibility) == Some(HistoryVisibility::WorldReadable))
    }

    /// From where somebody sees a room that is world-readable now, without being in it.
    async fn viewpoint_outside(
        &self,
        room: SharedRoom,
        membership: Membership,
        user: &UserId,
    ) -> Result<Viewpoint, RoomError> {
        if !self.is_world_readable(&room).await? {
            return Err(RoomError::outside());
        }
        // Who never was in the room has no place in its state, and gets none by looking.
        let place = async |kind: &str, state_key: &str| {
            let key = state_key_row(kind, state_key);
            let found = self.ctx.storage.state_key_find(key).await;
            found.map(Option::unwrap_or_default)
        };
        let state = room.live().current.clone();
        Ok(Viewpoint {
            state,
            membership,
            until: None,
            stay: Stay::Outside,
            ignored: self.ignored_by(user).await?,
            user_key: place("m.room.member", user.as_str()).await?,
            visibility_key: place("m.room.history_visibility", "").await?,
            joined_at: JoinedAt::default(),
            room,
        })
    }

    /// The places in a state of what decides on what a person sees.
    async fn viewpoint_keys(&self, user: &UserId) -> Result<[i64; 2], RoomError> {
        let keys = [
            state_key_row("m.room.member", user.as_str()),
            state_key_row("m.room.history_visibility", ""),
        ];
        let keys = self.ctx.storage.state_keys_intern(&keys).await?;
        keys.try_into().map_err(|_| RoomError::outside())
    }

    async fn ignored_by(&self, user: &UserId) -> Result<Arc<Ignored>, RoomError> {
        match self.ctx.storage.user_find(user.as_str()).await? {
            Some(user_nid) => Ok(self.ignored.of(user_nid).await?),
            None => Ok(Arc::default()),
        }
    }

    /// From where a person with this membership sees a room.
    ///
    /// # Errors
    /// `Forbidden` for those who are not and were not in it.
    pub async fn viewpoint_in(
        &self,
        room: SharedRoom,
        known: &RoomMembership,
        user: &UserId,
    ) -> Result<Viewpoint, RoomError> {
        let membership = Membership::from_name(&known.membership);
        let [user_key, visibility_key] = self.viewpoint_keys(user).await?;
        let (state, until, stay) = match membership {
            Membership::Join => {
                let (current, position) = room.live().now();
                let holds = |event: i64| current.map.get(user_key) == Some(event);
                if holds(known.event_nid)
                    || self.joined_by(room.nid, user).await?.is_some_and(holds)
                {
                    (current, None, Stay::Now(position))
                } else {
                    // They left after it was looked up: they see the room as it was then.
                    let joined = self.state_after(&room, known.event_nid).await?;
                    (joined, None, Stay::Now(known.position))
                }
            }
            Membership::Leave | Membership::Ban => {
                let events = self.known.by_nid(room.rules, &[known.event_nid]).await?;
                let event = events
                    .get(&known.event_nid)
                    .ok_or_else(RoomError::outside)?;
                let ended = self.stay_before(&room, event, known.position).await?;
                let (end, event) = ended.ok_or_else(RoomError::outside)?;
                let left = event.snapshot_nid.ok_or_else(RoomError::outside)?;
                (self.snapshots.get(left).await?, Some(end), Stay::Until(end))
            }
            _ => return Err(RoomError::outside()),
        };
        Ok(Viewpoint {
            state,
            membership,
            until,
            stay,
            ignored: self.ignored_by(user).await?,
            user_key,
            visibility_key,
            joined_at: JoinedAt::default(),
            room,
        })
    }

    /// The state after somebody's member event.
    async fn state_after(&self, room: &Room, event_nid: i64) -> Result<Snapshot, RoomError> {
        let mut events = self.known.by_nid(room.rules, &[event_nid]).await?;
        let event = events.remove(&event_nid).ok_or_else(RoomError::outside)?;
        let after = event.snapshot_nid.ok_or_else(RoomError::outside)?;
        Ok(self.snapshots.get(after).await?)
    }

    /// When and by which event the last stay ended of somebody whose newest member event is `event`;
    /// none for those who never joined. Each member event names the one before it among its auth
    /// events.
    async fn stay_before(
        &self,
        room: &Room,
        event: &Known,
        position: i64,
    ) -> Result<Option<(i64, Known)>, RoomError> {
        let (mut event, mut ended) = (event.clone(), position);
        for _ in 0..MEMBERSHIPS_MAX {
            let before = self
                .known
                .by_id(room.rules, &event.event.auth_events().to_vec())
                .await?;
            let before = before.into_values().find(|other| {
                let same_person = other.event.state_key() == event.event.state_key();
                other.event.kind() == "m.room.member" && same_person
            });
            let Some(before) = before else {
                return Ok(None);
            };
            if is_joined(&before) {
                return Ok(Some((ended, event)));
            }
            ended = before.live_position.unwrap_or_default();
            event = before;
        }
        Ok(None)
    }

    /// One event, if a person may see it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event(
        &self,
        viewpoint: &Viewpoint,
        event_id: &EventId,
    ) -> Result<Option<Known>, RoomError> {
        let rules = viewpoint.room.rules;
        let known = self.known.one_committed(rules, event_id).await?;
        let Some(known) = known.filter(|known| known.event.room_id() == viewpoint.room.id) else {
            return Ok(None);
        };
        Ok(self.sees(viewpoint, &known).await?.then_some(known))
    }

    /// Whether a person may see an event of the room that they look at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sees(&self, viewpoint: &Viewpoint, known: &Known) -> Result<bool, RoomError> {
        match self.sees_at_once(viewpoint, known) {
            Some(sees) => Ok(sees),
            // Boxed: a future is moved with all that it may become, and this one is large and rare.
            None => Box::pin(self.sees_by_state(viewpoint, known)).await,
        }
    }

    /// The same where what is in memory decides, as it does for most events.
    fn sees_at_once(&self, viewpoint: &Viewpoint, known: &Known) -> Option<bool> {
        let accepted = known.fate == rows::Fate::Accepted;
        let Some(after) = known.snapshot_nid.filter(|_| accepted) else {
            return Some(false);
        };
        // Changes of state are told whoever made them.
        if !known.event.is_state() && viewpoint.ignored.contains(known.event.sender().as_str()) {
            return Some(false);
        }
        if let (Some(until), Some(position)) = (viewpoint.until, known.live_position)
            && position > until
        {
            return Some(false);
        }
        self.is_joined_at(viewpoint, after)?.then_some(true)
    }

    /// Whether they were joined in the state of this id by the membership that still holds; none where the
    /// state is not in memory.
    pub(super) fn is_joined_at(&self, viewpoint: &Viewpoint, state_nid: i64) -> Option<bool> {
        let JoinedAt(last) = &viewpoint.joined_at;
        if last.load(Ordering::Relaxed) == state_nid {
            return Some(true);
        }
        let is_joined = viewpoint.has_been_joined_since(&self.snapshots.cached(state_nid)?);
        if is_joined {
            last.store(state_nid, Ordering::Relaxed);
        }
        Some(is_joined)
    }

    async fn sees_by_state(&self, viewpoint: &Viewpoint, known: &Known) -> Result<bool, RoomError> {
        let Some(after) = known.snapshot_nid else {
            return Ok(false);
        };
        let after = self.snapshots.get(after).await?;
        if viewpoint.has_been_joined_since(&after) {
            return Ok(true);
        }
        let visibility = self.visibility_of(viewpoint, &after, known).await?;
        if visibility.after == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        if viewpoint.stay.is_over_at(known) {
            return Ok(visibility.before == HistoryVisibility::WorldReadable);
        }
        let membership = self.membership_of(viewpoint, &after, known).await?;
        let joined_later = viewpoint.stay.ends_after(known);
        Ok(may_see(visibility, membership, joined_later))
    }

    async fn visibility_of(
        &self,
        viewpoint: &Viewpoint,
        after: &Snapshot,
        known: &Known,
    ) -> Result<Around<HistoryVisibility>, RoomError> {
        let read = visibility;
        let now = self.at(viewpoint, after, viewpoint.visibility_key).await?;
        let now = now.as_ref().map(read).unwrap_or_default();
        if !known.event.is_state_of("m.room.history_visibility", "") {
            return Ok(Around::unchanged(now));
        }
        let before = self
            .before(viewpoint, known, viewpoint.visibility_key)
            .await?;
        Ok(Around {
            before: before.as_ref().map(read).unwrap_or_default(),
            after: now,
        })
    }

    pub(super) async fn membership_of(
        &self,
        viewpoint: &Viewpoint,
        after: &Snapshot,
        known: &Known,
    ) -> Result<Around<Membership>, RoomError> {
        let read = |event: Option<Known>| {
            event
                .and_then(|event| event.event.member()?.membership)
                .unwrap_or(Membership::Leave)
        };
        let event = self.at(viewpoint, after, viewpoint.user_key).await?;
        let own = event.as_ref().is_some_and(|event| event.nid == known.nid);
        let now = read(event);
        if !own {
            return Ok(Around::unchanged(now));
        }
        let before = self.before(viewpoint, known, viewpoint.user_key).await?;
        Ok(Around {
            before: read(before),
            after: now,
        })
    }

    async fn at(
        &self,
        viewpoint: &Viewpoint,
        state: &Snapshot,
        key: i64,
    ) -> Result<Option<Known>, RoomError> {
        let Some(nid) = state.map.get(key) else {
            return Ok(None);
        };
        let found = self.known.by_nid(viewpoint.room.rules, &[nid]).await?;
        Ok(found.into_values().next())
    }

    /// What held a place before an event.
    async fn before(
        &self,
        viewpoint: &Viewpoint,
        known: &Known,
        key: i64,
    ) -> Result<Option<Known>, RoomError> {
        let Some(nid) = self.held_before(&viewpoint.room, known, key).await? else {
            return Ok(None);
        };
        let found = self.known.by_nid(viewpoint.room.rules, &[nid]).await?;
        Ok(found.into_values().next())
    }
}

/// What an event says of who may see history.
fn visibility(event: &Known) -> HistoryVisibility {
    #[derive(serde::Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        history_visibility: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Content<'_>>(event.event.content())
        .map_or(HistoryVisibility::default(), |content| {
            HistoryVisibility::from_name(&content.history_visibility)
        })
}
