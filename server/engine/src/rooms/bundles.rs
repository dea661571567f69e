//! What others say of an event, told with it: its newest edit, its thread, what refers to it.
//!
//! A commit writes a row for each event that relates to another, and a room in memory knows which of
//! its newest events have any: for all others, nothing is looked up.
//!
//! spec: client-server v1.19 §Aggregations of child events.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hearth_storage::tables::relations::{self as rows, RelationGone, RelationRow};
use hearth_types::ruma::{EventId, OwnedEventId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::rooms::Rooms;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Plan;
use crate::rooms::relates_to::{REFERENCE, REPLACE, RelatesTo, THREAD};
use crate::rooms::serve::Reader;
use crate::rooms::threads::may_be_root;
use crate::rooms::view::Live;
use crate::rooms::viewpoint::Viewpoint;

/// Of what relates to an event in one way, what is looked at first, counted from the newest.
const NEWEST: Range<i64> = 0..50;

/// What is looked at besides, where the reader may see none of the newest. References are all to be
/// told; that ends here, so that nobody makes an event grow without end. `/relations` has the others.
///
/// spec: client-server v1.19 §Server-side aggregation of `m.reference`.
const OLDER: Range<i64> = 50..500;

/// Events of one page of which more than the newest is looked at: a page holds up to a thousand events.
const DEEPER_MAX: usize = 10;

/// What is told with events, by their local ids: `m.relations`.
pub type Bundles = BTreeMap<i64, Box<RawValue>>;

/// What relates to events, as far as a reader may see it, by the id of the event that is named and
/// the kind of relation, the newest first.
pub(super) type RelatedEvents = BTreeMap<(String, String), Vec<Known>>;

#[derive(Debug, Default, Serialize)]
struct Bundle {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Box<RawValue>>,
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    thread: Option<Thread>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
}

#[derive(Debug, Serialize)]
struct Thread {
    latest_event: Box<RawValue>,
    count: i64,
    current_user_participated: bool,
}

#[derive(Debug, Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Debug, Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

impl Plan<'_> {
    /// Records what an accepted event relates to, and whether others relate to it already.
    pub(super) async fn relate(&mut self, known: &Known, is_new: bool) -> Result<(), RoomError> {
        if let Some(relation) = RelatesTo::of(&known.event) {
            self.commit.rows.relations.push(RelationRow {
                event_nid: known.nid,
                room_nid: self.room.nid,
                target_id: relation.event_id.to_string(),
                rel_type: relation.rel_type,
                depth: known.depth,
            });
            self.effects.related.push(relation.event_id);
        }
        if !is_new {
            let id = known.event.event_id();
            let mut reader = self.rooms.ctx.storage.read().await?;
            let related = rows::related(reader.conn(), self.room.nid, &[id.to_string()]).await?;
            if !related.is_empty() {
                self.effects.related.push(id.to_owned());
            }
        }
        Ok(())
    }

    /// A redacted event relates to nothing.
    pub(super) fn unrelate(&mut self, target: &Known) {
        if RelatesTo::of(&target.event).is_some() {
            let event_nid = target.nid;
            self.commit
                .rows
                .relations_gone
                .push(RelationGone { event_nid });
        }
    }
}

impl Rooms {
    /// What is told with events of a timeline, as far as the reader may see it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn bundles<'k>(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        events: impl Iterator<Item = &'k Known>,
    ) -> Result<Bundles, RoomError> {
        let candidates: Vec<&Known> = {
            let live = viewpoint.room.live();
            events.filter(|known| live.may_be_related(known)).collect()
        };
        if candidates.is_empty() {
            return Ok(Bundles::new());
        }
        // Boxed: a future is moved with all that it may become, and this one is large.
        Box::pin(self.read_bundles(reader, viewpoint, candidates)).await
    }

    async fn read_bundles(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        candidates: Vec<&Known>,
    ) -> Result<Bundles, RoomError> {
        let ids = candidates.iter().map(|known| known.event.event_id());
        let ids: Vec<String> = ids.map(|id| id.as_str().to_owned()).collect();
        let mut conn = self.ctx.storage.read().await?;
        let related = rows::related(conn.conn(), viewpoint.room.nid, &ids).await?;
        if related.is_empty() {
            return Ok(Bundles::new());
        }
        let counts =
            rows::thread_counts(conn.conn(), viewpoint.room.nid, &related, reader.user_nid).await?;
        drop(conn);
        let others = self.related_events(viewpoint, &related).await?;
        let newest = others.iter().filter(|((_, kind), _)| kind == THREAD);
        let newest = newest.filter_map(|(_, replies)| replies.first());
        let newest: Vec<String> = newest
            .map(|known| known.event.event_id().to_string())
            .collect();
        let edits = self.related_events(viewpoint, &newest).await?;
        let candidates: BTreeMap<&str, &Known> = candidates
            .into_iter()
            .map(|known| (known.event.event_id().as_str(), known))
            .collect();
        let mut bundles = Bundles::new();
        for (id, known) in related
            .iter()
            .filter_map(|id| Some((id, *candidates.get(id.as_str())?)))
        {
            let mut bundle = Bundle {
                replace: self.edit(reader, viewpoint, known, &others).await?,
                reference: references(id, &others),
                thread: None,
            };
            let count = counts.iter().find(|(root, ..)| root == id);
            if let Some((_, count, theirs)) = count {
                let figures = (*count, *theirs > 0);
                let events = (&others, &edits);
                bundle.thread = self
                    .thread(reader, viewpoint, known, events, figures)
                    .await?;
            }
            let is_empty =
                bundle.replace.is_none() && bundle.thread.is_none() && bundle.reference.is_none();
            if let Some(bundle) = raw(&bundle).filter(|_| !is_empty) {
                bundles.insert(known.nid, bundle);
            }
        }
        Ok(bundles)
    }

    /// The thread that an event began, if the reader may see anything of it.
    async fn thread(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        root: &Known,
        (replies, edits): (&RelatedEvents, &RelatedEvents),
        (count, takes_part): (i64, bool),
    ) -> Result<Option<Thread>, RoomError> {
        let id = root.event.event_id().to_string();
        let newest = replies
            .get(&(id, THREAD.to_owned()))
            .and_then(|it| it.first());
        let Some(latest) = newest.filter(|_| may_be_root(&root.event)) else {
            return Ok(None);
        };
        let latest = &*self.as_shown_to(viewpoint, latest).await?;
        let mut unsigned = self.unsigned_of_timeline(reader, viewpoint, latest).await?;
        if let Some(replace) = self.edit(reader, viewpoint, latest, edits).await? {
            unsigned.relations = raw(&Bundle {
                replace: Some(replace),
                ..Bundle::default()
            });
        }
        Ok(Some(Thread {
            latest_event: client_event::whole(&latest.event, &unsigned),
            count,
            current_user_participated: takes_part || root.event.sender() == reader.user_id,
        }))
    }

    /// What relates to some events and the reader may see, the newest first: the newest ones, and more
    /// of them where those do not suffice.
    pub(super) async fn related_events(
        &self,
        viewpoint: &Viewpoint,
        ids: &[String],
    ) -> Result<RelatedEvents, RoomError> {
        let mut found = RelatedEvents::new();
        let newest = self.add_related(viewpoint, ids, NEWEST, &mut found).await?;
        let is_enough = |(id, kind): &(String, String)| {
            kind != REFERENCE && found.contains_key(&(id.clone(), kind.clone()))
        };
        let full = newest.into_iter().filter(|(_, rows)| *rows == NEWEST.end);
        let short = full.filter(|(of, _)| !is_enough(of)).map(|((id, _), _)| id);
        let short: BTreeSet<String> = short.collect();
        let short: Vec<String> = short.into_iter().take(DEEPER_MAX).collect();
        self.add_related(viewpoint, &short, OLDER, &mut found)
            .await?;
        Ok(found)
    }

    /// Adds what relates to some events, stands at these places of its kind and may be seen by the
    /// reader; and says how much stands there.
    async fn add_related(
        &self,
        viewpoint: &Viewpoint,
        ids: &[String],
        places: Range<i64>,
        found: &mut RelatedEvents,
    ) -> Result<BTreeMap<(String, String), i64>, RoomError> {
        let mut rows_of = BTreeMap::new();
        if ids.is_empty() {
            return Ok(rows_of);
        }
        let mut conn = self.ctx.storage.read().await?;
        let room = &viewpoint.room;
        let related = rows::newest_related(conn.conn(), room.nid, ids, &places).await?;
        drop(conn);
        let nids: Vec<i64> = related.iter().map(|row| row.event_nid).collect();
        let known = self.known.by_nid(room.rules, &nids).await?;
        for row in related {
            let of = (row.target_id, row.rel_type);
            *rows_of.entry(of.clone()).or_insert(0) += 1;
            let known = known.get(&row.event_nid);
            let known = known.filter(|known| known.event.room_id() == room.id);
            if let Some(known) = known
                && self.sees(viewpoint, known).await?
            {
                found.entry(of).or_default().push(known.clone());
            }
        }
        Ok(rows_of)
    }

    /// The newest edit of an event, in client form.
    async fn edit(
        &self,
        reader: &Reader<'_>,
        viewpoint: &Viewpoint,
        target: &Known,
        others: &RelatedEvents,
    ) -> Result<Option<Box<RawValue>>, RoomError> {
        let id = target.event.event_id().to_string();
        let edits = others.get(&(id, REPLACE.to_owned()));
        let valid = edits.into_iter().flatten();
        let valid = valid.filter(|edit| may_replace(target, edit));
        // spec: client-server v1.19 §Server-side aggregation of m.replace relationships: "the latest
        // replacement event, as determined by comparing `origin_server_ts`", then by event id.
        let newest = valid.max_by_key(|edit| {
            let event = &edit.event;
            (event.origin_server_ts(), event.event_id().to_owned())
        });
        let Some(edit) = newest else {
            return Ok(None);
        };
        // Of an erased person there is nothing to put in its place.
        if let Cow::Owned(_) = self.as_shown_to(viewpoint, edit).await? {
            return Ok(None);
        }
        let unsigned = self.unsigned_of_timeline(reader, viewpoint, edit).await?;
        Ok(Some(client_event::whole(&edit.event, &unsigned)))
    }
}

/// Whether an event is a valid edit of another.
///
/// spec: client-server v1.19 §Validity of replacement events.
fn may_replace(target: &Known, edit: &Known) -> bool {
    let (of, by) = (&target.event, &edit.event);
    let edits_an_edit = RelatesTo::of(of).is_some_and(|relation| relation.rel_type == REPLACE);
    of.sender() == by.sender()
        && of.kind() == by.kind()
        && !of.is_state()
        && !by.is_state()
        && target.redacted_by.is_none()
        && !edits_an_edit
        && (by.kind() == "m.room.encrypted" || by.content().contains("\"m.new_content\""))
}

fn references(id: &str, others: &RelatedEvents) -> Option<References> {
    let found = others.get(&(id.to_owned(), REFERENCE.to_owned()))?;
    let mut seen = BTreeSet::new();
    let chunk: Vec<Reference> = found
        .iter()
        .rev()
        .map(|known| known.event.event_id().to_owned())
        .filter(|id| seen.insert(id.clone()))
        .map(|event_id| Reference { event_id })
        .collect();
    (!chunk.is_empty()).then_some(References { chunk })
}

fn raw(bundle: &Bundle) -> Option<Box<RawValue>> {
    to_raw_value(bundle).ok()
}

impl Live {
    /// Notes that others relate to an event, if it is here.
    pub(super) fn relate(&mut self, target: &EventId) {
        let mut newest_first = self.timeline.iter().rev();
        let here = newest_first.find(|shown| shown.known.event.event_id() == target);
        if let Some(shown) = here {
            self.related.insert(target.to_owned());
            // A copy that left the other events in memory may come back to them.
            shown.known.beside.iter().for_each(|beside| beside.relate());
        }
    }

    /// Whether others may relate to an event: it is unknown only of what is not here.
    fn may_be_related(&self, known: &Known) -> bool {
        if let Some(beside) = &known.beside {
            return beside.is_related();
        }
        let oldest = self.timeline.front().map(|shown| shown.position);
        match (known.live_position, oldest) {
            (Some(position), Some(oldest)) if position >= oldest => {
                self.related.contains(known.event.event_id())
            }
            _ => true,
        }
    }
}
