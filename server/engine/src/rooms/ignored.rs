//! Whom people do not want to hear: their `m.ignored_user_list`, read once and kept while it is used.
//!
//! spec: client-server v1.19 §Ignoring Users.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::account_data::{self, GLOBAL};
use hearth_storage::{Storage, StorageError};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The account data that holds the list.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";

/// The people whom somebody ignores.
#[derive(Debug, Default)]
pub struct Ignored(BTreeSet<String>);

impl Ignored {
    /// Whether a person is ignored.
    #[must_use]
    pub fn contains(&self, user_id: &str) -> bool {
        !self.0.is_empty() && self.0.contains(user_id)
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read(content: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Content {
            ignored_users: std::collections::BTreeMap<String, Box<RawValue>>,
        }
        let content: Option<Content> = serde_json::from_slice(content).ok();
        let users = content.map(|content| content.ignored_users);
        Self(users.unwrap_or_default().into_keys().collect())
    }
}

impl Size for Ignored {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.0.iter().map(Size::size_bytes).sum::<usize>() * 3 / 2
    }
}

/// The lists of our people.
#[derive(Debug)]
pub struct IgnoredUsers {
    storage: Storage,
    cache: Bounded<i64, Arc<Ignored>>,
    /// Counts changes, so that a read which a change overtook is not kept.
    changes: Mutex<u64>,
}

impl IgnoredUsers {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            cache: bounded(budget_bytes),
            changes: Mutex::new(0),
        }
    }

    /// Whom a person ignores.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, user_nid: i64) -> Result<Arc<Ignored>, StorageError> {
        if let Some(cached) = self.cache.get(&user_nid) {
            return Ok(cached);
        }
        let before = *self.changes();
        let mut reader = self.storage.read().await?;
        let found =
            account_data::account_data(reader.conn(), user_nid, GLOBAL, IGNORED_USER_LIST).await?;
        drop(reader);
        let read = Arc::new(found.as_deref().map(Ignored::read).unwrap_or_default());
        let changes = self.changes();
        if *changes == before {
            self.cache.insert(user_nid, Arc::clone(&read));
        }
        drop(changes);
        Ok(read)
    }

    /// A person's list was changed.
    pub fn changed(&self, user_nid: i64) {
        let mut changes = self.changes();
        *changes += 1;
        self.cache.remove(&user_nid);
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_what_is_none_ignores_nobody() {
        let list = Ignored::read(br#"{"ignored_users":{"@a:one.test":{},"@b:one.test":{"x":1}}}"#);
        assert!(list.contains("@a:one.test") && list.contains("@b:one.test"));
        assert!(!list.contains("@c:one.test"));
        for none in [&b"{}"[..], b"[]", br#"{"ignored_users":["@a:one.test"]}"#] {
            assert!(Ignored::read(none).is_empty());
        }
    }
}
