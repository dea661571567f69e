//! What clients name a room by when it has no name: how many are in it, and who the first are.

use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::state::{self as rows, StoredMembership};
use hearth_types::ruma::OwnedUserId;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::view::Room;

/// How many people are named.
const HEROES: usize = 5;

/// Who is in a room.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) joined: usize,
    pub(super) invited: usize,
    /// The first of them, one more than is named: the reader is not.
    first: Vec<(i64, OwnedUserId)>,
    /// The first of those who are gone.
    gone: Vec<(i64, OwnedUserId)>,
}

impl Summary {
    /// Whom a reader is told.
    pub(super) fn heroes(&self, reader_nid: i64) -> Vec<&OwnedUserId> {
        fn pick(people: &[(i64, OwnedUserId)], reader_nid: i64) -> Vec<&OwnedUserId> {
            let others = people.iter().filter(|(nid, _)| *nid != reader_nid);
            others.map(|(_, user_id)| user_id).take(HEROES).collect()
        }
        let here = pick(&self.first, reader_nid);
        if here.is_empty() {
            return pick(&self.gone, reader_nid);
        }
        here
    }
}

impl Size for Summary {
    fn size_bytes(&self) -> usize {
        let people = self.first.iter().chain(&self.gone);
        let named = |(nid, user_id): &(i64, OwnedUserId)| {
            size_of_val(nid) + size_of_val(user_id) + user_id.as_str().len()
        };
        size_of::<Self>() + people.map(named).sum::<usize>()
    }
}

/// Summaries by room and state.
#[derive(Debug)]
pub(super) struct Summaries(Bounded<i64, (i64, Arc<Summary>)>);

impl Summaries {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// The summary of a room's current state.
    pub(super) async fn of(&self, rooms: &Rooms, room: &Room) -> Result<Arc<Summary>, RoomError> {
        let state = room.live().current.nid;
        if let Some((of, summary)) = self.0.get(&room.nid)
            && of == state
        {
            return Ok(summary);
        }
        // Boxed: a future is moved with all that it may become, and reading is large and rare.
        let summary = Box::pin(read(rooms, room.nid)).await?;
        self.0.insert(room.nid, (state, Arc::clone(&summary)));
        Ok(summary)
    }
}

async fn read(rooms: &Rooms, room_nid: i64) -> Result<Arc<Summary>, RoomError> {
    let storage = &rooms.ctx.storage;
    let mut members = rows::memberships_in(storage.read().await?.conn(), room_nid).await?;
    // By the event, not by when it came to hold: the same state names the same people.
    members.sort_by_key(|member| member.event_nid);
    let count = |membership: &str| {
        let is = |member: &&StoredMembership| member.membership == membership;
        members.iter().filter(is).count()
    };
    let is_here =
        |member: &&StoredMembership| matches!(member.membership.as_str(), "join" | "invite");
    let (here, gone): (Vec<_>, Vec<_>) = members.iter().partition(is_here);
    Ok(Arc::new(Summary {
        joined: count("join"),
        invited: count("invite"),
        first: named(rooms, &here).await?,
        gone: named(rooms, &gone).await?,
    }))
}

async fn named(
    rooms: &Rooms,
    members: &[&StoredMembership],
) -> Result<Vec<(i64, OwnedUserId)>, RoomError> {
    let mut named = Vec::new();
    for member in members.iter().take(HEROES + 1) {
        let user_id = rooms.ctx.storage.user_id(member.user_nid).await?;
        if let Ok(user_id) = OwnedUserId::try_from(&*user_id) {
            named.push((member.user_nid, user_id));
        }
    }
    Ok(named)
}
