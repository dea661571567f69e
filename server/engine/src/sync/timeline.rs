//! The newest events of a room that an answer shows, from memory as far as it reaches.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use hearth_storage::tables::events as rows;
use hearth_storage::tables::intern::StateKeyRow;

use super::filter::EventFilter;
use crate::json::Json;
use crate::rooms::Rooms;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::form::EventForm;
use crate::rooms::page::ANSWER_BYTES;
use crate::rooms::place::state_key_row;
use crate::rooms::serve::Reader;
use crate::rooms::view::Shown;
use crate::rooms::viewpoint::Viewpoint;
use crate::state::StateMap;

/// Events read from the database at a time.
const PAGE: i64 = 200;

/// Pages read for one timeline. What lies further back is left to `/messages`.
const PAGES_MAX: usize = 10;

/// What a reader is told of an event besides, about.
const UNSIGNED_BYTES: usize = 128;

/// How many bytes of events an answer has space for. What a room has no space for lies in a gap of its
/// timeline, as what is beyond the client's limit does.
pub(super) struct Space(AtomicUsize);

impl Space {
    /// That of an answer with nothing in it.
    pub(super) fn whole() -> Self {
        Self(AtomicUsize::new(ANSWER_BYTES))
    }

    /// Takes some of it, if there is so much left. An answer is made by one task.
    fn take(&self, bytes: usize) -> bool {
        let left = self.0.load(Ordering::Relaxed).checked_sub(bytes);
        if let Some(left) = left {
            self.0.store(left, Ordering::Relaxed);
        }
        left.is_some()
    }
}

/// The part of a room's live order that an answer is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The client has everything up to here; 0 is the beginning.
    pub(super) after: i64,
    /// The answer is bounded by this.
    pub(super) until: i64,
}

/// The events that an answer shows of a room.
#[derive(Debug)]
pub(super) struct Timeline {
    /// Oldest first.
    pub(super) events: Vec<Shown>,
    /// Whether there is more between what the client has and these.
    pub(super) limited: bool,
    /// History before the timeline begins at this horizon.
    pub(super) horizon: i64,
}

impl Timeline {
    /// Keeps of the timeline what clients can fill the state from. A change of state that does not hold at
    /// the end lies in a gap, with all before it: on a fork another one won, or the reader does not see,
    /// or does not want, what came after it.
    ///
    /// spec: client-server v1.19 §Syncing: the state at the end is `state` with the timeline applied.
    pub(super) async fn add_up(
        &mut self,
        rooms: &Rooms,
        end: &StateMap,
        span: Span,
    ) -> Result<(), RoomError> {
        let events = self.events.iter().enumerate().rev();
        let changes: Vec<(usize, i64, StateKeyRow)> = events
            .filter_map(|(at, shown)| {
                let event = &shown.known.event;
                let place = state_key_row(event.kind(), event.state_key()?);
                Some((at, shown.known.nid, place))
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = changes.iter().map(|(.., place)| place.clone()).collect();
        let keys = rooms.ctx.storage.state_keys_intern(&places).await?;
        let mut newest = BTreeSet::new();
        let mut newest_first = changes.iter().zip(keys);
        let lost = newest_first
            .find(|((_, nid, _), key)| newest.insert(*key) && end.get(*key) != Some(*nid));
        if let Some(((at, ..), _)) = lost {
            self.events.drain(..=*at);
            self.limited = true;
            let first = self.events.first();
            self.horizon = first.map_or(span.until + 1, |shown| shown.position);
        }
        Ok(())
    }
}

/// Reads the timeline of a span: the newest event that is wanted, and those before it for which there is
/// space.
pub(super) async fn read(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    span: Span,
    (filter, space): (&EventFilter, &Space),
) -> Result<Timeline, RoomError> {
    let mut timeline = Timeline {
        events: Vec::new(),
        limited: false,
        horizon: span.until + 1,
    };
    if !filter.wants_room(&viewpoint.room.id) {
        return Ok(timeline);
    }
    let (mut candidates, mut complete) = in_memory(viewpoint, span, filter);
    let (limit, mut below, mut at_creation) = (filter.limit(), span.until + 1, false);
    for _ in 0..PAGES_MAX {
        for shown in std::mem::take(&mut candidates) {
            if timeline.events.len() >= limit {
                timeline.limited = true;
                break;
            }
            below = shown.position;
            at_creation = shown.known.event.is_state_of("m.room.create", "");
            // Also for who was joined all the time: on a fork that arrives late they may not be.
            if filter.wants(&shown.known) && rooms.sees(viewpoint, &shown.known).await? {
                if !space.take(shown.json.len()) && !timeline.events.is_empty() {
                    timeline.limited = true;
                    break;
                }
                timeline.events.push(shown);
            }
        }
        if complete || timeline.limited {
            break;
        }
        candidates = stored(rooms, viewpoint, span.after, below - 1).await?;
        complete = candidates.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
    }
    // What was not looked at, and history from before this server was in the room.
    timeline.limited |= !complete || !candidates.is_empty() || (span.after == 0 && !at_creation);
    timeline.events.reverse();
    if let Some(first) = timeline.events.first() {
        timeline.horizon = first.position;
    }
    Ok(timeline)
}

/// The newest events of a span that are in memory, one more than is wanted of them, newest first, and
/// whether these are all of the span.
fn in_memory(viewpoint: &Viewpoint, span: Span, filter: &EventFilter) -> (Vec<Shown>, bool) {
    let live = viewpoint.room.live();
    let oldest = live.timeline.front().map(|shown| shown.position);
    let reaches = oldest.is_some_and(|oldest| oldest <= span.after);
    let complete = reaches || !live.older;
    let of_span = live
        .timeline
        .iter()
        .rev()
        .skip_while(|shown| shown.position > span.until)
        .take_while(|shown| shown.position > span.after);
    let (mut found, mut wanted) = (Vec::new(), 0);
    for shown in of_span {
        if wanted > filter.limit() {
            return (found, false);
        }
        wanted += usize::from(filter.wants(&shown.known));
        found.push(shown.clone());
    }
    (found, complete)
}

async fn stored(
    rooms: &Rooms,
    viewpoint: &Viewpoint,
    after: i64,
    up_to: i64,
) -> Result<Vec<Shown>, RoomError> {
    let room = &viewpoint.room;
    let mut reader = rooms.ctx.storage.read().await?;
    let stored = rows::live_events(reader.conn(), room.nid, after, up_to, PAGE).await?;
    drop(reader);
    let known = rooms.known.in_order(room.rules, &stored).await?;
    Ok(known
        .into_iter()
        .filter_map(|known| {
            Some(Shown {
                position: known.live_position?,
                json: client_event::open(&known.event),
                known,
                current: None,
            })
        })
        .collect())
}

/// Writes the events of a timeline as a reader is served them as a list, oldest first.
pub(super) async fn serve(
    json: &mut Json,
    (rooms, viewpoint): (&Rooms, &Viewpoint),
    (reader, form): (&Reader<'_>, EventForm<'_>),
    timeline: &Timeline,
) -> Result<(), RoomError> {
    let shown = || timeline.events.iter().map(|shown| &shown.known);
    let mut txn_ids = rooms.txn_ids(reader, shown()).await?;
    let mut bundles = rooms.bundles(reader, viewpoint, shown()).await?;
    let lengths = timeline.events.iter().map(|shown| shown.json.len());
    json.expect(lengths.map(|length| length + UNSIGNED_BYTES).sum());
    json.open_list();
    for shown in &timeline.events {
        let mut unsigned = rooms
            .unsigned_of_timeline(reader, viewpoint, &shown.known)
            .await?;
        unsigned.relations = bundles.remove(&shown.known.nid);
        unsigned.transaction_id = txn_ids.remove(&shown.known.nid);
        let known = rooms.as_shown_to(viewpoint, &shown.known).await?;
        json.raw_by(|out| match &known {
            Cow::Borrowed(known) => form.write(&known.event, &shown.json, &unsigned, out),
            Cow::Owned(known) => form.write_whole(&known.event, &unsigned, out),
        });
    }
    json.close_list();
    Ok(())
}
