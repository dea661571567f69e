//! Accounts that are locked, suspended, or closed for good.

use std::net::IpAddr;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_storage::testing::{count, execute};

use super::*;
use crate::departures::{Departures, Undone};
use crate::rooms::Rooms;
use crate::rooms::create::Preset;
use crate::rooms::membership::SetMembership;

both_engines! {
    async fn a_change_of_standing_is_seen_at_once(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (session, token) = join(&accounts, "alice").await;
        assert_eq!(session.standing, Standing::Good);
        for (locked, suspended, standing) in [
            (Some(true), None, Standing::Locked),
            (None, Some(true), Standing::Locked),
            (Some(false), None, Standing::Suspended),
            (None, Some(false), Standing::Good),
        ] {
            let moderation = Moderation { locked, suspended };
            accounts.moderate(&session.user_id, moderation).await.unwrap();
            assert_eq!(accounts.authenticate(&token).await.unwrap().standing, standing);
        }
    }
}

both_engines! {
    async fn who_is_locked_does_not_log_in_and_who_is_suspended_does(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (session, _) = join(&accounts, "alice").await;
        let login_token = accounts.login_token(&session, Some(&proof("alice", PASSWORD))).await.unwrap();
        let openid = accounts.openid_token(&session).await.unwrap();
        let locked = |locked| Moderation { locked: Some(locked), suspended: Some(true) };
        accounts.moderate(&session.user_id, locked(true)).await.unwrap();
        let refused = login(&accounts, "alice", PASSWORD, None).await;
        assert!(matches!(refused, Err(AccountError::Locked)));
        let refused = login(&accounts, "alice", "wrong", None).await;
        assert!(matches!(refused, Err(AccountError::WrongPassword)), "only the owner learns it");
        let refused = accounts.login_by_token(&login_token.token, NewDevice::default()).await;
        assert!(matches!(refused, Err(AccountError::Locked)));
        assert!(matches!(accounts.openid_owner(&openid.token).await, Err(AccountError::UnknownToken)));
        accounts.moderate(&session.user_id, locked(false)).await.unwrap();
        let opened = login(&accounts, "alice", PASSWORD, None).await.unwrap();
        let other = accounts.authenticate(&opened.access_token).await.unwrap();
        assert_eq!(other.standing, Standing::Suspended, "also with a session made since");
    }
}

both_engines! {
    async fn only_administrators_moderate_and_not_each_other(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let mut admins = Vec::new();
        for name in ["root", "toor"] {
            let new = NewAccount {
                localpart: name.to_owned(), password: PASSWORD.to_owned(), display_name: None, admin: true,
            };
            accounts.create_account(new).await.unwrap();
            let opened = login(&accounts, name, PASSWORD, None).await.unwrap();
            admins.push(accounts.authenticate(&opened.access_token).await.unwrap());
        }
        let lock = Moderation { locked: Some(true), suspended: None };
        let nobody = user_id!("@nobody:one.test");
        for target in [&*admins[0].user_id, nobody, user_id!("@x:two.test")] {
            let refused = accounts.moderate_by(&alice, target, lock).await;
            assert!(matches!(refused, Err(AccountError::NotAdmin)), "{target}: before any look");
        }
        let root = &admins[0];
        for admin in &admins {
            let refused = accounts.moderate_by(root, &admin.user_id, lock).await;
            assert!(matches!(refused, Err(AccountError::AmongAdmins)));
        }
        let refused = accounts.moderate_by(root, user_id!("@x:two.test"), lock).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: "userId", .. })));
        assert!(matches!(accounts.moderate_by(root, nobody, lock).await, Err(AccountError::NotFound(_))));
        accounts.moderate_by(root, &alice.user_id, lock).await.unwrap();
        assert!(accounts.moderated(root, &alice.user_id).await.unwrap().locked);
        accounts.deactivate_account(&alice.user_id, false).await.unwrap();
        assert!(matches!(accounts.moderated(root, &alice.user_id).await, Err(AccountError::NotFound(_))));
    }
}

both_engines! {
    async fn a_closed_account_leaves_nothing_behind(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (session, token) = join(&accounts, "alice").await;
        let other = login(&accounts, "alice", PASSWORD, None).await.unwrap();
        accounts.put_filter(session.user_nid, b"{}").await.unwrap();
        accounts.set_account_data(session.user_nid, None, "org.x", b"{}").await.unwrap();
        execute(
            &scratch,
            "INSERT INTO key_backups
             (user_nid, version, algorithm, auth_data, etag, key_count, size_bytes, deleted)
             SELECT user_nid, 1, 'm.test', '{}', 1, 0, 0, FALSE FROM accounts",
        )
        .await;
        for statement in [
            "INSERT INTO cross_signing_keys (user_nid, usage, content) SELECT user_nid, 'master', '{}' FROM accounts",
            "INSERT INTO key_signatures (target_nid, target_key, signer_nid, signer_key, signature, position)
             SELECT user_nid, 'A', user_nid, 'B', 'C', 1 FROM accounts",
            "INSERT INTO rooms (room_nid, room_id, version, revision) VALUES (7, '!r:one.test', '12', 0)",
            "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position)
             SELECT 7, user_nid, 'leave', 1, 1 FROM accounts",
            "INSERT INTO receipts
             (room_nid, user_nid, kind, thread, live_position, depth, event_nid, at_ms, position, outbound)
             SELECT 7, user_nid, 1, '', 1, 1, 1, 1, 1, FALSE FROM accounts",
            "INSERT INTO push_classes (user_nid, room_nid, position, class) SELECT user_nid, 7, 1, 1 FROM accounts",
        ] {
            execute(&scratch, statement).await;
        }
        challenge(accounts.deactivate(&session, true, None).await.unwrap_err());
        let wrong = accounts.deactivate(&session, true, Some(&proof("alice", "wrong"))).await;
        challenge(wrong.unwrap_err());
        accounts.deactivate(&session, true, Some(&proof("alice", PASSWORD))).await.unwrap();
        for token in [&token, &other.access_token] {
            assert!(matches!(accounts.authenticate(token).await, Err(AccountError::UnknownToken)));
        }
        assert!(matches!(login(&accounts, "alice", PASSWORD, None).await, Err(AccountError::WrongPassword)));
        assert!(accounts.own_profile(&session.user_id).await.unwrap().is_empty());
        let taken = accounts.available("alice").await;
        assert!(matches!(taken, Err(AccountError::UserInUse)), "nobody takes the name over");
        for table in ["devices", "access_tokens", "refresh_tokens", "filters", "account_data",
            "cross_signing_keys", "key_signatures", "receipts", "push_classes"] {
            assert_eq!(count(&server.context.storage, table).await, 0, "{table}");
        }
        let kept = count(&server.context.storage, "key_backups WHERE NOT deleted").await;
        assert_eq!(kept, 0, "its keys go in steps");
        // Requests that were under way.
        accounts.set_account_data(session.user_nid, None, "org.x", b"{}").await.unwrap();
        accounts.set_profile(&session, "displayname", Some(&"Alice".into())).await.unwrap();
        assert_eq!(count(&server.context.storage, "account_data").await, 0);
        assert!(accounts.own_profile(&session.user_id).await.unwrap().is_empty());
        accounts.deactivate_account(&session.user_id, false).await.unwrap();
        let erased = count(&server.context.storage, "accounts WHERE erased").await;
        assert_eq!(erased, 1, "it stays so");
    }
}

both_engines! {
    async fn a_closed_account_leaves_its_rooms_also_after_a_restart(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let known = Arc::new(accounts(&server));
        let (alice, _) = join(&known, "alice").await;
        join(&known, "bob").await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let mut joined = Vec::new();
        for _ in 0..2 {
            let room_id = rooms.create(room_of_bob(Preset::PublicChat)).await.unwrap();
            rooms.join(&room_id, alice.user_id.clone(), None, Vec::new()).await.unwrap();
            joined.push(room_id);
        }
        let invited = rooms.create(room_of_bob(Preset::PrivateChat)).await.unwrap();
        let invite = SetMembership {
            sender: user_id!("@bob:one.test").to_owned(), target: alice.user_id.clone(),
            membership: "invite", reason: None, is_direct: false,
        };
        rooms.change(&invited, invite).await.unwrap();
        known.deactivate_account(&alice.user_id, false).await.unwrap();
        drop(rooms);

        // Another process goes on.
        let rooms = Rooms::new(Arc::clone(&server.context));
        let mut departures = Departures::new(Arc::clone(&server.context), Arc::clone(&known), rooms.clone());
        assert_eq!(departures.round().await.unwrap(), Undone::Settling);
        // A request that was under way.
        rooms.join(&joined[0], alice.user_id.clone(), None, Vec::new()).await.unwrap();
        assert_eq!(departures.round().await.unwrap(), Undone::Settling);
        known.put_filter(alice.user_nid, b"{}").await.unwrap();
        departures.settling = Duration::ZERO;
        assert_eq!(departures.round().await.unwrap(), Undone::Nothing);
        assert_eq!(count(&server.context.storage, "filters").await, 0);
        let mut reader = server.context.storage.read().await.unwrap();
        let left = hearth_storage::tables::accounts::rooms_to_leave(reader.conn(), alice.user_nid).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        let leaving = hearth_storage::tables::accounts::accounts_leaving(reader.conn()).await.unwrap();
        assert!(leaving.is_empty());
    }
}

both_engines! {
    async fn a_busy_device_is_noted_now_and_then(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (session, token) = join(&accounts, "alice").await;
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..100 {
            accounts.authenticate_from(&token, address).await.unwrap();
            server.clock.advance(100);
        }
        let seen = async || accounts.devices(session.user_nid).await.unwrap()[0].last_seen.clone();
        let first = seen().await.unwrap();
        assert_eq!((first.at_ms, &*first.address), (crate::testing::START_MS, "192.0.2.1"));
        accounts.write_seen().await.unwrap();
        assert_eq!(seen().await, Some(first), "as it is stored");
        let other: IpAddr = "2001:db8::1".parse().unwrap();
        server.clock.advance(60_000);
        accounts.authenticate_from(&token, other).await.unwrap();
        assert_eq!(seen().await.unwrap().address, "2001:db8::1", "before it is stored");
        accounts.write_seen().await.unwrap();
        accounts.logout(&session).await.unwrap();
        accounts.write_seen().await.unwrap();
        assert_eq!(count(&server.context.storage, "devices").await, 0);
    }
}
