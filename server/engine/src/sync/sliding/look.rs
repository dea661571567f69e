//! One look at what is new on a connection, bounded by the head of the log as it was when the look
//! began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_types::ruma::{OwnedRoomId, UserId};

use super::super::{ClientSync, SyncError};
use super::connections::Connection;
use super::extensions::{Extras, RoomsData};
use super::lists::{Chosen, Rules, Sum};
use super::marks::Direct;
use super::request::{Asked, SlidingRequest};
use super::told::{Point, RoomTold, Standing, Told};
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
    /// The head of the log.
    pub(super) until: i64,
    /// The time.
    pub(super) now_ms: i64,
    /// The direct rooms.
    pub(super) direct: Arc<Direct>,
}

/// What a look found.
pub(super) struct Seen {
    /// The head of the log.
    pub(super) until: i64,
    /// How many rooms are in each list.
    pub(super) counts: Vec<usize>,
    /// What is said of rooms.
    pub(super) rooms: Vec<(OwnedRoomId, Vec<u8>)>,
    /// What the client has of rooms once it has the answer, where that is not what it had.
    pub(super) told: Vec<(i64, RoomTold)>,
    /// What there is besides.
    pub(super) extras: Extras,
    pub(super) data: RoomsData,
    /// Whether the device's keys are fewer or more than the client was told.
    keys_changed: bool,
}

impl Seen {
    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
            && self.extras.is_empty()
            && self.data.is_empty()
            && !self.keys_changed
    }
}

/// What is said of a room, and what the client has of it then.
pub(super) struct RoomSeen {
    pub(super) room_id: OwnedRoomId,
    /// JSON; none where there is nothing to say.
    pub(super) json: Option<Vec<u8>>,
    pub(super) told: RoomTold,
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
        let mut told: BTreeMap<i64, RoomTold> = BTreeMap::new();
        let mut rooms = Vec::new();
        for (nid, sum) in &chosen.rooms {
            let Some(member) = memberships.get(nid) else {
                continue;
            };
            let position = chosen
                .positions
                .get(nid)
                .copied()
                .unwrap_or(member.position);
            if !self.has_news(*nid, (member, position), sum) {
                continue;
            }
            if let Some(seen) = self.room(*nid, member, sum).await? {
                rooms.extend(seen.json.map(|json| (seen.room_id, json)));
                told.insert(*nid, seen.told);
            }
        }
        let data = self.data(&memberships, &chosen, &mut extras).await?;
        self.take_data(&data, &mut told);
        Ok(Some(Seen {
            until: self.until,
            counts: chosen.counts,
            rooms,
            told: told.into_iter().collect(),
            keys_changed: self.keys_changed(&extras),
            extras,
            data,
        }))
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

    /// The account data of the rooms that it is asked of.
    async fn data(
        &self,
        memberships: &Memberships,
        chosen: &Chosen,
        extras: &mut Extras,
    ) -> Result<RoomsData, SyncError> {
        let Some(asked) = self.request.body.extensions.account_data() else {
            return Ok(RoomsData::default());
        };
        let named = self.named(asked).await?;
        let lists = &self.request.body.lists;
        let concerned: BTreeSet<i64> = chosen
            .rooms
            .iter()
            .filter(|(nid, sum)| {
                let wants_room = || named.as_ref().is_none_or(|named| named.contains(nid));
                memberships.contains_key(nid)
                    && self
                        .rules
                        .concern(sum, lists, (asked.lists.as_deref(), wants_room))
            })
            .map(|(nid, _)| *nid)
            .collect();
        extras.of_rooms(self, &concerned).await
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

    /// Remembers of which rooms the client has the account data.
    fn take_data(&self, data: &RoomsData, told: &mut BTreeMap<i64, RoomTold>) {
        let mut set = |nid: &i64, has_data| {
            let known = told.get(nid).or_else(|| self.told.get(nid));
            if let Some(mut known) = known.cloned() {
                known.has_data = has_data;
                told.insert(*nid, known);
            }
        };
        for nid in &data.told {
            set(nid, true);
        }
        for nid in &data.missed {
            set(nid, false);
        }
    }

    fn keys_changed(&self, extras: &Extras) -> bool {
        let told = &self.connection.state().keys;
        let differ = told.as_ref().is_some_and(|told| *told != extras.keys);
        differ && self.request.body.extensions.wants_e2ee()
    }

    /// Up to where the client has everything besides rooms; none where it begins.
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
            device_id: Some(&session.device_id),
            now_ms: self.now_ms,
        }
    }
}
