//! The writer: the one task that writes. It takes what is queued, applies it in one transaction and
//! answers after the single flush (group commit).
//!
//! On an error it rolls back and replays by halves, so that one bad commit harms only itself.

#[cfg(feature = "testing")]
pub mod interrupt;

use tokio::sync::{mpsc, oneshot};

use crate::commit::{Commit, CommitError, Outcome, Rows, Slot};
use crate::dialect::{self, ConnectTo, WriteConn};
use crate::error::StorageError;
use crate::head::{Head, Hold};
use crate::sql;
use crate::tables::{log, rooms::Revisions, state::Foundations};

/// Commits that may wait for the writer; whoever comes later waits to hand over.
const QUEUE_MAX: usize = 4_096;

/// Commits in one transaction: bounds how long a light commit waits behind heavy ones.
const BATCH_MAX: usize = 256;

/// The answer to a commit that was applied and flushed. Its positions become visible when it is
/// dropped: bring caches up to date first.
#[derive(Debug)]
pub struct Receipt {
    base: i64,
    /// What the guards found, in their order.
    pub outcomes: Vec<Outcome>,
    _hold: Hold,
}

impl Receipt {
    /// The stream position of a slot.
    #[must_use]
    pub fn at(&self, slot: Slot) -> i64 {
        self.base + slot.0
    }
}

type Answer = oneshot::Sender<Result<Receipt, CommitError>>;

struct Submission {
    commit: Commit,
    answer: Answer,
}

/// A commit on its way: await it for the receipt.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Receipt, CommitError>>);

impl Pending {
    /// Waits until the commit is flushed or refused.
    ///
    /// # Errors
    /// When it was refused or the database failed.
    pub async fn receipt(self) -> Result<Receipt, CommitError> {
        self.0
            .await
            .unwrap_or(Err(CommitError::Storage(StorageError::Stopped)))
    }
}

/// The handle that hands commits over.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Submission>,
    head: Head,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Hands a commit over and returns at once when the queue has room. Commits are applied in the
    /// order in which they are handed over.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub async fn submit(&self, commit: Commit) -> Result<Pending, StorageError> {
        let (answer, pending) = oneshot::channel();
        self.queue
            .send(Submission { commit, answer })
            .await
            .map_err(|_stopped| StorageError::Stopped)?;
        Ok(Pending(pending))
    }

    /// Hands a commit over and waits for its receipt.
    ///
    /// # Errors
    /// When it was refused or the database failed.
    pub async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError> {
        self.submit(commit).await?.receipt().await
    }

    /// The visible head of the log.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }
}

/// The writing side; run it on a task of its own. It ends when every [`Writer`] is dropped.
pub struct WriterTask {
    to: ConnectTo,
    conn: WriteConn,
    queue: mpsc::Receiver<Submission>,
    head: Head,
    #[cfg(feature = "testing")]
    interrupt: Option<std::sync::Arc<dyn interrupt::Interrupt>>,
}

pub(crate) fn writer(to: ConnectTo, conn: WriteConn, position: i64) -> (Writer, WriterTask) {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let head = Head::new(position);
    let task = WriterTask {
        to,
        conn,
        queue,
        head: head.clone(),
        #[cfg(feature = "testing")]
        interrupt: None,
    };
    (
        Writer {
            queue: sender,
            head,
        },
        task,
    )
}

impl WriterTask {
    /// Applies commits until every handle is gone; what was handed over before that is applied.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            self.flush(std::mem::take(&mut batch)).await;
        }
        if let Err(error) = dialect::settle(self.conn.conn()).await {
            tracing::warn!(%error, "the write-ahead log stays as it is");
        }
    }

    async fn flush(&mut self, batch: Vec<Submission>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.attempt(&part).await {
                Ok(verdicts) => self.answer(part, verdicts),
                Err(error) if part.len() == 1 || error.is_disconnect() => {
                    self.fail(part, error).await;
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
            }
        }
    }

    /// One transaction over all of `part`; on an error nothing of it was written.
    async fn attempt(&mut self, part: &[Submission]) -> Result<Vec<Verdict>, StorageError> {
        self.conn.begin().await?;
        let applied = match apply(&mut self.conn, part).await {
            Ok(verdicts) => self.finish().await.map(|()| verdicts),
            Err(error) => Err(error),
        };
        if applied.is_err() {
            // Where this fails too, the connection is gone and took the transaction with it.
            let _already_gone = sql!(self.conn.conn(), execute, "ROLLBACK");
        }
        applied
    }

    async fn finish(&mut self) -> Result<(), StorageError> {
        #[cfg(feature = "testing")]
        if let Some(interrupt) = self.interrupt.clone() {
            interrupt.at(interrupt::Stage::BeforeCommit).await;
        }
        sql!(self.conn.conn(), execute, "COMMIT")?;
        #[cfg(feature = "testing")]
        if let Some(interrupt) = self.interrupt.clone() {
            interrupt.at(interrupt::Stage::AfterCommit).await;
        }
        Ok(())
    }

    fn answer(&self, part: Vec<Submission>, verdicts: Vec<Verdict>) {
        for (submission, verdict) in part.into_iter().zip(verdicts) {
            let answer = verdict.map(|(base, outcomes)| Receipt {
                base,
                outcomes,
                _hold: self.head.open(base, submission.commit.slots),
            });
            // A caller that no longer waits drops the receipt, which makes it visible.
            drop(submission.answer.send(answer));
        }
    }

    /// Answers every commit with the error, and opens a new connection where the old one is lost.
    async fn fail(&mut self, part: Vec<Submission>, error: StorageError) {
        if error.is_disconnect() {
            match dialect::connect_writer(&self.to).await {
                Ok(conn) => self.conn = conn,
                Err(error) => tracing::error!(%error, "the database cannot be reached"),
            }
        }
        let sentence = error.to_string();
        let mut error = Some(error);
        for submission in part {
            let error = error
                .take()
                .unwrap_or_else(|| StorageError::Unusable(sentence.clone()));
            drop(submission.answer.send(Err(CommitError::Storage(error))));
        }
    }
}

/// The base position and what the guards found, or why the commit was refused.
type Verdict = Result<(i64, Vec<Outcome>), CommitError>;

async fn apply(conn: &mut WriteConn, part: &[Submission]) -> Result<Vec<Verdict>, StorageError> {
    let slots = part.iter().map(|submission| submission.commit.slots).sum();
    // First, since on PostgreSQL this row's lock orders the nodes that share the database.
    let mut base = 1 + log::head_advance(conn.conn(), slots).await?;
    let rooms: Vec<i64> = part
        .iter()
        .flat_map(|s| s.commit.rooms.iter().map(|room| room.room_nid))
        .collect();
    let mut revisions = Revisions::read(conn.conn(), &rooms).await?;
    let snapshots = part.iter().flat_map(|s| &s.commit.rows.snapshots);
    let mut foundations = Foundations::read(conn.conn(), snapshots).await?;
    let mut verdicts = Vec::with_capacity(part.len());
    let mut accepted: Vec<(i64, &Rows)> = Vec::with_capacity(part.len());
    let mut unreferenced = Vec::new();
    for Submission { commit, .. } in part {
        let rows = &commit.rows;
        let on_time = revisions.check(&commit.rooms);
        let decided = match on_time.and_then(|()| foundations.check(&rows.snapshots)) {
            Ok(()) => run_guards(conn, commit).await,
            Err(stale) => Err(CommitError::Refused(stale)),
        };
        verdicts.push(match decided {
            Ok(outcomes) => {
                revisions.take(&commit.rooms);
                foundations.take(&rows.snapshots);
                accepted.push((base, rows));
                unreferenced.push(&commit.unreferenced);
                Ok((base, outcomes))
            }
            Err(CommitError::Storage(error)) => return Err(error),
            Err(refused) => Err(refused),
        });
        base += commit.slots;
    }
    Rows::write(conn.conn(), &accepted).await?;
    revisions.write(conn.conn()).await?;
    for unreferenced in unreferenced {
        unreferenced.remove(conn.conn()).await?;
    }
    Ok(verdicts)
}

/// Runs a commit's guards; what they wrote is undone when one of them refuses.
async fn run_guards(conn: &mut WriteConn, commit: &Commit) -> Result<Vec<Outcome>, CommitError> {
    if commit.guards.is_empty() {
        return Ok(Vec::new());
    }
    sql!(conn.conn(), execute, "SAVEPOINT guards")?;
    let mut outcomes = Vec::with_capacity(commit.guards.len());
    for guard in &commit.guards {
        match guard.run(conn.conn()).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                sql!(conn.conn(), execute, "ROLLBACK TO SAVEPOINT guards")?;
                sql!(conn.conn(), execute, "RELEASE SAVEPOINT guards")?;
                return Err(error);
            }
        }
    }
    sql!(conn.conn(), execute, "RELEASE SAVEPOINT guards")?;
    Ok(outcomes)
}
