//! Several processes that write one database, each with a writer and pools of its own.

use std::time::Duration;

use hearth_storage::tables::rooms::{self, RoomAdvance, RoomRow};
use hearth_storage::tables::state::StateChangeRow;
use hearth_storage::testing::{On, Scratch, identity};
use hearth_storage::{Commit, CommitError, Options, Refusal, Storage, both_engines};
use tokio::task::JoinSet;

/// Commits of each writer, and writers.
const COMMITS: i64 = 60;
const NODES: i64 = 3;

/// A commit of a few positions, each with a row that a follower can read.
fn positions(count: i64) -> Commit {
    let mut commit = Commit::default();
    for _ in 0..count {
        let slot = commit.slot();
        commit.rows.state_changes.push(StateChangeRow {
            slot,
            room_nid: 1,
            state_key_nid: 1,
            event_nid: None,
        });
    }
    commit
}

async fn rows_between(storage: &Storage, after: i64, up_to: i64) -> Vec<i64> {
    let mut reader = storage.read().await.unwrap();
    hearth_storage::sql!(
        reader.conn(),
        scalars::<i64>,
        "SELECT position FROM state_changes WHERE position > $1 AND position <= $2
         ORDER BY position",
        after,
        up_to
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_of_many_writers_sees_every_position_in_order() {
    let scratch = Scratch::new(On::Postgres).await;
    let follower = scratch.open().await;
    let mut feed = follower.feed().await.unwrap();
    let mut nodes = JoinSet::new();
    let mut expected = 0;
    for node in 0..NODES {
        let storage = scratch.open().await;
        expected += (0..COMMITS).map(|number| (number + node) % 4).sum::<i64>();
        nodes.spawn(async move {
            for number in 0..COMMITS {
                let commit = positions((number + node) % 4);
                // Held receipts: what is not visible in one's own caches is committed all the same.
                let receipt = storage.writer().commit(commit).await.unwrap();
                if number % 7 == 0 {
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                drop(receipt);
            }
        });
    }
    let mut seen = 0;
    while seen < expected {
        let head = tokio::time::timeout(Duration::from_secs(20), feed.next()).await;
        let head = head.expect("the feed goes on").unwrap();
        let rows = rows_between(&follower, seen, head).await;
        assert_eq!(rows, (seen + 1..=head).collect::<Vec<i64>>());
        seen = head;
    }
    nodes.join_all().await;
    assert_eq!(seen, expected);
}

/// A commit elsewhere is heard of by its notification, long before the next look.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_woken_by_another_nodes_commit() {
    let scratch = Scratch::new(On::Postgres).await;
    let (writing, following) = (scratch.open().await, scratch.open().await);
    let mut feed = following.feed().await.unwrap();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        // Waits before the commit, so that nothing but a notification can end it at once.
        let waiting = async {
            let began = tokio::time::Instant::now();
            feed.next().await.unwrap();
            began.elapsed()
        };
        let committing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(writing.writer().commit(positions(1)).await.unwrap());
        };
        let (elapsed, ()) = tokio::join!(waiting, committing);
        fastest = fastest.min(elapsed);
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

both_engines! {
    async fn a_feed_follows_its_own_process_too(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut feed = storage.feed().await.unwrap();
        assert_eq!(feed.seen(), 0);
        drop(storage.writer().commit(positions(3)).await.unwrap());
        let next = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        assert_eq!(next.unwrap().unwrap(), 3);
    }
}

/// Whoever planned on what another node has changed meanwhile is told, and plans again: no step is
/// lost, none is made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_another_node_overtook_is_planned_again() {
    let scratch = Scratch::new(On::Postgres).await;
    let first = scratch.open().await;
    let mut new = Commit::default();
    new.rows.rooms.push(RoomRow {
        room_nid: 1,
        room_id: "!1:one.test".to_owned(),
        version: "12".to_owned(),
    });
    first.writer().commit(new).await.unwrap();
    let mut nodes = JoinSet::new();
    for _ in 0..NODES {
        let storage = scratch.open().await;
        nodes.spawn(async move {
            let mut overtaken = 0;
            for _ in 0..COMMITS {
                loop {
                    let mut reader = storage.read().await.unwrap();
                    let room = rooms::room_by_nid(reader.conn(), 1).await.unwrap().unwrap();
                    drop(reader);
                    let mut commit = positions(1);
                    commit.rooms.push(RoomAdvance {
                        room_nid: 1,
                        expected: room.revision,
                        snapshot_nid: None,
                    });
                    match storage.writer().commit(commit).await {
                        Ok(_receipt) => break,
                        Err(CommitError::Refused(Refusal::Stale { room_nid: 1 })) => overtaken += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            overtaken
        });
    }
    let overtaken: i64 = nodes.join_all().await.into_iter().sum();
    assert!(overtaken > 0, "the nodes never met");
    let mut reader = first.read().await.unwrap();
    let room = rooms::room_by_nid(reader.conn(), 1).await.unwrap().unwrap();
    assert_eq!(room.revision, NODES * COMMITS);
}

/// Who asks for a database of its own gets it, or a sentence; it is free again when the other ends.
#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_may_have_a_database_alone() {
    let scratch = Scratch::new(On::Postgres).await;
    let alone = Options {
        alone: true,
        ..scratch.options()
    };
    let (storage, background) = Storage::open(&alone, &identity()).await.unwrap();
    let refusal = Storage::open(&alone, &identity()).await.err().unwrap();
    let refusal = refusal.to_string();
    assert!(refusal.contains("stop that one first"), "{refusal}");
    drop((storage, background));
    Storage::open(&alone, &identity()).await.unwrap();
}
