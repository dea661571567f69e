//! Where a test may stop the writer: a process can end at any moment, and the two around COMMIT are
//! those that decide between "never happened" and "happened, but nobody was told".

use std::pin::Pin;
use std::sync::Arc;

use super::WriterTask;

/// A moment of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Everything is written, nothing is committed.
    BeforeCommit,
    /// Everything is committed, nobody was answered.
    AfterCommit,
}

/// Stops the writer where it wants to.
pub trait Interrupt: Send + Sync {
    /// Awaited at each stage of each transaction. What never returns leaves the transaction there.
    fn at(&self, stage: Stage) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl WriterTask {
    /// The same writer, stopped where `interrupt` wants it.
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: Arc<dyn Interrupt>) -> Self {
        self.interrupt = Some(interrupt);
        self
    }
}
