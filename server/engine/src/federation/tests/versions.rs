//! Every room version, from its creation to the return of somebody who left.

use hearth_protocol::room_version::{EventIdFormat, ROOM_VERSIONS, RoomVersionRules};
use hearth_storage::both_engines;
use serde_json::json;

use super::pair::Pair;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

/// Invite, join over federation, talk, write state, redact, leave, come back.
async fn a_life_in(pair: &Pair, rules: &RoomVersionRules) {
    let version = rules.id;
    let room = pair.one.create(ALICE, Preset::PrivateChat, version).await;
    pair.one.invite(&room, ALICE, BOB).await.unwrap();
    pair.two.join(&room, BOB).await.unwrap();
    let oops = pair.two.send(&room, BOB, "oops").await.unwrap();
    let stated = rules.event_format.event_id == EventIdFormat::Stated;
    assert_eq!(
        oops.as_str().ends_with(":two.test"),
        stated,
        "{version}: {oops}"
    );
    pair.deliver().await;
    pair.one.rename(&room, ALICE, "a new name").await.unwrap();
    let redaction = pair.two.redact(&room, BOB, &oops).await;
    pair.deliver().await;
    for (side, user) in [(&pair.one, ALICE), (&pair.two, BOB)] {
        let shown = side.served(&room, user, &oops).await;
        assert_eq!(shown["content"], json!({}), "{version}");
        let shown = side.served(&room, user, &redaction).await;
        // Clients of every age find it.
        assert_eq!(shown["redacts"], oops.as_str(), "{version}");
        assert_eq!(shown["content"]["redacts"], oops.as_str(), "{version}");
        assert_eq!(shown["content"]["reason"], "typo", "{version}");
    }
    pair.two.leave(&room, BOB).await.unwrap();
    pair.deliver().await;
    assert_eq!(pair.one.membership(&room, BOB).await, "leave", "{version}");
    pair.one.send(&room, ALICE, "alone").await.unwrap();
    pair.one.invite(&room, ALICE, BOB).await.unwrap();
    pair.two.join(&room, BOB).await.unwrap();
    pair.two.send(&room, BOB, "back").await.unwrap();
    pair.deliver().await;
    pair.one.settle().await;
    assert_eq!(pair.one.membership(&room, BOB).await, "join", "{version}");
    assert_eq!(pair.one.extremities(&room).await, 1, "{version}");
    pair.assert_same_state(&room).await;
}

both_engines! {
    async fn a_room_of_every_version_lives(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            a_life_in(&pair, rules).await;
        }
    }
}

both_engines! {
    async fn forks_resolve_in_every_version(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            pair.deliver().await;
            pair.one.rename(&room, ALICE, "one").await.unwrap();
            pair.one.join(&room, "@x:one.test").await.unwrap();
            pair.two.join(&room, "@y:two.test").await.unwrap();
            pair.two.send(&room, BOB, "fork").await.unwrap();
            pair.deliver().await;
            pair.assert_same_state(&room).await;
            pair.one.send(&room, ALICE, "joined again").await.unwrap();
            pair.deliver().await;
            assert_eq!(pair.two.extremities(&room).await, 1, "{}", rules.id);
        }
    }
}

both_engines! {
    async fn who_knocks_is_let_in_where_the_version_knows_it(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PrivateChat, rules.id).await;
            pair.one.join_rule(&room, ALICE, json!({ "join_rule": "knock" })).await;
            let knocked = pair.two.knock(&room, BOB, "one.test").await;
            assert_eq!(knocked.is_ok(), rules.authorization.knocking(), "{}: {knocked:?}", rules.id);
            if knocked.is_err() {
                continue;
            }
            assert_eq!(pair.one.membership(&room, BOB).await, "knock");
            assert_eq!(pair.two.membership(&room, BOB).await, "knock");
            assert!(pair.two.shown(&room, BOB).await.contains(&"m.room.name".to_owned()));
            pair.one.invite(&room, ALICE, BOB).await.unwrap();
            pair.two.join(&room, BOB).await.unwrap();
            pair.deliver().await;
            pair.assert_same_state(&room).await;
        }
    }
}

both_engines! {
    async fn who_is_in_a_named_room_may_join_where_the_version_knows_it(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let club = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&club, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PrivateChat, rules.id).await;
            let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
            let rule = json!({ "join_rule": "restricted", "allow": allow });
            pair.one.join_rule(&room, ALICE, rule).await;
            let stranger = pair.two.join_over(&room, "@carol:two.test", "one.test").await;
            assert!(stranger.is_err(), "{}", rules.id);
            let joined = pair.two.join_over(&room, BOB, "one.test").await;
            let knows = rules.authorization.restricted_joins();
            assert_eq!(joined.is_ok(), knows, "{}: {joined:?}", rules.id);
            if !knows {
                continue;
            }
            pair.deliver().await;
            pair.assert_same_state(&room).await;
            // A neighbor of bob's has to ask the server whose people may let others in.
            let neighbor = "@dora:two.test";
            let refused = pair.two.join(&room, neighbor).await;
            assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
            pair.two.join(&club, neighbor).await.unwrap();
            pair.deliver().await;
            pair.two.join(&room, neighbor).await.unwrap();
            pair.deliver().await;
            pair.assert_same_state(&room).await;
            pair.two.leave(&club, neighbor).await.unwrap();
            pair.deliver().await;
        }
    }
}
