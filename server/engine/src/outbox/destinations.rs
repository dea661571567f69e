//! Which servers hear of an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::event::{Event, Membership};
use hearth_storage::cache::{Bounded, bounded};
use hearth_storage::tables::events::StoredEvent;
use hearth_types::ruma::{OwnedServerName, UserId};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::view::Room;

/// Works out destinations.
pub(super) struct Destinations {
    rooms: Rooms,
    /// The other servers with people joined in a state, by snapshot.
    joined: Bounded<i64, Arc<BTreeSet<i64>>>,
}

impl Destinations {
    pub(super) fn new(rooms: Rooms) -> Self {
        Self {
            joined: bounded(rooms.ctx.settings.memory.people_bytes()),
            rooms,
        }
    }

    /// The servers that an event is sent to: those with people joined in the state at the event, and
    /// the one of a person whom it takes out of the room or out of an invitation.
    pub(super) async fn of(&self, event: StoredEvent) -> Result<BTreeSet<i64>, RoomError> {
        let room = self.rooms.room_by_nid(event.room_nid).await?;
        let known = self.rooms.known.take_in(room.rules, vec![event])?;
        let Some(known) = known.into_iter().next() else {
            return Ok(BTreeSet::new());
        };
        let Some(after) = known.snapshot_nid else {
            return Ok(BTreeSet::new());
        };
        let prev = match known.event.prev_events().iter().next() {
            Some(prev) => self.rooms.known.one(room.rules, prev).await?,
            None => None,
        };
        let before = prev.and_then(|prev| prev.snapshot_nid);
        let joined = self.joined(&room, &known, before, after).await?;
        let mut servers = BTreeSet::clone(&joined);
        if let Some(target) = taken_out(&known.event)
            && self.had_place(&room, &known, target).await?
        {
            servers.extend(self.nid(target.server_name().as_str()).await?);
        }
        // Who sent it to us has it.
        if let Some(sender) = self
            .nid(known.event.sender().server_name().as_str())
            .await?
        {
            servers.remove(&sender);
        }
        Ok(servers)
    }

    /// The other servers with people joined to a room now.
    pub(super) async fn of_room(&self, room: &Room) -> Result<Arc<BTreeSet<i64>>, RoomError> {
        let current = room.live().current.clone();
        if let Some(joined) = self.joined.get(&current.nid) {
            return Ok(joined);
        }
        let names = self.rooms.servers_in(room, &current).await?;
        let joined = Arc::new(self.nids(names).await?);
        self.joined.insert(current.nid, Arc::clone(&joined));
        Ok(joined)
    }

    /// Whether a person was in the room, or on the way into it, before an event.
    async fn had_place(
        &self,
        room: &Room,
        known: &Known,
        person: &UserId,
    ) -> Result<bool, RoomError> {
        let rooms = &self.rooms;
        let key = state_key_row("m.room.member", person.as_str());
        let mut before = None;
        for key in rooms.ctx.storage.state_keys_intern(&[key]).await? {
            before = rooms.held_before(room, known, key).await?;
        }
        let member = match before {
            Some(nid) => rooms.known.by_nid(room.rules, &[nid]).await?,
            None => BTreeMap::new(),
        };
        Ok(member.values().any(|member| had_place(&member.event)))
    }

    async fn joined(
        &self,
        room: &Room,
        known: &Known,
        before: Option<i64>,
        after: i64,
    ) -> Result<Arc<BTreeSet<i64>>, RoomError> {
        if let Some(joined) = self.joined.get(&after) {
            return Ok(joined);
        }
        // An event on one prev event that is no membership leaves the members as they were.
        let same = known.event.member().is_none() && known.event.prev_events().len() == 1;
        let joined = before
            .filter(|_| same)
            .and_then(|before| self.joined.get(&before));
        let joined = match joined {
            Some(joined) => joined,
            None => {
                let after = self.rooms.snapshots.get(after).await?;
                let names = self.rooms.servers_in(room, &after).await?;
                Arc::new(self.nids(names).await?)
            }
        };
        self.joined.insert(after, Arc::clone(&joined));
        Ok(joined)
    }

    async fn nids(&self, names: BTreeSet<OwnedServerName>) -> Result<BTreeSet<i64>, RoomError> {
        let mut nids = BTreeSet::new();
        for name in names {
            nids.extend(self.nid(name.as_str()).await?);
        }
        Ok(nids)
    }

    /// The local id of another server.
    async fn nid(&self, name: &str) -> Result<Option<i64>, RoomError> {
        if self.rooms.ctx.is_ours(name) {
            return Ok(None);
        }
        Ok(Some(self.rooms.ctx.storage.server_intern(name).await?))
    }
}

/// Whom an event takes out of the room.
fn taken_out(event: &Event) -> Option<&UserId> {
    let goes = matches!(
        event.member()?.membership,
        Some(Membership::Leave | Membership::Ban)
    );
    goes.then(|| <&UserId>::try_from(event.state_key()?).ok())
        .flatten()
}

fn had_place(event: &Event) -> bool {
    let membership = event.member().and_then(|member| member.membership);
    matches!(
        membership,
        Some(Membership::Join | Membership::Invite | Membership::Knock)
    )
}
