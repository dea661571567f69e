//! User-interactive authentication: a sensitive request is answered with a challenge and repeated
//! with a proof. A flow has one stage, but for a registration that needs a token.
//!
//! spec: client-server v1.19 §User-Interactive Authentication API

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use hearth_types::client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo, UserIdentifier};
use hearth_types::ruma::api::error::{ErrorKind, StandardErrorBody};

use super::sessions::TokenHash;
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

/// How far an operation is proven.
#[derive(Debug, Clone)]
struct Challenged {
    operation: Operation,
    completed: Vec<AuthType>,
    /// The registration token that was shown, of which a use is held for as long as this is open.
    registration_token: Option<TokenHash>,
}

/// A proof of one stage that was found to be right.
pub(super) struct Proof {
    pub(super) stage: AuthType,
    pub(super) registration_token: Option<ShownToken>,
}

/// A registration token, and how many it admits beyond those who used it already.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShownToken {
    pub(super) hash: TokenHash,
    pub(super) uses_left: Option<i64>,
}

/// An operation whose stages are all done.
pub(super) struct Passed {
    session: Option<String>,
    challenged: Challenged,
}

impl Passed {
    /// The registration token that was shown.
    pub(super) fn registration_token(&self) -> Option<TokenHash> {
        self.challenged.registration_token
    }
}

/// The open challenges.
#[derive(Default)]
pub(super) struct Interactive(Mutex<Open>);

#[derive(Default)]
struct Open {
    challenged: BTreeMap<String, Challenged>,
    /// In the order in which they expire.
    expiring: VecDeque<(i64, String)>,
}

/// Where an operation stands after a request.
enum Step {
    Passed(Passed),
    /// Stages are left, under this session; whether the proof that came with the request counts.
    Asked(String, Vec<AuthType>, bool),
}

impl Open {
    /// How many hold a use of a registration token, apart from one session.
    fn pending(&self, hash: &TokenHash, except: Option<&str>) -> i64 {
        let holds = |(session, it): &(&String, &Challenged)| {
            it.registration_token.as_ref() == Some(hash) && Some(session.as_str()) != except
        };
        let count = self.challenged.iter().filter(holds).count();
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

impl Interactive {
    /// Takes an operation further: under the session that a client names, if it was opened for this
    /// operation, or else a new one. Stages are done in order.
    fn advance(
        &self,
        context: &Context,
        named: Option<&str>,
        operation: &Operation,
        flow: &[AuthType],
        proof: Option<Proof>,
    ) -> Step {
        let word = context.random_word::<18>();
        self.with(context.clock.now_ms(), |open, now_ms| {
            let is_this = |it: &&Challenged| it.operation == *operation;
            let known = named.and_then(|named| open.challenged.get(named).filter(is_this));
            // A proof without a session is of a client that knows the stages.
            let counts = named.is_none() || known.is_some();
            let named = named.filter(|_| known.is_some());
            let mut challenged = known.cloned().unwrap_or_else(|| Challenged {
                operation: operation.clone(),
                completed: Vec::new(),
                registration_token: None,
            });
            let proof = proof.filter(|proof| {
                let token = &proof.registration_token;
                counts
                    && flow.get(challenged.completed.len()) == Some(&proof.stage)
                    && token.is_none_or(|token| {
                        let pending = open.pending(&token.hash, named);
                        token.uses_left.is_none_or(|left| pending < left)
                    })
            });
            let accepted = proof.is_some();
            if let Some(proof) = proof {
                challenged.completed.push(proof.stage);
                let token = proof.registration_token.map(|token| token.hash);
                challenged.registration_token = token.or(challenged.registration_token);
            }
            if challenged.completed.len() == flow.len() {
                if let Some(named) = named {
                    open.challenged.remove(named);
                }
                let session = named.map(str::to_owned);
                return Step::Passed(Passed {
                    session,
                    challenged,
                });
            }
            let completed = challenged.completed.clone();
            let session = match named {
                Some(named) => named.to_owned(),
                None => {
                    open.expiring
                        .push_back((now_ms + SESSION_LIFETIME_MS, word.clone()));
                    word
                }
            };
            open.challenged.insert(session.clone(), challenged);
            Step::Asked(session, completed, accepted)
        })
    }

    /// Whether a session was opened for this operation and has not expired.
    fn knows(&self, context: &Context, session: &str, operation: &Operation) -> bool {
        self.with(context.clock.now_ms(), |open, _| {
            let known = open.challenged.get(session);
            known.is_some_and(|it| it.operation == *operation)
        })
    }

    /// Takes back that an operation passed: it could not be done, and may be tried again at once. The
    /// last stage has to be shown again.
    pub(super) fn reopen(&self, context: &Context, passed: Passed) {
        let Passed {
            session: Some(session),
            mut challenged,
        } = passed
        else {
            return;
        };
        challenged.completed.pop();
        self.with(context.clock.now_ms(), |open, _| {
            let is_in_time = open.expiring.iter().any(|(_, it)| *it == session);
            if is_in_time {
                open.challenged.insert(session, challenged);
            }
        });
    }

    /// How many hold a use of a registration token at the moment.
    pub(super) fn pending(&self, context: &Context, hash: &TokenHash) -> i64 {
        self.with(context.clock.now_ms(), |open, _| open.pending(hash, None))
    }

    fn with<T>(&self, now_ms: i64, act: impl FnOnce(&mut Open, i64) -> T) -> T {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((expires_ms, _)) = open.expiring.front()
            && (*expires_ms <= now_ms || open.expiring.len() >= SESSIONS_MAX)
        {
            if let Some((_, session)) = open.expiring.pop_front() {
                open.challenged.remove(&session);
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
    /// session; [`AccountError::NotOwner`] for the password of somebody else.
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
                let named = match &proof.identifier {
                    UserIdentifier::Matrix(user) => names::login_user_id(&self.context, &user.user),
                    _ => None,
                };
                let is_own = named.as_deref() == Some(&*session.user_id);
                // No other proof of somebody else would do either.
                if named.is_some() && !is_own {
                    return Err(AccountError::NotOwner);
                }
                let account = self.account(&session.user_id).await?;
                let hash = account.and_then(|account| account.password_hash);
                self.passwords
                    .verify(&proof.password, hash.filter(|_| is_own))
                    .await?
            }
            _ => false,
        };
        let proof = proven.then_some(Proof {
            stage: AuthType::Password,
            registration_token: None,
        });
        self.settle(&operation, &[AuthType::Password], auth, proof)
            .map(drop)
    }

    /// Whether a proof names the session of a challenge for this operation, or none: a client that
    /// knows the stages may begin with the first.
    pub(super) fn in_time(&self, auth: Option<&AuthData>, operation: &Operation) -> bool {
        auth.and_then(AuthData::session)
            .is_none_or(|session| self.interactive.knows(&self.context, session, operation))
    }

    /// Takes an operation further by the proof that came with it, if it is right.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] while stages are left.
    pub(super) fn settle(
        &self,
        operation: &Operation,
        flow: &[AuthType],
        auth: Option<&AuthData>,
        proof: Option<Proof>,
    ) -> Result<Passed, AccountError> {
        let named = auth.and_then(AuthData::session);
        let step = self
            .interactive
            .advance(&self.context, named, operation, flow, proof);
        let (session, completed, accepted) = match step {
            Step::Passed(passed) => return Ok(passed),
            Step::Asked(session, completed, accepted) => (session, completed, accepted),
        };
        let mut challenge = UiaaInfo::new(vec![AuthFlow::new(flow.to_vec())]);
        // Clients want the object even where there is nothing in it.
        challenge.params = serde_json::value::to_raw_value(&serde_json::json!({})).ok();
        challenge.session = Some(session);
        challenge.completed = completed;
        if auth.is_some() && !accepted {
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
        let flow = [AuthType::Dummy];
        let open = || match interactive.advance(&server.context, None, &operation, &flow, None) {
            Step::Asked(session, ..) => session,
            Step::Passed(_) => panic!("nothing was proven"),
        };
        let first = open();
        assert!(interactive.knows(&server.context, &first, &operation));
        let mut last = first.clone();
        for _ in 0..SESSIONS_MAX {
            last = open();
        }
        assert!(!interactive.knows(&server.context, &first, &operation));
        assert!(interactive.knows(&server.context, &last, &operation));
        let held = interactive.0.lock().unwrap();
        assert!(held.challenged.len() <= SESSIONS_MAX && held.expiring.len() <= SESSIONS_MAX);
    }
}
