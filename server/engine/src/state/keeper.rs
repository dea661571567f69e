//! What is done about states in the background, for as long as the server runs.

use std::time::Duration;

use hearth_storage::{Commit, CommitError, Storage, StorageError};

use crate::rooms::Rooms;
use crate::state::merge::merge_due;
use crate::state::sweep::Sweep;

/// Between two steps of the sweep.
const PAUSE: Duration = Duration::from_secs(30);

impl Rooms {
    /// Merges chains of states as they grow long, and removes states to which nothing refers. Runs
    /// until it is dropped, which it may be anywhere.
    pub async fn keep_states(self) {
        let mut sweep = Sweep::default();
        loop {
            if let Err(error) = self.keep_states_once(&mut sweep).await {
                tracing::warn!(%error, "states are not kept small for now");
            }
            let next_sweep = tokio::time::sleep(PAUSE);
            tokio::pin!(next_sweep);
            loop {
                tokio::select! {
                    () = &mut next_sweep => break,
                    () = self.snapshots.merge_waits() => {}
                }
                if let Err(error) = merge_due(&self.ctx.storage, &self.snapshots).await {
                    tracing::warn!(%error, "long chains of states are not merged for now");
                    next_sweep.as_mut().await;
                    break;
                }
            }
        }
    }

    /// One step of what [`Rooms::keep_states`] does.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_states_once(&self, sweep: &mut Sweep) -> Result<(), StorageError> {
        merge_due(&self.ctx.storage, &self.snapshots).await?;
        sweep.step(&self.ctx.storage, self.ctx.clock.now_ms()).await
    }
}

/// Writes a commit. One that is refused came too late, and is not needed any more.
pub(super) async fn written(storage: &Storage, commit: Commit) -> Result<(), StorageError> {
    match storage.writer().commit(commit).await {
        Ok(_) | Err(CommitError::Refused(_)) => Ok(()),
        Err(CommitError::Storage(error)) => Err(error),
    }
}
