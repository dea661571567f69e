//! Key backups: versions, which of two keys stays, and what is counted.

use hearth_storage::tables::accounts::AccountCreate;
use hearth_storage::tables::key_backups::{
    self, BACKUP_MAX_BYTES, BACKUPS_MAX, BackedUpKey, BackupCreate, BackupDelete, BackupKeysDelete,
    BackupKeysPut, BackupScope, BackupState, BackupUpdate, BackupsForget, KeyWorth,
};
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Guard, Outcome, Refusal, Storage, both_engines};

const NOW_MS: i64 = 1_000;

async fn guard(storage: &Storage, guard: Guard) -> Result<Outcome, Refusal> {
    let commit = Commit {
        guards: vec![guard],
        ..Commit::default()
    };
    match storage.writer().commit(commit).await {
        Ok(receipt) => Ok(receipt.outcomes[0].clone()),
        Err(CommitError::Refused(refusal)) => Err(refusal),
        Err(CommitError::Storage(error)) => panic!("{error}"),
    }
}

fn state(outcome: Outcome) -> BackupState {
    match outcome {
        Outcome::Backup(state) | Outcome::BackupShrunk(state, _) => state,
        other => panic!("{other:?}"),
    }
}

async fn alice(storage: &Storage) -> i64 {
    let user_nid = storage
        .user_intern("@alice:one.test", "one.test")
        .await
        .unwrap();
    let account = AccountCreate {
        user_nid,
        password_hash: None,
        admin: false,
        guest: false,
        created_at_ms: 1,
    };
    guard(storage, Guard::AccountCreate(account)).await.unwrap();
    user_nid
}

async fn create(storage: &Storage, user_nid: i64, now_ms: i64) -> Result<BackupState, Refusal> {
    let create = BackupCreate {
        user_nid,
        algorithm: "m.test".to_owned(),
        auth_data: b"{}".to_vec(),
        now_ms,
    };
    guard(storage, Guard::BackupCreate(create)).await.map(state)
}

fn key(room_id: &str, session_id: &str, first_message_index: i64) -> BackedUpKey {
    BackedUpKey {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        worth: KeyWorth {
            is_verified: false,
            first_message_index,
            forwarded_count: 0,
        },
        session_data: format!("{{\"from\":{first_message_index}}}").into_bytes(),
    }
}

async fn put(
    storage: &Storage,
    backup: (i64, i64),
    keys: Vec<BackedUpKey>,
) -> Result<BackupState, Refusal> {
    let put = BackupKeysPut {
        user_nid: backup.0,
        version: backup.1,
        keys,
        now_ms: NOW_MS,
    };
    guard(storage, Guard::BackupKeysPut(put)).await.map(state)
}

async fn remove(
    storage: &Storage,
    backup: (i64, i64),
    scope: BackupScope,
    limit: i64,
) -> Result<(BackupState, i64), Refusal> {
    let delete = BackupKeysDelete {
        user_nid: backup.0,
        version: backup.1,
        scope,
        limit,
        now_ms: NOW_MS,
    };
    match guard(storage, Guard::BackupKeysDelete(delete)).await? {
        Outcome::BackupShrunk(state, removed) => Ok((state, removed)),
        other => panic!("{other:?}"),
    }
}

/// Room, session and data of all keys, in pages of two.
async fn stored(
    storage: &Storage,
    backup: (i64, i64),
    scope: BackupScope,
) -> Vec<(String, String, String)> {
    let mut all: Vec<(String, String, String)> = Vec::new();
    loop {
        let after = all.last().cloned().unwrap_or_default();
        let mut reader = storage.read().await.unwrap();
        let page =
            key_backups::backed_up_keys(reader.conn(), backup, &scope, (&after.0, &after.1), 2)
                .await
                .unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(|key| {
            let data = String::from_utf8(key.session_data).unwrap();
            (key.room_id, key.session_id, data)
        }));
    }
}

fn names(keys: &[(String, String, String)]) -> Vec<(&str, &str)> {
    keys.iter()
        .map(|(room, session, _)| (room.as_str(), session.as_str()))
        .collect()
}

both_engines! {
    async fn keys_are_written_to_the_newest_version_only(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let old = create(&storage, nid, NOW_MS).await.unwrap().version;
        let new = create(&storage, nid, NOW_MS).await.unwrap().version;
        assert!(new > old, "{new} {old}");
        let keys = || vec![key("!a:x", "s", 0)];
        assert_eq!(put(&storage, (nid, old), keys()).await, Err(Refusal::Changed));
        assert_eq!(put(&storage, (nid, old), Vec::new()).await, Err(Refusal::Changed));
        assert_eq!(put(&storage, (nid, new + 1), keys()).await, Err(Refusal::Absent));
        assert_eq!(put(&storage, (nid + 1, new), keys()).await, Err(Refusal::Absent));
        assert_eq!(put(&storage, (nid, new), keys()).await.unwrap().key_count, 1);
        let gone = || Guard::BackupDelete(BackupDelete { user_nid: nid, version: new });
        guard(&storage, gone()).await.unwrap();
        guard(&storage, gone()).await.unwrap();
        assert_eq!(put(&storage, (nid, new), keys()).await, Err(Refusal::Absent));
        // The one before it is the newest again, and a later one takes another name.
        assert_eq!(put(&storage, (nid, old), keys()).await.unwrap().key_count, 1);
        assert!(create(&storage, nid, NOW_MS).await.unwrap().version > new);
        let never = BackupDelete { user_nid: nid, version: new + 7 };
        assert_eq!(guard(&storage, Guard::BackupDelete(never)).await, Err(Refusal::Absent));
    }
}

both_engines! {
    async fn a_worse_key_changes_nothing(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let backup = (nid, create(&storage, nid, NOW_MS).await.unwrap().version);
        let first = put(&storage, backup, vec![key("!a:x", "s", 5), key("!a:x", "t", 5)]).await;
        let first = first.unwrap();
        assert_eq!(first.key_count, 2);
        for keys in [vec![], vec![key("!a:x", "s", 5)], vec![key("!a:x", "s", 6)]] {
            assert_eq!(put(&storage, backup, keys).await.unwrap(), first);
        }
        let mixed = vec![key("!a:x", "s", 9), key("!a:x", "t", 1), key("!b:x", "s", 9)];
        let second = put(&storage, backup, mixed).await.unwrap();
        assert_eq!(second.key_count, 3);
        assert_ne!(second.etag, first.etag);
        let expected = [("s", "{\"from\":5}"), ("t", "{\"from\":1}"), ("s", "{\"from\":9}")];
        let found = stored(&storage, backup, BackupScope::All).await;
        let found: Vec<_> = found.iter().map(|key| (key.1.as_str(), key.2.as_str())).collect();
        assert_eq!(found, expected);
    }
}

both_engines! {
    async fn keys_are_found_and_removed_by_room_and_session(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let backup = (nid, create(&storage, nid, NOW_MS).await.unwrap().version);
        let rooms = ["!a:x", "!b:x"];
        let all = rooms.iter().flat_map(|room| ["r", "s", "t"].map(|s| key(room, s, 0)));
        let before = put(&storage, backup, all.collect()).await.unwrap();
        let room = |room: &str| BackupScope::Room(room.to_owned());
        let session = |room: &str, session: &str| {
            BackupScope::Session(room.to_owned(), session.to_owned())
        };
        let found = stored(&storage, backup, room("!b:x")).await;
        assert_eq!(names(&found), [("!b:x", "r"), ("!b:x", "s"), ("!b:x", "t")]);
        let found = stored(&storage, backup, session("!a:x", "s")).await;
        assert_eq!(names(&found), [("!a:x", "s")]);
        for nowhere in [room("!c:x"), room("!a\0:x"), session("!a:x", "z"), session("!a:x", "\0")] {
            assert!(stored(&storage, backup, nowhere.clone()).await.is_empty());
            let (after, removed) = remove(&storage, backup, nowhere, 9).await.unwrap();
            assert_eq!((after, removed), (before, 0));
        }
        let (after, removed) = remove(&storage, backup, session("!a:x", "s"), 9).await.unwrap();
        assert_eq!((after.key_count, removed), (5, 1));
        assert_ne!(after.etag, before.etag);
        let (after, removed) = remove(&storage, backup, room("!b:x"), 2).await.unwrap();
        assert_eq!((after.key_count, removed), (3, 2));
        let found = stored(&storage, backup, BackupScope::All).await;
        assert_eq!(names(&found), [("!a:x", "r"), ("!a:x", "t"), ("!b:x", "t")]);
        let (after, removed) = remove(&storage, backup, BackupScope::All, 9).await.unwrap();
        assert_eq!((after.key_count, removed), (0, 3));
        let gone = remove(&storage, (nid, backup.1 + 1), BackupScope::All, 9).await;
        assert_eq!(gone, Err(Refusal::Absent));
    }
}

both_engines! {
    async fn versions_and_what_they_hold_are_bounded(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        for _ in 0..120 {
            let version = create(&storage, nid, NOW_MS).await.unwrap().version;
            let delete = BackupDelete { user_nid: nid, version };
            guard(&storage, Guard::BackupDelete(delete)).await.unwrap();
        }
        assert_eq!(count(&storage, "key_backups").await, 101, "a hundred deleted ones and the next");
        let mut version = 0;
        for _ in 0..BACKUPS_MAX {
            version = create(&storage, nid, NOW_MS).await.unwrap().version;
        }
        assert_eq!(create(&storage, nid, NOW_MS).await, Err(Refusal::Full));

        let large = |session_id: &str| {
            let mut key = key("!a:x", session_id, 7);
            key.session_data = vec![b'x'; usize::try_from(BACKUP_MAX_BYTES / 2).unwrap()];
            key
        };
        let backup = (nid, version);
        put(&storage, backup, vec![large("r")]).await.unwrap();
        assert_eq!(put(&storage, backup, vec![large("s")]).await, Err(Refusal::Full));
        assert_eq!(count(&storage, "backed_up_keys").await, 1);
        // What takes its place or leaves makes room.
        put(&storage, backup, vec![key("!a:x", "r", 0)]).await.unwrap();
        put(&storage, backup, vec![large("s")]).await.unwrap();
        remove(&storage, backup, BackupScope::All, 9).await.unwrap();
        put(&storage, backup, vec![large("t")]).await.unwrap();
        guard(&storage, Guard::BackupsForget(BackupsForget { user_nid: nid })).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        assert_eq!(key_backups::backup_newest(reader.conn(), nid).await.unwrap(), None);
    }
}

both_engines! {
    async fn the_algorithm_of_a_version_stays(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let version = create(&storage, nid, NOW_MS).await.unwrap().version;
        let update = |algorithm: &str, version| Guard::BackupUpdate(BackupUpdate {
            user_nid: nid,
            version,
            algorithm: algorithm.to_owned(),
            auth_data: b"{\"new\":1}".to_vec(),
        });
        assert_eq!(guard(&storage, update("m.other", version)).await, Err(Refusal::Changed));
        assert_eq!(guard(&storage, update("m.test", version + 1)).await, Err(Refusal::Absent));
        guard(&storage, update("m.test", version)).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let stored = key_backups::backup(reader.conn(), nid, version).await.unwrap().unwrap();
        assert_eq!(stored.auth_data, b"{\"new\":1}");
    }
}
