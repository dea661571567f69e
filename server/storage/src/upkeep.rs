//! Keeps the tables small: a task that takes one bounded step after another, off the commit path.

use std::sync::Arc;
use std::time::Duration;

use hearth_protocol::ambient::Clock;

use crate::commit::{Commit, CommitError, Guard, Outcome};
use crate::error::StorageError;
use crate::storage::Storage;
use crate::tables::bounds::{self, Prune, STEP};
use crate::tables::log::{self, LogTime};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Between two steps: commits of others come first.
const PAUSE: Duration = Duration::from_millis(20);

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How old what is kept for a while may become, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Messages that wait for a device or for a server.
    pub to_device_ms: i64,
    /// Transaction ids of clients: how late a request may be repeated.
    pub transactions_ms: i64,
    /// Ids of other servers' messages.
    pub received_ms: i64,
    /// Remote events that wait for others.
    pub staged_ms: i64,
    /// Keys of servers that only asked us something, after they ran out.
    pub server_keys_ms: i64,
    /// Events that wait for a server, until only the newest of each room does.
    pub outbox_ms: i64,
    /// Connections of sliding sync that nobody uses: their clients begin anew.
    pub sliding_ms: i64,
    /// Reports that administrators do not remove.
    pub reports_ms: i64,
    /// Changes of state, until only the last of each place is kept: how late a client may come back
    /// and be told no more than what changed.
    pub state_changes_ms: i64,
}

impl Ages {
    /// An age that nothing reaches: no clock stands so late.
    pub const FOR_EVER_MS: i64 = i64::MAX / 2;
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            to_device_ms: 365 * DAY_MS,
            transactions_ms: 7 * DAY_MS,
            received_ms: 30 * DAY_MS,
            staged_ms: 7 * DAY_MS,
            server_keys_ms: 30 * DAY_MS,
            outbox_ms: HOUR_MS,
            sliding_ms: 30 * DAY_MS,
            reports_ms: 365 * DAY_MS,
            state_changes_ms: 90 * DAY_MS,
        }
    }
}

/// The task.
pub struct Upkeep {
    storage: Storage,
    clock: Arc<dyn Clock>,
    ages: Ages,
}

impl Upkeep {
    /// Makes the task; nothing happens before it is run.
    #[must_use]
    pub fn new(storage: Storage, clock: Arc<dyn Clock>, ages: Ages) -> Self {
        Self {
            storage,
            clock,
            ages,
        }
    }

    /// Goes over all tables again and again, until the process ends.
    pub async fn run(self) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "what is no longer needed could not be removed");
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Goes over all tables once.
    ///
    /// # Errors
    /// When the database fails; what was removed until then stays removed.
    pub async fn round(&self) -> Result<(), StorageError> {
        let now_ms = self.clock.now_ms();
        let to_device = self.reached_before(now_ms - self.ages.to_device_ms).await?;
        let outbox = self.reached_before(now_ms - self.ages.outbox_ms).await?;
        let state = self
            .reached_before(now_ms - self.ages.state_changes_ms)
            .await?;
        let before = |age_ms: i64| now_ms - age_ms;
        let rules = [
            Prune::EventTransactions {
                before_ms: before(self.ages.transactions_ms),
            },
            Prune::MessageTransactions {
                before_ms: before(self.ages.transactions_ms),
            },
            Prune::Received {
                before_ms: before(self.ages.received_ms),
            },
            Prune::Staged {
                before_ms: before(self.ages.staged_ms),
            },
            Prune::ServerKeys {
                before_ms: before(self.ages.server_keys_ms),
            },
            Prune::DeletedBackups,
            Prune::PurposeTokens { before_ms: now_ms },
            Prune::SlidingConnections {
                before_ms: before(self.ages.sliding_ms),
            },
            Prune::Reports {
                before_ms: before(self.ages.reports_ms),
            },
            Prune::ToDevice { up_to: to_device },
            Prune::StateChanges { up_to: state },
            Prune::LogTimes {
                before_ms: before(self.ages.to_device_ms.max(self.ages.state_changes_ms)),
            },
        ];
        for rule in rules {
            while self.step(rule.clone()).await? >= STEP.unsigned_abs() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.outbox(outbox, to_device).await?;
        self.stripped_states().await?;
        self.remote_lists().await?;
        self.mark(now_ms).await
    }

    /// The last position that is known to have been reached before a time; 0 where none is.
    async fn reached_before(&self, at_ms: i64) -> Result<i64, StorageError> {
        log::position_before(self.storage.read().await?.conn(), at_ms).await
    }

    /// Remembers when the log had come so far.
    async fn mark(&self, now_ms: i64) -> Result<(), StorageError> {
        let mut commit = Commit::default();
        commit.rows.log_times.push(LogTime {
            position: self.storage.writer().head().position(),
            at_ms: now_ms,
        });
        self.commit(commit).await?;
        Ok(())
    }

    async fn outbox(&self, up_to: i64, edus_up_to: i64) -> Result<(), StorageError> {
        let late = bounds::outbox_late(self.storage.read().await?.conn(), up_to).await?;
        for server in late {
            loop {
                let mut reader = self.storage.read().await?;
                let queued =
                    bounds::outbox_overtaken(reader.conn(), server, up_to, edus_up_to).await?;
                drop(reader);
                let more = i64::try_from(queued.len()).is_ok_and(|rows| rows == STEP);
                if !queued.is_empty() {
                    self.step(Prune::Outbox(queued)).await?;
                }
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn stripped_states(&self) -> Result<(), StorageError> {
        let mut after = (0, 0);
        loop {
            let mut reader = self.storage.read().await?;
            let pairs = bounds::stripped_states_after(reader.conn(), after).await?;
            drop(reader);
            let Some(&last) = pairs.last() else {
                return Ok(());
            };
            after = last;
            self.step(Prune::StrippedStates(pairs)).await?;
        }
    }

    async fn remote_lists(&self) -> Result<(), StorageError> {
        let mut after = 0;
        loop {
            let mut reader = self.storage.read().await?;
            let people = bounds::remote_lists_after(reader.conn(), after).await?;
            drop(reader);
            let Some(&last) = people.last() else {
                return Ok(());
            };
            after = last;
            self.step(Prune::RemoteLists(people)).await?;
        }
    }

    /// How many rows the step removed or looked at.
    async fn step(&self, prune: Prune) -> Result<u64, StorageError> {
        let commit = Commit {
            guards: vec![Guard::Prune(prune)],
            ..Commit::default()
        };
        let outcomes = self.commit(commit).await?;
        Ok(match outcomes.first() {
            Some(Outcome::Pruned(rows)) => *rows,
            _ => 0,
        })
    }

    async fn commit(&self, commit: Commit) -> Result<Vec<Outcome>, StorageError> {
        match self.storage.writer().commit(commit).await {
            Ok(receipt) => Ok(receipt.outcomes),
            Err(CommitError::Storage(error)) => Err(error),
            Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
        }
    }
}
