//! Registering, logging in, and proving who one is.

use hearth_storage::both_engines;
use hearth_storage::testing::{count, execute};

use super::*;

both_engines! {
    async fn a_registration_is_a_session(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let mut wanted = registration("Alice");
        wanted.device.device_id = Some("PHONE".to_owned());
        let made = accounts.register(wanted, Some(&dummy())).await.unwrap();
        assert_eq!(made.user_id, user_id!("@alice:one.test"), "lower-cased");
        let LoggedIn { device_id, access_token: token, .. } = made.session.unwrap();
        assert_eq!(device_id, "PHONE");
        let session = accounts.authenticate(&token).await.unwrap();
        assert_eq!((&*session.user_id, session.device().unwrap()), (&*made.user_id, &*device_id));
        assert!(!session.admin);
        let shown = accounts.own_profile(&made.user_id).await.unwrap();
        assert_eq!(shown["displayname"], "alice");
    }
}

both_engines! {
    async fn a_registration_without_login_has_no_device(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let wanted = Registration { inhibit_login: true, ..registration("alice") };
        let made = accounts.register(wanted, Some(&dummy())).await.unwrap();
        assert!(made.session.is_none());
        assert_eq!(count(&server.context.storage, "devices").await, 0);
        login(&accounts, "alice", PASSWORD, None).await.unwrap();
    }
}

both_engines! {
    async fn a_name_is_registered_once_however_many_try(scratch: Scratch) {
        let accounts = Arc::new(accounts(&TestServer::new(&scratch).await));
        let mut trying = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let accounts = Arc::clone(&accounts);
            trying.spawn(async move {
                accounts.register(registration("alice"), Some(&dummy())).await
            });
        }
        let results = trying.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for refused in results.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, AccountError::UserInUse), "{refused}");
        }
        assert!(matches!(accounts.available("ALICE").await, Err(AccountError::UserInUse)));
        assert!(accounts.available("bob").await.is_ok());
    }
}

both_engines! {
    async fn the_rules_of_a_registration(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let long = "a".repeat(255 - "@:one.test".len());
        for name in ["", "a b", "ä", "a:b", "@a", "a\0", &format!("{long}a")] {
            let refused = accounts.register(registration(name), Some(&dummy())).await.unwrap_err();
            assert!(matches!(refused, AccountError::InvalidUsername(_)), "{name:?}: {refused}");
        }
        for name in ["42", "a.b_c=d-e/f+g", &long] {
            accounts.register(registration(name), Some(&dummy())).await.unwrap();
        }
        let nameless = Registration { username: None, ..registration("") };
        let one = accounts.register(nameless.clone(), Some(&dummy())).await.unwrap();
        let two = accounts.register(nameless, Some(&dummy())).await.unwrap();
        assert_ne!(one.user_id, two.user_id);

        let without = Registration { password: None, ..registration("x") };
        let refused = accounts.register(without, Some(&dummy())).await.unwrap_err();
        assert!(matches!(refused, AccountError::Missing("password")), "{refused}");
        for password in ["", &"p".repeat(1_025)] {
            let weak = Registration { password: Some(password.to_owned()), ..registration("x") };
            let refused = accounts.register(weak, Some(&dummy())).await.unwrap_err();
            assert!(matches!(refused, AccountError::WeakPassword(_)), "{refused}");
        }
        for device_id in ["", "*", "a\nb", &"d".repeat(256)] {
            let mut odd = registration("x");
            odd.device.device_id = Some(device_id.to_owned());
            let refused = accounts.register(odd, Some(&dummy())).await.unwrap_err();
            assert!(matches!(refused, AccountError::Invalid { field: "device_id", .. }));
        }
        assert!(accounts.available("x").await.is_ok(), "nothing was made");
    }
}

both_engines! {
    async fn closed_registration_admits_nobody_but_the_owner(scratch: Scratch) {
        let mut settings = crate::testing::settings();
        settings.registration_enabled = false;
        let peers = Arc::new(crate::peers::Isolated);
        let accounts = accounts(&TestServer::with(&scratch, peers, settings).await);
        let refused = accounts.register(registration("alice"), Some(&dummy())).await.unwrap_err();
        assert!(matches!(refused, AccountError::RegistrationClosed));
        let new = NewAccount {
            localpart: "root".to_owned(),
            password: PASSWORD.to_owned(),
            display_name: Some("The Root".to_owned()),
            admin: true,
        };
        let made = accounts.create_account(new.clone()).await.unwrap();
        assert_eq!((&*made.user_id, made.admin), ("@root:one.test", true));
        assert!(matches!(accounts.create_account(new).await, Err(AccountError::UserInUse)));
        let opened = login(&accounts, "root", PASSWORD, None).await.unwrap();
        assert!(accounts.authenticate(&opened.access_token).await.unwrap().admin);
        assert_eq!(accounts.own_profile(user_id!("@root:one.test")).await.unwrap()["displayname"], "The Root");
    }
}

both_engines! {
    async fn a_stage_is_asked_for_after_the_name_was_checked(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        join(&accounts, "alice").await;
        let refused = accounts.register(registration("alice"), None).await.unwrap_err();
        assert!(matches!(refused, AccountError::UserInUse));

        let asked = challenge(accounts.register(registration("bob"), None).await.unwrap_err());
        assert_eq!(asked.flows[0].stages, [AuthType::Dummy]);
        assert!(asked.auth_error.is_none());
        let session = asked.session.unwrap();
        let answer = auth(json!({ "type": "m.login.dummy", "session": session }));
        accounts.register(registration("bob"), Some(&answer)).await.unwrap();
        let again = accounts.register(registration("carol"), Some(&answer)).await.unwrap_err();
        assert_ne!(challenge(again).session.unwrap(), session, "a proof is good once");
    }
}

both_engines! {
    async fn a_challenge_expires(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let asked = challenge(accounts.register(registration("bob"), None).await.unwrap_err());
        let answer = auth(json!({ "type": "m.login.dummy", "session": asked.session }));
        server.clock.advance(15 * 60 * 1_000);
        let late = challenge(
            accounts.register(registration("bob"), Some(&answer)).await.unwrap_err(),
        );
        assert!(late.auth_error.is_some());
        let answer = auth(json!({ "type": "m.login.dummy", "session": late.session }));
        accounts.register(registration("bob"), Some(&answer)).await.unwrap();
    }
}

both_engines! {
    async fn who_logs_in_names_themselves_by_name_or_id(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (session, _) = join(&accounts, "alice").await;
        for user in ["alice", "Alice", "@alice:one.test"] {
            let opened = login(&accounts, user, PASSWORD, None).await.unwrap();
            assert_eq!(opened.user_id, session.user_id);
        }
        for (user, password) in [
            ("alice", "wrong"),
            ("bob", PASSWORD),
            ("@alice:two.test", PASSWORD),
            ("@alice", PASSWORD),
            ("", PASSWORD),
            ("alice", ""),
        ] {
            let refused = login(&accounts, user, password, None).await.unwrap_err();
            assert!(matches!(refused, AccountError::WrongPassword), "{user} {password}: {refused}");
        }
    }
}

both_engines! {
    async fn whoever_asks_costs_one_hash_and_a_registration_too(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let runs = || accounts.passwords.runs.load(std::sync::atomic::Ordering::Relaxed);
        let asked = challenge(accounts.register(registration("alice"), None).await.unwrap_err());
        assert_eq!(runs(), 0, "nothing is hashed before the stages are done");
        let answer = auth(json!({ "type": "m.login.dummy", "session": asked.session }));
        accounts.register(registration("alice"), Some(&answer)).await.unwrap();
        assert_eq!(runs(), 1);
        for (user, password) in [
            ("alice", PASSWORD),
            ("alice", "wrong"),
            ("nobody", PASSWORD),
            ("@alice:two.test", PASSWORD),
            ("not a name", PASSWORD),
        ] {
            let before = runs();
            drop(login(&accounts, user, password, None).await);
            assert_eq!(runs() - before, 1, "{user}: as dear as any other");
        }
        execute(&scratch, "UPDATE accounts SET password_hash = NULL").await;
        let before = runs();
        login(&accounts, "alice", PASSWORD, None).await.unwrap_err();
        assert_eq!(runs() - before, 1, "an account without a password too");
    }
}

both_engines! {
    async fn a_deactivated_account_is_refused_and_so_are_its_tokens(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let known = accounts(&server);
        let (_, token) = join(&known, "alice").await;
        execute(&scratch, "UPDATE accounts SET deactivated = TRUE").await;
        let refused = login(&known, "alice", PASSWORD, None).await.unwrap_err();
        assert!(matches!(refused, AccountError::Deactivated), "{refused}");
        let refused = login(&known, "alice", "wrong", None).await.unwrap_err();
        assert!(matches!(refused, AccountError::WrongPassword), "only the owner learns it");
        let fresh = accounts(&server);
        assert!(matches!(fresh.authenticate(&token).await, Err(AccountError::UnknownToken)));
    }
}

both_engines! {
    async fn accounts_are_listed_with_their_names(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        for name in ["carol", "alice", "bob"] {
            join(&accounts, name).await;
        }
        let first = accounts.list_accounts("", 2).await.unwrap();
        let names: Vec<_> = first.accounts.iter().map(|a| a.display_name.as_deref()).collect();
        assert_eq!(names, [Some("alice"), Some("bob")]);
        let rest = accounts.list_accounts(&first.next.unwrap(), 2).await.unwrap();
        assert_eq!(rest.accounts.len(), 1);
        assert_eq!(rest.next, None);
    }
}

both_engines! {
    async fn neither_tokens_nor_passwords_are_in_the_database(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (_, token) = join(&accounts, "alice").await;
        let opened = login(&accounts, "alice", PASSWORD, None).await.unwrap();
        let texts = hearth_storage::testing::dump(&scratch).await;
        assert!(texts.contains("@alice:one.test"), "the dump holds what is stored");
        for secret in [PASSWORD, &token, &opened.access_token] {
            assert!(!texts.contains(secret));
        }
        assert!(texts.contains("$argon2id$v=19$m=64,t=1,p=1$"));
    }
}
