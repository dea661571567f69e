//! Waiting for something new, without a look into the database while there is nothing.

use std::time::Duration;

use super::SyncError;
use crate::accounts::{Accounts, Session};
use crate::notifier::Watch;

/// The longest that a client is made to wait.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Something that can be looked at again and again.
pub(super) trait Looks: Sync {
    /// What a look finds.
    type Seen: Send;

    /// Takes a look; after one that found nothing new, from where that one ended.
    fn look(
        &self,
        after: Option<&Self::Seen>,
    ) -> impl Future<Output = Result<Self::Seen, SyncError>> + Send;

    /// Whether there is nothing new in what was seen.
    fn is_empty(seen: &Self::Seen) -> bool;
}

/// Who waits.
pub(super) struct Waiting<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) session: &'a Session,
    /// What reports the person's changes.
    pub(super) watch: &'a Watch,
}

/// How long somebody waits.
pub(super) struct Patience<E> {
    /// At most so long; zero is not at all.
    pub(super) timeout: Duration,
    /// Until this is done.
    pub(super) ended: E,
}

/// Looks, and looks again at every change that the watch reports, until something is found or
/// patience ends. What was seen last is the answer. Who is logged out or locked meanwhile is told at
/// once.
pub(super) async fn until_found<L: Looks>(
    waiting: Waiting<'_>,
    patience: Patience<impl Future<Output = ()>>,
    looks: &L,
) -> Result<L::Seen, SyncError> {
    let watch = waiting.watch;
    let standing = watch.standing();
    // Before the first look, so that nothing falls between a look and the wait.
    let woken = watch.woken();
    tokio::pin!(woken);
    woken.as_mut().enable();
    let mut seen = looks.look(None).await?;
    if patience.timeout.is_zero() {
        return Ok(seen);
    }
    let wait = async {
        while L::is_empty(&seen) {
            woken.as_mut().await;
            woken.set(watch.woken());
            woken.as_mut().enable();
            if watch.standing() != standing {
                // Boxed, so that who waits holds no memory for it.
                Box::pin(waiting.accounts.must_stand(waiting.session)).await?;
            }
            seen = looks.look(Some(&seen)).await?;
        }
        Ok::<(), SyncError>(())
    };
    tokio::select! {
        biased;
        looked = wait => looked?,
        () = patience.ended => {}
        () = tokio::time::sleep(patience.timeout.min(TIMEOUT_MAX)) => {}
    }
    Ok(seen)
}
