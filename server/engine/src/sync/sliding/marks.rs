//! What a person has marked rooms with: which are direct, and their tags. Kept as long as nobody
//! reports a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_storage::StorageError;
use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::account_data::{self, GLOBAL};
use hearth_storage::tables::rooms;
use serde::Deserialize;

use crate::context::Context;
use crate::notifier::Watch;

/// The local ids of direct rooms.
pub(super) type Direct = BTreeSet<i64>;

/// Tags by room.
pub(super) type Tags = BTreeMap<i64, Vec<String>>;

/// Something that was read when the watch had counted so far.
#[derive(Debug)]
struct Kept<T> {
    watch: Arc<Watch>,
    count: u64,
    value: Arc<T>,
    size_bytes: usize,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            watch: Arc::clone(&self.watch),
            count: self.count,
            value: Arc::clone(&self.value),
            size_bytes: self.size_bytes,
        }
    }
}

impl<T> Size for Kept<T> {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.size_bytes
    }
}

/// What people have marked rooms with.
#[derive(Debug)]
pub(super) struct Marks {
    direct: Bounded<i64, Kept<Direct>>,
    tags: Bounded<i64, Kept<Tags>>,
}

impl Marks {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self {
            direct: bounded(budget_bytes / 2),
            tags: bounded(budget_bytes / 2),
        }
    }

    /// The rooms that a person's `m.direct` names.
    pub(super) async fn direct(
        &self,
        ctx: &Context,
        user_nid: i64,
        watch: &Arc<Watch>,
    ) -> Result<Arc<Direct>, StorageError> {
        // Before the read: a change in between spoils what is kept.
        let count = watch.others();
        if let Some(value) = current(&self.direct, user_nid, (watch, count)) {
            return Ok(value);
        }
        let mut reader = ctx.storage.read().await?;
        let content =
            account_data::account_data(reader.conn(), user_nid, GLOBAL, "m.direct").await?;
        let named: BTreeMap<String, Vec<String>> = content
            .and_then(|content| serde_json::from_slice(&content).ok())
            .unwrap_or_default();
        let named: BTreeSet<String> = named.into_values().flatten().collect();
        let named: Vec<String> = named.into_iter().collect();
        let found = rooms::room_nids(reader.conn(), &named).await?;
        let direct = Arc::new(found.into_iter().map(|(_, nid)| nid).collect::<Direct>());
        let kept = Kept {
            watch: Arc::clone(watch),
            count,
            value: Arc::clone(&direct),
            size_bytes: direct.size_bytes(),
        };
        self.direct.insert(user_nid, kept);
        Ok(direct)
    }

    /// The tags that a person gave rooms.
    pub(super) async fn tags(
        &self,
        ctx: &Context,
        user_nid: i64,
        watch: &Arc<Watch>,
    ) -> Result<Arc<Tags>, StorageError> {
        #[derive(Deserialize)]
        struct Content {
            tags: BTreeMap<String, serde::de::IgnoredAny>,
        }
        let count = watch.others();
        if let Some(value) = current(&self.tags, user_nid, (watch, count)) {
            return Ok(value);
        }
        let mut reader = ctx.storage.read().await?;
        let stored = account_data::account_data_of_kind(reader.conn(), user_nid, "m.tag").await?;
        let tags: Tags = stored
            .into_iter()
            .filter_map(|row| {
                let content: Content = serde_json::from_slice(&row.content).ok()?;
                Some((row.room_nid, content.tags.into_keys().collect()))
            })
            .collect();
        let names = tags.values().flatten();
        let kept = Kept {
            watch: Arc::clone(watch),
            count,
            size_bytes: names.map(Size::size_bytes).sum::<usize>() + tags.len() * 64,
            value: Arc::new(tags),
        };
        let tags = Arc::clone(&kept.value);
        self.tags.insert(user_nid, kept);
        Ok(tags)
    }
}

fn current<T>(
    kept: &Bounded<i64, Kept<T>>,
    user_nid: i64,
    (watch, count): (&Arc<Watch>, u64),
) -> Option<Arc<T>> {
    let kept = kept.get(&user_nid)?;
    let is_current = Arc::ptr_eq(&kept.watch, watch) && kept.count == count;
    is_current.then_some(kept.value)
}
