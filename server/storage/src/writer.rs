//! The writer: the one task that writes. It takes what is queued, applies it in one transaction and
//! answers after the single flush (group commit).
//!
//! On an error it rolls back and replays by halves, so that one bad commit harms only itself.

#[cfg(feature = "testing")]
pub mod interrupt;
mod transaction;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::transaction::{Verdict, Written, write};
use crate::bundle::ANSWER;
use crate::commit::{Commit, CommitError, Outcome, Rows, Slot};
use crate::dialect::{self, ConnectTo, Waiting, WriteConn};
use crate::error::StorageError;
use crate::figures::WriterFigures;
use crate::head::{Head, Hold};
use crate::sql;
use crate::tables::rooms::Remembered;
use crate::trouble::{Standing, Trouble};

/// Commits that may wait for the writer; whoever comes later waits to hand over.
const QUEUE_MAX: usize = 4_096;

/// Commits in one transaction: bounds how long a light commit waits behind heavy ones.
const BATCH_MAX: usize = 256;

/// How long a transaction waits for the company that the last one had: a flush for many costs what a
/// flush for one does, and those who were just answered are about to hand over more.
const COMPANY: Duration = Duration::from_millis(1);

/// What is added for each row to the time that PostgreSQL has for an answer: a room that is handed over by
/// another server comes in one commit, however large it is.
const EACH_ROW: Duration = Duration::from_millis(10);

/// Between two attempts to reach a lost database.
const RECONNECT: Duration = Duration::from_millis(500);

/// How long an attempt to reach it may take.
const CONNECT: Duration = Duration::from_secs(5);

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
    news: Arc<News>,
    standing: Standing,
    figures: Arc<WriterFigures>,
}

/// The last positions of what followers of the log look for, so that they look only where there is
/// something.
#[derive(Debug)]
struct News {
    outbound: AtomicI64,
    outbox: AtomicI64,
    profiles: AtomicI64,
}

impl News {
    /// Whatever lies up to a position may be news.
    fn up_to(position: i64) -> Self {
        Self {
            outbound: AtomicI64::new(position),
            outbox: AtomicI64::new(position),
            profiles: AtomicI64::new(position),
        }
    }

    fn note(&self, rows: &Rows, last: i64) {
        if rows.events.iter().any(|event| event.outbound) {
            self.outbound.fetch_max(last, Ordering::Release);
        }
        // A change of devices is queued for whoever shares a room, wherever that is.
        if !rows.outbox.is_empty() || !rows.device_list_changes.is_empty() {
            self.outbox.fetch_max(last, Ordering::Release);
        }
        if !rows.profiles.is_empty() {
            self.profiles.fetch_max(last, Ordering::Release);
        }
    }
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

    /// A position at or after the last outbound event that is visible.
    #[must_use]
    pub fn last_outbound(&self) -> i64 {
        self.news.outbound.load(Ordering::Acquire)
    }

    /// A position at or after the last row of the outbox that is visible.
    #[must_use]
    pub fn last_outbox(&self) -> i64 {
        self.news.outbox.load(Ordering::Acquire)
    }

    /// A position at or after the last change of a profile that is visible.
    #[must_use]
    pub fn last_profile(&self) -> i64 {
        self.news.profiles.load(Ordering::Acquire)
    }

    /// How the database stands.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What was written until now, in figures.
    #[must_use]
    pub fn figures(&self) -> &WriterFigures {
        &self.figures
    }

    /// How many commits wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// The writing side; run it on a task of its own. It ends when every [`Writer`] is dropped.
pub struct WriterTask {
    to: ConnectTo,
    alone: bool,
    /// None once it was lost: what it held is free then.
    conn: Option<WriteConn>,
    /// Where rooms are, as far as it was read or written, if nobody else writes.
    revisions: Remembered,
    queue: mpsc::Receiver<Submission>,
    head: Head,
    news: Arc<News>,
    standing: Standing,
    /// When a connection was last ended since it could only read.
    begun_anew: Option<Instant>,
    figures: Arc<WriterFigures>,
    #[cfg(feature = "testing")]
    interrupt: Option<std::sync::Arc<dyn interrupt::Interrupt>>,
}

pub(crate) fn writer(
    to: ConnectTo,
    alone: bool,
    conn: WriteConn,
    position: i64,
    standing: Standing,
) -> (Writer, WriterTask) {
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let head = Head::new(position);
    // What other processes write is seen in the database alone.
    let news = Arc::new(News::up_to(if alone { position } else { i64::MAX }));
    let figures = Arc::new(WriterFigures::default());
    let task = WriterTask {
        to,
        alone,
        conn: Some(conn),
        revisions: Remembered::default(),
        queue,
        head: head.clone(),
        news: Arc::clone(&news),
        standing: standing.clone(),
        begun_anew: None,
        figures: Arc::clone(&figures),
        #[cfg(feature = "testing")]
        interrupt: None,
    };
    (
        Writer {
            queue: sender,
            head,
            news,
            standing,
            figures,
        },
        task,
    )
}

impl WriterTask {
    /// Applies commits until every handle is gone; what was handed over before that is applied.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        let mut company = 0;
        let mut news = self.standing.subscribe();
        loop {
            let lost = *news.borrow_and_update() == Some(Trouble::Unreachable);
            tokio::select! {
                count = self.queue.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.gather(&mut batch, company).await;
                    company = batch.len();
                    self.flush(std::mem::take(&mut batch)).await;
                }
                () = tokio::time::sleep(RECONNECT), if lost => drop(self.reconnect().await),
                // Whoever reads may have found it lost.
                _ = news.changed(), if !lost => {}
            }
        }
        if let Some(mut conn) = self.conn
            && let Err(error) = dialect::leave_at_rest(conn.conn()).await
        {
            tracing::warn!(%error, "the write-ahead log stays as it is");
        }
    }

    /// Waits a moment for as many commits as there were the last time. Whoever is alone waits for nobody.
    async fn gather(&mut self, batch: &mut Vec<Submission>, company: usize) {
        let enough = company.min(BATCH_MAX);
        let gather = async {
            while batch.len() < enough {
                let more = self.queue.recv_many(batch, BATCH_MAX - batch.len());
                if more.await == 0 {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(COMPANY, gather).await);
    }

    async fn flush(&mut self, batch: Vec<Submission>) {
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            match self.attempt(&part).await {
                Ok(verdicts) => {
                    self.standing.works();
                    self.answer(part, verdicts);
                }
                Err(Failure { error, in_doubt }) if concerns_all(&error) => {
                    self.standing.note(&error);
                    self.endure(part, error, in_doubt).await;
                }
                Err(failure) if part.len() == 1 => {
                    self.standing.note(&failure.error);
                    fail(part, failure.error);
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
            }
        }
    }

    /// One transaction over all of `part`; on an error nothing of it was written, but for one in
    /// doubt.
    async fn attempt(&mut self, part: &[Submission]) -> Result<Vec<Verdict>, Failure> {
        let Some(mut conn) = self.conn.take() else {
            return Err(StorageError::Unavailable(Trouble::Unreachable).into());
        };
        let failure = match self.transaction(&mut conn, part).await {
            Ok(verdicts) => {
                self.conn = Some(conn);
                return Ok(verdicts);
            }
            Err(failure) => failure,
        };
        self.revisions.forget();
        self.figures.failures.fetch_add(1, Ordering::Relaxed);
        // A lost connection takes the transaction along, and SQLite undoes some by itself.
        if !failure.error.is_disconnect() {
            let undo = async { sql!(conn.conn(), execute, "ROLLBACK") };
            let undone = dialect::in_time(&self.to, ANSWER, undo).await;
            let lost = undone.is_err_and(|error| error.is_disconnect());
            self.conn = (!lost).then_some(conn);
        }
        Err(failure)
    }

    async fn transaction(
        &mut self,
        conn: &mut WriteConn,
        part: &[Submission],
    ) -> Result<Vec<Verdict>, Failure> {
        let started = Instant::now();
        let rows = part.iter().map(|it| it.commit.rows.count()).sum();
        let write = write(conn, part, &self.revisions);
        let write = dialect::in_time(&self.to, patience(rows), write);
        let Written {
            transaction,
            verdicts,
            revisions,
            waiting,
        } = write.await?;
        match self.finish(conn, waiting).await {
            Ok(()) => {
                self.count(part, started);
                if self.alone {
                    self.revisions.take(&revisions);
                }
                Ok(verdicts)
            }
            Err(error) if error.is_disconnect() => {
                let in_doubt = transaction.map(|id| (id, verdicts));
                Err(Failure { error, in_doubt })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn count(&self, part: &[Submission], started: Instant) {
        let commits = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.figures.batches.note(commits);
        self.figures.transactions.note_time(started.elapsed());
    }

    #[cfg_attr(
        not(feature = "testing"),
        expect(
            unused_mut,
            reason = "an interrupt comes between what waits and the end"
        )
    )]
    async fn finish(&self, conn: &mut WriteConn, mut waiting: Waiting) -> Result<(), StorageError> {
        #[cfg(feature = "testing")]
        if let Some(interrupt) = self.interrupt.clone() {
            conn.settle(&mut waiting).await?;
            interrupt.at(interrupt::Stage::BeforeCommit).await;
        }
        let started = Instant::now();
        dialect::in_time(&self.to, ANSWER, conn.commit(waiting)).await?;
        self.figures.flushes.note_time(started.elapsed());
        #[cfg(feature = "testing")]
        if let Some(interrupt) = self.interrupt.clone() {
            interrupt.at(interrupt::Stage::AfterCommit).await;
        }
        Ok(())
    }

    /// Answers commits that met a condition of the whole database. Those whose transaction may have
    /// been committed when the connection was lost are answered when that is known: their committers'
    /// caches must not differ from what is stored.
    async fn endure(
        &mut self,
        part: Vec<Submission>,
        error: StorageError,
        in_doubt: Option<(i64, Vec<Verdict>)>,
    ) {
        if let Some((transaction, verdicts)) = in_doubt
            && self.was_committed(transaction).await == Some(true)
        {
            self.answer(part, verdicts);
            return;
        }
        if error.is_disconnect() {
            drop(self.reconnect().await);
        } else if error.trouble() == Some(Trouble::ReadOnly) {
            self.begin_anew().await;
        }
        fail(part, error);
    }

    /// A session of PostgreSQL stays read-only as it began, also when the database is not so any more:
    /// it is ended for another one. Not at every refused commit. The lock that keeps other processes out
    /// goes with it; where the dying session holds it a moment longer, the next commit reconnects.
    async fn begin_anew(&mut self) {
        let lately = self.begun_anew.is_some_and(|it| it.elapsed() < RECONNECT);
        if !lately
            && let Some(conn) = &mut self.conn
            && dialect::session_end(conn).await
        {
            self.begun_anew = Some(Instant::now());
            drop(self.open().await);
        }
    }

    /// Whether a transaction was committed; waits for the database as long as anybody waits for the
    /// writer. Whatever else is handed over meanwhile is refused.
    async fn was_committed(&mut self, transaction: i64) -> Option<bool> {
        let mut refused = Vec::new();
        loop {
            if let Ok(Some(outcome)) = self.outcome(transaction).await {
                return Some(outcome);
            }
            tokio::select! {
                count = self.queue.recv_many(&mut refused, BATCH_MAX) => {
                    if count == 0 {
                        return None;
                    }
                    let error = StorageError::Unavailable(Trouble::Unreachable);
                    fail(std::mem::take(&mut refused), error);
                }
                () = tokio::time::sleep(RECONNECT) => {}
            }
        }
    }

    /// What became of a transaction; none while PostgreSQL does not know that it is over.
    async fn outcome(&mut self, transaction: i64) -> Result<Option<bool>, StorageError> {
        self.reconnect().await?;
        let Some(conn) = &mut self.conn else {
            return Ok(None);
        };
        let outcome = dialect::transaction_outcome(conn.conn(), transaction);
        dialect::in_time(&self.to, ANSWER, outcome).await
    }

    /// Sees to it that there is a connection, and says that the database is there again. Whoever reads may
    /// have found it lost while the connection that holds the lease lives on: another one would not get that.
    async fn reconnect(&mut self) -> Result<(), StorageError> {
        let is_there = match &mut self.conn {
            Some(conn) => dialect::has_lock(conn) && dialect::is_there(conn).await,
            None => false,
        };
        if !is_there {
            self.open().await?;
            self.standing.is_reached_anew();
        }
        self.standing.works();
        Ok(())
    }

    /// Opens a new connection in the place of the lost one.
    async fn open(&mut self) -> Result<(), StorageError> {
        self.revisions.forget();
        // The lock goes with the connection that has it. A file lends itself to two.
        self.conn.take_if(|conn| dialect::has_lock(conn));
        let opened = tokio::time::timeout(CONNECT, connect(&self.to, self.alone)).await;
        let conn = opened.unwrap_or(Err(StorageError::Unavailable(Trouble::Unreachable)))?;
        self.conn = Some(conn);
        Ok(())
    }

    fn answer(&self, part: Vec<Submission>, verdicts: Vec<Verdict>) {
        for (submission, verdict) in part.into_iter().zip(verdicts) {
            let Commit { slots, rows, .. } = &submission.commit;
            let answer = verdict.map(|(base, outcomes)| {
                // Before the head moves: whoever sees it has heard of the news.
                self.news.note(rows, base + slots - 1);
                Receipt {
                    base,
                    outcomes,
                    _hold: self.head.open(base, *slots),
                }
            });
            // A caller that no longer waits drops the receipt, which makes it visible.
            drop(submission.answer.send(answer));
        }
    }
}

/// Why an attempt did not come to its end.
struct Failure {
    error: StorageError,
    /// The transaction that may have been committed all the same, and what its commits would be told.
    in_doubt: Option<(i64, Vec<Verdict>)>,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self {
            error,
            in_doubt: None,
        }
    }
}

/// How long PostgreSQL may take over so many rows: much longer than one that works.
fn patience(rows: usize) -> Duration {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    ANSWER.saturating_add(EACH_ROW.saturating_mul(rows))
}

/// Whether the next commit would meet the same. Damage harms those alone that touch it.
fn concerns_all(error: &StorageError) -> bool {
    error
        .trouble()
        .is_some_and(|trouble| trouble != Trouble::Damaged)
}

/// Answers every commit with the error.
fn fail(part: Vec<Submission>, error: StorageError) {
    let again = error.trouble();
    let mut error = Some(error);
    for submission in part {
        let trouble = again.unwrap_or(Trouble::Unreachable);
        let error = error.take().unwrap_or(StorageError::Unavailable(trouble));
        drop(submission.answer.send(Err(CommitError::Storage(error))));
    }
}

/// Opens a connection that may write. The lock went with the lost one; whoever has it now may write, and we
/// may not.
async fn connect(to: &ConnectTo, alone: bool) -> Result<WriteConn, StorageError> {
    let mut conn = dialect::connect_writer(to).await?;
    match alone && !dialect::lease_try(conn.conn()).await? {
        true => Err(StorageError::Unavailable(Trouble::Unreachable)),
        false => Ok(conn),
    }
}
