//! Password hashes: argon2id in PHC form, a few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AccountError;
use crate::context::{Context, Settings};

/// Hashes that may wait for their turn; whoever comes later is told to come back.
const WAITING_MAX: usize = 100;

/// The longest password: what is longer would only cost time to hash.
const PASSWORD_BYTES_MAX: usize = 1_024;

const SALT_BYTES: usize = 16;

/// Hashes and checks passwords, as many at a time as the settings allow.
pub(super) struct Passwords {
    /// How many hashes were made and checked.
    #[cfg(test)]
    pub(super) runs: std::sync::atomic::AtomicUsize,
    argon2: Argon2<'static>,
    parallel: usize,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new(settings: &Settings) -> Self {
        let parallel = settings.argon2_parallel.max(1);
        let params = Params::new(settings.argon2_memory_kib, settings.argon2_passes, 1, None);
        Self {
            #[cfg(test)]
            runs: std::sync::atomic::AtomicUsize::new(0),
            // The configuration has checked the bounds of both figures.
            argon2: Argon2::new(
                Algorithm::Argon2id,
                Version::V0x13,
                params.unwrap_or_default(),
            ),
            parallel,
            admitted: Arc::new(Semaphore::new(parallel + WAITING_MAX)),
            running: Arc::new(Semaphore::new(parallel)),
        }
    }

    /// How many hashes are made or wait for their turn.
    pub(super) fn admitted(&self) -> usize {
        (self.parallel + WAITING_MAX) - self.admitted.available_permits()
    }

    /// The hash of a new password.
    pub(super) async fn hash(
        &self,
        context: &Context,
        password: &str,
    ) -> Result<String, AccountError> {
        check(password)?;
        let mut salt = [0; SALT_BYTES];
        context.entropy.fill(&mut salt);
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        let hashed = self
            .run(move || {
                argon2
                    .hash_password_with_salt(password.as_bytes(), &salt)
                    .map(|hash| hash.to_string())
            })
            .await?;
        hashed.map_err(|error| AccountError::Fault(format!("a password cannot be hashed: {error}")))
    }

    /// Whether a password is the one of a hash. Without a hash it is not, which takes as long: who
    /// asks cannot tell from the time whether an account exists.
    pub(super) async fn verify(
        &self,
        password: &str,
        hash: Option<String>,
    ) -> Result<bool, AccountError> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.run(move || match hash.as_deref().map(PasswordHash::new) {
            // Compares in constant time, at the cost that the hash was made with.
            Some(Ok(hash)) => argon2.verify_password(password.as_bytes(), &hash).is_ok(),
            Some(Err(_)) | None => {
                let made = argon2.hash_password_with_salt(password.as_bytes(), &[0; SALT_BYTES]);
                drop(made);
                false
            }
        })
        .await
    }

    /// Runs one hash on a blocking thread once there is room for it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the two semaphores bound the work, which holds its permits until it is done"
    )]
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_full| AccountError::Busy)?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|closed| AccountError::Fault(closed.to_string()))?;
        #[cfg(test)]
        self.runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let permits: [OwnedSemaphorePermit; 2] = [admitted, running];
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permits);
            done
        })
        .await
        .map_err(|error| AccountError::Fault(error.to_string()))
    }
}

fn check(password: &str) -> Result<(), AccountError> {
    if password.is_empty() {
        return Err(AccountError::WeakPassword("is empty"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AccountError::WeakPassword("is longer than 1024 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
    use hearth_storage::testing::{On, Scratch};

    use super::*;
    use crate::testing::{TestServer, settings};

    fn passwords(memory_kib: u32, parallel: usize) -> Passwords {
        Passwords::new(&Settings {
            argon2_memory_kib: memory_kib,
            argon2_parallel: parallel,
            ..settings()
        })
    }

    #[tokio::test]
    async fn a_hash_stays_valid_when_the_cost_changes() {
        let server = TestServer::new(&Scratch::new(On::Sqlite).await).await;
        let cheap = passwords(64, 1);
        let hash = cheap.hash(&server.context, "secret").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        let again = cheap.hash(&server.context, "secret").await.unwrap();
        assert_ne!(hash, again, "each has its own salt");
        let dear = passwords(128, 1);
        assert!(dear.verify("secret", Some(hash.clone())).await.unwrap());
        assert!(!dear.verify("Secret", Some(hash)).await.unwrap());
        assert!(
            !dear
                .verify("secret", Some("scribble".to_owned()))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn whoever_comes_when_all_places_are_taken_is_told_to_come_back() {
        let passwords = passwords(64, 1);
        let held = Arc::clone(&passwords.running)
            .acquire_owned()
            .await
            .unwrap();
        let mut waiting: FuturesUnordered<_> = (0..=WAITING_MAX)
            .map(|_| passwords.verify("x", None))
            .collect();
        assert!(
            waiting.next().now_or_never().is_none(),
            "they wait for their turn"
        );
        let late = passwords.verify("x", None).await;
        assert!(matches!(late, Err(AccountError::Busy)));
        assert_eq!(passwords.admitted(), WAITING_MAX + 1);
        drop(held);
        while let Some(checked) = waiting.next().await {
            assert!(!checked.unwrap());
        }
        assert!(!passwords.verify("x", None).await.unwrap());
        assert_eq!(passwords.admitted(), 0);
    }
}
