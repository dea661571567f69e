//! Profiles, account data, filters and push rules.

use bytes::Bytes;
use hearth_storage::Commit;
use hearth_storage::both_engines;
use hearth_storage::tables::rooms::RoomRow;
use hearth_types::ruma::{RoomId, room_id};

use super::*;

/// Makes a room known by its row alone, with the local id 7.
async fn room_row(server: &TestServer, room: &RoomId) {
    let mut commit = Commit::default();
    commit.rows.rooms.push(RoomRow {
        room_nid: 7,
        room_id: room.to_string(),
        version: "12".to_owned(),
    });
    drop(
        server
            .context
            .storage
            .writer()
            .commit(commit)
            .await
            .unwrap(),
    );
}

both_engines! {
    async fn a_profile_is_what_was_set_last(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let url = "mxc://one.test/face";
        accounts.set_profile(&alice, "avatar_url", Some(&json!(url))).await.unwrap();
        accounts.set_profile(&alice, "displayname", Some(&json!("Ä"))).await.unwrap();
        let profile = accounts.profile(&alice.user_id).await.unwrap();
        let both = json!({ "displayname": "Ä", "avatar_url": url });
        assert_eq!(serde_json::Value::from(profile), both);
        accounts.set_profile(&alice, "avatar_url", Some(&json!(""))).await.unwrap();
        let profile = accounts.profile(&alice.user_id).await.unwrap();
        assert_eq!(serde_json::Value::from(profile), json!({ "displayname": "Ä" }));
        let long = "x".repeat(513);
        let refused =
            accounts.set_profile(&alice, "displayname", Some(&json!(long))).await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { field: "displayname", .. }));
    }
}

both_engines! {
    async fn the_profile_of_a_stranger_is_asked_of_their_server(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let refused = accounts.profile(user_id!("@nobody:one.test")).await.unwrap_err();
        assert!(matches!(refused, AccountError::NotFound(_)), "{refused}");
        let refused = accounts.profile(user_id!("@bob:two.test")).await.unwrap_err();
        assert!(matches!(refused, AccountError::Peer(_)), "{refused}");
    }
}

both_engines! {
    async fn account_data_is_kept_per_type_and_room(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (alice, _) = join(&accounts, "alice").await;
        let nid = alice.user_nid;
        let room = room_id!("!r:one.test");
        room_row(&server, room).await;
        let head = || server.context.storage.writer().head().position();

        let start = head();
        accounts.set_account_data(nid, None, "m.x", br#"{ "a": 1.5 }"#).await.unwrap();
        accounts.set_account_data(nid, Some(room), "m.x", br#"{"b":2}"#).await.unwrap();
        let global = accounts.account_data(&alice, None, "m.x").await.unwrap();
        assert_eq!(global, br#"{ "a": 1.5 }"#);
        let in_room = accounts.account_data(&alice, Some(room), "m.x").await.unwrap();
        assert_eq!(in_room, br#"{"b":2}"#);

        let changed = accounts.account_data_since(&alice, start, head()).await.unwrap();
        let changed: Vec<_> =
            changed.iter().map(|it| (it.room_nid, &*it.kind, it.content.get())).collect();
        assert_eq!(changed, [(None, "m.x", r#"{ "a": 1.5 }"#), (Some(7), "m.x", r#"{"b":2}"#)]);
        let initial = accounts.account_data_since(&alice, 0, head()).await.unwrap();
        assert_eq!(initial[0].kind, "m.push_rules");
        assert_eq!(initial.len(), 3);
        assert!(accounts.account_data_since(&alice, head(), head()).await.unwrap().is_empty());
    }
}

both_engines! {
    async fn what_is_set_at_the_same_moment_is_all_kept(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let accounts = accounts(&server);
        let (alice, _) = join(&accounts, "alice").await;
        let room = room_id!("!r:one.test");
        room_row(&server, room).await;
        let tag = |number: usize| {
            let (accounts, nid) = (&accounts, alice.user_nid);
            async move {
                let tag = format!("u.{number}");
                accounts.set_tag(nid, room, &tag, Some(serde_json::Map::new())).await.unwrap();
            }
        };
        futures_util::future::join_all((0..30).map(tag)).await;
        assert_eq!(accounts.tags(alice.user_nid, room).await.unwrap().len(), 30);
        let long = json!("x".repeat(30_000));
        let field = |number: usize| {
            let (accounts, alice, long) = (&accounts, &alice, &long);
            async move { accounts.set_profile(alice, &format!("org.x{number}"), Some(long)).await }
        };
        let set = futures_util::future::join_all((0..10).map(field)).await;
        assert_eq!(set.iter().filter(|set| set.is_ok()).count(), 2, "no more than 64 KiB");
        accounts.set_profile(&alice, "displayname", Some(&json!("Alice"))).await.unwrap();
    }
}

both_engines! {
    async fn what_is_no_account_data_is_refused(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let nid = alice.user_nid;
        for managed in ["m.push_rules", "m.fully_read"] {
            let refused = accounts.set_account_data(nid, None, managed, b"{}").await.unwrap_err();
            assert!(matches!(refused, AccountError::ManagedAccountData));
        }
        for content in ["[]", "1", "", "{\"a\":}"] {
            let refused =
                accounts.set_account_data(nid, None, "m.x", content.as_bytes()).await.unwrap_err();
            assert!(matches!(refused, AccountError::Json(_)), "{content}: {refused}");
        }
        for kind in ["", "a\0b", &"k".repeat(256)] {
            let refused = accounts.set_account_data(nid, None, kind, b"{}").await.unwrap_err();
            assert!(matches!(refused, AccountError::Invalid { field: "type", .. }));
        }
        let nowhere = Some(room_id!("!nowhere:one.test"));
        let refused = accounts.set_account_data(nid, nowhere, "m.x", b"{}").await.unwrap_err();
        assert!(matches!(refused, AccountError::NotFound(_)));
        let refused = accounts.account_data(&alice, None, "m.x").await.unwrap_err();
        assert!(matches!(refused, AccountError::NotFound(_)));
    }
}

both_engines! {
    async fn the_same_filter_has_the_same_id(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let nid = alice.user_nid;
        let filter = Bytes::from_static(br#"{"room":{"timeline":{"limit":5}},"org.x":true}"#);
        let id = accounts.put_filter(nid, &filter).await.unwrap();
        assert_eq!(accounts.put_filter(nid, &filter).await.unwrap(), id);
        let other = accounts.put_filter(nid, b"{}").await.unwrap();
        assert_ne!(other, id);
        assert_eq!(accounts.filter(nid, &id).await.unwrap().unwrap(), filter);
        assert_eq!(accounts.filter(nid + 1, &id).await.unwrap(), None);
        for wrong in ["[]", "{\"room\":5}", "{\"room\":{\"rooms\":[\"nope\"]}}"] {
            let refused = accounts.put_filter(nid, wrong.as_bytes()).await.unwrap_err();
            assert!(matches!(refused, AccountError::Json(_)), "{wrong}: {refused}");
        }
    }
}

both_engines! {
    async fn push_rules_are_the_defaults_with_every_kind(scratch: Scratch) {
        let accounts = accounts(&TestServer::new(&scratch).await);
        let (alice, _) = join(&accounts, "alice").await;
        let rules = accounts.push_rules(&alice).await.unwrap();
        for kind in ["override", "content", "room", "sender", "underride"] {
            assert!(rules["global"][kind].is_array(), "{kind}");
        }
        let master = accounts.push_rule(&alice, "override", ".m.rule.master").await.unwrap();
        assert_eq!(master["enabled"], false);
        let nothing = accounts.push_rule(&alice, "override", "mine").await;
        assert!(matches!(nothing, Err(AccountError::NotFound(_))));
        let stored = accounts.account_data(&alice, None, "m.push_rules").await.unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&stored).unwrap(), rules);
    }
}
