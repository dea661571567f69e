//! Rooms that are found by their names at another server, and people there who want no invites.

use hearth_storage::Commit;
use hearth_storage::both_engines;
use hearth_storage::tables::account_data::{AccountDataRow, GLOBAL};
use hearth_types::ruma::{RoomAliasId, UserId};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::pair::{Pair, id};
use crate::rooms::aliases::AliasTaker;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::send::Send;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

fn taker(user: &UserId) -> AliasTaker<'_> {
    AliasTaker {
        user,
        appservice: None,
    }
}

both_engines! {
    async fn a_room_is_found_by_its_name_at_another_server(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        let alias = RoomAliasId::parse("#fire:one.test").unwrap();
        pair.one.rooms.alias_take(&alias, &room, taker(&id(ALICE))).await.unwrap();
        let way = pair.two.rooms.alias(&alias).await.unwrap();
        assert_eq!((&way.room_id, way.servers[0].as_str()), (&room, "one.test"));
        pair.two.join_over(&room, BOB, way.servers[0].as_str()).await.unwrap();
        pair.deliver().await;
        let way = pair.two.rooms.alias(&alias).await.unwrap();
        assert_eq!(way.servers, ["one.test", "two.test"]);
        let none = RoomAliasId::parse("#none:one.test").unwrap();
        let none = pair.two.rooms.alias(&none).await;
        assert!(matches!(none, Err(RoomError::NotFound(_))), "{none:?}");
        let foreign = pair.two.rooms.alias_take(&alias, &room, taker(&id(BOB))).await;
        assert!(matches!(foreign, Err(RoomError::Invalid { .. })), "{foreign:?}");
        // A name of another server may be shown, if it leads here.
        let show = |alias: &str| Send {
            sender: id(ALICE),
            kind: "m.room.canonical_alias".to_owned(),
            state_key: Some(String::new()),
            content: to_raw_value(&json!({ "alias": alias })).unwrap(),
            txn: None,
        };
        let theirs = RoomAliasId::parse("#feu:two.test").unwrap();
        let wrong = pair.one.rooms.send(&room, show("#feu:two.test")).await;
        assert!(matches!(wrong, Err(RoomError::BadAlias(_))), "{wrong:?}");
        pair.two.rooms.alias_take(&theirs, &room, taker(&id(BOB))).await.unwrap();
        pair.one.rooms.send(&room, show("#feu:two.test")).await.unwrap();
    }
}

both_engines! {
    async fn who_wants_no_invites_gets_none_from_other_servers(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PrivateChat, "12").await;
        let mut commit = Commit::default();
        let slot = commit.slot();
        commit.rows.account_data.push(AccountDataRow {
            user_nid: pair.two.person(BOB).await,
            room_nid: GLOBAL,
            kind: "m.invite_permission_config".to_owned(),
            content: br#"{"default_action":"block"}"#.to_vec(),
            slot,
        });
        drop(pair.two.ctx.storage.writer().commit(commit).await.unwrap());
        let bob = pair.two.person(BOB).await;
        pair.two.rooms.ignored.changed(bob, "m.invite_permission_config");
        let invited = pair.one.invite(&room, ALICE, BOB).await;
        assert!(invited.is_err(), "{invited:?}");
        let knows_of = pair.two.rooms.room_nid(&room).await.unwrap();
        assert_eq!(knows_of, None, "nothing is kept of it");
    }
}
