//! The only place that starts tasks, so that shutdown knows every one of them by name.
//!
//! The end has two phases. First the tasks that *serve* (listeners, connections) end: what they
//! have begun still needs the parts behind them. Then the *parts* end: those in the background are
//! dropped, and the store ends by itself once nobody can hand it anything.

use std::{
    collections::BTreeMap,
    fmt::Display,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts tasks and waits for them. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    serving: TaskTracker,
    stopping: CancellationToken,
    parts: TaskTracker,
    closing: CancellationToken,
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

    /// Starts a task that serves and may end whenever it likes.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = self.guarded(name, task);
        self.shared.serving.spawn(task);
    }

    /// Starts a task that serves and without which the process is of no use: it ends only after
    /// `stopping`; if it ends earlier the process stops and says why.
    pub fn spawn_critical<F, E>(&self, name: &'static str, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = self.guarded(name, task);
        self.shared.serving.spawn(async move {
            match task.await {
                Some(Ok(())) => shared.ended_early(name),
                Some(Err(error)) => shared.failed(name, &error.to_string()),
                None => shared.failed(name, "it panicked"),
            }
        });
    }

    /// Starts a part that is dropped when nothing serves any more.
    pub fn spawn_background<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let closing = self.shared.closing.clone();
        let task = self.guarded(name, async move {
            tokio::select! {
                () = task => {}
                () = closing.cancelled() => {}
            }
        });
        self.shared.parts.spawn(task);
    }

    /// Starts a part that is told when nothing serves any more, and ends by itself then.
    pub fn spawn_closing<F, Fut>(&self, name: &'static str, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let task = self.guarded(name, task(self.shared.closing.clone()));
        self.shared.parts.spawn(async move {
            task.await;
        });
    }

    /// Starts a part that everything stands on. It ends by itself once nobody uses it; if it ends
    /// earlier the process stops and says so.
    pub fn spawn_store<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let task = self.guarded(name, task);
        self.shared.parts.spawn(async move {
            match task.await {
                Some(()) => shared.ended_early(name),
                None => shared.failed(name, "it panicked"),
            }
        });
    }

    /// Waits until every task has ended, at most `patience`.
    ///
    /// # Errors
    /// The names of those that are still running then, with how many there are of each.
    pub async fn finish(&self, patience: Duration) -> Result<(), BTreeMap<&'static str, usize>> {
        let shared = &self.shared;
        let ended = async {
            shared.stopping.cancel();
            shared.serving.close();
            shared.serving.wait().await;
            shared.closing.cancel();
            shared.parts.close();
            shared.parts.wait().await;
        };
        let waited = tokio::time::timeout(patience, ended).await;
        waited.map_err(|_| shared.state().running.clone())
    }

    /// The task, counted under its name while it lives; `None` if it panicked.
    fn guarded<F>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F>
    where
        F: Future + Send + 'static,
    {
        let running = Running::new(&self.shared, name);
        async move {
            let _running = running;
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            ended
                .inspect_err(|_| tracing::error!(task = name, "a task panicked"))
                .ok()
        }
    }

    /// Why a critical task ended, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.state().failure.clone()
    }
}

impl hearth_engine::context::Spawn for Tasks {
    fn spawn(&self, name: &'static str, work: BoxFuture<'static, ()>) {
        self.spawn_background(name, work);
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

    fn ended_early(&self, name: &str) {
        if !self.stopping.is_cancelled() {
            self.failed(name, "it ended early");
        }
    }

    fn failed(&self, name: &str, reason: &str) {
        self.state()
            .failure
            .get_or_insert(format!("the task `{name}` failed: {reason}"));
        self.stopping.cancel();
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
    async fn parts_outlive_what_serves_and_the_store_outlives_its_users() {
        let tasks = Tasks::new();
        let stopping = tasks.stopping().clone();
        let (to_background, mut from_requests) = tokio::sync::mpsc::channel(1);
        let (to_store, mut from_background) = tokio::sync::mpsc::channel(1);
        let (to_us, from_store) = tokio::sync::oneshot::channel();
        tasks.spawn_store("store", async move {
            let kept = from_background.recv().await;
            assert_eq!(from_background.recv().await, None);
            to_us.send(kept).unwrap();
        });
        tasks.spawn_background("engine", async move {
            let work: u8 = from_requests.recv().await.unwrap();
            to_store.send(work).await.unwrap();
            std::future::pending::<()>().await;
        });
        tasks.spawn("request", async move {
            stopping.cancelled().await;
            to_background.send(7).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        });
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(from_store.await, Ok(Some(7)));
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
