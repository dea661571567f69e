//! User-interactive authentication: a sensitive request is answered with a challenge and repeated
//! with a proof. Every flow of ours has one stage.
//!
//! spec: client-server v1.19 §User-Interactive Authentication API

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use hearth_types::client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier};
use hearth_types::ruma::api::error::{ErrorKind, StandardErrorBody};

use super::{AccountError, Accounts, Session, names};
use crate::context::Context;

/// How long a challenge may be answered.
const SESSION_LIFETIME_MS: i64 = 15 * 60 * 1_000;

/// Challenges that are open at a time; the oldest gives way to a new one.
const SESSIONS_MAX: usize = 10_000;

/// What a client has to do before its request is done: the body of the 401 answer.
pub type Challenge = UiaaInfo;

/// What a challenge was given for: a session of one is no good for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    /// What is to be done.
    pub(super) name: &'static str,
    /// Who wants it done; 0 for somebody who has no account yet.
    pub(super) user_nid: i64,
    /// What it is to be done to.
    pub(super) detail: String,
}

/// The open challenges.
#[derive(Default)]
pub(super) struct Interactive(Mutex<Open>);

#[derive(Default)]
struct Open {
    operations: BTreeMap<String, Operation>,
    /// In the order in which they expire.
    expiring: VecDeque<(i64, String)>,
}

impl Interactive {
    /// The session under which an operation may be proven: the one that a client names, if it was
    /// opened for this operation, or else a new one.
    fn session_for(&self, context: &Context, named: Option<&str>, operation: Operation) -> String {
        let word = context.random_word::<18>();
        self.with(context.clock.now_ms(), |open, now_ms| {
            if let Some(named) = named
                && open.operations.get(named) == Some(&operation)
            {
                return named.to_owned();
            }
            open.expiring
                .push_back((now_ms + SESSION_LIFETIME_MS, word.clone()));
            open.operations.insert(word.clone(), operation);
            word
        })
    }

    /// Whether a session was opened for this operation and has not expired.
    fn knows(&self, context: &Context, session: &str, operation: &Operation) -> bool {
        self.with(context.clock.now_ms(), |open, _| {
            open.operations.get(session) == Some(operation)
        })
    }

    /// Ends a session: a proof is good once.
    fn close(&self, context: &Context, session: &str) {
        self.with(context.clock.now_ms(), |open, _| {
            open.operations.remove(session)
        });
    }

    fn with<T>(&self, now_ms: i64, act: impl FnOnce(&mut Open, i64) -> T) -> T {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((expires_ms, _)) = open.expiring.front()
            && (*expires_ms <= now_ms || open.expiring.len() >= SESSIONS_MAX)
        {
            if let Some((_, session)) = open.expiring.pop_front() {
                open.operations.remove(&session);
            }
        }
        act(&mut open, now_ms)
    }
}

impl Accounts {
    /// Confirms a sensitive action of a signed-in person by their password. `detail` says what the
    /// action is done to: a challenge given for one thing does not confirm another.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] with the challenge until the right password comes with its
    /// session.
    pub async fn confirm(
        &self,
        session: &Session,
        action: &'static str,
        detail: &str,
        auth: Option<&AuthData>,
    ) -> Result<(), AccountError> {
        let operation = Operation {
            name: action,
            user_nid: session.user_nid,
            detail: detail.to_owned(),
        };
        let proven = match auth {
            Some(AuthData::Password(proof)) if self.in_time(auth, &operation) => {
                let is_own = matches!(&proof.identifier, UserIdentifier::Matrix(user)
                    if names::login_user_id(&self.context, &user.user).as_deref()
                        == Some(&*session.user_id));
                let account = self.account(&session.user_id).await?;
                let hash = account.and_then(|account| account.password_hash);
                self.passwords
                    .verify(&proof.password, hash.filter(|_| is_own))
                    .await?
            }
            _ => false,
        };
        self.settle(operation, AuthType::Password, auth, proven)
    }

    /// Lets a request pass that needs nothing but to be repeated with the session it was given.
    pub(super) fn acknowledge(
        &self,
        action: &'static str,
        auth: Option<&AuthData>,
    ) -> Result<(), AccountError> {
        let operation = Operation {
            name: action,
            user_nid: 0,
            detail: String::new(),
        };
        let proven = matches!(auth, Some(AuthData::Dummy(_))) && self.in_time(auth, &operation);
        self.settle(operation, AuthType::Dummy, auth, proven)
    }

    /// Whether a proof names the session of a challenge for this operation. A client that knows
    /// the stages may leave the session out, since one stage is all there is.
    fn in_time(&self, auth: Option<&AuthData>, operation: &Operation) -> bool {
        auth.and_then(AuthData::session)
            .is_none_or(|session| self.interactive.knows(&self.context, session, operation))
    }

    fn settle(
        &self,
        operation: Operation,
        stage: AuthType,
        auth: Option<&AuthData>,
        proven: bool,
    ) -> Result<(), AccountError> {
        let session = auth.and_then(AuthData::session);
        if proven {
            if let Some(session) = session {
                self.interactive.close(&self.context, session);
            }
            return Ok(());
        }
        let mut challenge = UiaaInfo::new(vec![AuthFlow::new(vec![stage])]);
        // Clients want the object even where there is nothing in it.
        challenge.params = serde_json::value::to_raw_value(&serde_json::json!({})).ok();
        challenge.session = Some(
            self.interactive
                .session_for(&self.context, session, operation),
        );
        if auth.is_some() {
            challenge.auth_error = Some(Box::new(StandardErrorBody::new(
                ErrorKind::Forbidden,
                "The proof was not accepted".to_owned(),
            )));
        }
        Err(AccountError::Interactive(Box::new(challenge)))
    }
}

#[cfg(test)]
mod tests {
    use hearth_storage::testing::{On, Scratch};

    use super::*;
    use crate::testing::TestServer;

    #[tokio::test]
    async fn open_challenges_are_bounded_and_the_oldest_gives_way() {
        let server = TestServer::new(&Scratch::new(On::Sqlite).await).await;
        let interactive = Interactive::default();
        let operation = Operation {
            name: "x",
            user_nid: 1,
            detail: String::new(),
        };
        let open = || interactive.session_for(&server.context, None, operation.clone());
        let first = open();
        assert!(interactive.knows(&server.context, &first, &operation));
        let mut last = first.clone();
        for _ in 0..SESSIONS_MAX {
            last = open();
        }
        assert!(!interactive.knows(&server.context, &first, &operation));
        assert!(interactive.knows(&server.context, &last, &operation));
        let held = interactive.0.lock().unwrap();
        assert!(held.operations.len() <= SESSIONS_MAX && held.expiring.len() <= SESSIONS_MAX);
    }
}
