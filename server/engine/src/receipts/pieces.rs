//! Receipts in the form in which clients get them.

use std::collections::BTreeMap;

use hearth_storage::StorageError;
use hearth_storage::tables::receipts::ReceiptKind;
use serde::Serialize;

use crate::receipts::held::{Extent, Held, Key};
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

    /// The `m.receipt` events that tell a person what there is of an extent, one for each thread: their
    /// own receipts, and the newest thousand of others, without those whom they ignore.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(
        &self,
        room_nid: i64,
        reader_nid: i64,
        extent: Extent,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let shown = self.shown_to(room_nid, reader_nid, extent).await?;
        Ok(events(&shown))
    }

    /// The same in one `m.receipt` event; none where there is nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event(
        &self,
        room_nid: i64,
        reader_nid: i64,
        extent: Extent,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let shown = self.shown_to(room_nid, reader_nid, extent).await?;
        Ok((!shown.is_empty()).then(|| event(&shown)))
    }

    /// Whether a person's own receipts in a room moved after one position and up to another.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_read(
        &self,
        room_nid: i64,
        user_nid: i64,
        (after, until): (i64, i64),
    ) -> Result<bool, StorageError> {
        let own = self.kept.of_person(room_nid, user_nid).await?;
        let news = Extent::news(after, until);
        Ok(own.iter().any(|(_, held)| news.includes(held, true)))
    }

    async fn shown_to(
        &self,
        room_nid: i64,
        reader_nid: i64,
        extent: Extent,
    ) -> Result<Vec<(Key, Held)>, StorageError> {
        let mut shown = self.kept.shown_to(room_nid, reader_nid, extent).await?;
        let ignored = self.rooms.ignored.of(reader_nid).await?;
        shown.retain(|(_, held)| !ignored.contains(&held.user_id));
        Ok(shown)
    }
}

/// In the order of threads, so that the same receipts are told in the same way.
fn events(shown: &[(Key, Held)]) -> Vec<Vec<u8>> {
    let mut threads: BTreeMap<&Thread, Content<'_>> = BTreeMap::new();
    for (key, held) in shown {
        take(threads.entry(&key.thread).or_default(), key, held);
    }
    threads.values().map(written).collect()
}

/// Of receipts of one person at one event, one event can tell one alone: the one that says the most. That
/// is the one of the main timeline where the other is of the thread that begins with the event.
fn event(shown: &[(Key, Held)]) -> Vec<u8> {
    let mut receipts: Vec<&(Key, Held)> = shown.iter().collect();
    receipts.sort_by(|(one, _), (other, _)| other.thread.cmp(&one.thread));
    let mut content = Content::new();
    for (key, held) in receipts {
        take(&mut content, key, held);
    }
    written(&content)
}

fn take<'a>(content: &mut Content<'a>, key: &'a Key, held: &'a Held) {
    let thread_id = match &key.thread {
        Thread::Unthreaded => None,
        thread => Some(thread.as_str()),
    };
    let of_event = content.entry(&held.event_id).or_default();
    let of_kind = of_event.entry(name(key.kind)).or_default();
    let ts = held.at_ms;
    of_kind.insert(&held.user_id, Receipt { thread_id, ts });
}

fn written(content: &Content<'_>) -> Vec<u8> {
    let kind = KIND;
    // Maps of strings and numbers, which cannot fail.
    serde_json::to_vec(&Event { content, kind }).unwrap_or_default()
}

/// A type of receipt as it is named on the wire.
fn name(kind: ReceiptKind) -> &'static str {
    match kind {
        ReceiptKind::Read => "m.read",
        ReceiptKind::ReadPrivate => "m.read.private",
        ReceiptKind::FullyRead => "m.fully_read",
    }
}
