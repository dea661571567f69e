//! Accounts, sessions, devices, profiles, account data and filters.

use hearth_storage::tables::account_data::{self, AccountDataRow};
use hearth_storage::tables::accounts::{self, AccountCreate, PasswordSet};
use hearth_storage::tables::devices::{self, DeviceCreate, DeviceRename, DevicesRemove};
use hearth_storage::tables::events;
use hearth_storage::tables::filters::{self, FilterStore};
use hearth_storage::tables::profiles::{self, ProfileRow};
use hearth_storage::tables::tokens::{self, SessionOpen};
use hearth_storage::testing::{self, count};
use hearth_storage::{Commit, CommitError, Guard, Outcome, Refusal, Slot, Storage, both_engines};

async fn guard(storage: &Storage, guard: Guard) -> Result<Outcome, CommitError> {
    let commit = Commit {
        guards: vec![guard],
        ..Commit::default()
    };
    let receipt = storage.writer().commit(commit).await?;
    Ok(receipt.outcomes[0].clone())
}

fn refusal(result: Result<Outcome, CommitError>) -> Refusal {
    match result.unwrap_err() {
        CommitError::Refused(refusal) => refusal,
        CommitError::Storage(error) => panic!("{error}"),
    }
}

fn account(user_nid: i64) -> Guard {
    Guard::AccountCreate(AccountCreate {
        user_nid,
        password_hash: Some("hash".to_owned()),
        admin: false,
        guest: false,
        created_at_ms: 1,
    })
}

fn session(user_nid: i64, device_id: &str, token: u8) -> SessionOpen {
    SessionOpen {
        user_nid,
        password_hash: Some("hash".to_owned()),
        device_id: device_id.to_owned(),
        display_name: Some(format!("device of token {token}")),
        token_hash: vec![token; 32],
        created_at_ms: 1,
        expires_at_ms: None,
        refresh: None,
    }
}

/// Alice with an account.
async fn alice(storage: &Storage) -> i64 {
    let nid = storage
        .user_intern("@alice:one.test", "one.test")
        .await
        .unwrap();
    guard(storage, account(nid)).await.unwrap();
    nid
}

async fn owner(storage: &Storage, token: u8) -> Option<String> {
    let mut reader = storage.read().await.unwrap();
    let owner = tokens::token_owner(reader.conn(), &[token; 32])
        .await
        .unwrap();
    owner.map(|owner| format!("{} {}", owner.user_id, owner.device_id))
}

both_engines! {
    async fn no_device_has_the_name_of_a_cross_signing_key(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let key = "nqOvzeuGWT";
        testing::execute(
            &scratch,
            "INSERT INTO cross_signing_keys (user_nid, usage, content) SELECT user_nid, 'master',
             '{\"keys\":{\"ed25519:nqOvzeuGWT\":\"nqOvzeuGWT\"},
               \"signatures\":{\"@alice:one.test\":{\"ed25519:DEVICE\":\"x\"}}}' FROM accounts",
        )
        .await;
        let taken = guard(&storage, Guard::SessionOpen(session(nid, key, 1))).await;
        assert_eq!(refusal(taken), Refusal::Taken);
        guard(&storage, Guard::SessionOpen(session(nid, "DEVICE", 1))).await.unwrap();
    }
}

both_engines! {
    async fn a_name_makes_one_account(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        assert_eq!(refusal(guard(&storage, account(nid)).await), Refusal::Taken);
        let mut reader = storage.read().await.unwrap();
        let stored =
            accounts::account_by_id(reader.conn(), "@alice:one.test").await.unwrap().unwrap();
        assert_eq!((stored.user_nid, stored.deactivated), (nid, false));
        let nobody = accounts::account_by_id(reader.conn(), "@bob:one.test").await.unwrap();
        assert_eq!(nobody, None);
    }
}

both_engines! {
    async fn an_account_that_is_refused_leaves_no_session(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let commit = Commit {
            guards: vec![Guard::SessionOpen(session(nid, "A", 1)), account(nid)],
            ..Commit::default()
        };
        assert!(storage.writer().commit(commit).await.is_err());
        assert_eq!(count(&storage, "devices").await, 0);
        assert_eq!(count(&storage, "access_tokens").await, 0);
    }
}

both_engines! {
    async fn accounts_are_listed_by_id_page_by_page(scratch: Scratch) {
        let storage = scratch.open().await;
        for name in ["carol", "alice", "bob"] {
            let user_id = format!("@{name}:one.test");
            let nid = storage.user_intern(&user_id, "one.test").await.unwrap();
            guard(&storage, account(nid)).await.unwrap();
        }
        storage.user_intern("@remote:two.test", "two.test").await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let ids = |page: Vec<accounts::ListedAccount>| {
            page.into_iter().map(|account| account.user_id).collect::<Vec<_>>()
        };
        let first = ids(accounts::account_list(reader.conn(), "", 2).await.unwrap());
        assert_eq!(first, ["@alice:one.test", "@bob:one.test"]);
        let rest = ids(accounts::account_list(reader.conn(), &first[1], 2).await.unwrap());
        assert_eq!(rest, ["@carol:one.test"]);
    }
}

both_engines! {
    async fn a_device_has_one_token_and_keeps_its_name(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let first = guard(&storage, Guard::SessionOpen(session(nid, "A", 1))).await.unwrap();
        assert_eq!(first, Outcome::Tokens(vec![]));
        let second = guard(&storage, Guard::SessionOpen(session(nid, "A", 2))).await.unwrap();
        assert_eq!(second, Outcome::Tokens(vec![vec![1; 32]]));
        assert_eq!(owner(&storage, 1).await, None);
        assert_eq!(owner(&storage, 2).await.unwrap(), "@alice:one.test A");
        let mut reader = storage.read().await.unwrap();
        let device = devices::device(reader.conn(), nid, "A").await.unwrap().unwrap();
        assert_eq!(device.display_name.unwrap(), "device of token 1");
    }
}

both_engines! {
    async fn a_session_opens_only_for_the_password_that_was_checked(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let changed = PasswordSet { user_nid: nid, password_hash: "other".to_owned() };
        guard(&storage, Guard::PasswordSet(changed)).await.unwrap();
        let stale = guard(&storage, Guard::SessionOpen(session(nid, "A", 1))).await;
        assert_eq!(refusal(stale), Refusal::Absent);
        let unchecked = SessionOpen { password_hash: None, ..session(nid, "A", 1) };
        guard(&storage, Guard::SessionOpen(unchecked.clone())).await.unwrap();

        testing::execute(&scratch, "UPDATE accounts SET deactivated = TRUE").await;
        let unchecked = SessionOpen { token_hash: vec![2; 32], ..unchecked };
        assert_eq!(refusal(guard(&storage, Guard::SessionOpen(unchecked)).await), Refusal::Absent);
        let changed = PasswordSet { user_nid: nid, password_hash: "third".to_owned() };
        assert_eq!(refusal(guard(&storage, Guard::PasswordSet(changed)).await), Refusal::Absent);
    }
}

both_engines! {
    async fn a_device_takes_its_token_and_transactions_along(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        for (device_id, token) in [("A", 1), ("B", 2), ("C", 3)] {
            guard(&storage, Guard::SessionOpen(session(nid, device_id, token))).await.unwrap();
        }
        testing::execute(
            &scratch,
            "INSERT INTO client_transactions
             (user_nid, device_id, room_nid, endpoint, txn_id, event_nid, created_at_ms)
             SELECT user_nid, device_id, 1, 'send', 't', 1, 1 FROM devices",
        )
        .await;
        let remove = DevicesRemove {
            user_nid: nid,
            device_ids: vec!["A".to_owned(), "C".to_owned(), "never there".to_owned()],
        };
        let Outcome::Tokens(mut revoked) =
            guard(&storage, Guard::DevicesRemove(remove)).await.unwrap()
        else {
            panic!("not tokens")
        };
        revoked.sort();
        assert_eq!(revoked, [vec![1; 32], vec![3; 32]]);
        for table in ["devices", "access_tokens", "client_transactions"] {
            assert_eq!(count(&storage, table).await, 1, "{table}");
        }
        assert_eq!(owner(&storage, 2).await.unwrap(), "@alice:one.test B");
    }
}

both_engines! {
    async fn only_a_device_that_is_there_is_renamed(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        guard(&storage, Guard::SessionOpen(session(nid, "A", 1))).await.unwrap();
        let rename = |device_id: &str| {
            Guard::DeviceRename(DeviceRename {
                user_nid: nid,
                device_id: device_id.to_owned(),
                display_name: "Phone".to_owned(),
            })
        };
        guard(&storage, rename("A")).await.unwrap();
        assert_eq!(refusal(guard(&storage, rename("B")).await), Refusal::Absent);
        let mut reader = storage.read().await.unwrap();
        let list = devices::device_list(reader.conn(), nid).await.unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].display_name.as_deref(), Some("Phone"));
    }
}

both_engines! {
    async fn a_device_is_made_without_a_session(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let make = |user_nid: i64, name: &str| {
            Guard::DeviceCreate(DeviceCreate {
                user_nid,
                device_id: "A".to_owned(),
                display_name: Some(name.to_owned()),
                created_at_ms: 7,
            })
        };
        guard(&storage, make(nid, "Bridge")).await.unwrap();
        guard(&storage, make(nid, "Another")).await.unwrap();
        assert_eq!(refusal(guard(&storage, make(nid + 1, "Nobody's")).await), Refusal::Absent);
        let mut reader = storage.read().await.unwrap();
        let list = devices::device_list(reader.conn(), nid).await.unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!((list[0].display_name.as_deref(), list[0].created_at_ms), (Some("Bridge"), 7));
        drop(reader);
        assert_eq!(count(&storage, "access_tokens").await, 0);
        // Who signs in on it later has the device that is there.
        guard(&storage, Guard::SessionOpen(session(nid, "A", 1))).await.unwrap();
        assert_eq!(count(&storage, "devices").await, 1);
    }
}

both_engines! {
    async fn a_profile_shows_the_last_value_of_each_field(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let mut commit = Commit::default();
        for (field, value) in
            [("displayname", "\"A\""), ("avatar_url", "\"mxc://a/b\""), ("displayname", "\"Alice\"")]
        {
            let slot = commit.slot();
            commit.rows.profiles.push(ProfileRow {
                user_nid: nid,
                field: field.to_owned(),
                value: value.to_owned(),
                slot,
            });
        }
        storage.writer().commit(commit).await.unwrap();
        let mut cleared = Commit::default();
        let slot = cleared.slot();
        cleared.rows.profiles.push(ProfileRow {
            user_nid: nid,
            field: "avatar_url".to_owned(),
            value: "null".to_owned(),
            slot,
        });
        storage.writer().commit(cleared).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let fields = profiles::profile(reader.conn(), nid).await.unwrap();
        assert_eq!(fields.len(), 1);
        assert_eq!((&*fields[0].field, &*fields[0].value), ("displayname", "\"Alice\""));
    }
}

both_engines! {
    async fn account_data_since_a_position_is_what_changed_after_it(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let mut positions = Vec::new();
        for (room_nid, kind) in
            [(account_data::GLOBAL, "m.direct"), (7, "m.tag"), (account_data::GLOBAL, "m.direct")]
        {
            let mut commit = Commit::default();
            let slot = commit.slot();
            commit.rows.account_data.push(AccountDataRow {
                user_nid: nid,
                room_nid,
                kind: kind.to_owned(),
                content: format!("{{\"n\":{}}}", positions.len()).into_bytes(),
                slot,
            });
            positions.push(storage.writer().commit(commit).await.unwrap().at(Slot(0)));
        }
        let mut reader = storage.read().await.unwrap();
        let mut kinds = Vec::new();
        for (since, until) in [(0, i64::MAX), (positions[1], i64::MAX), (0, positions[1])] {
            let changed =
                account_data::account_data_since(reader.conn(), nid, since, until).await.unwrap();
            kinds.push(changed.into_iter().map(|row| row.kind).collect::<Vec<_>>());
        }
        assert_eq!(kinds[0], ["m.tag", "m.direct"], "each once, in the order of change");
        assert_eq!(kinds[1], ["m.direct"]);
        assert_eq!(kinds[2], ["m.tag"], "m.direct changed again after the range");
        let direct = account_data::account_data(reader.conn(), nid, 0, "m.direct").await.unwrap();
        assert_eq!(direct.unwrap(), b"{\"n\":2}");
    }
}

both_engines! {
    async fn filters_are_kept_once_and_bounded(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let store = |id: &str| {
            Guard::FilterStore(FilterStore {
                user_nid: nid,
                filter_id: id.to_owned(),
                content: b"{}".to_vec(),
                limit: 2,
            })
        };
        guard(&storage, store("one")).await.unwrap();
        guard(&storage, store("one")).await.unwrap();
        guard(&storage, store("two")).await.unwrap();
        assert_eq!(refusal(guard(&storage, store("three")).await), Refusal::Full);
        let mut reader = storage.read().await.unwrap();
        assert!(filters::filter(reader.conn(), nid, "two").await.unwrap().is_some());
        assert!(filters::filter(reader.conn(), nid, "three").await.unwrap().is_none());
        assert!(filters::filter(reader.conn(), nid + 1, "two").await.unwrap().is_none());
    }
}

both_engines! {
    async fn what_no_column_can_hold_is_not_found(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let mut reader = storage.read().await.unwrap();
        assert_eq!(devices::device(reader.conn(), nid, "a\0b").await.unwrap(), None);
        assert_eq!(filters::filter(reader.conn(), nid, "a\0b").await.unwrap(), None);
        let data = account_data::account_data(reader.conn(), nid, 0, "a\0b").await.unwrap();
        assert_eq!(data, None);
        let found = events::events_by_id(reader.conn(), &["$a\0b".to_owned()]).await.unwrap();
        assert!(found.is_empty());
    }
}
