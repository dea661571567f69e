//! State snapshots as they are stored: a delta on top of an earlier one.
//!
//! What a snapshot says never changes; how it is stored may ([`SnapshotReshape`]): the same state as
//! another delta on another base. So whoever holds an id holds a state, whatever is merged meanwhile.
//!
//! Whatever builds on a snapshot or refers to chunks is refused as stale where these are gone
//! ([`Foundations`]): that is what makes removing the unreferenced safe, whoever still plans on them.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::{CommitError, Outcome, Refusal, Stamped};
use crate::delta::{self, DeltaEntry};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A state snapshot: a delta on top of an earlier one, or, without a base, a whole state.
#[derive(Debug, Clone)]
pub struct SnapshotRow {
    /// Its local id.
    pub snapshot_nid: i64,
    /// The room.
    pub room_nid: i64,
    /// The snapshot it builds on.
    pub base_nid: Option<i64>,
    /// Where its delta is, when that is too long for a commit. To be written, `delta` is then empty;
    /// as it is read, `delta` is whole.
    pub chunks: Option<ChunkSet>,
    /// What it changes, sorted by key.
    pub delta: Vec<DeltaEntry>,
}

/// A long delta that was written ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSet {
    /// Its local id.
    pub chunks_nid: i64,
    /// How many chunks it has.
    pub chunks: i64,
}

/// A chunk of a long delta.
#[derive(Debug, Clone)]
pub struct ChunkRow {
    /// The set it belongs to.
    pub chunks_nid: i64,
    /// Its place in it, from 0.
    pub ordinal: i64,
    /// Its entries, sorted by key, after those of the chunk before.
    pub delta: Vec<DeltaEntry>,
}

#[derive(sqlx::FromRow)]
struct RawSnapshot {
    snapshot_nid: i64,
    room_nid: i64,
    base_nid: Option<i64>,
    chunks_nid: Option<i64>,
    chunks: i64,
    delta: Vec<u8>,
}

pub(crate) async fn snapshot_insert(
    conn: Conn<'_>,
    snapshots: &[Stamped<'_, SnapshotRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO state_snapshots (snapshot_nid, room_nid, base_nid, chunks_nid, chunks, delta)
         {rows}",
        snapshots,
        |s| (
            s.snapshot_nid => BIGINT,
            s.room_nid => BIGINT,
            s.base_nid => BIGINT,
            s.chunks.map(|set| set.chunks_nid) => BIGINT,
            s.chunks.map_or(0, |set| set.chunks) => BIGINT,
            delta::pack(&s.delta) => BYTEA
        )
    )?;
    Ok(())
}

pub(crate) async fn chunk_insert(
    conn: Conn<'_>,
    chunks: &[Stamped<'_, ChunkRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO state_chunks (chunks_nid, ordinal, delta) {rows}",
        chunks,
        |chunk| (
            chunk.chunks_nid => BIGINT,
            chunk.ordinal => BIGINT,
            delta::pack(&chunk.delta) => BYTEA
        )
    )?;
    Ok(())
}

/// Stores a snapshot in another way: the same state as another delta on another base.
#[derive(Debug, Clone)]
pub struct SnapshotReshape {
    /// The snapshot as it is to be stored.
    pub row: SnapshotRow,
}

impl SnapshotReshape {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let row = &self.row;
        let foundations = Foundations::read(conn.again(), std::iter::once(row)).await?;
        foundations.check(std::slice::from_ref(row))?;
        let reshaped = sql!(
            conn,
            execute,
            "UPDATE state_snapshots SET base_nid = $2, chunks_nid = $3, chunks = $4, delta = $5
             WHERE snapshot_nid = $1",
            row.snapshot_nid,
            row.base_nid,
            row.chunks.map(|set| set.chunks_nid),
            row.chunks.map_or(0, |set| set.chunks),
            delta::pack(&row.delta)
        )?;
        match reshaped {
            0 => Err(CommitError::Refused(Refusal::Absent)),
            _ => Ok(Outcome::Done),
        }
    }
}

/// What the new snapshots of a batch of commits build on, as far as it is there.
#[derive(Debug, Default)]
pub(crate) struct Foundations {
    snapshots: BTreeSet<i64>,
    /// Chunk sets with how many chunks of them there are.
    chunks: BTreeMap<i64, i64>,
}

impl Foundations {
    /// Reads what is there of that on which snapshots build.
    pub(crate) async fn read<'r>(
        mut conn: Conn<'_>,
        snapshots: impl Iterator<Item = &'r SnapshotRow> + Clone,
    ) -> Result<Self, StorageError> {
        let bases: Vec<i64> = snapshots.clone().filter_map(|row| row.base_nid).collect();
        let sets = snapshots.filter_map(|row| row.chunks);
        let sets: Vec<i64> = sets.map(|set| set.chunks_nid).collect();
        let bases = rows!(
            conn.again(),
            all::<(i64,)>,
            "WITH k(nid) AS ({rows})
             SELECT s.snapshot_nid FROM k JOIN state_snapshots s ON s.snapshot_nid = k.nid",
            bases,
            |nid| (*nid => BIGINT)
        )?;
        let chunks = rows!(
            conn,
            all::<(i64, i64)>,
            "WITH k(nid) AS ({rows})
             SELECT c.chunks_nid, COUNT(*) FROM k JOIN state_chunks c ON c.chunks_nid = k.nid
             GROUP BY c.chunks_nid",
            sets,
            |nid| (*nid => BIGINT)
        )?;
        Ok(Self {
            snapshots: bases.into_iter().map(|(nid,)| nid).collect(),
            chunks: chunks.into_iter().collect(),
        })
    }

    /// Whether all is there that a commit's snapshots build on.
    pub(crate) fn check(&self, snapshots: &[SnapshotRow]) -> Result<(), Refusal> {
        let is_founded = |(index, row): (usize, &SnapshotRow)| {
            let here = |base| {
                snapshots
                    .iter()
                    .take(index)
                    .any(|row| row.snapshot_nid == base)
            };
            let base = row.base_nid;
            let chunks = |set: ChunkSet| self.chunks.get(&set.chunks_nid) == Some(&set.chunks);
            base.is_none_or(|base| self.snapshots.contains(&base) || here(base))
                && row.chunks.is_none_or(chunks)
        };
        match snapshots.iter().enumerate().find(|row| !is_founded(*row)) {
            Some((_, row)) => Err(Refusal::Stale {
                room_nid: row.room_nid,
            }),
            None => Ok(()),
        }
    }

    /// Takes a commit's snapshots: those of later commits may build on them.
    pub(crate) fn take(&mut self, snapshots: &[SnapshotRow]) {
        self.snapshots
            .extend(snapshots.iter().map(|row| row.snapshot_nid));
    }
}

/// A snapshot and those below it, from the top down to the whole state at the bottom. Nothing where
/// there is no such snapshot.
///
/// # Errors
/// When the database fails or a delta cannot be read.
pub async fn snapshot_chain(
    conn: Conn<'_>,
    snapshot_nid: i64,
) -> Result<Vec<SnapshotRow>, StorageError> {
    snapshot_links(conn, snapshot_nid, i64::MAX).await
}

/// The first `limit` snapshots of a chain, from the top down.
///
/// # Errors
/// As [`snapshot_chain`].
pub async fn snapshot_links(
    mut conn: Conn<'_>,
    snapshot_nid: i64,
    limit: i64,
) -> Result<Vec<SnapshotRow>, StorageError> {
    let chain = sql!(
        conn.again(),
        all::<RawSnapshot>,
        "WITH RECURSIVE chain(snapshot_nid, room_nid, base_nid, chunks_nid, chunks, delta, depth) AS (
             SELECT snapshot_nid, room_nid, base_nid, chunks_nid, chunks, delta, CAST(0 AS BIGINT)
             FROM state_snapshots WHERE snapshot_nid = $1
             UNION ALL
             SELECT s.snapshot_nid, s.room_nid, s.base_nid, s.chunks_nid, s.chunks, s.delta,
                    c.depth + 1
             FROM state_snapshots s JOIN chain c ON s.snapshot_nid = c.base_nid
             WHERE c.depth + 1 < $2
         )
         SELECT snapshot_nid, room_nid, base_nid, chunks_nid, chunks, delta
         FROM chain ORDER BY depth",
        snapshot_nid,
        limit
    )?;
    let sets: Vec<i64> = chain.iter().filter_map(|raw| raw.chunks_nid).collect();
    let chunks = rows!(
        conn,
        all::<(i64, Vec<u8>)>,
        "WITH k(nid) AS ({rows})
         SELECT c.chunks_nid, c.delta FROM k JOIN state_chunks c ON c.chunks_nid = k.nid
         ORDER BY c.chunks_nid, c.ordinal",
        sets,
        |nid| (*nid => BIGINT)
    )?;
    let mut long: BTreeMap<i64, Vec<Vec<u8>>> = BTreeMap::new();
    for (set, delta) in chunks {
        long.entry(set).or_default().push(delta);
    }
    chain.into_iter().map(|raw| raw.read(&mut long)).collect()
}

impl RawSnapshot {
    fn read(self, long: &mut BTreeMap<i64, Vec<Vec<u8>>>) -> Result<SnapshotRow, StorageError> {
        let chunks = self.chunks_nid.map(|chunks_nid| ChunkSet {
            chunks_nid,
            chunks: self.chunks,
        });
        let mut delta = delta::unpack(&self.delta)?;
        if let Some(set) = chunks {
            let packed = long.remove(&set.chunks_nid).unwrap_or_default();
            if i64::try_from(packed.len()) != Ok(set.chunks) {
                return Err(StorageError::Corrupt {
                    what: "state snapshot",
                    why: format!("{} lacks chunks of its delta", self.snapshot_nid),
                });
            }
            for chunk in packed {
                delta.extend(delta::unpack(&chunk)?);
            }
        }
        Ok(SnapshotRow {
            snapshot_nid: self.snapshot_nid,
            room_nid: self.room_nid,
            base_nid: self.base_nid,
            chunks,
            delta,
        })
    }
}
