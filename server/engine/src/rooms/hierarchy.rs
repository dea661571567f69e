//! What a room looks like to who considers joining it, and the rooms of a space.
//!
//! spec: client-server v1.19 §Room summaries, §Spaces (`GET …/hierarchy`).

use std::collections::BTreeSet;

use hearth_storage::tables::state as state_rows;
use hearth_types::ruma::{OwnedRoomId, RoomId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::rooms::Rooms;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::summary::RoomSummary;
use crate::rooms::view::{Room, SharedRoom};

/// The state that makes a room part of a space.
const CHILD: &str = "m.space.child";

/// Rooms that one walk through a space passes.
const WALKED_MAX: usize = 1_000;

/// Rooms of one space that are looked at.
const CHILDREN_MAX: usize = 500;

/// The longest `order` of a child.
const ORDER_BYTES_MAX: usize = 50;

/// A room as somebody sees it from outside.
#[derive(Debug, Serialize)]
pub struct SummaryAnswer {
    /// What everybody is shown.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// How many people are joined.
    pub num_joined_members: i64,
    /// Its version.
    pub room_version: &'static str,
    /// The rooms whose members may join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_room_ids: Vec<OwnedRoomId>,
    /// The asker's membership.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<String>,
}

/// A room of a space.
#[derive(Debug, Serialize)]
pub struct SpaceRoom {
    /// The room.
    #[serde(flatten)]
    pub summary: SummaryAnswer,
    /// The events that name its own children, stripped.
    pub children_state: Vec<Box<RawValue>>,
}

/// What is asked of a space.
#[derive(Debug, Clone, Copy)]
pub struct HierarchyAsk {
    /// Whether only rooms are wanted that are suggested.
    pub suggested_only: bool,
    /// How far children of children are followed.
    pub max_depth: usize,
    /// Rooms to pass before the page begins.
    pub skip: usize,
    /// At most so many rooms.
    pub limit: usize,
}

/// A page of a space's rooms.
#[derive(Debug)]
pub struct HierarchyPage {
    /// The rooms, each before its children.
    pub rooms: Vec<SpaceRoom>,
    /// Rooms to pass before the next page begins; none where there is none.
    pub next: Option<usize>,
}

/// A child as its space names it.
#[derive(Debug, Default, Deserialize)]
struct Child {
    #[serde(default)]
    via: Vec<String>,
    #[serde(default)]
    order: Option<String>,
    #[serde(default)]
    suggested: bool,
}

impl Child {
    fn read(known: &Known) -> Option<(OwnedRoomId, Self)> {
        let room_id = RoomId::parse(known.event.state_key()?).ok()?;
        let mut child: Self = serde_json::from_str(known.event.content()).ok()?;
        let is_valid = |via: &String| ServerName::parse(via.as_str()).is_ok();
        if !child.via.iter().any(is_valid) {
            return None;
        }
        let orders = |order: &String| {
            order.len() <= ORDER_BYTES_MAX && order.bytes().all(|b| (0x20..=0x7e).contains(&b))
        };
        child.order = child.order.filter(orders);
        Some((room_id, child))
    }
}

impl Rooms {
    /// What a room looks like to somebody (or anybody) who may consider joining it.
    ///
    /// # Errors
    /// `NotFound`, also for rooms that the asker may not know of.
    pub async fn room_summary(
        &self,
        asker: Option<(i64, &UserId)>,
        room_id: &RoomId,
    ) -> Result<SummaryAnswer, RoomError> {
        let room = self.room(room_id).await?;
        let state = room.live().current.clone();
        let summary = self.summary(&room, &state).await?;
        let membership = self.asker_membership(&room, asker).await?;
        let is_open = matches!(
            summary.join_rule.as_str(),
            "public" | "knock" | "knock_restricted"
        );
        let is_in = matches!(membership.as_deref(), Some("join" | "invite" | "knock"));
        let may_know = summary.world_readable || is_open || is_in;
        if !may_know && !self.may_join_by_condition(&room, asker).await? {
            return Err(RoomError::NotFound("the room"));
        }
        let mut reader = self.ctx.storage.read().await?;
        let joined = state_rows::joined_count(reader.conn(), room.nid).await?;
        drop(reader);
        Ok(SummaryAnswer {
            num_joined_members: joined,
            room_version: room.rules.id,
            allowed_room_ids: self.allowed_rooms(&room, &state).await?,
            membership,
            summary,
        })
    }

    async fn asker_membership(
        &self,
        room: &Room,
        asker: Option<(i64, &UserId)>,
    ) -> Result<Option<String>, RoomError> {
        let Some((user_nid, _)) = asker else {
            return Ok(None);
        };
        let rooms = self.people.of(user_nid).await?;
        let known = rooms.get(&room.nid).map(|known| known.membership.clone());
        Ok(Some(known.unwrap_or("leave".to_owned())))
    }

    async fn may_join_by_condition(
        &self,
        room: &SharedRoom,
        asker: Option<(i64, &UserId)>,
    ) -> Result<bool, RoomError> {
        let Some((_, user)) = asker else {
            return Ok(false);
        };
        match self.voucher(room, user).await {
            Ok(voucher) => Ok(voucher.is_some()),
            Err(RoomError::UnableToGrantJoin) => Ok(true),
            Err(RoomError::Storage(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// A page of the rooms of a space that somebody may know of, each before its children.
    ///
    /// # Errors
    /// `Forbidden` for a space that they may not know of.
    pub async fn hierarchy(
        &self,
        (user_nid, user): (i64, &UserId),
        room_id: &RoomId,
        ask: HierarchyAsk,
    ) -> Result<HierarchyPage, RoomError> {
        let asker = Some((user_nid, user));
        let mut page = HierarchyPage {
            rooms: Vec::new(),
            next: None,
        };
        let mut waiting = vec![(room_id.to_owned(), 0)];
        let (mut seen, mut passed) = (BTreeSet::new(), 0);
        while let Some((room_id, depth)) = waiting.pop() {
            if !seen.insert(room_id.clone()) || seen.len() > WALKED_MAX {
                continue;
            }
            let summary = match self.room_summary(asker, &room_id).await {
                Ok(summary) => summary,
                Err(RoomError::NotFound(_)) if depth > 0 => continue,
                Err(RoomError::NotFound(_)) => {
                    let rule = "you may not see this space".to_owned();
                    return Err(RoomError::Forbidden(rule));
                }
                Err(error) => return Err(error),
            };
            if page.rooms.len() >= ask.limit {
                page.next = Some(passed);
                return Ok(page);
            }
            let children = match summary.summary.room_type.as_deref() {
                Some("m.space") => self.children(&room_id, ask.suggested_only).await?,
                _ => Vec::new(),
            };
            if depth < ask.max_depth {
                let below = children.iter().rev();
                waiting.extend(below.map(|(_, child, _)| (child.clone(), depth + 1)));
            }
            passed += 1;
            if passed > ask.skip {
                page.rooms.push(SpaceRoom {
                    summary,
                    children_state: children.into_iter().map(|(.., event)| event).collect(),
                });
            }
        }
        Ok(page)
    }

    /// The children that a space names, in their order: what orders them, which, and the event.
    async fn children(
        &self,
        space: &RoomId,
        suggested_only: bool,
    ) -> Result<Vec<(ChildOrder, OwnedRoomId, Box<RawValue>)>, RoomError> {
        let room = self.room(space).await?;
        let state = room.live().current.clone();
        let events = self.events_of_kind(&room, &state, CHILD).await?;
        let mut children: Vec<_> = events
            .iter()
            .filter_map(|known| {
                let (room_id, child) = Child::read(known)?;
                let is_wanted = child.suggested || !suggested_only;
                let order = ChildOrder {
                    is_unordered: child.order.is_none(),
                    order: child.order.unwrap_or_default(),
                    time_ms: known.event.origin_server_ts(),
                    room_id: room_id.clone(),
                };
                let event = client_event::stripped_with_time(&known.event);
                is_wanted.then_some((order, room_id, event))
            })
            .collect();
        children.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        children.truncate(CHILDREN_MAX);
        Ok(children)
    }
}

/// The order of a space's children: by `order` where they have one, then by time, then by id.
///
/// spec: client-server v1.19 §Ordering of children within a space.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ChildOrder {
    is_unordered: bool,
    order: String,
    time_ms: i64,
    room_id: OwnedRoomId,
}
