//! The state that an answer gives of a room: all of it, or what changed.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::Membership;
use hearth_storage::tables::state as rows;
use hearth_types::ruma::UserId;

use super::filter::RoomFilter;
use super::timeline::{Span, Timeline};
use super::told::Told;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::view::Room;
use crate::rooms::viewpoint::Viewpoint;
use crate::state::StateMap;

/// Whether `state` (as of the start of the timeline) or `state_after` (as of its end) is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateAt {
    /// `state`: clients add the timeline's state events themselves.
    #[default]
    Start,
    /// `state_after`.
    End,
    /// `org.matrix.msc4222.state_after`: the same under the name it had first.
    EndUnstable,
}

impl StateAt {
    /// The key under which it is answered.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Start => "state",
            Self::End => "state_after",
            Self::EndUnstable => "org.matrix.msc4222.state_after",
        }
    }
}

/// How state is chosen.
pub(super) struct Choice<'a> {
    /// What the client wants.
    pub(super) filter: &'a RoomFilter,
    /// As of when.
    pub(super) at: StateAt,
    /// Whether the client needs all of it.
    pub(super) full: bool,
    /// People whose members are sent also where members are sent lazily.
    pub(super) people: BTreeSet<&'a UserId>,
    /// The member events that the client has.
    pub(super) told: &'a Told,
}

impl Choice<'_> {
    /// Whether a client that is sent members lazily does without one.
    fn is_redundant(&self, event_nid: i64) -> bool {
        !self.full && !self.filter.is_redundant() && self.told.has(event_nid)
    }
}

/// Places of a state, and what holds them.
pub(super) type Changes = BTreeMap<i64, i64>;

/// What changed in a room's state over a span.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// What holds now.
    pub(super) held: Changes,
    /// The places that state resolution left empty. Clients cannot be told of them, but of what follows:
    /// that fewer people are in the room.
    pub(super) emptied: Vec<i64>,
}

impl Changed {
    fn of(changes: impl Iterator<Item = (i64, Option<i64>)>) -> Self {
        let mut changed = Self::default();
        for (key, now) in changes {
            match now {
                Some(now) => drop(changed.held.insert(key, now)),
                None => changed.emptied.push(key),
            }
        }
        changed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.emptied.is_empty()
    }

    /// Whether it may matter to who is in the room.
    pub(super) async fn has_members(&self, rooms: &Rooms) -> Result<bool, RoomError> {
        let keys = self.held.keys().chain(&self.emptied).copied();
        Ok(!members(rooms, keys).await?.is_empty())
    }
}

/// The state of a room at the end of a span.
pub(super) fn end(viewpoint: &Viewpoint, span: Span) -> StateMap {
    if viewpoint.until.is_some() {
        return viewpoint.state.map.clone();
    }
    let live = viewpoint.room.live();
    let then = viewpoint.room.state_at(&live, span.until);
    then.unwrap_or_else(|| live.current.map.clone())
}

/// What changed over a span.
pub(super) async fn changes(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    span: Span,
    end: &StateMap,
    full: bool,
) -> Result<Changed, RoomError> {
    if full {
        return Ok(Changed {
            held: end.entries().into_iter().collect(),
            emptied: Vec::new(),
        });
    }
    let room = &viewpoint.room;
    let start = room.state_at(&room.live(), span.after);
    if let Some(start) = start {
        let differences = start.differences(end).into_iter();
        return Ok(Changed::of(differences.map(|(key, _, now)| (key, now))));
    }
    let mut reader = rooms.ctx.storage.read().await?;
    let stored = rows::state_changes(reader.conn(), room.nid, span.after, span.until).await?;
    Ok(Changed::of(stored.into_iter()))
}

/// Of places, those of members.
async fn members(
    rooms: &Rooms,
    keys: impl Iterator<Item = i64>,
) -> Result<BTreeSet<i64>, RoomError> {
    of_kind(rooms, keys, |kind| kind == MEMBER).await
}

/// Of places, those of a kind.
async fn of_kind(
    rooms: &Rooms,
    keys: impl Iterator<Item = i64>,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeSet<i64>, RoomError> {
    let keys: Vec<i64> = keys.collect();
    let names = rooms.ctx.storage.state_keys(&keys).await?;
    Ok(keys
        .into_iter()
        .zip(names)
        .filter(|(_, row)| wanted(&String::from_utf8_lossy(&row.kind)))
        .map(|(key, _)| key)
        .collect())
}

/// The state events of an answer.
pub(super) async fn choose(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    changes: Changes,
    timeline: &Timeline,
    choice: &Choice<'_>,
    end: &StateMap,
) -> Result<Vec<Known>, RoomError> {
    let filter = &choice.filter.state;
    if !filter.wants_room(&viewpoint.room.id) {
        return Ok(Vec::new());
    }
    let mut chosen = changes;
    let mut speakers = BTreeSet::new();
    if choice.filter.is_lazy() {
        speakers = lazily(rooms, choice, timeline, end, &mut chosen).await?;
    }
    if !filter.wants_all_types() {
        let wanted = of_kind(rooms, chosen.keys().copied(), |kind| {
            filter.wants_type(kind)
        })
        .await?;
        chosen.retain(|key, _| wanted.contains(key));
    }
    if choice.at == StateAt::Start {
        as_of_start(rooms, viewpoint, timeline, (choice, &speakers), &mut chosen).await?;
    }
    let mut nids: Vec<i64> = chosen.into_values().collect();
    nids.sort_unstable();
    let mut events = rooms.known.in_order(viewpoint.room.rules, &nids).await?;
    events.retain(|known| filter.wants(known));
    Ok(events)
}

/// Leaves of all members those who matter, and adds those who matter and did not change. Gives the
/// places of people who speak in the timeline before it says who they are.
async fn lazily(
    rooms: &Rooms,
    choice: &Choice<'_>,
    timeline: &Timeline,
    end: &StateMap,
    chosen: &mut Changes,
) -> Result<BTreeSet<i64>, RoomError> {
    let people = keys_of(rooms, &choice.people).await?;
    if choice.full {
        let members = members(rooms, chosen.keys().copied()).await?;
        chosen.retain(|key, _| people.contains(key) || !members.contains(key));
    }
    for key in people {
        if let Some(event) = end.get(key)
            && !choice.is_redundant(event)
        {
            chosen.entry(key).or_insert(event);
        }
    }
    let mut introduced = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    for shown in &timeline.events {
        let event = &shown.known.event;
        if event.kind() == MEMBER {
            introduced.extend(event.state_key());
        }
        if !introduced.contains(event.sender().as_str()) {
            unknown.insert(event.sender());
        }
    }
    keys_of(rooms, &unknown).await
}

/// Turns places that the timeline fills back to what held them before it: the client fills them
/// itself, in the order of the timeline. Without a gap it knows what held them before, but for
/// speakers whom it was not told of.
async fn as_of_start(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    timeline: &Timeline,
    (choice, speakers): (&Choice<'_>, &BTreeSet<i64>),
    chosen: &mut Changes,
) -> Result<(), RoomError> {
    let Some(first) = timeline.events.first() else {
        return Ok(());
    };
    let filled = filled(rooms, timeline).await?;
    let has_gap = choice.full || timeline.limited;
    let before = match !filled.is_empty() && (has_gap || !speakers.is_disjoint(&filled)) {
        true => Some(rooms.resolved_before(&viewpoint.room, &first.known).await?),
        false => None,
    };
    for key in filled {
        let was = before.as_ref().and_then(|before| before.map.get(key));
        let is_needed = |event: i64| {
            (has_gap && chosen.contains_key(&key))
                || (speakers.contains(&key) && !choice.is_redundant(event))
        };
        match was.filter(|event| is_needed(*event)) {
            Some(event) => chosen.insert(key, event),
            None => chosen.remove(&key),
        };
    }
    Ok(())
}

/// The places that a timeline fills.
async fn filled(rooms: &Rooms, timeline: &Timeline) -> Result<BTreeSet<i64>, RoomError> {
    let filled: Vec<_> = timeline
        .events
        .iter()
        .filter_map(|shown| {
            let event = &shown.known.event;
            Some(state_key_row(event.kind(), event.state_key()?))
        })
        .collect();
    let filled = rooms.ctx.storage.state_keys_intern(&filled).await?;
    Ok(filled.into_iter().collect())
}

/// The member events that an answer tells: those of its state, and where clients fill the state from
/// the timeline, those too.
pub(super) fn told(at: StateAt, state: &[Known], timeline: &Timeline) -> Vec<i64> {
    let is_member = |known: &&Known| known.event.kind() == MEMBER && known.event.is_state();
    let shown = match at {
        StateAt::Start => timeline.events.as_slice(),
        StateAt::End | StateAt::EndUnstable => &[],
    };
    let shown = shown.iter().map(|shown| &shown.known);
    let told = state.iter().chain(shown).filter(is_member);
    told.map(|known| known.nid).collect()
}

/// Whether somebody, by the place of their member event, was joined to a room at a position.
pub(super) async fn was_joined(
    rooms: &Rooms,
    room: &Room,
    user_key: i64,
    position: i64,
) -> Result<bool, RoomError> {
    let then = room.state_at(&room.live(), position);
    let member = match then {
        Some(state) => state.get(user_key),
        None => {
            let mut reader = rooms.ctx.storage.read().await?;
            rows::state_event_at(reader.conn(), room.nid, user_key, position).await?
        }
    };
    let Some(member) = member else {
        return Ok(false);
    };
    let member = rooms
        .known
        .by_nid(room.rules, &[member])
        .await?
        .into_values()
        .next();
    let membership = member.and_then(|member| member.event.member()?.membership);
    Ok(membership == Some(Membership::Join))
}

/// The places of people's member events.
pub(super) async fn keys_of(
    rooms: &Rooms,
    people: &BTreeSet<&UserId>,
) -> Result<BTreeSet<i64>, RoomError> {
    let keys: Vec<_> = people
        .iter()
        .map(|user| state_key_row(MEMBER, user.as_str()))
        .collect();
    let keys = rooms.ctx.storage.state_keys_intern(&keys).await?;
    Ok(keys.into_iter().collect())
}

/// The type of member events.
pub(super) const MEMBER: &str = "m.room.member";
