//! Accounts of people who have not registered.

use hearth_storage::both_engines;
use hearth_storage::testing::count;

use super::*;

fn upgrade(username: &str, token: &str) -> Registration {
    Registration {
        guest_access_token: Some(token.to_owned()),
        ..registration(username)
    }
}

/// Makes a guest; returns their user name and token.
async fn guest(accounts: &Accounts) -> (String, String) {
    let made = accounts.register_guest(None).await.unwrap();
    let token = made.session.unwrap().access_token;
    (made.user_id.localpart().to_owned(), token)
}

both_engines! {
    async fn a_guest_has_a_session_and_no_password(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let made = accounts.register_guest(Some("Web".to_owned())).await.unwrap();
        let opened = made.session.unwrap();
        let session = accounts.authenticate(&opened.access_token).await.unwrap();
        assert!(session.guest && !session.admin);
        assert_eq!((opened.expires_in_ms, &opened.refresh_token), (None, &None));
        let device = accounts.device(session.user_nid, session.place()).await.unwrap();
        assert_eq!(device.display_name.as_deref(), Some("Web"));
        for password in [PASSWORD, ""] {
            let refused = login(&accounts, made.user_id.localpart(), password, None).await;
            assert!(matches!(refused, Err(AccountError::WrongPassword)));
        }
        assert!(accounts.show_account(&made.user_id).await.unwrap().guest);
        let (person, _) = join(&accounts, "alice").await;
        assert!(!person.guest && !accounts.show_account(&person.user_id).await.unwrap().guest);
        let listed = accounts.list_accounts("", 10).await.unwrap().accounts;
        assert_eq!(listed.iter().filter(|account| account.guest).count(), 1);
        accounts.deactivate_account(&made.user_id, false).await.unwrap();
        let over = accounts.authenticate(&opened.access_token).await;
        assert!(matches!(over, Err(AccountError::UnknownToken)));
    }
}

both_engines! {
    async fn nobody_comes_as_a_guest_where_that_is_not_allowed(scratch: Scratch) {
        let (server, accounts) = with_settings(&scratch, |settings| {
            settings.guests_allowed = false;
        }).await;
        let refused = accounts.register_guest(None).await.unwrap_err();
        assert!(matches!(refused, AccountError::NoGuests), "{refused}");
        assert_eq!(count(&server.context.storage, "accounts").await, 0);
    }
}

both_engines! {
    async fn guests_need_neither_open_registration_nor_a_token(scratch: Scratch) {
        let (_server, accounts) = with_settings(&scratch, |settings| {
            settings.registration_enabled = false;
            settings.registration_needs_token = true;
        }).await;
        let (username, token) = guest(&accounts).await;
        let refused = accounts.register(upgrade(&username, &token), Some(&dummy())).await;
        assert!(matches!(refused, Err(AccountError::RegistrationClosed)), "{refused:?}");
    }
}

both_engines! {
    async fn the_account_of_a_guest_becomes_one_for_good(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (username, token) = guest(&accounts).await;
        let before = accounts.authenticate(&token).await.unwrap();
        let name = json!("Visitor");
        accounts.set_profile(&before, "displayname", Some(&name)).await.unwrap();
        let asked = accounts.register(upgrade(&username, &token), None).await.unwrap_err();
        assert_eq!(challenge(asked).flows[0].stages, [AuthType::Dummy]);
        let made = accounts.register(upgrade(&username, &token), Some(&dummy())).await.unwrap();
        assert_eq!(made.user_id, before.user_id);
        let opened = made.session.unwrap();
        for token in [&token, &opened.access_token] {
            let session = accounts.authenticate(token).await.unwrap();
            assert_eq!((session.user_nid, session.guest), (before.user_nid, false));
        }
        login(&accounts, &username, PASSWORD, None).await.unwrap();
        assert_eq!(accounts.own_profile(&before.user_id).await.unwrap()["displayname"], "Visitor");
        assert_eq!(count(&server.context.storage, "accounts").await, 1);
        let twice = accounts.register(upgrade(&username, &token), Some(&dummy())).await;
        assert!(matches!(twice, Err(AccountError::NotThatGuest)), "{twice:?}");
    }
}

both_engines! {
    async fn nobody_takes_the_account_of_another_guest(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let ((one, token), (two, _)) = (guest(&accounts).await, guest(&accounts).await);
        let (_, of_alice) = join(&accounts, "alice").await;
        for (username, token) in [
            (&*two, &*token),
            ("free", &*token),
            (&*one, "unknown"),
            ("alice", &*of_alice),
        ] {
            let refused = accounts.register(upgrade(username, token), Some(&dummy())).await;
            assert!(matches!(refused, Err(AccountError::NotThatGuest)), "{username}: {refused:?}");
        }
        let taken = accounts.register(registration(&one), Some(&dummy())).await;
        assert!(matches!(taken, Err(AccountError::UserInUse)), "{taken:?}");
        let nameless = Registration { username: None, ..upgrade("", &token) };
        let refused = accounts.register(nameless, Some(&dummy())).await;
        assert!(matches!(refused, Err(AccountError::Missing("username"))), "{refused:?}");
        let user_id = accounts.authenticate(&token).await.unwrap().user_id.clone();
        let locked = Moderation { locked: Some(true), suspended: None };
        accounts.moderate(&user_id, locked).await.unwrap();
        let refused = accounts.register(upgrade(&one, &token), Some(&dummy())).await;
        assert!(matches!(refused, Err(AccountError::Locked)), "{refused:?}");
    }
}

both_engines! {
    async fn of_many_upgrades_of_a_guest_one_is_done(scratch: Scratch) {
        let accounts = Arc::new(accounts(&TestServer::new(&scratch).await));
        let (username, token) = guest(&accounts).await;
        let mut trying = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (accounts, wanted) = (Arc::clone(&accounts), upgrade(&username, &token));
            trying.spawn(async move { accounts.register(wanted, Some(&dummy())).await });
        }
        let results = trying.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for refused in results.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, AccountError::NotThatGuest), "{refused}");
        }
    }
}
