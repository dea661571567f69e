//! People of ours who had themselves erased when they closed their account: what they said is shown
//! without its content to those who were not there.
//!
//! They are few, so that all of them are known from the first question on.
//!
//! spec: client-server v1.19 `POST /_matrix/client/v3/account/deactivate` (`erase`).

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use hearth_storage::tables::accounts;
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::UserId;
use tokio::sync::OnceCell;

/// Who was erased.
#[derive(Debug)]
pub struct Erased {
    storage: Storage,
    people: OnceCell<RwLock<BTreeSet<String>>>,
}

impl Erased {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            storage,
            people: OnceCell::new(),
        }
    }

    /// Whether it is known that nobody was.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        let people = self.people.get();
        people.is_some_and(|people| {
            let people = people.read().unwrap_or_else(PoisonError::into_inner);
            people.is_empty()
        })
    }

    /// Whether a person was erased.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn contains(&self, user_id: &UserId) -> Result<bool, StorageError> {
        let people = self.people().await?;
        let people = people.read().unwrap_or_else(PoisonError::into_inner);
        Ok(!people.is_empty() && people.contains(user_id.as_str()))
    }

    /// Takes note of a person whose account was closed that way, once that is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn note(&self, user_id: &UserId) -> Result<(), StorageError> {
        let people = self.people().await?;
        let mut people = people.write().unwrap_or_else(PoisonError::into_inner);
        people.insert(user_id.to_string());
        Ok(())
    }

    async fn people(&self) -> Result<&RwLock<BTreeSet<String>>, StorageError> {
        let read = async || {
            let mut reader = self.storage.read().await?;
            let erased = accounts::accounts_erased(reader.conn()).await?;
            Ok::<_, StorageError>(RwLock::new(erased.into_iter().collect()))
        };
        self.people.get_or_try_init(read).await
    }
}
