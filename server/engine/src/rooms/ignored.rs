//! Whom people do not want to hear, and who does not want to be invited: their `m.ignored_user_list`
//! and `m.invite_permission_config`, read once and kept while they are used.
//!
//! spec: client-server v1.19 §Ignoring Users, §Invite permission.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::account_data::{self, GLOBAL};
use hearth_storage::{Storage, StorageError};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The account data that holds the list.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";

/// The account data that says who is not invited.
const INVITE_PERMISSION: &str = "m.invite_permission_config";

/// The other people whom somebody ignores, and whether they ignore whoever invites them.
#[derive(Debug, Default)]
pub struct Ignored {
    people: BTreeSet<String>,
    blocks_invites: bool,
}

impl Ignored {
    /// Whether a person is ignored.
    #[must_use]
    pub fn contains(&self, user_id: &str) -> bool {
        !self.people.is_empty() && self.people.contains(user_id)
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whether they take no invites.
    #[must_use]
    pub fn blocks_invites(&self) -> bool {
        self.blocks_invites
    }

    /// What the account data of a person says. Who names themselves goes on hearing what they say.
    fn read(user_id: &str, list: Option<&[u8]>, permission: Option<&[u8]>) -> Self {
        #[derive(Deserialize)]
        struct Permission {
            default_action: String,
        }
        let permission =
            permission.and_then(|json| serde_json::from_slice::<Permission>(json).ok());
        let mut people = list.map(read_list).unwrap_or_default();
        people.remove(user_id);
        Self {
            people,
            blocks_invites: permission.is_some_and(|it| it.default_action == "block"),
        }
    }
}

fn read_list(content: &[u8]) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: std::collections::BTreeMap<String, Box<RawValue>>,
    }
    let content: Option<Content> = serde_json::from_slice(content).ok();
    let users = content.map(|content| content.ignored_users);
    users.unwrap_or_default().into_keys().collect()
}

impl Size for Ignored {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.people.iter().map(Size::size_bytes).sum::<usize>() * 3 / 2
    }
}

/// What our people want to hear nothing of.
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
        match self.cache.get(&user_nid) {
            Some(cached) => Ok(cached),
            // Boxed: a future is moved with all that it may become, and reading is large and rare.
            None => Box::pin(self.read(user_nid)).await,
        }
    }

    async fn read(&self, user_nid: i64) -> Result<Arc<Ignored>, StorageError> {
        let before = *self.changes();
        let user_id = self.storage.user_id(user_nid).await?;
        let mut reader = self.storage.read().await?;
        let [list, permission] = [IGNORED_USER_LIST, INVITE_PERMISSION];
        let list = account_data::account_data(reader.conn(), user_nid, GLOBAL, list).await?;
        let permission =
            account_data::account_data(reader.conn(), user_nid, GLOBAL, permission).await?;
        drop(reader);
        let read = Arc::new(Ignored::read(
            &user_id,
            list.as_deref(),
            permission.as_deref(),
        ));
        let changes = self.changes();
        if *changes == before {
            self.cache.insert(user_nid, Arc::clone(&read));
        }
        drop(changes);
        Ok(read)
    }

    /// A person changed their account data of this type.
    pub fn changed(&self, user_nid: i64, kind: &str) {
        if ![IGNORED_USER_LIST, INVITE_PERMISSION].contains(&kind) {
            return;
        }
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
        let list =
            br#"{"ignored_users":{"@a:one.test":{},"@b:one.test":{"x":1},"@me:one.test":{}}}"#;
        let list = Ignored::read("@me:one.test", Some(list), None);
        assert!(list.contains("@a:one.test") && list.contains("@b:one.test"));
        assert!(!list.contains("@c:one.test") && !list.contains("@me:one.test"));
        assert!(!list.blocks_invites());
        for none in [&b"{}"[..], b"[]", br#"{"ignored_users":["@a:one.test"]}"#] {
            assert!(Ignored::read("@me:one.test", Some(none), Some(none)).is_empty());
        }
        for (action, blocks) in [("block", true), ("allow", false)] {
            let permission = format!(r#"{{"default_action":"{action}"}}"#);
            let read = Ignored::read("@me:one.test", None, Some(permission.as_bytes()));
            assert_eq!(read.blocks_invites(), blocks);
        }
    }
}
