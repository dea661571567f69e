//! Names of rooms, and the directory of public ones.

use hearth_storage::tables::directory::{
    self as rows, AliasGiveUp, AliasTake, AliasesMove, DirectoryPlace, PublishedChange,
    PublishedRow,
};
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Guard, Refusal, Storage, both_engines};

async fn guarded(storage: &Storage, guard: Guard) -> Result<(), CommitError> {
    let mut commit = Commit::default();
    commit.guards.push(guard);
    storage.writer().commit(commit).await.map(drop)
}

fn take(alias: &str, room_nid: i64) -> Guard {
    Guard::AliasTake(AliasTake {
        alias: alias.to_owned(),
        room_nid,
        creator_nid: 1,
    })
}

fn refusal(result: Result<(), CommitError>) -> Refusal {
    match result {
        Err(CommitError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn leads_to(storage: &Storage, alias: &str) -> Option<i64> {
    let mut reader = storage.read().await.unwrap();
    let found = rows::alias(reader.conn(), alias).await.unwrap();
    found.map(|alias| alias.room_nid)
}

both_engines! {
    async fn a_name_leads_to_one_room(scratch: Scratch) {
        let storage = scratch.open().await;
        guarded(&storage, take("#a:one.test", 1)).await.unwrap();
        assert_eq!(refusal(guarded(&storage, take("#a:one.test", 2)).await), Refusal::Taken);
        assert_eq!(leads_to(&storage, "#a:one.test").await, Some(1));
        let give_up = |room_nid| {
            let alias = "#a:one.test".to_owned();
            Guard::AliasGiveUp(AliasGiveUp { alias, room_nid })
        };
        assert_eq!(refusal(guarded(&storage, give_up(2)).await), Refusal::Absent);
        guarded(&storage, Guard::AliasesMove(AliasesMove { from_nid: 1, to_nid: 2 }))
            .await
            .unwrap();
        assert_eq!(leads_to(&storage, "#a:one.test").await, Some(2));
        guarded(&storage, give_up(2)).await.unwrap();
        assert_eq!(leads_to(&storage, "#a:one.test").await, None);
        assert_eq!(leads_to(&storage, "#\0:one.test").await, None);
        for number in 0..rows::ALIASES_MAX {
            guarded(&storage, take(&format!("#{number}:one.test"), 3)).await.unwrap();
        }
        assert_eq!(refusal(guarded(&storage, take("#b:one.test", 3)).await), Refusal::Full);
    }
}

fn entry(room_nid: i64, joined_members: i64, words: &str) -> PublishedChange {
    PublishedChange {
        room_nid,
        entry: Some(PublishedRow {
            room_nid,
            joined_members,
            summary: b"{}".to_vec(),
            words: words.to_owned(),
        }),
    }
}

async fn change(storage: &Storage, changes: Vec<PublishedChange>) {
    let mut commit = Commit::default();
    commit.rows.published = changes;
    drop(storage.writer().commit(commit).await.unwrap());
}

both_engines! {
    async fn a_public_room_has_one_entry_as_long_as_it_is_public(scratch: Scratch) {
        let storage = scratch.open().await;
        change(&storage, vec![entry(1, 5, "a"), entry(1, 6, "b")]).await;
        let gone = PublishedChange { room_nid: 2, entry: None };
        change(&storage, vec![entry(2, 1, "x"), gone.clone()]).await;
        change(&storage, vec![entry(3, 1, "x")]).await;
        assert_eq!(count(&storage, "published_rooms").await, 2);
        change(&storage, vec![PublishedChange { room_nid: 3, ..gone }]).await;
        let mut reader = storage.read().await.unwrap();
        let kept = rows::published_room(reader.conn(), 1).await.unwrap().unwrap();
        assert_eq!((kept.joined_members, kept.words.as_str()), (6, "b"));
        assert_eq!(rows::published_room(reader.conn(), 3).await.unwrap(), None);
    }
}

both_engines! {
    async fn the_directory_is_read_from_both_ends(scratch: Scratch) {
        let storage = scratch.open().await;
        let words = ["fire", "100% ice_cream", "fireplace", "sea"];
        let all = words.iter().zip([(1, 5), (2, 9), (3, 5), (4, 1)]);
        change(&storage, all.map(|(words, (nid, joined))| entry(nid, joined, words)).collect())
            .await;
        let nids = |rows: Vec<PublishedRow>| rows.iter().map(|r| r.room_nid).collect::<Vec<_>>();
        let mut reader = storage.read().await.unwrap();
        let found = rows::published_after(reader.conn(), DirectoryPlace::FIRST, "%", 10).await;
        assert_eq!(nids(found.unwrap()), [2, 1, 3, 4]);
        let place = DirectoryPlace { joined_members: 5, room_nid: 1 };
        let found = rows::published_after(reader.conn(), place, "%", 10).await;
        assert_eq!(nids(found.unwrap()), [3, 4]);
        let place = DirectoryPlace { joined_members: 1, room_nid: 4 };
        let found = rows::published_before(reader.conn(), place, "%", 2).await;
        assert_eq!(nids(found.unwrap()), [3, 1]);
        for (like, expected) in [("%fire%", 2), ("%!%%", 1), ("%ice!_c%", 1), ("%ice!_!_%", 0)] {
            assert_eq!(rows::published_count(reader.conn(), like).await.unwrap(), expected);
        }
    }
}
