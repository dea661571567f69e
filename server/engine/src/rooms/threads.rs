//! Which thread an event belongs to.
//!
//! spec: client-server v1.19 §Threading, §Threaded read receipts.

use hearth_protocol::event::Event;
use hearth_storage::tables::events::Fate;
use hearth_types::ruma::OwnedEventId;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Plan;
use crate::rooms::relates_to::{RelatesTo, THREAD};
use crate::rooms::view::Room;

/// How far relations are followed from an event to a thread.
const HOPS_MAX: usize = 3;

/// Where an event stands among the threads of its room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ThreadPlace {
    /// The root of the thread that it is part of; none in the main timeline.
    pub root: Option<OwnedEventId>,
    /// The events that it relates to on the way there, the nearest first.
    pub related: Vec<OwnedEventId>,
}

/// The way from an event to its thread: it is part of the one that it names, or that an event names to
/// which it relates over a few hops.
///
/// What names a root that is not known here, or that can be none, starts no thread: nobody could open
/// it and read what is in it.
#[derive(Debug)]
struct Way {
    place: ThreadPlace,
    next: Option<RelatesTo>,
}

impl Way {
    fn from(event: &Event) -> Self {
        Self {
            place: ThreadPlace::default(),
            next: RelatesTo::of(event),
        }
    }

    /// Which event is to be looked at next, if any.
    fn ahead(&self) -> Option<OwnedEventId> {
        let next = self.next.as_ref()?;
        (self.place.related.len() < HOPS_MAX).then(|| next.event_id.clone())
    }

    /// Goes on over that event; `parent` is what is known of it.
    fn go_on(&mut self, parent: Option<&Known>) {
        let Some(relation) = self.next.take() else {
            return;
        };
        let parent = parent.filter(|known| known.fate == Fate::Accepted);
        if relation.rel_type == THREAD && parent.is_some_and(|known| may_be_root(&known.event)) {
            self.place.root = Some(relation.event_id);
            return;
        }
        self.place.related.push(relation.event_id);
        self.next = parent.and_then(|known| RelatesTo::of(&known.event));
    }
}

/// Whether a thread may start off an event: one that relates to another is in that one's thread.
///
/// spec: client-server v1.19 §Threading: "It is not possible to create a thread from an event which
/// itself is the child of an event relationship".
pub(super) fn may_be_root(event: &Event) -> bool {
    RelatesTo::of(event).is_none()
}

impl Rooms {
    /// Which thread an event is part of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn thread_of(&self, room: &Room, known: &Known) -> Result<ThreadPlace, RoomError> {
        let mut way = Way::from(&known.event);
        while let Some(id) = way.ahead() {
            let parents = self.known.of_room(room, std::slice::from_ref(&id)).await?;
            way.go_on(parents.get(&id));
        }
        Ok(way.place)
    }
}

impl Plan<'_> {
    /// As [`Rooms::thread_of`]; what the event relates to may be in the same plan.
    pub(super) async fn thread_of(&self, known: &Known) -> Result<ThreadPlace, RoomError> {
        let mut way = Way::from(&known.event);
        while let Some(id) = way.ahead() {
            let parents = self.known(std::slice::from_ref(&id)).await?;
            way.go_on(parents.get(&id));
        }
        Ok(way.place)
    }

    /// Refuses to start a thread off an event that relates to another.
    ///
    /// spec: client-server v1.19 §Validation of `m.thread` relationships.
    pub(super) async fn must_start_at_a_root(&self, event: &Event) -> Result<(), RoomError> {
        let Some(thread) = RelatesTo::of(event).filter(|it| it.rel_type == THREAD) else {
            return Ok(());
        };
        let id = std::slice::from_ref(&thread.event_id);
        // Boxed: a future is moved with all that it may become, and this one is large and rare.
        let known = Box::pin(self.known(id)).await?;
        match known.values().all(|root| may_be_root(&root.event)) {
            true => Ok(()),
            false => Err(RoomError::NoThreadRoot),
        }
    }
}
