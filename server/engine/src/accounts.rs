//! Accounts of our own people: registering, logging in and out, devices, and what clients keep
//! with a person (profile, account data, filters, push rules).

mod account_data;
mod admin;
mod appservices;
mod deactivate;
mod devices;
mod error;
mod filters;
mod guests;
mod interactive;
mod login;
mod moderate;
pub(crate) mod names;
mod password;
mod profile;
mod purpose_tokens;
pub(crate) mod push_rules;
mod refresh;
mod register;
mod registration_tokens;
mod search;
mod seen;
mod sessions;
mod shared_secret;
mod tags;
mod turns;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hearth_storage::cache::CacheFigures;
use hearth_storage::tables::accounts::{self, StoredAccount};
use hearth_storage::{Commit, CommitError, Outcome, Receipt, Refusal, StorageError};
use hearth_types::ruma::UserId;
use tokio::sync::Notify;

pub use account_data::AccountData;
pub use admin::{AccountList, NewAccount};
pub use appservices::Asserted;
pub use devices::Device;
pub use error::AccountError;
pub use interactive::Challenge;
pub use login::{LoggedIn, Login, NewDevice};
pub use moderate::Moderation;
pub use purpose_tokens::ShortToken;
pub use push_rules::RuleChange;
pub use refresh::Renewed;
pub use register::{Registered, Registration};
pub use registration_tokens::{NewRegistrationToken, RegistrationToken, RegistrationTokenList};
pub use search::Person;
pub use seen::LastSeen;
pub use sessions::{NoDevice, Session, Standing};
pub use shared_secret::SignedRegistration;

use crate::context::Context;
use crate::device_lists;
use interactive::Interactive;
use password::Passwords;
use seen::Seen;
use sessions::Sessions;
use shared_secret::Nonces;
use turns::Turns;

/// What the server does for and about its own people.
pub struct Accounts {
    context: Arc<Context>,
    passwords: Passwords,
    sessions: Sessions,
    interactive: Interactive,
    nonces: Nonces,
    seen: Seen,
    turns: Turns,
    /// Told when an account was closed that has rooms to leave.
    departing: Notify,
}

impl Accounts {
    /// Over a context; knows nobody yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            passwords: Passwords::new(&context.settings),
            sessions: Sessions::new(context.settings.memory.small_bytes()),
            interactive: Interactive::default(),
            nonces: Nonces::default(),
            seen: Seen::default(),
            turns: Turns::default(),
            departing: Notify::new(),
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

    /// One account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn find(&self, user_id: &UserId) -> Result<StoredAccount, AccountError> {
        self.account(user_id)
            .await?
            .ok_or(AccountError::NotFound("the user"))
    }

    /// The same, if the account is not closed.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Deactivated`].
    pub async fn find_open(&self, user_id: &UserId) -> Result<StoredAccount, AccountError> {
        let account = self.find(user_id).await?;
        match account.deactivated {
            true => Err(AccountError::Deactivated),
            false => Ok(account),
        }
    }

    async fn account(&self, user_id: &UserId) -> Result<Option<StoredAccount>, StorageError> {
        let mut reader = self.context.storage.read().await?;
        accounts::account_by_id(reader.conn(), user_id.as_str()).await
    }

    /// Commits, forgets the tokens that the commit changed, and wakes the long-polls of the person
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
        let mut standing_changes = false;
        for outcome in &receipt.outcomes {
            if let Outcome::Tokens(hashes) = outcome {
                self.sessions.forget(hashes);
                // Also without one: an application service may be waiting for the person.
                standing_changes = true;
            }
        }
        // Visible before anybody is woken to look for it.
        drop(receipt);
        if standing_changes {
            self.context.notifier.wake_for_standing(user_nid);
        }
        if devices_change {
            device_lists::announce(&self.context, user_nid).await?;
        } else {
            self.context.notifier.wake([user_nid]);
        }
        Ok(())
    }
}
