//! What a transaction writes before its end.

use std::collections::BTreeSet;

use super::Submission;
use crate::commit::{Commit, CommitError, Guard, Outcome, Refusal, Rows};
use crate::dialect::{Waiting, WriteConn};
use crate::error::StorageError;
use crate::sql;
use crate::tables::{
    events, log,
    rooms::{Remembered, Revisions},
    state::Foundations,
};

/// Commits, and rows of them, whose writes wait to go at once. What goes at once is prepared for that: of many
/// commits there are too many different mixtures. And each statement of a long script of SQLite copies its text.
const AT_ONCE_MAX: usize = 8;
const ROWS_AT_ONCE_MAX: usize = 512;

/// A transaction before its end.
pub(super) struct Written {
    /// Its name in PostgreSQL.
    pub(super) transaction: Option<i64>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) revisions: Revisions,
    /// What goes along with the end.
    pub(super) waiting: Waiting,
}

/// Begins a transaction and writes what may be written.
pub(super) async fn write(
    conn: &mut WriteConn,
    part: &[Submission],
    remembered: &Remembered,
) -> Result<Written, StorageError> {
    let slots = part.iter().map(|submission| submission.commit.slots).sum();
    // First, since on PostgreSQL this row's lock orders the nodes that share the database.
    let (base, transaction) = log::begin(conn, slots).await?;
    let mut waiting = conn.waiting();
    let (verdicts, revisions) = apply((conn, &mut waiting), (base, part), remembered).await?;
    conn.settle_for_end(&mut waiting).await?;
    Ok(Written {
        transaction,
        verdicts,
        revisions,
        waiting,
    })
}

/// The base position and what the guards found, or why the commit was refused.
pub(super) type Verdict = Result<(i64, Vec<Outcome>), CommitError>;

/// Applies commits whose positions begin at a base, unless they are refused; also where their rooms
/// are after that.
async fn apply(
    (conn, waiting): (&mut WriteConn, &mut Waiting),
    (mut base, part): (i64, &[Submission]),
    remembered: &Remembered,
) -> Result<(Vec<Verdict>, Revisions), StorageError> {
    let rooms: Vec<i64> = part
        .iter()
        .flat_map(|s| s.commit.rooms.iter().map(|room| room.room_nid))
        .collect();
    let mut revisions = Revisions::read(conn.conn(), &rooms, remembered).await?;
    let snapshots = part.iter().flat_map(|s| &s.commit.rows.snapshots);
    let mut foundations = Foundations::read(conn.conn(), snapshots).await?;
    let claims = Claims::take(conn, part).await?;
    let mut verdicts = Vec::with_capacity(part.len());
    let mut accepted: Vec<(i64, &Rows)> = Vec::with_capacity(part.len());
    let mut unreferenced = Vec::new();
    for Submission { commit, .. } in part {
        let rows = &commit.rows;
        let on_time = revisions.check(&commit.rooms);
        let founded = on_time.and_then(|()| foundations.check(&rows.snapshots));
        if commit.guards.iter().any(Guard::looks_at_rows) {
            Rows::write(conn.conn(), &std::mem::take(&mut accepted)).await?;
        }
        let decided = match founded.and_then(|()| claims.check(commit)) {
            Ok(()) => run_guards(conn, commit).await,
            Err(refused) => Err(CommitError::Refused(refused)),
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
            Err(refused) => {
                claims.release(conn, commit).await?;
                Err(refused)
            }
        });
        base += commit.slots;
    }
    let rows: usize = accepted.iter().map(|(_, rows)| rows.count()).sum();
    let is_short = part.len() <= AT_ONCE_MAX && rows <= ROWS_AT_ONCE_MAX;
    let mut waiting = is_short.then_some(waiting);
    Rows::write(conn.with(waiting.as_deref_mut()), &accepted).await?;
    revisions.write(conn.with(waiting.as_deref_mut())).await?;
    for unreferenced in unreferenced {
        let conn = conn.with(waiting.as_deref_mut());
        unreferenced.remove(conn).await?;
    }
    Ok((verdicts, revisions))
}

/// The transaction ids that the commits of a batch use, taken in one statement before anything else.
struct Claims(BTreeSet<i64>);

impl Claims {
    async fn take(conn: &mut WriteConn, part: &[Submission]) -> Result<Self, StorageError> {
        let claims: Vec<_> = part.iter().flat_map(|s| &s.commit.claims).collect();
        if claims.is_empty() {
            return Ok(Self(BTreeSet::new()));
        }
        let claimed = events::client_transactions_claim(conn.conn(), &claims).await?;
        Ok(Self(claimed))
    }

    /// Whether all that a commit claims is its own.
    fn check(&self, commit: &Commit) -> Result<(), Refusal> {
        let mut claims = commit.claims.iter();
        match claims.all(|claim| self.0.contains(&claim.event_nid)) {
            true => Ok(()),
            false => Err(Refusal::Taken),
        }
    }

    /// Gives back what a refused commit took.
    async fn release(&self, conn: &mut WriteConn, commit: &Commit) -> Result<(), StorageError> {
        let taken = |claim: &&events::ClientTransactionRow| self.0.contains(&claim.event_nid);
        let taken: Vec<_> = commit.claims.iter().filter(taken).collect();
        if taken.is_empty() {
            return Ok(());
        }
        events::client_transactions_release(conn.conn(), &taken).await
    }
}

/// Runs a commit's guards; what they wrote is undone when one of them refuses.
async fn run_guards(conn: &mut WriteConn, commit: &Commit) -> Result<Vec<Outcome>, CommitError> {
    let mut outcomes = Vec::with_capacity(commit.guards.len());
    if !commit.guards.iter().any(Guard::may_refuse) {
        for guard in &commit.guards {
            outcomes.push(guard.run(conn.conn()).await?);
        }
        return Ok(outcomes);
    }
    sql!(conn.conn(), execute, "SAVEPOINT guards")?;
    for guard in &commit.guards {
        match guard.run(conn.conn()).await {
            Ok(outcome) => outcomes.push(outcome),
            // Whoever hears of that undoes the whole transaction, which may be gone already.
            Err(error @ CommitError::Storage(_)) => return Err(error),
            Err(refused) => {
                sql!(conn.conn(), execute, "ROLLBACK TO SAVEPOINT guards")?;
                sql!(conn.conn(), execute, "RELEASE SAVEPOINT guards")?;
                return Err(refused);
            }
        }
    }
    sql!(conn.conn(), execute, "RELEASE SAVEPOINT guards")?;
    Ok(outcomes)
}
