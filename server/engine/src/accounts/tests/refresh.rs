//! Sessions that are refreshed.

use hearth_storage::both_engines;
use hearth_storage::testing::{count, dump};

use super::*;

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// Registers Alice on a client that refreshes.
async fn alice(accounts: &Accounts) -> LoggedIn {
    let mut wanted = registration("alice");
    wanted.device.refreshes = true;
    let made = accounts.register(wanted, Some(&dummy())).await.unwrap();
    made.session.unwrap()
}

async fn is_good(accounts: &Accounts, token: &str) -> bool {
    match accounts.authenticate(token).await {
        Ok(_) => true,
        Err(AccountError::UnknownToken | AccountError::Expired) => false,
        Err(other) => panic!("{other}"),
    }
}

both_engines! {
    async fn only_a_client_that_asks_gets_a_token_that_expires(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let opened = alice(&accounts).await;
        assert_eq!(opened.expires_in_ms, Some(HOUR_MS));
        let other = login(&accounts, "alice", PASSWORD, None).await.unwrap();
        assert!(other.expires_in_ms.is_none() && other.refresh_token.is_none());
        assert!(is_good(&accounts, &opened.access_token).await);
        server.clock.advance(HOUR_MS);
        let over = accounts.authenticate(&opened.access_token).await;
        assert!(matches!(over, Err(AccountError::Expired)), "it keeps its keys");
        assert!(is_good(&accounts, &other.access_token).await);
        let renewed = accounts.refresh(&opened.refresh_token.unwrap()).await.unwrap();
        assert!(is_good(&accounts, &renewed.access_token).await);
        let texts = dump(&scratch).await;
        for secret in [&renewed.access_token, &renewed.refresh_token] {
            assert!(!texts.contains(secret.as_str()));
        }
    }
}

both_engines! {
    async fn a_lost_answer_costs_nothing(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let opened = alice(&accounts).await;
        let first = opened.refresh_token.unwrap();
        assert!(is_good(&accounts, &opened.access_token).await, "and now it is remembered");
        let lost = accounts.refresh(&first).await.unwrap();
        let renewed = accounts.refresh(&first).await.unwrap();
        assert!(is_good(&accounts, &opened.access_token).await, "until the new one is used");
        assert!(!is_good(&accounts, &lost.access_token).await);
        assert!(is_good(&accounts, &opened.access_token).await);
        assert!(is_good(&accounts, &renewed.access_token).await);
        assert!(!is_good(&accounts, &opened.access_token).await, "now it is not");
        assert!(is_good(&accounts, &renewed.access_token).await);
    }
}

both_engines! {
    async fn a_stolen_token_ends_the_session_and_keeps_the_device(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let opened = alice(&accounts).await;
        let stolen = opened.refresh_token.unwrap();
        let renewed = accounts.refresh(&stolen).await.unwrap();
        assert!(is_good(&accounts, &renewed.access_token).await);
        let replayed = accounts.refresh(&stolen).await;
        assert!(matches!(replayed, Err(AccountError::Expired)));
        let over = accounts.authenticate(&renewed.access_token).await;
        assert!(matches!(over, Err(AccountError::Expired)), "its client logs in again");
        assert!(matches!(accounts.refresh(&renewed.refresh_token).await, Err(AccountError::Expired)));
        assert_eq!(count(&server.context.storage, "devices").await, 1);
        let device_id = Some(opened.device_id.as_str());
        let again = login(&accounts, "alice", PASSWORD, device_id).await.unwrap();
        assert!(is_good(&accounts, &again.access_token).await);
        let unknown = accounts.refresh(&renewed.refresh_token).await;
        assert!(matches!(unknown, Err(AccountError::UnknownToken)));
    }
}

both_engines! {
    async fn who_refreshes_at_once_gets_one_session(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = Arc::new(accounts(&server));
        let first = alice(&accounts).await.refresh_token.unwrap();
        let mut trying = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (accounts, token) = (Arc::clone(&accounts), first.clone());
            trying.spawn(async move { accounts.refresh(&token).await });
        }
        let renewed: Vec<_> = trying.join_all().await.into_iter().map(Result::unwrap).collect();
        let mut good = 0;
        for renewed in &renewed {
            good += usize::from(is_good(&accounts, &renewed.access_token).await);
        }
        assert_eq!(good, 1);
        assert_eq!(count(&server.context.storage, "refresh_tokens").await, 1);
    }
}

both_engines! {
    async fn a_refresh_token_is_good_as_long_as_session_and_account_are(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let opened = alice(&accounts).await;
        let token = opened.refresh_token.unwrap();
        let user = user_id!("@alice:one.test");
        let locked = |locked| Moderation { locked: Some(locked), suspended: None };
        accounts.moderate(user, locked(true)).await.unwrap();
        assert!(matches!(accounts.refresh(&token).await, Err(AccountError::Locked)));
        accounts.moderate(user, locked(false)).await.unwrap();
        let renewed = accounts.refresh(&token).await.unwrap();
        for garbage in ["", "x", ".", "x.y", &renewed.access_token] {
            let refused = accounts.refresh(garbage).await;
            assert!(matches!(refused, Err(AccountError::UnknownToken)), "{garbage}");
        }
        let session = accounts.authenticate(&renewed.access_token).await.unwrap();
        accounts.logout(&session).await.unwrap();
        let refused = accounts.refresh(&renewed.refresh_token).await;
        assert!(matches!(refused, Err(AccountError::UnknownToken)));
        let mut wanted = Login { user: "alice".to_owned(), password: PASSWORD.to_owned(), device: NewDevice::default() };
        wanted.device.refreshes = true;
        let other = accounts.login(wanted).await.unwrap().refresh_token.unwrap();
        server.clock.advance(31 * 24 * HOUR_MS);
        assert!(matches!(accounts.refresh(&other).await, Err(AccountError::Expired)));
        accounts.deactivate_account(user, false).await.unwrap();
        assert!(matches!(accounts.refresh(&other).await, Err(AccountError::UnknownToken)));
    }
}
