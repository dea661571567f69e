//! What follows commits, off their path: SQLite's write-ahead log is moved into the database file,
//! and processes that share a PostgreSQL database are told of what was committed.

use std::time::Duration;

use tokio::sync::watch;

use crate::dialect::{self, ConnectTo};
use crate::driver::Engine;
use crate::error::StorageError;
use crate::feed;
use crate::trouble::Standing;

/// Positions between two checkpoints: up to 60 MB of log, where each is a message in another room.
const EVERY_POSITIONS: i64 = 2_000;

/// A checkpoint also runs when nothing was written for this long, so that an idle log is empty.
const IDLE: Duration = Duration::from_secs(30);

/// Runs checkpoints; ends when the writer's last handle is dropped.
pub struct Checkpointer {
    to: ConnectTo,
    /// Whether no other process uses the database.
    alone: bool,
    head: watch::Receiver<i64>,
    standing: Standing,
}

impl Checkpointer {
    pub(crate) fn new(
        (to, alone): (ConnectTo, bool),
        head: watch::Receiver<i64>,
        standing: Standing,
    ) -> Self {
        Self {
            to,
            alone,
            head,
            standing,
        }
    }

    /// Checkpoints as the log grows, until the writer is gone.
    pub async fn run(mut self) {
        if matches!(self.to, Engine::Postgres(_)) {
            // PostgreSQL checkpoints by itself; there, what others must hear of is told them.
            match self.alone {
                true => while self.head.changed().await.is_ok() {},
                false => feed::announce(&self.to, self.head).await,
            }
            return;
        }
        let mut done = *self.head.borrow();
        while let Ok(position) = self.due(done).await {
            if position > done {
                done = position;
                if let Err(error) = self.checkpoint().await {
                    self.standing.note(&error);
                    if error.trouble().is_none() {
                        tracing::warn!(%error, "the write-ahead log could not be checkpointed");
                    }
                }
            }
        }
    }

    /// Waits for enough new positions, or for an idle moment. The error says: no writer any more.
    async fn due(&mut self, done: i64) -> Result<i64, watch::error::RecvError> {
        let enough = self
            .head
            .wait_for(|position| *position >= done + EVERY_POSITIONS);
        if let Ok(position) = tokio::time::timeout(IDLE, enough).await {
            return position.map(|position| *position);
        }
        self.head.has_changed()?;
        Ok(*self.head.borrow())
    }

    async fn checkpoint(&self) -> Result<(), StorageError> {
        let mut conn = dialect::connect_writer(&self.to).await?;
        dialect::checkpoint(conn.conn()).await
    }
}
