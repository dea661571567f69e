//! Receipts in the form in which clients get them.

use std::collections::BTreeMap;

use hearth_storage::StorageError;
use hearth_storage::tables::receipts::ReceiptKind;
use serde::Serialize;

use crate::receipts::held::{Held, Key};
use crate::receipts::{Receipts, Thread};

/// The type of the event that carries receipts.
pub const KIND: &str = "m.receipt";

#[derive(Serialize)]
struct Event<'a> {
    content: &'a Content<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// Receipts by event, type and person.
type Content<'a> = BTreeMap<&'a str, BTreeMap<&'static str, BTreeMap<&'a str, Receipt<'a>>>>;

#[derive(Serialize)]
struct Receipt<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    ts: i64,
}

impl Receipts {
    /// The position of the newest change of any receipt, or a later one: who has that is shown nothing
    /// new.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.kept.newest()
    }

    /// When the receipts of rooms last changed, by local id: nobody is shown anything new of a room
    /// whose position they have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn positions(
        &self,
        rooms: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<i64, i64>, StorageError> {
        self.kept.positions(rooms).await
    }

    /// The `m.receipt` events that tell a person what became known in a room after one position and up
    /// to another, one for each thread: their own receipts, and the newest thousand of others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(
        &self,
        room_nid: i64,
        reader_nid: i64,
        (after, until): (i64, i64),
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let shown = self
            .kept
            .shown_to(room_nid, reader_nid, (after, until))
            .await?;
        Ok(events(&shown))
    }
}

/// In the order of threads, so that the same receipts are told in the same way.
fn events(shown: &[(Key, Held)]) -> Vec<Vec<u8>> {
    let mut threads: BTreeMap<&Thread, Content<'_>> = BTreeMap::new();
    for (key, held) in shown {
        let thread_id = match &key.thread {
            Thread::Unthreaded => None,
            thread => Some(thread.as_str()),
        };
        let of_thread = threads.entry(&key.thread).or_default();
        let of_event = of_thread.entry(&held.event_id).or_default();
        let of_kind = of_event.entry(name(key.kind)).or_default();
        let ts = held.at_ms;
        of_kind.insert(&held.user_id, Receipt { thread_id, ts });
    }
    let events = threads.values().map(|content| {
        let kind = KIND;
        // Maps of strings and numbers, which cannot fail.
        serde_json::to_vec(&Event { content, kind }).unwrap_or_default()
    });
    events.collect()
}

/// A type of receipt as it is named on the wire.
fn name(kind: ReceiptKind) -> &'static str {
    match kind {
        ReceiptKind::Read => "m.read",
        ReceiptKind::ReadPrivate => "m.read.private",
        ReceiptKind::FullyRead => "m.fully_read",
    }
}
