//! The state that an answer gives of a room: all of it, or what changed.

use std::collections::{BTreeMap, BTreeSet};

use hearth_storage::tables::state as rows;
use hearth_types::ruma::UserId;

use super::filter::RoomFilter;
use super::timeline::{Span, Timeline};
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
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
    pub(super) fn key(self) -> &'static str {
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
}

/// What changed in a room's state over a span: the place, and what holds it now.
pub(super) type Changes = BTreeMap<i64, i64>;

/// The state of a room at the end of a span.
pub(super) fn end(viewpoint: &Viewpoint, span: Span) -> StateMap {
    if viewpoint.until.is_some() {
        return viewpoint.state.map.clone();
    }
    let live = viewpoint.room.live();
    let then = viewpoint.room.state_at(&live, span.until);
    then.unwrap_or_else(|| live.current.map.clone())
}

/// What changed over a span. What state resolution left empty cannot be told to clients.
pub(super) async fn changes(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    span: Span,
    end: &StateMap,
    full: bool,
) -> Result<Changes, RoomError> {
    if full {
        return Ok(end.entries().into_iter().collect());
    }
    let room = &viewpoint.room;
    let start = room.state_at(&room.live(), span.after);
    if let Some(start) = start {
        let differences = start.differences(end).into_iter();
        return Ok(differences
            .filter_map(|(key, _, now)| Some((key, now?)))
            .collect());
    }
    let mut reader = rooms.ctx.storage.read().await?;
    let stored = rows::state_changes(reader.conn(), room.nid, span.after, span.until).await?;
    Ok(stored
        .into_iter()
        .filter_map(|(key, now)| Some((key, now?)))
        .collect())
}

/// The kinds of places: `m.room.member` and so on, as far as they are UTF-8.
pub(super) async fn kinds(
    rooms: &Rooms,
    keys: &Changes,
) -> Result<BTreeMap<i64, String>, RoomError> {
    let keys: Vec<i64> = keys.keys().copied().collect();
    let names = rooms.ctx.storage.state_keys(&keys).await?;
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    Ok(keys
        .into_iter()
        .zip(names)
        .map(|(key, row)| (key, name(&row.kind)))
        .collect())
}

/// The state events of an answer.
pub(super) async fn choose(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    (changes, kinds): (&Changes, &BTreeMap<i64, String>),
    timeline: &Timeline,
    choice: &Choice<'_>,
    end: &StateMap,
) -> Result<Vec<Known>, RoomError> {
    let people = keys_of(rooms, &choice.people).await?;
    let lazy = choice.filter.is_lazy();
    let mut chosen: Changes = changes
        .iter()
        .filter(|(key, _)| {
            let kind = kinds.get(*key).map_or("", String::as_str);
            let unneeded = lazy && choice.full && kind == MEMBER && !people.contains(*key);
            !unneeded && choice.filter.state.wants_type(kind)
        })
        .map(|(key, event)| (*key, *event))
        .collect();
    if lazy && choice.filter.state.wants_type(MEMBER) {
        chosen.extend(
            people
                .into_iter()
                .filter_map(|key| Some((key, end.get(key)?))),
        );
    }
    if choice.at == StateAt::Start {
        as_of_start(rooms, viewpoint, timeline, choice.full, &mut chosen).await?;
    }
    let nids: Vec<i64> = chosen.into_values().collect();
    let events = rooms.known.by_nid(viewpoint.room.rules, &nids).await?;
    Ok(events
        .into_values()
        .filter(|known| choice.filter.state.wants(known))
        .collect())
}

/// Turns places that the timeline fills back to what held them before it: the client fills them
/// itself, in the order of the timeline.
async fn as_of_start(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    timeline: &Timeline,
    full: bool,
    chosen: &mut Changes,
) -> Result<(), RoomError> {
    let Some(first) = timeline.events.first() else {
        return Ok(());
    };
    let filled: Vec<_> = timeline
        .events
        .iter()
        .filter_map(|shown| {
            let event = &shown.known.event;
            Some(state_key_row(event.kind(), event.state_key()?))
        })
        .collect();
    if filled.is_empty() {
        return Ok(());
    }
    let filled = rooms.ctx.storage.state_keys_intern(&filled).await?;
    // Without a gap the client knows what held these places before.
    let before = match full || timeline.limited {
        true => Some(rooms.resolved_before(&viewpoint.room, &first.known).await?),
        false => None,
    };
    for key in filled {
        match before.as_ref().and_then(|before| before.map.get(key)) {
            Some(event) if chosen.contains_key(&key) => drop(chosen.insert(key, event)),
            _ => drop(chosen.remove(&key)),
        }
    }
    Ok(())
}

async fn keys_of(rooms: &Rooms, people: &BTreeSet<&UserId>) -> Result<BTreeSet<i64>, RoomError> {
    let keys: Vec<_> = people
        .iter()
        .map(|user| state_key_row(MEMBER, user.as_str()))
        .collect();
    let keys = rooms.ctx.storage.state_keys_intern(&keys).await?;
    Ok(keys.into_iter().collect())
}

/// The type of member events.
pub(super) const MEMBER: &str = "m.room.member";
