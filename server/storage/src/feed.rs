//! What was committed, as others hear of it: the processes that share a PostgreSQL database tell each
//! other how far the log has come.
//!
//! A notification carries the position alone, goes out after the commit on a connection of its own,
//! and stands for all before it. A lost one is made up for by the next look.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use crate::bundle::ANSWER;
use crate::dialect::{self, ConnectTo};
use crate::driver::Engine;
use crate::error::StorageError;
use crate::sql;
use crate::tables::log;

/// How long a follower trusts that a notification will come.
const LOOK: Duration = Duration::from_secs(2);

/// Between two attempts to tell others.
const RETRY: Duration = Duration::from_secs(1);

/// Tells other processes how far the log has come, until the writer is gone.
pub(crate) async fn announce(to: &ConnectTo, mut head: watch::Receiver<i64>) {
    let mut told = *head.borrow();
    loop {
        let Ok(mut conn) = dialect::connect_writer(to).await else {
            if tokio::time::timeout(RETRY, head.wait_for(|_| false))
                .await
                .is_ok()
            {
                return;
            }
            continue;
        };
        while let Ok(position) = head
            .wait_for(|position| *position > told)
            .await
            .map(|it| *it)
        {
            let notify = async {
                sql!(
                    conn.conn(),
                    execute,
                    "SELECT pg_notify('hearth:' || current_schema(), CAST($1 AS TEXT))",
                    position
                )
            };
            // A connection that was lost while nobody looked says nothing of the database.
            if dialect::in_time(to, ANSWER, notify).await.is_err() {
                break;
            }
            told = position;
        }
        if head.has_changed().is_err() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Follows the log of a database, whichever process writes it.
pub struct Feed {
    conn: dialect::WriteConn,
    source: Source,
    seen: i64,
}

enum Source {
    /// One process writes.
    Local(watch::Receiver<i64>),
    Shared(Box<PgListener>),
}

impl Feed {
    pub(crate) async fn open(
        (to, alone): (&ConnectTo, bool),
        head: watch::Receiver<i64>,
    ) -> Result<Self, StorageError> {
        let mut conn = dialect::connect_snapshot(to).await?;
        let source = match to {
            Engine::Postgres(options) if !alone => {
                let channel = sql!(
                    conn.conn(),
                    scalar::<String>,
                    "SELECT 'hearth:' || current_schema()"
                )?;
                let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1);
                let pool = pool.connect_lazy_with(options.clone());
                let mut listener = PgListener::connect_with(&pool).await?;
                listener.listen(&channel.unwrap_or_default()).await?;
                Source::Shared(Box::new(listener))
            }
            _ => Source::Local(head),
        };
        let seen = log::head_select(conn.conn()).await?;
        Ok(Self { conn, source, seen })
    }

    /// How far the log had come when this was last asked, or when it was opened.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// Waits until the log has come further; returns how far. Everything up to there can be read.
    ///
    /// # Errors
    /// When the database fails; ask again, nothing is skipped.
    pub async fn next(&mut self) -> Result<i64, StorageError> {
        loop {
            let head = log::head_select(self.conn.conn()).await?;
            if head > self.seen {
                self.seen = head;
                return Ok(head);
            }
            match &mut self.source {
                Source::Local(head) => {
                    let seen = self.seen;
                    let further = tokio::time::timeout(LOOK, head.wait_for(|it| *it > seen));
                    drop(further.await);
                }
                Source::Shared(listener) => {
                    let heard = tokio::time::timeout(LOOK, listener.recv()).await;
                    if let Ok(Err(error)) = heard {
                        return Err(error.into());
                    }
                }
            }
        }
    }
}
