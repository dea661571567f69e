//! One look at what is new on a connection, bounded by the head of the log as it was when the look
//! began.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_types::ruma::{OwnedRoomId, UserId};

use super::super::timeline::Space;
use super::super::{ClientSync, SyncError};
use super::connections::Connection;
use super::extensions::{Beside, Extras};
use super::lists::{Chosen, Rules, Sum};
use super::marks::Direct;
use super::request::SlidingRequest;
use super::told::{Changed, Point, RoomTold, Standing, Told};
use crate::notifier::Watch;
use crate::rooms::serve::Reader;
use crate::rooms::{Memberships, RoomMembership};

/// A look that is being taken.
pub(super) struct Look<'a> {
    pub(super) sync: &'a ClientSync,
    pub(super) request: &'a SlidingRequest,
    pub(super) connection: &'a Connection,
    pub(super) rules: &'a Rules,
    pub(super) watch: Arc<Watch>,
    /// Where the client stands, and what it has.
    pub(super) point: Point,
    pub(super) told: Arc<Told>,
    /// What the timelines have space for.
    pub(super) space: Space,
    /// The head of the log.
    pub(super) until: i64,
    /// The time.
    pub(super) now_ms: i64,
    /// The direct rooms.
    pub(super) direct: Arc<Direct>,
}

/// What a look found.
pub(super) struct Seen {
    /// Where the answer takes the client; its mark is not given yet.
    pub(super) point: Point,
    /// How many rooms are in each list.
    pub(super) counts: Vec<usize>,
    /// What is said of rooms.
    pub(super) rooms: Vec<(OwnedRoomId, Vec<u8>)>,
    /// What the client has of rooms once it has the answer, where that is not what it had.
    pub(super) told: Changed,
    /// What there is besides.
    pub(super) extras: Extras,
    /// What there is besides with rooms.
    pub(super) beside: Beside,
    /// Whether the device's keys are fewer or more than the client was told.
    keys_changed: bool,
}

impl Seen {
    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
            && self.extras.is_empty()
            && self.beside.is_empty()
            && !self.keys_changed
    }
}

/// What is said of a room, and what the client has of it then.
pub(super) struct RoomSeen {
    pub(super) room_id: OwnedRoomId,
    /// JSON; none where there is nothing to say.
    pub(super) json: Option<Vec<u8>>,
    /// Where its timeline begins, if it shows what the client was told the rest of before.
    pub(super) shown_from: Option<i64>,
    pub(super) told: RoomTold,
}

/// What is said of rooms.
#[derive(Default)]
pub(super) struct RoomsSeen {
    pieces: Vec<(OwnedRoomId, Vec<u8>)>,
    /// What the client has of them then.
    pub(super) told: Changed,
    /// Where the timelines begin that show what the client was told the rest of before.
    pub(super) shown_from: BTreeMap<i64, i64>,
}

impl Look<'_> {
    /// Takes the look; none where a change of memberships is seen that lies behind the head, so that
    /// it has to begin anew.
    pub(super) async fn take(&self) -> Result<Option<Seen>, SyncError> {
        let people = &self.sync.rooms.people;
        let memberships = people.of(self.request.session.user_nid).await?;
        if memberships.values().any(|it| it.position > self.until) {
            return Ok(None);
        }
        let chosen = self.choose(&memberships).await?;
        let mut extras = Extras::look(self).await?;
        let mut rooms = self.rooms(&memberships, &chosen).await?;
        let beside = self.beside(&chosen, &mut extras, &mut rooms).await?;
        Ok(Some(Seen {
            point: self.reached(),
            counts: chosen.counts,
            rooms: rooms.pieces,
            told: rooms.told,
            keys_changed: self.keys_changed(&extras),
            extras,
            beside,
        }))
    }

    /// Looks at the rooms of which there may be something to say.
    async fn rooms(
        &self,
        memberships: &Memberships,
        chosen: &Chosen,
    ) -> Result<RoomsSeen, SyncError> {
        let mut rooms = RoomsSeen::default();
        for (nid, sum) in &chosen.rooms {
            let Some(member) = memberships.get(nid) else {
                continue;
            };
            let position = chosen.positions.get(nid).copied();
            let position = position.unwrap_or(member.position);
            if !self.has_news(*nid, (member, position), sum) && !self.has_read(*nid, chosen).await?
            {
                continue;
            }
            if let Some(seen) = self.room(*nid, member, sum).await? {
                rooms
                    .pieces
                    .extend(seen.json.map(|json| (seen.room_id, json)));
                rooms
                    .shown_from
                    .extend(seen.shown_from.map(|from| (*nid, from)));
                rooms.told.insert(*nid, seen.told);
            }
        }
        Ok(rooms)
    }

    /// Whether the person has read in a room since the client was told of it, so that less may be
    /// unread.
    async fn has_read(&self, nid: i64, chosen: &Chosen) -> Result<bool, SyncError> {
        let changed = chosen.receipts.get(&nid).copied().unwrap_or_default();
        let Some(told) = self.told.get(&nid).filter(|told| told.up_to < changed) else {
            return Ok(false);
        };
        let (user_nid, since) = (self.request.session.user_nid, (told.up_to, self.until));
        Ok(self.sync.receipts.has_read(nid, user_nid, since).await?)
    }

    /// Whether there may be something to say of a room.
    fn has_news(&self, nid: i64, (member, position): (&RoomMembership, i64), sum: &Sum) -> bool {
        let Some(told) = self.told.get(&nid) else {
            return true;
        };
        let standing = Standing::of(&member.membership);
        let grows = || {
            let wants_more =
                !Arc::ptr_eq(&told.wanted, &sum.wanted) && !told.wanted.includes(&sum.wanted);
            sum.limit > told.newest || wants_more
        };
        standing != told.standing
            || position > told.up_to
            || (matches!(standing, Standing::Joined | Standing::Out) && grows())
            || self.direct.contains(&nid) != told.is_dm
    }

    fn keys_changed(&self, extras: &Extras) -> bool {
        let told = &self.connection.state().keys;
        let differ = told.as_ref().is_some_and(|told| *told != extras.keys);
        differ && self.request.body.extensions.wants_e2ee()
    }

    /// Where the answer takes the client, but for its mark.
    fn reached(&self) -> Point {
        let asked = &self.request.body.extensions;
        let up_to = |is_asked: bool, before| if is_asked { self.until } else { before };
        Point {
            mark: 0,
            position: self.until,
            data: up_to(asked.account_data().is_some(), self.point.data),
            devices: up_to(asked.wants_e2ee(), self.point.devices),
        }
    }

    /// Up to where the client was answered; none where it begins.
    pub(super) fn from(&self) -> Option<i64> {
        (self.point.mark != 0).then_some(self.point.position)
    }

    /// Who asks.
    pub(super) fn user_id(&self) -> &UserId {
        &self.request.session.user_id
    }

    /// Who asks, and when.
    pub(super) fn reader(&self) -> Reader<'_> {
        let session = &self.request.session;
        Reader {
            user_nid: session.user_nid,
            user_id: &session.user_id,
            device_id: session.device_id.as_deref(),
            now_ms: self.now_ms,
        }
    }
}
