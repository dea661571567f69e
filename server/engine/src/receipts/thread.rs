//! To which part of a room a receipt applies.

use std::sync::Arc;

use hearth_storage::tables::receipts::UNTHREADED;
use hearth_types::ruma::EventId;

use crate::rooms::error::RoomError;
use crate::rooms::threads::ThreadPlace;

/// The main timeline as it is named on the wire.
const MAIN: &str = "main";

/// To which part of a room a receipt applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thread {
    /// To all of it.
    Unthreaded,
    /// To events that are in no thread.
    Main,
    /// To the thread with this root.
    Root(Arc<str>),
}

impl Thread {
    /// Reads a `thread_id`.
    ///
    /// # Errors
    /// `Invalid` for what is neither `main` nor the id of an event.
    pub fn named(thread_id: &str) -> Result<Self, RoomError> {
        match thread_id {
            MAIN => Ok(Self::Main),
            root if EventId::parse(root).is_ok() && !root.contains('\0') => {
                Ok(Self::Root(root.into()))
            }
            _ => Err(RoomError::Invalid {
                field: "thread_id",
                rule: "it must be `main` or the id of an event".to_owned(),
            }),
        }
    }

    /// Reads a thread as it is stored.
    pub(super) fn stored(thread: &str) -> Self {
        match thread {
            UNTHREADED => Self::Unthreaded,
            MAIN => Self::Main,
            root => Self::Root(root.into()),
        }
    }

    /// As it is stored; on the wire too, but for [`Thread::Unthreaded`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unthreaded => UNTHREADED,
            Self::Main => MAIN,
            Self::Root(root) => root,
        }
    }

    /// Whether a receipt of this thread may name an event that stands at `place`. A thread's root, and
    /// what relates to that, belongs to the main timeline and is read in the thread as well.
    pub(crate) fn holds(&self, event_id: &EventId, place: &ThreadPlace) -> bool {
        match self {
            Self::Unthreaded => true,
            Self::Main => place.root.is_none(),
            Self::Root(root) => {
                let is_root = |id: &EventId| id.as_str() == &**root;
                let mut related = place.related.iter().chain(&place.root);
                is_root(event_id) || related.any(|id| is_root(id))
            }
        }
    }
}
