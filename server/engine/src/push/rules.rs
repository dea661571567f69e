//! The compiled rules of people who have rules of their own, and whose rules changed lately.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_protocol::push_rules::PushRules;
use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::account_data::account_data_of_hearers;
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::OwnedUserId;
use hearth_types::ruma::push::Ruleset;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::accounts::push_rules::{KIND, rule_set};

/// The type of the list of people of whom somebody wants to hear nothing.
pub(crate) const IGNORED: &str = "m.ignored_user_list";

/// Changes that are remembered: whoever missed more looks at everybody anew.
const CHANGES_MAX: usize = 1_024;

/// Somebody's own rules.
#[derive(Debug)]
pub(crate) struct PersonRules {
    pub(crate) user_id: OwnedUserId,
    pub(crate) set: Ruleset,
    pub(crate) rules: PushRules,
    /// What they were compiled of.
    stored: Vec<u8>,
}

impl Size for PersonRules {
    fn size_bytes(&self) -> usize {
        // As they are stored, as ruma has them, and compiled.
        size_of::<Self>() + 4 * self.stored.len() + self.rules.size_bytes()
    }
}

/// What of people of a room differs from what most have.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// Whose rules.
    pub(crate) rules: BTreeMap<i64, Arc<PersonRules>>,
    /// Of whom people want to hear nothing.
    pub(crate) ignored: BTreeMap<i64, Vec<OwnedUserId>>,
}

/// The rules of people.
#[derive(Debug)]
pub(crate) struct RuleSets {
    storage: Storage,
    compiled: Bounded<i64, Arc<PersonRules>>,
    log: Mutex<Log>,
}

/// Whose rules changed lately.
#[derive(Debug, Default)]
struct Log {
    /// How many changes there were.
    epoch: u64,
    /// Whose the last ones were.
    last: VecDeque<i64>,
}

impl RuleSets {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            compiled: bounded(budget_bytes),
            log: Mutex::default(),
        }
    }

    /// Takes note that what a person wants to be told of has changed in the database.
    pub(crate) fn changed(&self, user_nid: i64) {
        let mut log = self.log();
        log.epoch += 1;
        log.last.push_back(user_nid);
        if log.last.len() > CHANGES_MAX {
            log.last.pop_front();
        }
    }

    /// How many changes there were so far. Ask before reading rules.
    pub(crate) fn epoch(&self) -> u64 {
        self.log().epoch
    }

    /// Whose rules changed since; `None` where that is not remembered.
    pub(crate) fn since(&self, epoch: u64) -> Option<Vec<i64>> {
        let log = self.log();
        let missed = usize::try_from(log.epoch - epoch).ok()?;
        let known = log.last.len().checked_sub(missed)?;
        Some(log.last.iter().skip(known).copied().collect())
    }

    /// What of these people is their own, as it is stored now.
    pub(crate) async fn of(&self, user_nids: &[i64]) -> Result<Own, StorageError> {
        let mut own = Own::default();
        if user_nids.is_empty() {
            return Ok(own);
        }
        let mut reader = self.storage.read().await?;
        let found = account_data_of_hearers(reader.conn(), user_nids).await?;
        drop(reader);
        for (user_nid, kind, stored) in found {
            if kind == KIND {
                if let Some(rules) = self.compiled(user_nid, stored).await? {
                    own.rules.insert(user_nid, rules);
                }
                continue;
            }
            let people = ignored_people(&stored);
            if !people.is_empty() {
                own.ignored.insert(user_nid, people);
            }
        }
        Ok(own)
    }

    async fn compiled(
        &self,
        user_nid: i64,
        stored: Vec<u8>,
    ) -> Result<Option<Arc<PersonRules>>, StorageError> {
        let known = self.compiled.get(&user_nid);
        if let Some(rules) = known.filter(|rules| rules.stored == stored) {
            return Ok(Some(rules));
        }
        let user_id = self.storage.user_id(user_nid).await?;
        let Ok(user_id) = OwnedUserId::try_from(&*user_id) else {
            return Ok(None);
        };
        let set = match rule_set(Some(&stored), &user_id) {
            Ok(set) => set,
            Err(error) => {
                tracing::error!(%user_id, %error, "push rules cannot be read: the defaults hold");
                return Ok(None);
            }
        };
        let rules = Arc::new(PersonRules {
            rules: PushRules::compile(&set, &user_id),
            user_id,
            set,
            stored,
        });
        self.compiled.insert(user_nid, Arc::clone(&rules));
        Ok(Some(rules))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// spec: client-server v1.19 §Ignoring Users.
fn ignored_people(stored: &[u8]) -> Vec<OwnedUserId> {
    #[derive(Default, Deserialize)]
    struct Content {
        #[serde(default)]
        ignored_users: BTreeMap<String, IgnoredAny>,
    }
    let content: Content = serde_json::from_slice(stored).unwrap_or_default();
    let people = content.ignored_users.into_keys();
    people
        .filter_map(|user_id| OwnedUserId::try_from(user_id).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_people_are_ignored() {
        let stored = br#"{"ignored_users":{"@a:x":{},"b":{}}}"#;
        assert_eq!(ignored_people(stored), ["@a:x"]);
        assert!(ignored_people(b"[]").is_empty());
    }
}
