//! Dehydrated devices: one per person, with all that belongs to it.

use hearth_storage::tables::accounts::AccountCreate;
use hearth_storage::tables::dehydrated_devices::{
    DehydratedDevicePut, StoredDehydratedDevice, dehydrated_device,
};
use hearth_storage::tables::device_keys::DeviceKeysUpload;
use hearth_storage::tables::devices::{DevicesRemove, device_list};
use hearth_storage::tables::one_time_keys::{OneTimeKeysUpload, UploadedKey};
use hearth_storage::tables::to_device::ToDeviceRow;
use hearth_storage::tables::tokens::SessionOpen;
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Guard, Refusal, Storage, both_engines};

async fn commit(storage: &Storage, guards: Vec<Guard>) -> Result<(), Refusal> {
    let commit = Commit {
        guards,
        ..Commit::default()
    };
    match storage.writer().commit(commit).await {
        Ok(_) => Ok(()),
        Err(CommitError::Refused(refusal)) => Err(refusal),
        Err(CommitError::Storage(error)) => panic!("{error}"),
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
    commit(storage, vec![Guard::AccountCreate(account)])
        .await
        .unwrap();
    user_nid
}

fn session(user_nid: i64, device_id: &str) -> Vec<Guard> {
    vec![Guard::SessionOpen(SessionOpen {
        user_nid,
        password_hash: None,
        device_id: device_id.to_owned(),
        display_name: None,
        token_hash: device_id.as_bytes().to_vec(),
        created_at_ms: 1,
        expires_at_ms: None,
        refresh: None,
    })]
}

/// A dehydrated device with its keys.
fn put(user_nid: i64, replaces: Option<&str>, device_id: &str) -> Vec<Guard> {
    let key = |key_id: &str| UploadedKey {
        algorithm: "signed_curve25519".to_owned(),
        key_id: key_id.to_owned(),
        content: device_id.as_bytes().to_vec(),
    };
    vec![
        Guard::DehydratedDevicePut(DehydratedDevicePut {
            user_nid,
            replaces: replaces.map(str::to_owned),
            device_id: device_id.to_owned(),
            display_name: Some("Asleep".to_owned()),
            device_data: device_id.as_bytes().to_vec(),
            created_at_ms: 1,
        }),
        Guard::DeviceKeysUpload(DeviceKeysUpload {
            user_nid,
            device_id: device_id.to_owned(),
            content: device_id.as_bytes().to_vec(),
            replaces: false,
        }),
        Guard::OneTimeKeysUpload(OneTimeKeysUpload {
            user_nid,
            device_id: device_id.to_owned(),
            one_time: vec![key("A"), key("B")],
            fallback: vec![key("F")],
        }),
    ]
}

async fn message(storage: &Storage, user_nid: i64, device_id: &str) {
    let mut commit = Commit::default();
    let slot = commit.slot();
    commit.rows.to_device.push(ToDeviceRow {
        user_nid,
        device_id: device_id.to_owned(),
        slot,
        message: b"{}".to_vec(),
    });
    storage.writer().commit(commit).await.unwrap();
}

async fn standing(storage: &Storage, user_nid: i64) -> Option<StoredDehydratedDevice> {
    let mut reader = storage.read().await.unwrap();
    dehydrated_device(reader.conn(), user_nid).await.unwrap()
}

async fn devices(storage: &Storage, user_nid: i64) -> Vec<String> {
    let mut reader = storage.read().await.unwrap();
    let devices = device_list(reader.conn(), user_nid).await.unwrap();
    devices.into_iter().map(|device| device.device_id).collect()
}

/// Rows of a device in each of its tables.
async fn belongings(storage: &Storage, device_id: &str) -> [i64; 4] {
    let mut counts = [0; 4];
    let tables = ["device_keys", "one_time_keys", "fallback_keys", "to_device"];
    for (found, table) in counts.iter_mut().zip(tables) {
        *found = count(storage, &format!("{table} WHERE device_id = '{device_id}'")).await;
    }
    counts
}

both_engines! {
    async fn a_dehydrated_device_takes_the_place_of_the_one_before(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        commit(&storage, session(nid, "PHONE")).await.unwrap();
        commit(&storage, put(nid, None, "D1")).await.unwrap();
        message(&storage, nid, "D1").await;
        assert_eq!(belongings(&storage, "D1").await, [1, 2, 1, 1]);
        assert_eq!(devices(&storage, nid).await, ["D1", "PHONE"]);

        // Two who replace it at once: the second has not seen the first.
        commit(&storage, put(nid, Some("D1"), "D2")).await.unwrap();
        assert_eq!(commit(&storage, put(nid, Some("D1"), "D3")).await, Err(Refusal::Changed));
        assert_eq!(commit(&storage, put(nid, None, "D3")).await, Err(Refusal::Changed));
        assert_eq!(belongings(&storage, "D1").await, [0; 4]);
        assert_eq!(belongings(&storage, "D2").await, [1, 2, 1, 0]);
        assert_eq!(standing(&storage, nid).await.unwrap().device_data, b"D2");
        assert_eq!(devices(&storage, nid).await, ["D2", "PHONE"]);

        // The same again begins anew.
        message(&storage, nid, "D2").await;
        commit(&storage, put(nid, Some("D2"), "D2")).await.unwrap();
        assert_eq!(belongings(&storage, "D2").await, [1, 2, 1, 0]);
        let refused = commit(&storage, put(nid, Some("D2"), "PHONE")).await;
        assert_eq!(refused, Err(Refusal::Taken));
        assert_eq!(standing(&storage, nid).await.unwrap().device_id, "D2", "nothing was done");
        let stranger = commit(&storage, put(nid + 1, None, "D9")).await;
        assert_eq!(stranger, Err(Refusal::Absent));
    }
}

both_engines! {
    async fn nobody_signs_in_on_a_dehydrated_device(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        commit(&storage, put(nid, None, "D1")).await.unwrap();
        assert_eq!(commit(&storage, session(nid, "D1")).await, Err(Refusal::Taken));
        assert_eq!(count(&storage, "access_tokens").await, 0);
        let removal = Guard::DevicesRemove(DevicesRemove {
            user_nid: nid,
            device_ids: vec!["D1".to_owned()],
        });
        commit(&storage, vec![removal]).await.unwrap();
        assert_eq!(standing(&storage, nid).await, None);
        commit(&storage, session(nid, "D1")).await.unwrap();
    }
}
