//! Reading a room: its state, its members, its history, each as far as the reader may see.

use hearth_protocol::event::{AuthContent, Membership};
use hearth_protocol::visibility::{Around, HistoryVisibility, may_see};
use hearth_storage::tables::events as rows;
use hearth_storage::tables::state as state_rows;
use hearth_types::ruma::{EventId, RoomId, UserId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::view::{Room, SharedRoom};
use crate::state::snapshots::Snapshot;

/// From where a person sees a room: its current state for members, the state they left for those
/// who left.
#[derive(Debug, Clone)]
pub struct Viewpoint {
    /// The room.
    pub room: SharedRoom,
    /// The state that they see.
    pub state: Snapshot,
    /// Their membership.
    pub membership: Membership,
    /// The last live position that they may see: none for those who are joined.
    pub until: Option<i64>,
    user_key: i64,
    visibility_key: i64,
}

/// A place in a room's history, with the horizon that separates it from what `/sync` delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlace {
    /// Depth of the event that the page begins before.
    pub depth: i64,
    /// Its local id, which orders events of one depth.
    pub event_nid: i64,
    /// Events that became live here or later belong to `/sync`.
    pub horizon: i64,
}

/// A page of history, newest first.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The events that the reader may see.
    pub events: Vec<Known>,
    /// Where the next page begins; none at the beginning of the room.
    pub next: Option<HistoryPlace>,
}

/// Events read at a time while looking for ones that the reader may see.
const SCAN: i64 = 100;

impl Rooms {
    /// From where a person sees a room.
    ///
    /// # Errors
    /// `Forbidden` for those who are not and were not in it.
    pub async fn viewpoint(
        &self,
        room_id: &RoomId,
        user_nid: i64,
        user: &UserId,
    ) -> Result<Viewpoint, RoomError> {
        let room = self.room_for(room_id).await?;
        let outside = || RoomError::Forbidden("you are not in this room".to_owned());
        let rooms = self.people.of(user_nid).await?;
        let known = rooms.get(&room.nid).ok_or_else(outside)?;
        let membership = Membership::from_name(&known.membership);
        let keys = [
            state_key_row("m.room.member", user.as_str()),
            state_key_row("m.room.history_visibility", ""),
        ];
        let keys = self.ctx.storage.state_keys_intern(&keys).await?;
        let [user_key, visibility_key] = keys.as_slice() else {
            return Err(outside());
        };
        let (state, until) = match membership {
            Membership::Join => (room.live().current.clone(), None),
            Membership::Leave | Membership::Ban => {
                let events = self.known.by_nid(room.rules, &[known.event_nid]).await?;
                let left = events
                    .get(&known.event_nid)
                    .and_then(|event| event.snapshot_nid);
                let left = left.ok_or_else(outside)?;
                (self.snapshots.get(left).await?, Some(known.position))
            }
            _ => return Err(outside()),
        };
        Ok(Viewpoint {
            state,
            membership,
            until,
            user_key: *user_key,
            visibility_key: *visibility_key,
            room,
        })
    }

    /// The whole state that a person sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state(&self, viewpoint: &Viewpoint) -> Result<Vec<Known>, RoomError> {
        let nids: Vec<i64> = viewpoint
            .state
            .map
            .entries()
            .into_iter()
            .map(|(_, nid)| nid)
            .collect();
        Ok(self
            .known
            .by_nid(viewpoint.room.rules, &nids)
            .await?
            .into_values()
            .collect())
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
        let keys = self
            .ctx
            .storage
            .state_keys_intern(&[state_key_row(kind, state_key)])
            .await?;
        let Some(nid) = keys.first().and_then(|key| state.map.get(*key)) else {
            return Ok(None);
        };
        Ok(self.known.by_nid(room.rules, &[nid]).await?.remove(&nid))
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
        let known = self.known.one(viewpoint.room.rules, event_id).await?;
        let Some(known) = known.filter(|known| known.event.room_id() == viewpoint.room.id) else {
            return Ok(None);
        };
        Ok(self.sees(viewpoint, &known).await?.then_some(known))
    }

    /// The place before everything that is live now: where history begins for who has no token.
    #[must_use]
    pub fn history_now(&self) -> HistoryPlace {
        let head = self.ctx.storage.writer().head().position();
        HistoryPlace {
            depth: i64::MAX,
            event_nid: i64::MAX,
            horizon: head + 1,
        }
    }

    /// A page of history before a place, newest first: at most `limit` events that the reader may
    /// see. It always progresses, whatever lies between that they may not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        viewpoint: &Viewpoint,
        from: HistoryPlace,
        limit: usize,
    ) -> Result<HistoryPage, RoomError> {
        let mut place = from;
        let mut events = Vec::new();
        loop {
            let mut reader = self.ctx.storage.read().await?;
            let stored = rows::history_before(
                reader.conn(),
                viewpoint.room.nid,
                (place.depth, place.event_nid),
                place.horizon,
                SCAN,
            )
            .await?;
            drop(reader);
            let last = i64::try_from(stored.len()).unwrap_or(SCAN) < SCAN;
            for known in self.known.take_in(viewpoint.room.rules, stored)? {
                place.depth = known.depth;
                place.event_nid = known.nid;
                if self.sees(viewpoint, &known).await? {
                    events.push(known);
                }
                if events.len() >= limit {
                    return Ok(HistoryPage {
                        events,
                        next: Some(place),
                    });
                }
            }
            if last {
                return Ok(HistoryPage { events, next: None });
            }
        }
    }

    /// Whether a person may see an event of the room that they look at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sees(&self, viewpoint: &Viewpoint, known: &Known) -> Result<bool, RoomError> {
        if known.fate != rows::Fate::Accepted {
            return Ok(false);
        }
        let Some(after) = known.snapshot_nid else {
            return Ok(false);
        };
        if let (Some(until), Some(position)) = (viewpoint.until, known.live_position)
            && position > until
        {
            return Ok(false);
        }
        let after = self.snapshots.get(after).await?;
        let visibility = self.visibility_of(viewpoint, &after, known).await?;
        if visibility.after == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        let membership = self.membership_of(viewpoint, &after, known).await?;
        // Who is joined now joined after every event at which they were not; who left was joined
        // after those before they left.
        Ok(may_see(visibility, membership, true))
    }

    async fn visibility_of(
        &self,
        viewpoint: &Viewpoint,
        after: &Snapshot,
        known: &Known,
    ) -> Result<Around<HistoryVisibility>, RoomError> {
        let read = |event: &Known| {
            #[derive(serde::Deserialize)]
            struct Content<'a> {
                history_visibility: &'a str,
            }
            serde_json::from_str::<Content<'_>>(event.event.content())
                .map_or(HistoryVisibility::default(), |content| {
                    HistoryVisibility::from_name(content.history_visibility)
                })
        };
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

    async fn membership_of(
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
        Ok(self
            .known
            .by_nid(viewpoint.room.rules, &[nid])
            .await?
            .remove(&nid))
    }

    /// What held a place before an event: the place in the state after its first prev event.
    async fn before(
        &self,
        viewpoint: &Viewpoint,
        known: &Known,
        key: i64,
    ) -> Result<Option<Known>, RoomError> {
        let Some(prev) = known.event.prev_events().first() else {
            return Ok(None);
        };
        let prev = self.known.one(viewpoint.room.rules, prev).await?;
        let Some(nid) = prev.and_then(|prev| prev.snapshot_nid) else {
            return Ok(None);
        };
        let before = self.snapshots.get(nid).await?;
        self.at(viewpoint, &before, key).await
    }

    /// The member events of a room in the state that a person sees.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self, viewpoint: &Viewpoint) -> Result<Vec<Known>, RoomError> {
        let keys: Vec<(i64, i64)> = viewpoint.state.map.entries();
        let names: Vec<i64> = keys.iter().map(|(key, _)| *key).collect();
        let names = self.ctx.storage.state_keys(&names).await?;
        let members: Vec<i64> = keys
            .into_iter()
            .zip(names)
            .filter(|(_, name)| name.kind == b"m.room.member")
            .map(|((_, nid), _)| nid)
            .collect();
        Ok(self
            .known
            .by_nid(viewpoint.room.rules, &members)
            .await?
            .into_values()
            .collect())
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

    /// The servers with people joined to the room, in its visible state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn servers_in(
        &self,
        room: &Room,
        state: &Snapshot,
    ) -> Result<std::collections::BTreeSet<hearth_types::ruma::OwnedServerName>, RoomError> {
        let entries = state.map.entries();
        let keys: Vec<i64> = entries.iter().map(|(key, _)| *key).collect();
        let names = self.ctx.storage.state_keys(&keys).await?;
        let members: Vec<i64> = entries
            .into_iter()
            .zip(names)
            .filter(|(_, name)| name.kind == b"m.room.member")
            .map(|((_, nid), _)| nid)
            .collect();
        let joined = self.known.by_nid(room.rules, &members).await?;
        Ok(joined
            .values()
            .filter(|known| is_joined(known))
            .filter_map(|known| <&UserId>::try_from(known.event.state_key()?).ok())
            .map(|user| user.server_name().to_owned())
            .collect())
    }
}

fn is_joined(known: &Known) -> bool {
    match known.event.auth_content() {
        AuthContent::Member(member) => member.membership == Some(Membership::Join),
        _ => false,
    }
}
