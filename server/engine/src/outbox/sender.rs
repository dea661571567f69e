//! The sender of one destination: cuts transactions off its queue and delivers them in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hearth_storage::tables::outbox::{self as rows, DestinationRow, OutboxDelivered, Queued};
use hearth_storage::tables::{events, intern};
use hearth_storage::{Commit, CommitError, StorageError};
use hearth_types::ruma::{OwnedServerName, ServerName};

use crate::outbox::pause::pause_ms;
use crate::outbox::{Line, Outbox, STORAGE_PAUSE};
use crate::peers::PeerError;

/// Events in one transaction. spec: server-server v1.19 §Transactions.
const PDUS_MAX: usize = 50;
/// EDUs in one transaction. spec: server-server v1.19 §Transactions.
const EDUS_MAX: usize = 100;
/// How often a transaction that the other side calls malformed is sent before it is taken apart.
const MALFORMED_MAX: u32 = 3;

/// Sends what waits for a destination until nothing does.
pub(super) async fn run(outbox: Outbox, server_nid: i64, line: Arc<Line>) {
    loop {
        match empty(&outbox, server_nid, &line).await {
            Ok(()) if outbox.retire(server_nid, &line) => return,
            Ok(()) => {}
            Err(StorageError::Stopped) => return,
            Err(error) => {
                if error.trouble().is_none() {
                    tracing::error!(%error, "a federation sender could not go on");
                }
                tokio::time::sleep(STORAGE_PAUSE).await;
            }
        }
    }
}

/// Empties a queue. After an error it is not known what was stored: begin anew.
async fn empty(outbox: &Outbox, server_nid: i64, line: &Line) -> Result<(), StorageError> {
    let mut sender = Sender::open(outbox, server_nid, line).await?;
    while let Some(transaction) = sender.transaction().await? {
        match sender.send(&transaction).await {
            Ok(()) => sender.delivered().await?,
            Err(error) if is_malformed(&error) => sender.refused(&transaction, &error).await?,
            Err(error) => sender.failed(&error).await?,
        }
    }
    sender.pass().await;
    Ok(())
}

struct Sender<'a> {
    outbox: &'a Outbox,
    line: &'a Line,
    server: OwnedServerName,
    /// As it is stored.
    standing: DestinationRow,
    /// How often the transaction in flight was called malformed.
    malformed: u32,
    /// Rows of such a transaction that are still to be sent one by one.
    singly: usize,
}

/// What one transaction carries.
struct Transaction {
    id: String,
    rows: Vec<Queued>,
    pdus: Vec<Bytes>,
    edus: Vec<Bytes>,
}

impl<'a> Sender<'a> {
    async fn open(
        outbox: &'a Outbox,
        server_nid: i64,
        line: &'a Line,
    ) -> Result<Self, StorageError> {
        let mut reader = outbox.0.ctx.storage.read().await?;
        let standing = rows::destination(reader.conn(), server_nid).await?;
        let names = intern::server_names(reader.conn(), &[server_nid]).await?;
        let name = names
            .into_iter()
            .next()
            .map(|(_, name)| name)
            .unwrap_or_default();
        let server = ServerName::parse(name).map_err(|error| StorageError::Corrupt {
            what: "server",
            why: error.to_string(),
        })?;
        Ok(Self {
            outbox,
            line,
            server,
            standing: standing.unwrap_or(DestinationRow {
                server_nid,
                txn_last: 0,
                failures: 0,
                retry_at_ms: 0,
            }),
            malformed: 0,
            singly: 0,
        })
    }

    /// The transaction in flight, or else the next one, cut off durably.
    async fn transaction(&mut self) -> Result<Option<Transaction>, StorageError> {
        let storage = &self.outbox.0.ctx.storage;
        let (last, limit) = match (self.standing.txn_last, self.singly) {
            (0, 0) => (i64::MAX, PDUS_MAX + EDUS_MAX),
            (0, _) => (i64::MAX, 1),
            (last, _) => (last, PDUS_MAX + EDUS_MAX),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut reader = storage.read().await?;
        let nid = self.standing.server_nid;
        let mut queued = rows::outbox_queued(reader.conn(), nid, last, limit).await?;
        queued.truncate(fitting(&queued));
        let Some(last) = queued.last().map(|row| row.position) else {
            return Ok(None);
        };
        if self.standing.txn_last == 0 {
            drop(reader);
            let standing = DestinationRow {
                txn_last: last,
                ..self.standing
            };
            self.commit(standing, None).await?;
            reader = storage.read().await?;
        }
        let nids: Vec<i64> = queued.iter().filter_map(|row| row.event_nid).collect();
        let stored = events::events_by_nid(reader.conn(), &nids).await?;
        let json: BTreeMap<i64, Bytes> = stored
            .into_iter()
            .map(|event| (event.event_nid, event.json))
            .collect();
        Ok(Some(Transaction {
            id: self.transaction_id(last),
            pdus: nids
                .iter()
                .filter_map(|nid| json.get(nid).cloned())
                .collect(),
            edus: queued
                .iter()
                .filter_map(|row| row.edu.clone().map(Bytes::from))
                .collect(),
            rows: queued,
        }))
    }

    /// Unique for this database: one that was restored from a backup counts positions anew.
    fn transaction_id(&self, last: i64) -> String {
        format!("{}-{last}", self.transaction_word())
    }

    fn transaction_word(&self) -> String {
        let generation = &self.outbox.0.ctx.storage.identity().generation;
        generation
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect()
    }

    /// Sends what is told in passing, once.
    async fn pass(&self) {
        let shared = &self.outbox.0;
        let edus = shared.passing.take(self.standing.server_nid);
        if edus.is_empty() {
            return;
        }
        let moment = shared.rooms.moments.next();
        let transaction = Transaction {
            id: format!("{}-passing-{moment}", self.transaction_word()),
            rows: Vec::new(),
            pdus: Vec::new(),
            edus,
        };
        if let Err(error) = self.send(&transaction).await {
            let server = &self.server;
            tracing::debug!(%server, %error, "what was told in passing did not arrive");
            let now_ms = shared.ctx.clock.now_ms();
            shared.passing.quiet(self.standing.server_nid, now_ms);
        }
    }

    async fn send(&self, transaction: &Transaction) -> Result<(), PeerError> {
        let shared = &self.outbox.0;
        let turns = match self.standing.failures {
            0 => &shared.sending,
            _ => &shared.retrying,
        };
        // Never closed; and without a turn, sending late is better than not at all.
        let _turn = turns.acquire().await.ok();
        // Only a sign of life from now on says that it is worth trying again at once.
        let _earlier = self.line.heard.notified().now_or_never();
        let (pdus, edus) = (transaction.pdus.clone(), transaction.edus.clone());
        let peers = &shared.ctx.peers;
        peers
            .send_transaction(&self.server, &transaction.id, pdus, edus)
            .await
    }

    async fn delivered(&mut self) -> Result<(), StorageError> {
        self.malformed = 0;
        self.singly = self.singly.saturating_sub(1);
        let delivered = OutboxDelivered {
            server_nid: self.standing.server_nid,
            position: self.standing.txn_last,
        };
        let standing = DestinationRow {
            server_nid: self.standing.server_nid,
            txn_last: 0,
            failures: 0,
            retry_at_ms: 0,
        };
        self.commit(standing, Some(delivered)).await
    }

    /// The other side will never take this transaction. Its rows go one by one instead, so that
    /// only the one that it objects to is lost.
    async fn refused(
        &mut self,
        transaction: &Transaction,
        error: &PeerError,
    ) -> Result<(), StorageError> {
        self.malformed += 1;
        let (server, txn_id) = (&self.server, &transaction.id);
        if self.singly > 0 && transaction.rows.len() == 1 {
            tracing::error!(%server, txn_id, %error, "dropped what a server will not take");
            return self.delivered().await;
        }
        if self.malformed < MALFORMED_MAX {
            return self.failed(error).await;
        }
        tracing::warn!(%server, txn_id, %error, "a transaction is sent again piece by piece");
        self.malformed = 0;
        self.singly = transaction.rows.len();
        let standing = DestinationRow {
            txn_last: 0,
            ..self.standing
        };
        self.commit(standing, None).await
    }

    /// Leaves the destination alone for a while, or until it gives a sign of life.
    async fn failed(&mut self, error: &PeerError) -> Result<(), StorageError> {
        let ctx = &self.outbox.0.ctx;
        let failures = self.standing.failures.saturating_add(1);
        let pause_ms = pause_ms(ctx.settings.retry_initial_ms, failures, &*ctx.entropy);
        let server = &self.server;
        tracing::info!(%server, failures, pause_ms, %error, "a transaction was not delivered");
        let standing = DestinationRow {
            failures,
            retry_at_ms: ctx.clock.now_ms() + pause_ms,
            ..self.standing
        };
        self.commit(standing, None).await?;
        if self.was_heard_while_waiting().await {
            // Kept in memory alone: the next outcome is stored anyway.
            self.standing.failures = 0;
        }
        Ok(())
    }

    async fn was_heard_while_waiting(&self) -> bool {
        let clock = &self.outbox.0.ctx.clock;
        loop {
            let left_ms = self.standing.retry_at_ms - clock.now_ms();
            let Ok(left_ms @ 1..) = u64::try_from(left_ms) else {
                return false;
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(left_ms)) => {}
                () = self.line.heard.notified() => return true,
            }
        }
    }

    async fn commit(
        &mut self,
        standing: DestinationRow,
        delivered: Option<OutboxDelivered>,
    ) -> Result<(), StorageError> {
        let mut commit = Commit::default();
        commit.rows.destinations.push(standing.clone());
        commit.rows.delivered.extend(delivered);
        let writer = self.outbox.0.ctx.storage.writer();
        writer.commit(commit).await.map_err(|error| match error {
            CommitError::Storage(error) => error,
            CommitError::Refused(refusal) => StorageError::Unusable(refusal.to_string()),
        })?;
        self.standing = standing;
        Ok(())
    }
}

/// How many of the first rows go into one transaction.
fn fitting(rows: &[Queued]) -> usize {
    let (mut pdus, mut edus) = (0, 0);
    rows.iter()
        .take_while(|row| {
            if row.event_nid.is_some() {
                pdus += 1;
            } else {
                edus += 1;
            }
            pdus <= PDUS_MAX && edus <= EDUS_MAX
        })
        .count()
}

/// Whether the other side says that the transaction itself is wrong, so that sending it again
/// cannot help.
fn is_malformed(error: &PeerError) -> bool {
    matches!(
        error,
        PeerError::Refused {
            status: 400 | 413 | 422,
            ..
        }
    )
}
