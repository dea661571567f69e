//! Who waits while their session ends or their account is locked.

use std::time::Duration;

use hearth_storage::both_engines;
use hearth_types::ruma::device_id;
use serde_json::json;

use super::people::{House, next, request};
use crate::accounts::{AccountError, Moderation, NewDevice};
use crate::sync::SyncError;
use crate::sync::sliding::SlidingRequest;

/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

both_engines! {
    async fn who_is_logged_out_or_locked_waits_no_longer(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let accounts = &house.accounts;
        for locks in [false, true] {
            let opened = accounts.open_session(&alice.user_id, NewDevice::default()).await.unwrap();
            let other = accounts.authenticate(&opened.access_token).await.unwrap();
            let since = house.sync(&other, None).await;
            let mut asked = request(&other, Some(next(&since)));
            asked.timeout = PATIENCE;
            let body = || serde_json::from_value(json!({})).unwrap();
            let mut slides = SlidingRequest {
                session: other.clone(), pos: None, timeout: PATIENCE, body: body(),
            };
            let began = house.sync.slide(&slides, std::future::pending()).await.unwrap();
            let began: serde_json::Value = serde_json::from_slice(&began).unwrap();
            slides.pos = began["pos"].as_str().map(str::to_owned);
            let ends = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match locks {
                    true => {
                        let lock = Moderation { locked: Some(true), suspended: None };
                        accounts.moderate(&alice.user_id, lock).await.unwrap();
                    }
                    false => accounts.logout(&other).await.unwrap(),
                }
            };
            let waits = async {
                tokio::join!(house.ask(&asked), house.sync.slide(&slides, std::future::pending()))
            };
            let both = Box::pin(async { tokio::join!(waits, ends) });
            let waited = tokio::time::timeout(PATIENCE, both).await;
            let ((plain, sliding), ()) = waited.expect("both end at once");
            for ended in [plain.map(drop), sliding.map(drop)] {
                match (locks, ended) {
                    (true, Err(SyncError::Account(AccountError::Locked)))
                    | (false, Err(SyncError::Account(AccountError::UnknownToken))) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

both_engines! {
    async fn who_goes_on_does_not_notice_that_another_device_is_logged_out(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let device = NewDevice { device_id: Some("OTHER".to_owned()), ..NewDevice::default() };
        house.accounts.open_session(&alice.user_id, device).await.unwrap();
        let since = house.sync(&alice, None).await;
        let mut asked = request(&alice, Some(next(&since)));
        asked.timeout = PATIENCE;
        let (waited, ()) = tokio::join!(house.ask(&asked), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.accounts.log_device_out(&alice.user_id, device_id!("OTHER")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.accounts.set_account_data(alice.user_nid, None, "org.x", b"{}").await.unwrap();
        });
        // It is their own list of devices, or what came after: an answer, in any case.
        waited.unwrap();
    }
}
