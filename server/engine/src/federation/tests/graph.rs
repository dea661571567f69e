//! Events that arrive late, or at places where not everybody has the same view of the room.

use hearth_storage::both_engines;
use hearth_storage::tables::events::Fate;

use super::pair::Pair;
use crate::rooms::create::Preset;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

both_engines! {
    async fn what_lies_behind_a_soft_failed_event_is_no_end_of_the_graph(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.two.join(&room, "@carol:two.test").await.unwrap();
        pair.deliver().await;
        // The ban and what bob says do not know of each other; what carol says follows bob.
        pair.one.ban(&room, ALICE, BOB).await.unwrap();
        let said = pair.two.send(&room, BOB, "soft").await.unwrap();
        pair.two.send(&room, "@carol:two.test", "after it").await.unwrap();
        pair.deliver().await;
        assert_eq!(pair.one.fate(&room, &said).await, Some(Fate::SoftFailed));
        let (one, two) = (pair.one.ends(&room).await, pair.two.ends(&room).await);
        assert_eq!(one, two);
        pair.assert_same_state(&room).await;
    }
}

both_engines! {
    async fn a_redaction_waits_for_its_target_whichever_way_that_comes(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        let there = pair.one.rooms.room(&room).await.unwrap();
        let before = pair.one.end(&room).await;
        let topic = r#"{"topic":"oops"}"#;
        let target = pair.two.valid(&room, BOB, "m.room.message", None, topic).await;
        let target_id = target.event().event_id().to_owned();
        let content = format!(r#"{{"redacts":"{target_id}"}}"#);
        let redaction = pair.two.valid(&room, BOB, "m.room.redaction", None, &content).await;
        pair.one.rooms.receive(&there, redaction, false).await.unwrap();
        // First from outside the timeline, then as part of it.
        pair.one.rooms.take_in_outliers(&there, vec![target.clone()]).await.unwrap();
        let redacted = |known: Option<crate::rooms::known::Known>| {
            let known = known.unwrap();
            known.redacted_by.is_some() && known.event.content() == "{}"
        };
        let rules = there.rules;
        let known = &pair.one.rooms.known;
        assert!(redacted(known.one(rules, &target_id).await.unwrap()));
        pair.one.rooms.receive(&there, target, false).await.unwrap();
        assert!(redacted(known.one(rules, &target_id).await.unwrap()));
        let again = crate::rooms::Rooms::new(std::sync::Arc::clone(&pair.one.ctx));
        assert!(redacted(again.known.one(rules, &target_id).await.unwrap()));
        let shown = pair.one.served(&room, ALICE, &target_id).await;
        assert_eq!(shown["content"], serde_json::json!({}));
        assert_ne!(pair.one.end(&room).await, before);
    }
}

both_engines! {
    async fn a_redaction_waits_for_a_join_that_comes_over_us(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        let there = pair.one.rooms.room(&room).await.unwrap();
        let content = r#"{"membership":"leave","reason":"rude"}"#;
        let leave = pair.two.valid(&room, BOB, "m.room.member", Some(BOB), content).await;
        let leave_id = leave.event().event_id().to_owned();
        let content = format!(r#"{{"redacts":"{leave_id}"}}"#);
        let redaction = pair.one.valid(&room, ALICE, "m.room.redaction", None, &content).await;
        pair.one.rooms.receive(&there, redaction, true).await.unwrap();
        pair.one.federation.send_leave(pair.two.name(), &room, leave).await.unwrap();
        let known = pair.one.rooms.known.one(there.rules, &leave_id).await.unwrap().unwrap();
        assert_eq!(known.event.content(), r#"{"membership":"leave"}"#);
    }
}

both_engines! {
    async fn a_leave_reaches_the_server_it_takes_out_whatever_it_follows(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.deliver().await;
        let there = pair.one.rooms.room(&room).await.unwrap();
        let fork = pair.one.end(&room).await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        let join = pair.one.end(&room).await;
        // A second end of the graph, of before bob came.
        let ends = |prev| pair.one.placed_at(&room, ALICE, "m.room.message", prev, 20);
        let old = ends(vec![fork]).await;
        let old_id = old.event().event_id().to_owned();
        pair.one.rooms.receive(&there, old, true).await.unwrap();
        for prev in [vec![old_id.clone(), join.clone()], vec![join, old_id]] {
            let mut kick = pair.one.rooms.known.one(there.rules, &prev[0]).await.unwrap().unwrap();
            let merge = pair.one.placed_at(&room, ALICE, "m.room.message", prev, 21).await;
            let id = merge.event().event_id().to_owned();
            pair.one.rooms.receive(&there, merge, true).await.unwrap();
            kick = pair.one.rooms.known.one(there.rules, &id).await.unwrap().unwrap_or(kick);
            let key = crate::rooms::place::state_key_row("m.room.member", BOB);
            let keys = pair.one.ctx.storage.state_keys_intern(&[key]).await.unwrap();
            let before = pair.one.rooms.held_before(&there, &kick, keys[0]).await.unwrap();
            assert!(before.is_some(), "bob was there before");
        }
    }
}
