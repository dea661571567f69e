//! Sessions and devices.

use hearth_storage::both_engines;
use hearth_storage::tables::outbox;
use hearth_storage::testing::{count, execute};

use super::*;

async fn is_known(accounts: &Accounts, token: &str) -> bool {
    match accounts.authenticate(token).await {
        Ok(_) => true,
        Err(AccountError::UnknownToken) => false,
        Err(other) => panic!("{other}"),
    }
}

both_engines! {
    async fn a_device_that_logs_in_again_keeps_its_name_and_loses_its_token(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let mut wanted = registration("alice");
        wanted.device =
            NewDevice {
                device_id: Some("A".to_owned()),
                display_name: Some("Phone".to_owned()),
                refreshes: false,
            };
        let made = accounts.register(wanted, Some(&dummy())).await.unwrap();
        let first = made.session.unwrap().access_token;
        assert!(is_known(&accounts, &first).await);
        let second = login(&accounts, "alice", PASSWORD, Some("A")).await.unwrap().access_token;
        assert!(!is_known(&accounts, &first).await, "also where it was cached");
        let session = accounts.authenticate(&second).await.unwrap();
        let devices = accounts.devices(session.user_nid).await.unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].display_name.as_deref(), Some("Phone"));
    }
}

both_engines! {
    async fn logging_out_ends_one_session_and_logging_all_out_ends_every_one(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (session, first) = join(&accounts, "alice").await;
        let second = login(&accounts, "alice", PASSWORD, None).await.unwrap().access_token;
        let third = login(&accounts, "alice", PASSWORD, None).await.unwrap().access_token;
        let (_, other) = join(&accounts, "bob").await;
        for token in [&first, &second, &third, &other] {
            assert!(is_known(&accounts, token).await);
        }
        let before = server.context.storage.writer().head().position();
        accounts.logout(&session).await.unwrap();
        assert!(!is_known(&accounts, &first).await);
        assert!(is_known(&accounts, &second).await);
        assert!(server.context.storage.writer().head().position() > before, "others learn of it");

        let session = accounts.authenticate(&second).await.unwrap();
        accounts.logout_all(&session).await.unwrap();
        for token in [&first, &second, &third] {
            assert!(!is_known(&accounts, token).await);
        }
        assert!(is_known(&accounts, &other).await);
        assert_eq!(count(&server.context.storage, "devices").await, 1);
        assert_eq!(count(&server.context.storage, "device_list_changes").await, 1);
    }
}

both_engines! {
    async fn devices_are_deleted_once_the_password_confirms_it(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (session, _) = join(&accounts, "alice").await;
        join(&accounts, "bob").await;
        let gone = login(&accounts, "alice", PASSWORD, Some("A")).await.unwrap();
        let kept = login(&accounts, "alice", PASSWORD, Some("B")).await.unwrap();
        let (a, b) = ([gone.device_id], [kept.device_id]);

        let asked =
            challenge(accounts.delete_devices(&session, &a, None).await.unwrap_err());
        assert_eq!(asked.flows[0].stages, [AuthType::Password]);
        let with_session = |user: &str, password: &str, session: &Option<String>| {
            auth(json!({
                "type": "m.login.password", "session": session, "password": password,
                "identifier": { "type": "m.id.user", "user": user },
            }))
        };
        for wrong in [with_session("alice", "wrong", &asked.session), dummy()] {
            let refused = accounts.delete_devices(&session, &a, Some(&wrong)).await.unwrap_err();
            assert!(challenge(refused).auth_error.is_some());
        }
        let of_bob = with_session("bob", PASSWORD, &asked.session);
        let refused = accounts.delete_devices(&session, &a, Some(&of_bob)).await.unwrap_err();
        assert!(matches!(refused, AccountError::NotOwner), "{refused}");
        let right = with_session("@alice:one.test", PASSWORD, &asked.session);
        let refused = accounts.delete_devices(&session, &b, Some(&right)).await.unwrap_err();
        assert!(challenge(refused).auth_error.is_some(), "it was confirmed for another device");
        accounts.delete_devices(&session, &a, Some(&right)).await.unwrap();
        assert!(!is_known(&accounts, &gone.access_token).await);
        assert!(is_known(&accounts, &kept.access_token).await);
        assert_eq!(accounts.devices(session.user_nid).await.unwrap().len(), 2);

        let again = proof("alice", PASSWORD);
        accounts.delete_devices(&session, &a, Some(&again)).await.unwrap();
    }
}

both_engines! {
    async fn a_device_is_renamed_by_its_owner(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let (bob, _) = join(&accounts, "bob").await;
        let name = || "Laptop".to_owned();
        accounts.rename_device(&alice, alice.place(), name()).await.unwrap();
        let device = accounts.device(alice.user_nid, alice.place()).await.unwrap();
        assert_eq!(device.display_name, Some(name()));
        let refused = accounts.rename_device(&bob, alice.place(), name()).await.unwrap_err();
        assert!(matches!(refused, AccountError::NotFound(_)), "{refused}");
        let refused = accounts.rename_device(&alice, "a\0b".into(), name()).await.unwrap_err();
        assert!(matches!(refused, AccountError::NotFound(_)), "{refused}");
        let odd = "x".repeat(1_001);
        let refused = accounts.rename_device(&alice, alice.place(), odd).await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { .. }), "{refused}");
    }
}

both_engines! {
    async fn a_changed_password_ends_the_other_sessions_unless_told_not_to(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (session, own) = join(&accounts, "alice").await;
        let other = login(&accounts, "alice", PASSWORD, None).await.unwrap().access_token;
        let asked = accounts.change_password(&session, "new", true, None).await.unwrap_err();
        challenge(asked);
        assert!(is_known(&accounts, &other).await);

        let old = proof("alice", PASSWORD);
        accounts.change_password(&session, "second", false, Some(&old)).await.unwrap();
        assert!(is_known(&accounts, &other).await);
        let refused = login(&accounts, "alice", PASSWORD, None).await.unwrap_err();
        assert!(matches!(refused, AccountError::WrongPassword));

        let second = proof("alice", "second");
        accounts.change_password(&session, "third", true, Some(&second)).await.unwrap();
        assert!(is_known(&accounts, &own).await);
        assert!(!is_known(&accounts, &other).await);

        let user_id = user_id!("@alice:one.test");
        accounts.set_password(user_id, "fourth", true).await.unwrap();
        assert!(!is_known(&accounts, &own).await);
        login(&accounts, "alice", "fourth", None).await.unwrap();
        let nobody = accounts.set_password(user_id!("@nobody:one.test"), "x", true).await;
        assert!(matches!(nobody, Err(AccountError::NotFound(_))));
    }
}

both_engines! {
    async fn no_session_outlives_a_password_change_however_they_race(scratch: Scratch) {
        let accounts = Arc::new(accounts(&TestServer::new(&scratch).await));
        join(&accounts, "alice").await;
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let accounts = Arc::clone(&accounts);
            racing.spawn(async move { login(&accounts, "alice", PASSWORD, None).await.ok() });
        }
        accounts.set_password(user_id!("@alice:one.test"), "new", true).await.unwrap();
        for opened in racing.join_all().await.into_iter().flatten() {
            assert!(!is_known(&accounts, &opened.access_token).await);
        }
    }
}

both_engines! {
    async fn other_servers_in_the_rooms_are_told_of_a_device_that_is_gone(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (alice, _) = join(&accounts, "alice").await;
        let storage = &server.context.storage;
        storage.user_intern("@bob:two.test", "two.test").await.unwrap();
        execute(
            &scratch,
            "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position)
             SELECT 1, user_nid, 'join', 1, 1 FROM users",
        )
        .await;
        accounts.logout(&alice).await.unwrap();
        let two = storage.server_intern("two.test").await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let queued = outbox::outbox_queued(reader.conn(), two, i64::MAX, 10).await.unwrap();
        assert_eq!(queued.len(), 1);
        let edu: serde_json::Value =
            serde_json::from_slice(queued[0].edu.as_deref().unwrap()).unwrap();
        let content = json!({
            "user_id": "@alice:one.test",
            "device_id": alice.device_id,
            "deleted": true,
            "prev_id": [],
            "stream_id": queued[0].position,
        });
        assert_eq!(edu, json!({ "edu_type": "m.device_list_update", "content": content }));
    }
}
