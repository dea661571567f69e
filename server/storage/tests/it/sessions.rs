//! Refreshed sessions, tokens that admit to register or are good for one purpose, and accounts that are
//! locked or closed.

use hearth_storage::tables::accounts::{
    self, AccountClose, AccountCreate, AccountLeft, AccountModerate,
};
use hearth_storage::tables::devices::{self, DeviceSeen, DevicesRemove};
use hearth_storage::tables::purpose_tokens::{
    Purpose, PurposeTokenStore, PurposeTokenTake, purpose_token_owner,
};
use hearth_storage::tables::refresh_tokens::{
    RefreshConfirm, RefreshOpen, Refreshed, SessionRefresh,
};
use hearth_storage::tables::registration_tokens::{
    RegistrationTokenCreate, RegistrationTokenDelete, RegistrationTokenUse, registration_token,
    registration_token_list,
};
use hearth_storage::tables::tokens::{SessionOpen, TokenOwner, token_owner, token_successor};
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Guard, Outcome, Refusal, Storage, both_engines};

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

fn hash(byte: u8) -> Vec<u8> {
    vec![byte; 32]
}

/// Alice, signed in on the device A with the access token 1 and the refresh token 1 of the family 9.
async fn alice(storage: &Storage) -> i64 {
    let nid = storage
        .user_intern("@alice:one.test", "one.test")
        .await
        .unwrap();
    let account = AccountCreate {
        user_nid: nid,
        password_hash: Some("hash".to_owned()),
        admin: false,
        guest: false,
        created_at_ms: 1,
    };
    guard(storage, Guard::AccountCreate(account)).await.unwrap();
    let session = SessionOpen {
        user_nid: nid,
        password_hash: None,
        device_id: "A".to_owned(),
        display_name: None,
        token_hash: hash(1),
        created_at_ms: 1,
        expires_at_ms: Some(100),
        refresh: Some(RefreshOpen {
            family_hash: hash(9),
            secret_hash: hash(1),
            expires_at_ms: Some(1_000),
        }),
    };
    guard(storage, Guard::SessionOpen(session)).await.unwrap();
    nid
}

/// Refreshes with one secret; the next access token and secret have the given number.
async fn refresh(storage: &Storage, secret: u8, next: u8) -> Result<Outcome, CommitError> {
    let refresh = SessionRefresh {
        family_hash: hash(9),
        secret_hash: hash(secret),
        next_hash: hash(next),
        next_expires_at_ms: Some(2_000),
        token_hash: hash(next),
        expires_at_ms: Some(200),
        now_ms: 50,
    };
    guard(storage, Guard::SessionRefresh(refresh)).await
}

fn renewed(revoked: &[u8]) -> Outcome {
    let revoked = revoked.iter().map(|byte| hash(*byte)).collect();
    Outcome::Refreshed(Refreshed::Renewed(revoked))
}

async fn confirm(storage: &Storage, token: u8) -> Result<Outcome, CommitError> {
    let token_hash = hash(token);
    guard(
        storage,
        Guard::RefreshConfirm(RefreshConfirm { token_hash }),
    )
    .await
}

async fn owner(storage: &Storage, token: u8) -> Option<TokenOwner> {
    let mut reader = storage.read().await.unwrap();
    token_owner(reader.conn(), &hash(token)).await.unwrap()
}

async fn is_over(storage: &Storage, token: u8) -> bool {
    let owner = owner(storage, token).await.unwrap();
    (owner.expires_at_ms, owner.fresh) == (Some(0), false)
}

both_engines! {
    async fn old_tokens_are_good_until_new_ones_are_used(scratch: Scratch) {
        let storage = scratch.open().await;
        alice(&storage).await;
        assert_eq!(refresh(&storage, 1, 2).await.unwrap(), renewed(&[]));
        assert!(!owner(&storage, 1).await.unwrap().fresh);
        assert!(owner(&storage, 2).await.unwrap().fresh);
        // The answer was lost: what it gave is taken back.
        assert_eq!(refresh(&storage, 1, 3).await.unwrap(), renewed(&[2]));
        assert!(owner(&storage, 1).await.is_some() && is_over(&storage, 2).await);
        assert_eq!(refusal(confirm(&storage, 2).await), Refusal::Absent);
        assert_eq!(confirm(&storage, 3).await.unwrap(), Outcome::Tokens(vec![hash(1)]));
        assert_eq!(confirm(&storage, 3).await.unwrap(), Outcome::Tokens(vec![]));
        assert!(is_over(&storage, 1).await && !owner(&storage, 3).await.unwrap().fresh);
        // Now the refresh token counts as used.
        assert_eq!(refresh(&storage, 3, 4).await.unwrap(), renewed(&[]));
        // The new refresh token is used before the new access token.
        assert_eq!(refresh(&storage, 4, 5).await.unwrap(), renewed(&[3]));
        assert!(owner(&storage, 4).await.is_some() && owner(&storage, 5).await.unwrap().fresh);
        assert_eq!(count(&storage, "refresh_tokens").await, 1, "however often it is refreshed");
        assert_eq!(count(&storage, "access_tokens").await, 5, "two that are good, three that are over");
    }
}

both_engines! {
    async fn a_token_that_gave_way_is_known_while_its_session_goes_on(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        refresh(&storage, 1, 2).await.unwrap();
        confirm(&storage, 2).await.unwrap();
        let successor = async |token: u8, now_ms| {
            let mut reader = storage.read().await.unwrap();
            token_successor(reader.conn(), &hash(token), now_ms).await.unwrap()
        };
        assert!(is_over(&storage, 1).await);
        let found = successor(1, 199).await.unwrap();
        assert_eq!((found.user_nid, found.device_id.as_str()), (nid, "A"));
        assert_eq!(successor(1, 200).await, None, "both are too old");
        assert_eq!(successor(7, 199).await, None, "nobody was ever given it");
        for next in 3..50 {
            let refresh = SessionRefresh {
                family_hash: hash(9), secret_hash: hash(next - 1), next_hash: hash(next),
                next_expires_at_ms: None, token_hash: hash(next), expires_at_ms: None,
                now_ms: 60 + i64::from(next),
            };
            guard(&storage, Guard::SessionRefresh(refresh)).await.unwrap();
        }
        assert_eq!(count(&storage, "access_tokens").await, 24 + 2);
        assert_eq!(owner(&storage, 1).await, None, "it is long over");
        assert!(is_over(&storage, 47).await && successor(47, 199).await.is_some());
        let gone = DevicesRemove { user_nid: nid, device_ids: vec!["A".to_owned()] };
        guard(&storage, Guard::DevicesRemove(gone)).await.unwrap();
        assert!(owner(&storage, 47).await.is_none() && successor(47, 199).await.is_none());
    }
}

both_engines! {
    async fn a_token_that_was_used_up_ends_its_session(scratch: Scratch) {
        let storage = scratch.open().await;
        alice(&storage).await;
        refresh(&storage, 1, 2).await.unwrap();
        confirm(&storage, 2).await.unwrap();
        let over = Outcome::Refreshed(Refreshed::Replayed(vec![hash(2)]));
        assert_eq!(refresh(&storage, 1, 3).await.unwrap(), over);
        assert_eq!(owner(&storage, 2).await.unwrap().expires_at_ms, Some(0), "its client may log in again");
        assert_eq!(refresh(&storage, 2, 4).await.unwrap(), Outcome::Refreshed(Refreshed::Over));
        assert_eq!(count(&storage, "devices").await, 1);
        assert_eq!(count(&storage, "access_tokens").await, 2);
    }
}

both_engines! {
    async fn a_refresh_token_ends_with_time_lock_device_and_account(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let late = SessionRefresh {
            family_hash: hash(9), secret_hash: hash(1), next_hash: hash(2), next_expires_at_ms: None,
            token_hash: hash(2), expires_at_ms: None, now_ms: 1_000,
        };
        let over = guard(&storage, Guard::SessionRefresh(late)).await.unwrap();
        assert_eq!(over, Outcome::Refreshed(Refreshed::Over));

        let lock = |locked| Guard::AccountModerate(AccountModerate {
            user_nid: nid, locked: Some(locked), suspended: None,
        });
        assert_eq!(guard(&storage, lock(true)).await.unwrap(), Outcome::Tokens(vec![hash(1)]));
        assert!(owner(&storage, 1).await.unwrap().locked);
        assert_eq!(refusal(refresh(&storage, 1, 2).await), Refusal::Absent);
        guard(&storage, lock(false)).await.unwrap();
        refresh(&storage, 1, 2).await.unwrap();

        let gone = DevicesRemove { user_nid: nid, device_ids: vec!["A".to_owned()] };
        let revoked = guard(&storage, Guard::DevicesRemove(gone)).await.unwrap();
        assert!(matches!(revoked, Outcome::Tokens(tokens) if tokens.len() == 2));
        assert_eq!(refusal(refresh(&storage, 2, 3).await), Refusal::Absent);
        assert_eq!(count(&storage, "refresh_tokens").await, 0);
    }
}

both_engines! {
    async fn the_last_use_of_a_token_is_taken_once(scratch: Scratch) {
        let storage = scratch.open().await;
        let made = |token: &str, byte| Guard::RegistrationTokenCreate(RegistrationTokenCreate {
            token_hash: hash(byte), token: token.to_owned(), uses_allowed: Some(2),
            expires_at_ms: Some(100), created_at_ms: 1,
        });
        guard(&storage, made("b", 2)).await.unwrap();
        guard(&storage, made("a", 1)).await.unwrap();
        assert_eq!(refusal(guard(&storage, made("a", 1)).await), Refusal::Taken);
        let used = |now_ms| Guard::RegistrationTokenUse(RegistrationTokenUse { token_hash: hash(1), now_ms });
        assert_eq!(refusal(guard(&storage, used(100)).await), Refusal::Full, "it has expired");
        guard(&storage, used(99)).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let stored = registration_token(reader.conn(), &hash(1)).await.unwrap().unwrap();
        assert_eq!((stored.completed, stored.uses_allowed), (1, Some(2)));
        let listed = registration_token_list(reader.conn(), "", 10).await.unwrap();
        let names: Vec<_> = listed.iter().map(|token| token.token.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(registration_token_list(reader.conn(), "a", 10).await.unwrap().len(), 1);
        drop(reader);
        let both = tokio::join!(guard(&storage, used(99)), guard(&storage, used(99)));
        assert_eq!(usize::from(both.0.is_ok()) + usize::from(both.1.is_ok()), 1);
        let gone = || Guard::RegistrationTokenDelete(RegistrationTokenDelete { token_hash: hash(1) });
        guard(&storage, gone()).await.unwrap();
        assert_eq!(refusal(guard(&storage, gone()).await), Refusal::Absent);
    }
}

both_engines! {
    async fn a_token_is_good_for_its_purpose_and_time(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let kept = |device_id: &str, purpose, byte| Guard::PurposeTokenStore(PurposeTokenStore {
            token_hash: hash(byte), purpose, user_nid: nid, device_id: device_id.to_owned(),
            expires_at_ms: 100,
        });
        assert_eq!(refusal(guard(&storage, kept("B", Purpose::Login, 1)).await), Refusal::Absent);
        guard(&storage, kept("A", Purpose::Login, 1)).await.unwrap();
        guard(&storage, kept("A", Purpose::OpenId, 2)).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        for (byte, purpose, now_ms, known) in [
            (1, Purpose::Login, 99, true),
            (1, Purpose::Login, 100, false),
            (1, Purpose::OpenId, 99, false),
            (2, Purpose::OpenId, 99, true),
        ] {
            let owner = purpose_token_owner(reader.conn(), &hash(byte), purpose, now_ms).await.unwrap();
            assert_eq!(owner.is_some(), known, "{byte} {purpose:?} {now_ms}");
        }
        drop(reader);
        let take = |now_ms| Guard::PurposeTokenTake(PurposeTokenTake {
            token_hash: hash(1), purpose: Purpose::Login, now_ms,
        });
        assert_eq!(refusal(guard(&storage, take(100)).await), Refusal::Absent);
        guard(&storage, take(99)).await.unwrap();
        assert_eq!(refusal(guard(&storage, take(99)).await), Refusal::Absent, "it is good once");
        let gone = DevicesRemove { user_nid: nid, device_ids: vec!["A".to_owned()] };
        guard(&storage, Guard::DevicesRemove(gone)).await.unwrap();
        assert_eq!(count(&storage, "purpose_tokens").await, 0);
    }
}

both_engines! {
    async fn a_closed_account_keeps_nothing_and_cannot_be_moderated(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let close = || Guard::AccountClose(AccountClose { user_nid: nid, erase: true });
        guard(&storage, close()).await.unwrap();
        let nobody = AccountClose { user_nid: nid + 1, erase: true };
        let nobody = guard(&storage, Guard::AccountClose(nobody)).await;
        assert_eq!(refusal(nobody), Refusal::Absent);
        guard(&storage, close()).await.unwrap();
        let lock = AccountModerate { user_nid: nid, locked: Some(true), suspended: None };
        assert_eq!(refusal(guard(&storage, Guard::AccountModerate(lock)).await), Refusal::Absent);
        let mut reader = storage.read().await.unwrap();
        let stored = accounts::account_by_id(reader.conn(), "@alice:one.test").await.unwrap().unwrap();
        assert!(stored.deactivated && stored.password_hash.is_none());
        assert_eq!(accounts::accounts_erased(reader.conn()).await.unwrap(), ["@alice:one.test"]);
        let leaving = accounts::accounts_leaving(reader.conn()).await.unwrap();
        assert_eq!(leaving, [(nid, "@alice:one.test".to_owned())]);
        drop(reader);
        guard(&storage, Guard::AccountLeft(AccountLeft { user_nid: nid })).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        assert!(accounts::accounts_leaving(reader.conn()).await.unwrap().is_empty());
    }
}

both_engines! {
    async fn devices_remember_when_they_were_seen(scratch: Scratch) {
        let storage = scratch.open().await;
        let nid = alice(&storage).await;
        let seen = |device_id: &str, at_ms| DeviceSeen {
            user_nid: nid, device_id: device_id.to_owned(), at_ms, address: "192.0.2.1".to_owned(),
        };
        let mut commit = Commit::default();
        commit.rows.devices_seen = vec![seen("A", 5), seen("B", 5), seen("A", 7)];
        storage.writer().commit(commit).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let device = devices::device(reader.conn(), nid, "A").await.unwrap().unwrap();
        assert_eq!((device.last_seen_ms, device.last_seen_address.as_deref()), (Some(7), Some("192.0.2.1")));
        assert_eq!(count(&storage, "devices").await, 1, "a device that is gone stays gone");
    }
}
