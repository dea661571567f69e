//! Accounts of our own people: registering, logging in and out, devices, and what clients keep
//! with a person (profile, account data, filters, push rules).

mod account_data;
mod admin;
mod devices;
mod error;
mod filters;
mod interactive;
mod login;
mod names;
mod password;
mod profile;
pub(crate) mod push_rules;
mod register;
mod search;
mod sessions;
mod tags;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hearth_storage::cache::CacheFigures;
use hearth_storage::tables::accounts::{self, StoredAccount};
use hearth_storage::{Commit, CommitError, Outcome, Receipt, Refusal, StorageError};
use hearth_types::ruma::UserId;

pub use account_data::AccountData;
pub use admin::{AccountList, NewAccount};
pub use devices::Device;
pub use error::AccountError;
pub use interactive::Challenge;
pub use login::{LoggedIn, Login, NewDevice};
pub use push_rules::RuleChange;
pub use register::{Registered, Registration};
pub use search::Person;
pub use sessions::Session;

use crate::context::Context;
use crate::device_lists;
use interactive::Interactive;
use password::Passwords;
use sessions::Sessions;

/// What the server does for and about its own people.
pub struct Accounts {
    context: Arc<Context>,
    passwords: Passwords,
    sessions: Sessions,
    interactive: Interactive,
}

impl Accounts {
    /// Over a context; knows nobody yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            passwords: Passwords::new(&context.settings),
            sessions: Sessions::new(context.settings.memory.small_bytes()),
            interactive: Interactive::default(),
            context,
        }
    }

    /// The sessions in memory, in figures.
    #[must_use]
    pub fn session_figures(&self) -> CacheFigures {
        self.sessions.figures()
    }

    /// How many password hashes are made or wait for their turn.
    #[must_use]
    pub fn password_hashes(&self) -> usize {
        self.passwords.admitted()
    }

    async fn account(&self, user_id: &UserId) -> Result<Option<StoredAccount>, StorageError> {
        let mut reader = self.context.storage.read().await?;
        accounts::account_by_id(reader.conn(), user_id.as_str()).await
    }

    /// Commits, forgets the tokens that the commit revoked, and wakes the long-polls of the person
    /// and, where devices changed, of those who have to know.
    /// What a refusal means is the caller's to say.
    async fn commit(
        &self,
        user_nid: i64,
        commit: Commit,
        refused: impl FnOnce(&Refusal) -> AccountError,
    ) -> Result<(), AccountError> {
        let devices_change = !commit.rows.device_list_changes.is_empty();
        let receipt = self.context.storage.writer().commit(commit).await;
        let receipt: Receipt = receipt.map_err(|error| match error {
            CommitError::Refused(refusal) => refused(&refusal),
            CommitError::Storage(error) => error.into(),
        })?;
        for outcome in &receipt.outcomes {
            if let Outcome::Tokens(hashes) = outcome {
                self.sessions.forget(hashes);
            }
        }
        // Visible before anybody is woken to look for it.
        drop(receipt);
        if devices_change {
            device_lists::announce(&self.context, user_nid).await?;
        } else {
            self.context.notifier.wake([user_nid]);
        }
        Ok(())
    }
}
