//! Runs one request many times, several at once, and measures.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::World;
use crate::error::LoadError;
use crate::report::Row;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Workers that ask at the same time.
    pub(crate) workers: usize,
    /// Requests, all workers together.
    pub(crate) requests: usize,
}

/// Runs the numbers `0..requests` through `one`, and prints and gives the row.
///
/// # Errors
/// The first error of a request.
pub(crate) async fn measure<F, W>(
    world: &World,
    name: &str,
    amount: Amount,
    one: F,
) -> Result<Row, LoadError>
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), LoadError>> + Send,
{
    let before = cpu(world)?;
    let (wall, mut latencies) = spread(amount, one).await?;
    let after = cpu(world)?;
    latencies.sort_unstable();
    let row = Row {
        name: name.to_owned(),
        requests: amount.requests,
        wall,
        latencies,
        cpu: after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before)),
        resident_kib: resident_kib(world)?,
    };
    world.report.row(&row);
    Ok(row)
}

/// Processor time of the server so far, where its processes are known.
///
/// # Errors
/// When they are gone.
pub(crate) fn cpu(world: &World) -> Result<Option<Duration>, LoadError> {
    world
        .processes
        .any()
        .then(|| world.processes.cpu())
        .transpose()
}

/// Resident memory of the server, where its processes are known.
///
/// # Errors
/// When they are gone.
pub(crate) fn resident_kib(world: &World) -> Result<Option<u64>, LoadError> {
    world
        .processes
        .any()
        .then(|| world.processes.resident_kib())
        .transpose()
}

/// Does something for each of the numbers `0..amount.requests`, `amount.workers` at once. Gives the time
/// they took together and each.
///
/// # Errors
/// The first error of any of them.
#[expect(
    clippy::disallowed_methods,
    reason = "a load tool has clocks and tasks of its own"
)]
pub(crate) async fn spread<F, W>(
    amount: Amount,
    one: F,
) -> Result<(Duration, Vec<Duration>), LoadError>
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = Result<(), LoadError>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..amount.workers.min(amount.requests) {
        let (next, one) = (Arc::clone(&next), one.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= amount.requests {
                    return Ok::<_, LoadError>(latencies);
                }
                let begin = Instant::now();
                one(number).await?;
                latencies.push(begin.elapsed());
            }
        });
    }
    let mut latencies = Vec::with_capacity(amount.requests);
    while let Some(worker) = workers.join_next().await {
        latencies.append(&mut worker??);
    }
    Ok((begin.elapsed(), latencies))
}
