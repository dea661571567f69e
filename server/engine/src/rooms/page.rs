//! What bounds a page of events.

use crate::rooms::known::Known;

/// Bytes of events that a page, or the timelines of one answer, hold; besides the last event of each.
pub(crate) const ANSWER_BYTES: usize = 16 << 20;

/// Events looked at for one page: with few that match, a page ends early and names the next.
const LOOKS_MAX: usize = 2_000;

/// What a page has room for.
#[derive(Debug)]
pub(super) struct Left {
    events: usize,
    bytes: usize,
    looks: usize,
}

impl Left {
    /// That of an empty page of at most so many events.
    pub(super) fn of(limit: usize) -> Self {
        Self {
            events: limit,
            bytes: ANSWER_BYTES,
            looks: LOOKS_MAX,
        }
    }

    /// Whether the page ends here, with what comes next left to another one.
    pub(super) fn is_nothing(&self) -> bool {
        self.events == 0 || self.bytes == 0 || self.looks == 0
    }

    /// One more event is looked at.
    pub(super) fn look(&mut self) {
        self.looks = self.looks.saturating_sub(1);
    }

    /// One more event is on the page. The last one may be longer than what is left.
    pub(super) fn take(&mut self, known: &Known) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(known.event.json().len());
    }
}
