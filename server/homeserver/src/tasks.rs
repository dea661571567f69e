//! The only place that starts tasks, so that shutdown knows every one of them by name.

use std::{
    collections::BTreeMap,
    fmt::Display,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts tasks and waits for them. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tracker: TaskTracker,
    stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<&'static str, usize>,
    failure: Option<String>,
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process shall end. Every task that waits watches it and returns.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Starts a task that may end whenever it likes.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = Running::new(&self.shared, name);
        self.shared.tracker.spawn(async move {
            let _running = running;
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked");
            }
        });
    }

    /// Starts a task without which the process is of no use: it ends only after `stopping`; if it
    /// ends earlier the process stops and says why.
    pub fn spawn_critical<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send,
    {
        let shared = Arc::clone(&self.shared);
        let running = Running::new(&self.shared, name);
        self.shared.tracker.spawn(async move {
            let _running = running;
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let reason = match ended {
                Ok(Ok(())) if shared.stopping.is_cancelled() => return,
                Ok(Ok(())) => "it ended early".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            shared
                .state()
                .failure
                .get_or_insert(format!("the task `{name}` failed: {reason}"));
            shared.stopping.cancel();
        });
    }

    /// Waits until every task has ended, at most `patience`.
    ///
    /// # Errors
    /// The names of those that are still running then, with how many there are of each.
    pub async fn finish(&self, patience: Duration) -> Result<(), BTreeMap<&'static str, usize>> {
        self.shared.stopping.cancel();
        self.shared.tracker.close();
        let waited = tokio::time::timeout(patience, self.shared.tracker.wait()).await;
        waited.map_err(|_| self.shared.state().running.clone())
    }

    /// Why a critical task ended, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.state().failure.clone()
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn("http2 stream", future);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a task for as long as it lives, also when it is dropped half-way.
struct Running {
    shared: Arc<Shared>,
    name: &'static str,
}

impl Running {
    fn new(shared: &Arc<Shared>, name: &'static str) -> Self {
        *shared.state().running.entry(name).or_default() += 1;
        Self {
            shared: Arc::clone(shared),
            name,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some(count) = state.running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                state.running.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finish_waits_for_tasks_that_obey() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        tasks.spawn("obedient", async move { stopping.cancelled().await });
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(tasks.failure(), None);
    }

    #[tokio::test]
    async fn finish_names_tasks_that_do_not_end() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        let left = tasks.finish(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(left, BTreeMap::from([("stubborn", 1)]));
    }

    #[tokio::test]
    async fn a_critical_task_that_ends_early_stops_the_process_and_says_why() {
        for (task, reason) in [
            (
                async { Err("the disk is full") }.boxed(),
                "the disk is full",
            ),
            (async { Ok(()) }.boxed(), "ended early"),
            (async { panic!("bug") }.boxed(), "panicked"),
        ] {
            let tasks = Tasks::new();
            tasks.spawn_critical("writer", task);
            tasks.stopping().cancelled().await;
            let failure = tasks.failure().unwrap();
            assert!(
                failure.contains("`writer`") && failure.contains(reason),
                "{failure}"
            );
        }
    }

    #[tokio::test]
    async fn an_ordinary_task_that_panics_harms_nobody() {
        let tasks = Tasks::new();
        tasks.spawn("unlucky", async { panic!("bug") });
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(tasks.failure(), None);
    }
}
