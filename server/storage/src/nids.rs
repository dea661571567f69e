//! Local ids that a plan needs before its commit is written: taken from blocks that the database
//! has set aside, so that a crash leaves gaps and never gives an id twice.

use tokio::sync::Mutex;

use crate::commit::{Commit, CommitError, Guard, Outcome};
use crate::error::StorageError;
use crate::tables::log::NidBlock;
use crate::writer::Writer;

/// Ids set aside at a time: one small write per this many.
const BLOCK_SIZE: i64 = 1_000;

/// A source of one kind of local ids.
#[derive(Debug)]
pub struct Nids {
    kind: &'static str,
    writer: Writer,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

impl Nids {
    pub(crate) fn new(kind: &'static str, writer: Writer) -> Self {
        Self {
            kind,
            writer,
            block: Mutex::new(Block { next: 0, end: 0 }),
        }
    }

    /// The next `count` ids, contiguous.
    ///
    /// # Errors
    /// When a new block is needed and the database fails.
    pub async fn take(&self, count: i64) -> Result<std::ops::Range<i64>, StorageError> {
        let mut block = self.block.lock().await;
        if block.end - block.next < count {
            let size = BLOCK_SIZE.max(count);
            let first = self.set_aside(size).await?;
            *block = Block {
                next: first,
                end: first + size,
            };
        }
        let first = block.next;
        block.next += count;
        Ok(first..block.next)
    }

    /// The next id.
    ///
    /// # Errors
    /// As [`Nids::take`].
    pub async fn next(&self) -> Result<i64, StorageError> {
        Ok(self.take(1).await?.start)
    }

    async fn set_aside(&self, size: i64) -> Result<i64, StorageError> {
        let guard = Guard::NidBlock(NidBlock {
            kind: self.kind,
            size,
        });
        let commit = Commit {
            guards: vec![guard],
            ..Commit::default()
        };
        let receipt = self
            .writer
            .commit(commit)
            .await
            .map_err(|error| match error {
                CommitError::Storage(error) => error,
                CommitError::Refused(refusal) => StorageError::Unusable(refusal.to_string()),
            })?;
        match receipt.outcomes.first() {
            Some(Outcome::Nids(nids)) if nids.len() == 1 => Ok(nids[0]),
            _ => Err(StorageError::Corrupt {
                what: "id block",
                why: "the guard gave no id".to_owned(),
            }),
        }
    }
}
