//! The outbox over a recording network, on both engines.

mod follower;
mod passing;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::testing::{Scratch, count};
use hearth_storage::{Commit, both_engines};
use hearth_types::ruma::ServerName;

use super::*;
use crate::context::Settings;
use crate::federation::Federation;
use crate::outbox::tests::recorder::{Conduct, Recorder};
use crate::testing::{TestServer, settings};

/// A server whose outbox runs until it is dropped, as at a crash.
struct Running {
    server: TestServer,
    recorder: Arc<Recorder>,
    rooms: Rooms,
    federation: Federation,
    outbox: Outbox,
    tasks: tokio::task::JoinSet<()>,
}

/// Ends its tasks with itself.
struct Own(Mutex<tokio::task::JoinSet<()>>);

impl crate::context::Spawn for Own {
    fn spawn(&self, _: &'static str, work: futures_util::future::BoxFuture<'static, ()>) {
        self.0.lock().unwrap().spawn(work);
    }
}

impl Running {
    async fn new(scratch: &Scratch) -> Self {
        Self::with(scratch, Arc::new(Recorder::default())).await
    }

    async fn with(scratch: &Scratch, recorder: Arc<Recorder>) -> Self {
        Self::with_settings(scratch, recorder, settings()).await
    }

    async fn with_settings(scratch: &Scratch, recorder: Arc<Recorder>, settings: Settings) -> Self {
        let mut server = TestServer::with(scratch, recorder.clone(), settings).await;
        let own = Arc::new(Own(Mutex::new(tokio::task::JoinSet::new())));
        Arc::get_mut(&mut server.context).unwrap().tasks = own;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let outbox = Outbox::new(Arc::clone(&server.context), rooms.clone());
        let federation = Federation::new(Arc::clone(&server.context), rooms.clone());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(outbox.clone().run());
        Self {
            server,
            recorder,
            rooms,
            federation,
            outbox,
            tasks,
        }
    }

    /// Queues EDUs for servers, one after the other.
    async fn queue(&self, server: &str, words: impl IntoIterator<Item = String>) {
        let storage = &self.server.context.storage;
        let server_nid = storage.server_intern(server).await.unwrap();
        let mut commit = Commit::default();
        for word in words {
            let slot = commit.slot();
            let edu = Some(word.into_bytes());
            commit.rows.outbox.push(OutboxRow {
                server_nid,
                slot,
                event_nid: None,
                edu,
            });
        }
        storage.writer().commit(commit).await.unwrap();
    }

    async fn heard_from_two(&self) {
        let two = <&ServerName>::try_from("two.test").unwrap();
        self.outbox.heard_from(two).await;
    }

    async fn queued(&self) -> i64 {
        count(&self.server.context.storage, "outbox").await
    }

    async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        for _ in 0..1_000 {
            if holds(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{what} did not come to pass: {:?}", self.recorder);
    }

    async fn until_empty(&self) {
        self.until("an empty outbox", async |it| it.queued().await == 0)
            .await;
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("edu {number}.")).collect()
}

both_engines! {
    async fn a_destination_gets_everything_once_and_in_order(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        for start in [0, 200, 250] {
            let end = if start == 0 { 200 } else { start + 50 };
            running.queue("two.test", numbers(start..end)).await;
        }
        running.until_empty().await;
        let taken = running.recorder.taken_by("two.test");
        assert_eq!(taken, numbers(0..300).into_iter().map(bytes::Bytes::from).collect::<Vec<_>>());
        let sent = running.recorder.sent_to("two.test");
        assert!(sent.iter().all(|sent| sent.content.len() <= 100), "the bound of EDUs");
        let ids: BTreeSet<&String> = sent.iter().map(|sent| &sent.txn_id).collect();
        assert_eq!(ids.len(), sent.len(), "no transaction id is used twice");
    }
}

both_engines! {
    async fn a_transaction_cut_off_before_a_crash_is_sent_again_unchanged(scratch: Scratch) {
        let recorder = Arc::new(Recorder::default());
        recorder.conduct("two.test", Conduct::Hangs);
        let running = Running::with(&scratch, recorder.clone()).await;
        running.queue("two.test", numbers(0..3)).await;
        running.until("a delivery", async |it| it.recorder.hanging() == 1).await;
        // More comes in; then the process dies while it waits for the answer.
        running.queue("two.test", numbers(3..5)).await;
        drop(running);
        recorder.conduct("two.test", Conduct::Takes);
        let running = Running::with(&scratch, recorder).await;
        running.until_empty().await;
        let sent = running.recorder.sent_to("two.test");
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert_eq!((&sent[0].txn_id, &sent[0].content), (&sent[1].txn_id, &sent[1].content));
        assert_eq!(sent[2].content.len(), 2);
        assert!(sent[2].txn_id != sent[1].txn_id);
    }
}

both_engines! {
    async fn a_dead_destination_delays_no_other(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        running.recorder.conduct("dead.test", Conduct::Hangs);
        running.recorder.conduct("away.test", Conduct::IsAway);
        for server in ["dead.test", "away.test", "two.test"] {
            running.queue(server, numbers(0..2)).await;
        }
        running.until("a delivery", async |it| it.recorder.taken_by("two.test").len() == 2).await;
        running.queue("two.test", numbers(2..3)).await;
        running.until("another", async |it| it.recorder.taken_by("two.test").len() == 3).await;
        running.until("what the others are owed alone", async |it| it.queued().await == 4).await;
    }
}

both_engines! {
    async fn a_failed_destination_is_left_alone_until_its_time(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        running.recorder.conduct("two.test", Conduct::IsAway);
        running.queue("two.test", numbers(0..1)).await;
        let tries = async |running: &Running, wanted: usize| {
            running.until("a try", async |it| it.recorder.sent_to("two.test").len() == wanted).await;
        };
        tries(&running, 1).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        tries(&running, 1).await;
        running.server.clock.advance(121);
        tries(&running, 2).await;
        running.recorder.conduct("two.test", Conduct::Takes);
        running.heard_from_two().await;
        running.until_empty().await;
        let sent = running.recorder.sent_to("two.test");
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|one| one.txn_id == sent[0].txn_id));
    }
}

both_engines! {
    async fn what_waits_for_a_pausing_destination_is_tried_at_once_at_start(scratch: Scratch) {
        let recorder = Arc::new(Recorder::default());
        recorder.conduct("two.test", Conduct::IsAway);
        let running = Running::with(&scratch, recorder.clone()).await;
        running.queue("two.test", numbers(0..1)).await;
        running.until("a try", async |it| it.recorder.sent_to("two.test").len() == 1).await;
        drop(running);
        recorder.conduct("two.test", Conduct::Takes);
        Running::with(&scratch, recorder).await.until_empty().await;
    }
}

both_engines! {
    async fn only_the_piece_that_a_server_will_not_take_is_lost(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        running.recorder.conduct("two.test", Conduct::Refuses(400, "edu 2."));
        running.queue("two.test", numbers(0..5)).await;
        running.until("an end", async |it| {
            it.heard_from_two().await;
            it.queued().await == 0
        }).await;
        let taken = running.recorder.taken_by("two.test");
        let wanted: Vec<String> = numbers(0..5).into_iter().filter(|it| it != "edu 2.").collect();
        assert_eq!(taken, wanted.into_iter().map(bytes::Bytes::from).collect::<Vec<_>>());
    }
}

both_engines! {
    async fn what_a_server_refuses_for_now_is_kept(scratch: Scratch) {
        for status in [401, 403, 404, 429, 500] {
            let running = Running::new(&scratch).await;
            running.recorder.conduct("two.test", Conduct::Refuses(status, "edu"));
            running.queue("two.test", numbers(0..1)).await;
            running.until("some tries", async |it| {
                it.heard_from_two().await;
                it.recorder.sent_to("two.test").len() >= 6
            }).await;
            assert_eq!(running.queued().await, 1, "{status}");
            running.recorder.conduct("two.test", Conduct::Takes);
            running.until("a delivery", async |it| {
                it.heard_from_two().await;
                it.queued().await == 0
            }).await;
        }
    }
}
