//! Keys, device lists and messages between devices.

use std::collections::BTreeSet;

use hearth_storage::tables::bounds::Prune;
use hearth_storage::tables::device_keys::{self, DeviceForgotten, DeviceKeysUpload};
use hearth_storage::tables::device_lists::{
    self, DeviceListChange, ListEdu, ListUpdate, REMOTE_DEVICES_MAX, RemoteDevice, RemoteListFill,
    RemoteListUpdate,
};
use hearth_storage::tables::log::Identity;
use hearth_storage::tables::one_time_keys::{
    self, ISSUED_KEPT, KeyWanted, KeysClaim, ONE_TIME_KEYS_MAX, OneTimeKeysUpload, UploadedKey,
};
use hearth_storage::tables::outbox;
use hearth_storage::tables::sharing;
use hearth_storage::tables::state::MembershipRow;
use hearth_storage::tables::to_device::{
    self, ReceiveOnce, SendOnce, ToDeviceDelivered, ToDeviceRow,
};
use hearth_storage::tables::tokens::SessionOpen;
use hearth_storage::testing::{Scratch, count, identity};
use hearth_storage::{
    Commit, CommitError, Guard, LastUse, Options, Outcome, Refusal, Slot, Storage, both_engines,
};
use tokio::task::JoinSet;

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

/// Commits what `plan` adds, and returns the first of its positions.
async fn write(storage: &Storage, plan: impl FnOnce(&mut Commit)) -> i64 {
    let mut commit = Commit::default();
    plan(&mut commit);
    storage.writer().commit(commit).await.unwrap().at(Slot(0))
}

async fn user(storage: &Storage, name: &str) -> i64 {
    let server = name.split_once(':').unwrap().1;
    storage.user_intern(name, server).await.unwrap()
}

/// One of our people, with a device `A`.
async fn alice(storage: &Storage) -> i64 {
    use hearth_storage::tables::accounts::AccountCreate;
    let nid = user(storage, "@alice:one.test").await;
    let account = AccountCreate {
        user_nid: nid,
        password_hash: None,
        admin: false,
        guest: false,
        created_at_ms: 1,
    };
    guard(storage, Guard::AccountCreate(account)).await.unwrap();
    device(storage, nid, "A").await;
    nid
}

async fn device(storage: &Storage, user_nid: i64, device_id: &str) {
    let session = SessionOpen {
        user_nid,
        password_hash: None,
        device_id: device_id.to_owned(),
        display_name: Some("Phone".to_owned()),
        token_hash: device_id.as_bytes().to_vec(),
        created_at_ms: 1,
        expires_at_ms: None,
        refresh: None,
    };
    guard(storage, Guard::SessionOpen(session)).await.unwrap();
}

async fn member(storage: &Storage, room_nid: i64, user_nid: i64, membership: &str) -> i64 {
    write(storage, |commit| {
        let slot = commit.slot();
        commit.rows.memberships.push(MembershipRow {
            room_nid,
            user_nid,
            membership: membership.to_owned(),
            event_nid: 1,
            slot,
        });
    })
    .await
}

fn key(key_id: &str, content: &str) -> UploadedKey {
    UploadedKey {
        algorithm: "signed_curve25519".to_owned(),
        key_id: key_id.to_owned(),
        content: content.as_bytes().to_vec(),
    }
}

fn upload(user_nid: i64, one_time: Vec<UploadedKey>, fallback: Vec<UploadedKey>) -> Guard {
    Guard::OneTimeKeysUpload(OneTimeKeysUpload {
        user_nid,
        device_id: "A".to_owned(),
        one_time,
        fallback,
    })
}

fn claim(user_nid: i64) -> Guard {
    Guard::KeysClaim(KeysClaim(vec![KeyWanted {
        user_nid,
        device_id: "A".to_owned(),
        algorithm: "signed_curve25519".to_owned(),
    }]))
}

async fn claimed(storage: &Storage, user_nid: i64) -> Option<String> {
    match guard(storage, claim(user_nid)).await.unwrap() {
        Outcome::Keys(keys) => keys[0].as_ref().map(|key| key.key_id.clone()),
        other => panic!("{other:?}"),
    }
}

both_engines! {
    async fn keys_are_issued_once_each_however_many_ask_at_once(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let keys = (0..100).map(|n| key(&format!("K{n}"), "x")).collect();
        guard(&storage, upload(nid, keys, Vec::new())).await.unwrap();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..120 {
            let storage = storage.clone();
            asking.spawn(async move { claimed(&storage, nid).await });
        }
        let answers = asking.join_all().await;
        let issued: BTreeSet<&String> = answers.iter().flatten().collect();
        assert_eq!(issued.len(), 100);
        assert_eq!(answers.iter().flatten().count(), 100, "none twice");
    }
}

both_engines! {
    async fn keys_are_issued_in_the_order_of_their_uploads(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        for key_id in ["Z", "M", "A"] {
            guard(&storage, upload(nid, vec![key(key_id, "x")], Vec::new())).await.unwrap();
        }
        for key_id in ["Z", "M", "A"] {
            assert_eq!(claimed(&storage, nid).await.as_deref(), Some(key_id));
        }
        assert_eq!(claimed(&storage, nid).await, None);
    }
}

both_engines! {
    async fn an_upload_that_is_repeated_brings_no_issued_key_back(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let keys = || upload(nid, vec![key("A", "x"), key("B", "x")], Vec::new());
        guard(&storage, keys()).await.unwrap();
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("A"));
        guard(&storage, keys()).await.unwrap();
        let other = upload(nid, vec![key("A", "y")], Vec::new());
        guard(&storage, other).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let counts = one_time_keys::one_time_key_counts(reader.conn(), nid, "A").await.unwrap();
        assert_eq!(counts, [("signed_curve25519".to_owned(), 1)]);
        drop(reader);
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("B"));
        guard(&storage, keys()).await.unwrap();
        assert_eq!(claimed(&storage, nid).await, None);
    }
}

both_engines! {
    async fn keys_of_an_identity_go_with_it(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let identity = |content: &[u8], replaces| Guard::DeviceKeysUpload(DeviceKeysUpload {
            user_nid: nid,
            device_id: "A".to_owned(),
            content: content.to_vec(),
            replaces,
        });
        guard(&storage, identity(b"{}", false)).await.unwrap();
        let keys = vec![key("A", "old"), key("B", "old"), key("C", "old")];
        guard(&storage, upload(nid, keys, vec![key("F", "old")])).await.unwrap();
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("A"));
        // A client that lost its store counts from the beginning, whatever was issued or is left.
        guard(&storage, identity(b"{\"new\":1}", true)).await.unwrap();
        assert_eq!(claimed(&storage, nid).await, None, "not even the fallback key");
        let keys = vec![key("A", "new"), key("B", "new")];
        guard(&storage, upload(nid, keys, Vec::new())).await.unwrap();
        for expected in ["A", "B"] {
            assert_eq!(claimed(&storage, nid).await.as_deref(), Some(expected));
        }
    }
}

both_engines! {
    async fn issued_keys_of_the_last_uploads_are_remembered(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let batch = |of: i64| (0..ONE_TIME_KEYS_MAX).map(|n| key(&format!("{of}-{n}"), "x")).collect();
        let issued = "one_time_keys WHERE issued";
        for of in 0..4 {
            guard(&storage, upload(nid, batch(of), Vec::new())).await.unwrap();
            let wanted = KeyWanted {
                user_nid: nid,
                device_id: "A".to_owned(),
                algorithm: "signed_curve25519".to_owned(),
            };
            let all = usize::try_from(ONE_TIME_KEYS_MAX).unwrap();
            let claims = Guard::KeysClaim(KeysClaim(vec![wanted; all]));
            guard(&storage, claims).await.unwrap();
            // The last one may be repeated, however large it was.
            guard(&storage, upload(nid, batch(of), Vec::new())).await.unwrap();
            assert_eq!(claimed(&storage, nid).await, None);
            assert_eq!(count(&storage, issued).await, ONE_TIME_KEYS_MAX);
        }
        for n in 0..ISSUED_KEPT + 20 {
            guard(&storage, upload(nid, vec![key(&n.to_string(), "x")], Vec::new())).await.unwrap();
            assert!(claimed(&storage, nid).await.is_some());
        }
        guard(&storage, upload(nid, vec![key("last", "x")], Vec::new())).await.unwrap();
        assert_eq!(count(&storage, issued).await, ISSUED_KEPT);
    }
}

/// Opens a database that was used before.
async fn reopen(
    scratch: &Scratch,
    running: &mut JoinSet<()>,
    last_use: &LastUse,
    generation: &str,
) -> Storage {
    let options = Options {
        last_use: Some(last_use.clone()),
        ..scratch.options()
    };
    let identity = Identity {
        generation: generation.to_owned(),
        ..identity()
    };
    let (storage, background) = Storage::open(&options, &identity).await.unwrap();
    running.spawn(background.writer.run());
    storage
}

both_engines! {
    async fn a_restored_database_issues_no_key_again(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let keys = vec![key("A", "x"), key("B", "x")];
        guard(&storage, upload(nid, keys, vec![key("F", "x")])).await.unwrap();
        let stands = LastUse {
            generation: storage.identity().generation.clone(),
            position: storage.writer().head().position(),
        };
        drop(storage);
        let mut running = JoinSet::new();
        // Where it was left, or further: it is the one that was used last.
        let further = LastUse { position: stands.position - 1, ..stands.clone() };
        for last_use in [&stands, &further] {
            let storage = reopen(&scratch, &mut running, last_use, "unused").await;
            assert_eq!(storage.identity().generation, stands.generation);
            assert_eq!(count(&storage, "one_time_keys").await, 2);
        }
        let behind = LastUse { position: stands.position + 1, ..stands.clone() };
        let storage = reopen(&scratch, &mut running, &behind, "second").await;
        assert_eq!(storage.identity().generation, "second");
        assert_eq!(count(&storage, "one_time_keys WHERE NOT issued").await, 0);
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("F"));
        let mut reader = storage.read().await.unwrap();
        let unused = one_time_keys::unused_fallback_algorithms(reader.conn(), nid, "A").await;
        assert!(unused.unwrap().is_empty(), "the device is to replace it");
        drop(reader);
        guard(&storage, upload(nid, vec![key("C", "x")], Vec::new())).await.unwrap();
        drop(storage);
        // An older state of it, once more, or another database.
        let storage = reopen(&scratch, &mut running, &stands, "third").await;
        assert_eq!(storage.identity().generation, "third");
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("F"));
    }
}

both_engines! {
    async fn the_fallback_key_serves_again_and_again_until_it_is_replaced(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let fallback = || upload(nid, Vec::new(), vec![key("F", "x")]);
        guard(&storage, fallback()).await.unwrap();
        let unused = async || {
            let mut reader = storage.read().await.unwrap();
            one_time_keys::unused_fallback_algorithms(reader.conn(), nid, "A").await.unwrap()
        };
        assert_eq!(unused().await, ["signed_curve25519"]);
        for _ in 0..3 {
            assert_eq!(claimed(&storage, nid).await.as_deref(), Some("F"));
        }
        assert!(unused().await.is_empty());
        guard(&storage, fallback()).await.unwrap();
        assert!(unused().await.is_empty(), "the same key again is still a used one");
        guard(&storage, upload(nid, Vec::new(), vec![key("G", "y")])).await.unwrap();
        assert_eq!(unused().await, ["signed_curve25519"]);
        assert_eq!(claimed(&storage, nid).await.as_deref(), Some("G"));
    }
}

both_engines! {
    async fn an_upload_is_refused_whole(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        guard(&storage, upload(nid, vec![key("K", "x")], Vec::new())).await.unwrap();
        guard(&storage, upload(nid, vec![key("K", "x")], Vec::new())).await.unwrap();
        let other = vec![key("L", "x"), key("K", "y")];
        assert_eq!(guard(&storage, upload(nid, other, Vec::new())).await, Err(Refusal::Taken));
        let many = (0..ONE_TIME_KEYS_MAX).map(|n| key(&n.to_string(), "x")).collect();
        assert_eq!(guard(&storage, upload(nid, many, Vec::new())).await, Err(Refusal::Full));
        assert_eq!(count(&storage, "one_time_keys").await, 1);
        let gone = upload(nid + 1, vec![key("K", "x")], Vec::new());
        assert_eq!(guard(&storage, gone).await, Err(Refusal::Absent));
    }
}

both_engines! {
    async fn a_forgotten_device_leaves_no_keys_and_takes_no_more(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let keys = || Guard::DeviceKeysUpload(DeviceKeysUpload {
            user_nid: nid,
            device_id: "A".to_owned(),
            content: b"{}".to_vec(),
            replaces: false,
        });
        guard(&storage, keys()).await.unwrap();
        let both = upload(nid, vec![key("K", "x")], vec![key("F", "x")]);
        guard(&storage, both).await.unwrap();
        let message = |commit: &mut Commit| {
            let slot = commit.slot();
            let (device_id, message) = ("A".to_owned(), b"{}".to_vec());
            commit.rows.to_device.push(ToDeviceRow { user_nid: nid, device_id, slot, message });
        };
        write(&storage, message).await;
        let mut reader = storage.read().await.unwrap();
        let stored = device_keys::device_keys(reader.conn(), nid, "A").await.unwrap().unwrap();
        assert_eq!(stored.display_name.as_deref(), Some("Phone"));
        write(&storage, |commit| {
            let gone = DeviceForgotten { user_nid: nid, device_id: "A".to_owned() };
            commit.rows.devices_forgotten.push(gone);
        })
        .await;
        for table in ["device_keys", "one_time_keys", "fallback_keys", "to_device"] {
            assert_eq!(count(&storage, table).await, 0, "{table}");
        }
        hearth_storage::testing::execute(&scratch, "DELETE FROM devices").await;
        write(&storage, message).await;
        assert_eq!(count(&storage, "to_device").await, 0);
        assert_eq!(guard(&storage, keys()).await, Err(Refusal::Absent));
    }
}

both_engines! {
    async fn messages_wait_in_order_until_the_device_has_moved_past_them(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        device(&storage, nid, "B").await;
        let first = write(&storage, |commit| {
            for (device_id, text) in [("A", "1"), ("B", "other"), ("A", "2"), ("A", "3")] {
                let slot = commit.slot();
                commit.rows.to_device.push(ToDeviceRow {
                    user_nid: nid,
                    device_id: device_id.to_owned(),
                    slot,
                    message: text.as_bytes().to_vec(),
                });
            }
        })
        .await;
        drop(storage);
        let storage = scratch.open().await;
        let waiting = async |since, until, limit| -> Vec<String> {
            let mut reader = storage.read().await.unwrap();
            let found =
                to_device::to_device_waiting(reader.conn(), (nid, "A"), since, until, limit);
            found.await.unwrap().into_iter().map(|m| String::from_utf8(m.message).unwrap()).collect()
        };
        assert_eq!(waiting(0, first + 3, 10).await, ["1", "2", "3"]);
        assert_eq!(waiting(0, first + 3, 2).await, ["1", "2"]);
        assert_eq!(waiting(first, first + 2, 10).await, ["2"]);
        write(&storage, |commit| {
            let (device_id, position) = ("A".to_owned(), first + 2);
            let done = ToDeviceDelivered { user_nid: nid, device_id, position };
            commit.rows.to_device_delivered.push(done);
        })
        .await;
        assert_eq!(waiting(0, first + 3, 10).await, ["3"]);
        assert_eq!(count(&storage, "to_device").await, 2, "the other device's waits on");
        let mut reader = storage.read().await.unwrap();
        let any = to_device::to_device_any(reader.conn(), (nid, "A"), first + 2).await.unwrap();
        assert!(!any);
    }
}

both_engines! {
    async fn transactions_and_messages_of_others_take_effect_once(scratch: Scratch) {
        let storage = scratch.open().await;
        let send = |txn_id: &str| Guard::SendOnce(SendOnce {
            user_nid: 1,
            device_id: "A".to_owned(),
            txn_id: txn_id.to_owned(),
            now_ms: 1,
        });
        guard(&storage, send("t")).await.unwrap();
        assert_eq!(guard(&storage, send("t")).await, Err(Refusal::Taken));
        guard(&storage, send("u")).await.unwrap();
        let receive = |now_ms| Guard::ReceiveOnce(ReceiveOnce {
            server_nid: 2,
            message_id: "m".to_owned(),
            now_ms,
        });
        guard(&storage, receive(10)).await.unwrap();
        assert_eq!(guard(&storage, receive(11)).await, Err(Refusal::Taken));
        let forget = |before_ms| Guard::Prune(Prune::Received { before_ms });
        guard(&storage, forget(10)).await.unwrap();
        assert_eq!(guard(&storage, receive(12)).await, Err(Refusal::Taken));
        guard(&storage, forget(11)).await.unwrap();
        guard(&storage, receive(13)).await.unwrap();
    }
}

fn chained(user_nid: i64) -> impl FnOnce(&mut Commit) {
    move |commit| {
        for edu in [
            ListEdu::Chained {
                head: b"{".to_vec(),
                tail: b"}".to_vec(),
            },
            ListEdu::Whole(b"whole".to_vec()),
        ] {
            let slot = commit.slot();
            commit.rows.device_list_changes.push(DeviceListChange {
                user_nid,
                slot,
                edu: Some(edu),
            });
        }
    }
}

both_engines! {
    async fn servers_that_share_a_room_are_told_of_each_change_in_a_chain(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let bob = user(&storage, "@bob:two.test").await;
        let carol = user(&storage, "@carol:three.test").await;
        for room in [1, 2] {
            member(&storage, room, nid, "join").await;
            member(&storage, room, bob, "join").await;
        }
        member(&storage, 2, carol, "leave").await;
        let first = write(&storage, chained(nid)).await;
        let second = write(&storage, chained(nid)).await;
        let two = storage.server_intern("two.test").await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let queued = outbox::outbox_queued(reader.conn(), two, i64::MAX, 10).await.unwrap();
        let queued: Vec<String> =
            queued.into_iter().map(|q| String::from_utf8(q.edu.unwrap()).unwrap()).collect();
        let told = [
            format!("{{\"prev_id\":[],\"stream_id\":{first}}}"),
            "whole".to_owned(),
            format!("{{\"prev_id\":[{first}],\"stream_id\":{second}}}"),
            "whole".to_owned(),
        ];
        assert_eq!(queued, told);
        assert_eq!(count(&storage, "outbox").await, 4, "nobody else is told");
        assert_eq!(count(&storage, "device_list_changes").await, 1);
        let stream = device_lists::device_list_stream_id(reader.conn(), nid).await.unwrap();
        assert_eq!(stream, second);
    }
}

both_engines! {
    async fn a_copy_of_a_remote_list_is_good_while_a_room_is_shared(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let bob = user(&storage, "@bob:two.test").await;
        member(&storage, 1, nid, "join").await;
        let shared_since = member(&storage, 1, bob, "join").await;
        let fill = |last_change, asked_at| Guard::RemoteListFill(RemoteListFill {
            user_nid: bob,
            last_change,
            asked_at,
            stream_id: 7,
            devices: Vec::new(),
            cross_signing: Vec::new(),
        });
        let fresh = async || {
            let mut reader = storage.read().await.unwrap();
            !device_lists::remote_lists_fresh(reader.conn(), &[bob]).await.unwrap().is_empty()
        };
        assert!(!fresh().await);
        guard(&storage, fill(0, shared_since)).await.unwrap();
        assert!(fresh().await);
        member(&storage, 1, bob, "leave").await;
        assert!(!fresh().await);
        member(&storage, 1, bob, "join").await;
        assert!(!fresh().await, "changes may have been missed in between");
        let news = write(&storage, |commit| {
            let slot = commit.slot();
            let change = DeviceListChange { user_nid: bob, slot, edu: None };
            commit.rows.device_list_changes.push(change);
        })
        .await;
        assert_eq!(guard(&storage, fill(0, news)).await, Err(Refusal::Changed));
        guard(&storage, fill(news, news)).await.unwrap();
        assert!(fresh().await);
    }
}

both_engines! {
    async fn a_link_is_applied_only_to_the_one_before(scratch: Scratch) {
        let storage = scratch.open().await;
        let bob = user(&storage, "@bob:two.test").await;
        let link = async |stream_id, prev_ids: &[i64], device: Option<&str>| {
            let device = device.map(|content| RemoteDevice {
                device_id: "B".to_owned(),
                content: content.as_bytes().to_vec(),
                display_name: None,
            });
            let update = RemoteListUpdate {
                user_nid: bob,
                stream_id,
                prev_ids: prev_ids.to_vec(),
                device_id: "B".to_owned(),
                device,
            };
            match guard(&storage, Guard::RemoteListUpdate(update)).await.unwrap() {
                Outcome::List(update) => update,
                other => panic!("{other:?}"),
            }
        };
        let fill = || Guard::RemoteListFill(RemoteListFill {
            user_nid: bob,
            last_change: 0,
            asked_at: 0,
            stream_id: 7,
            devices: Vec::new(),
            cross_signing: Vec::new(),
        });
        assert_eq!(link(8, &[7], Some("1")).await, ListUpdate::Untracked);
        guard(&storage, fill()).await.unwrap();
        assert_eq!(link(8, &[7], Some("1")).await, ListUpdate::Applied);
        assert_eq!(link(8, &[7], Some("1")).await, ListUpdate::Applied);
        assert_eq!(count(&storage, "device_keys").await, 1);
        assert_eq!(link(12, &[8], None).await, ListUpdate::Applied);
        assert_eq!(count(&storage, "device_keys").await, 0);
        for (stream_id, prev_ids) in [(20, [15].as_slice()), (13, &[]), (3, &[2])] {
            assert_eq!(link(stream_id, prev_ids, Some("1")).await, ListUpdate::Gap);
            assert_eq!(link(21, &[12], Some("1")).await, ListUpdate::Untracked);
            guard(&storage, fill()).await.unwrap();
        }
    }
}

both_engines! {
    async fn a_remote_person_has_a_bounded_number_of_devices(scratch: Scratch) {
        let storage = scratch.open().await;
        let bob = user(&storage, "@bob:two.test").await;
        let device = |n: usize| RemoteDevice {
            device_id: n.to_string(),
            content: b"{}".to_vec(),
            display_name: None,
        };
        let fill = RemoteListFill {
            user_nid: bob,
            last_change: 0,
            asked_at: 0,
            stream_id: 1,
            devices: (1..REMOTE_DEVICES_MAX).map(device).collect(),
            cross_signing: Vec::new(),
        };
        guard(&storage, Guard::RemoteListFill(fill)).await.unwrap();
        for (stream_id, n, expected) in [
            (2, REMOTE_DEVICES_MAX, ListUpdate::Applied),
            (3, REMOTE_DEVICES_MAX, ListUpdate::Applied),
            (4, REMOTE_DEVICES_MAX + 1, ListUpdate::Gap),
        ] {
            let update = Guard::RemoteListUpdate(RemoteListUpdate {
                user_nid: bob,
                stream_id,
                prev_ids: vec![stream_id - 1],
                device_id: n.to_string(),
                device: Some(device(n)),
            });
            let outcome = guard(&storage, update).await.unwrap();
            assert_eq!(outcome, Outcome::List(expected), "{n}");
        }
    }
}

both_engines! {
    async fn readers_learn_whom_to_track_and_whom_no_longer(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let bob = user(&storage, "@bob:two.test").await;
        let carol = user(&storage, "@carol:two.test").await;
        let before = member(&storage, 1, nid, "join").await;
        member(&storage, 2, carol, "join").await;
        let joined = member(&storage, 1, bob, "join").await;
        let lists = async |since, until| {
            let mut reader = storage.read().await.unwrap();
            let changed =
                device_lists::device_lists_changed(reader.conn(), nid, since, until).await.unwrap();
            let left =
                device_lists::device_lists_left(reader.conn(), nid, since, until).await.unwrap();
            (changed.join(" "), left.join(" "))
        };
        let shown = |changed: &str, left: &str| (changed.to_owned(), left.to_owned());
        assert_eq!(lists(before, joined).await, shown("@bob:two.test", ""));
        assert_eq!(lists(joined, joined + 9).await, shown("", ""));
        let mut last = joined;
        for (user_nid, told) in [(bob, "@bob:two.test"), (carol, ""), (nid, "@alice:one.test")] {
            let position = write(&storage, chained(user_nid)).await + 1;
            assert_eq!(lists(last, position).await, shown(told, ""));
            last = position;
        }
        let entered = member(&storage, 2, nid, "join").await;
        assert_eq!(lists(last, entered).await, shown("@carol:two.test", ""));
        member(&storage, 2, bob, "join").await;
        let left = member(&storage, 1, bob, "leave").await;
        assert_eq!(lists(left - 1, left).await, shown("", ""), "one room is shared still");
        let parted = member(&storage, 2, nid, "leave").await;
        assert_eq!(lists(left, parted).await, shown("", "@bob:two.test @carol:two.test"));
    }
}

both_engines! {
    async fn servers_see_keys_of_those_they_share_a_room_with_or_invited(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let bob = user(&storage, "@bob:two.test").await;
        let one = storage.server_intern("one.test").await.unwrap();
        let two = storage.server_intern("two.test").await.unwrap();
        let allowed = async || {
            let mut reader = storage.read().await.unwrap();
            let sees = sharing::server_may_see_keys(reader.conn(), two, nid).await.unwrap();
            let shares = sharing::server_shares_room(reader.conn(), two, nid).await.unwrap();
            assert_eq!(sharing::shares_room(reader.conn(), bob, nid).await.unwrap(), shares);
            let servers = sharing::servers_sharing(reader.conn(), nid).await.unwrap();
            assert_eq!(servers.contains(&two), shares);
            let watchers = sharing::users_sharing(reader.conn(), bob, one).await.unwrap();
            assert_eq!(watchers.contains(&nid), shares);
            (sees, shares)
        };
        // An invite that came before the room is known.
        hearth_storage::testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth,
                                 origin_server_ts, fate, outbound)
             SELECT 1, '$1', 1, user_nid, 1, 1, 0, FALSE FROM users
             WHERE user_id = '@bob:two.test'",
        )
        .await;
        member(&storage, 1, nid, "invite").await;
        assert_eq!(allowed().await, (true, false));
        for (ours, theirs, expected) in [
            ("leave", "join", (false, false)),
            ("invite", "join", (true, false)),
            ("join", "invite", (true, false)),
            ("join", "join", (true, true)),
            ("join", "leave", (false, false)),
        ] {
            member(&storage, 1, nid, ours).await;
            member(&storage, 1, bob, theirs).await;
            assert_eq!(allowed().await, expected, "{ours} {theirs}");
        }
    }
}
