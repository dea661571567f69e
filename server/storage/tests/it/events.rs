//! Events as they are read back.

use hearth_storage::tables::events::{EventRow, Fate, events_by_nid};
use hearth_storage::testing;
use hearth_storage::{Commit, both_engines};

const REDACTION: &str = "$2,'\"é";

fn event(event_nid: i64, id: &str, snapshot_nid: Option<i64>, json: &'static str) -> EventRow {
    EventRow {
        event_nid,
        event_id: id.to_owned(),
        room_nid: 5,
        sender_nid: 7,
        state_key_nid: None,
        depth: (1 << 53) - event_nid,
        origin_server_ts: 0,
        live: None,
        fate: snapshot_nid.map_or(Fate::Outlier, |_| Fate::Accepted),
        outbound: false,
        snapshot_nid,
        json: json.into(),
    }
}

both_engines! {
    async fn events_of_one_statement_are_told_apart(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut commit = Commit::default();
        commit.rows.events = vec![
            event(1, "$1,é,:one.test", Some(3), "{\"a\":\"é\"}"),
            event(2, REDACTION, None, "{}"),
        ];
        drop(storage.writer().commit(commit).await.unwrap());
        testing::execute(
            &scratch,
            "UPDATE events SET live_position = 12,
             redacted_by = (SELECT event_id FROM events WHERE event_nid = 2) WHERE event_nid = 1",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth, origin_server_ts,
             fate, outbound) VALUES (3, '$without JSON', 5, 7, 6, 0, 0, TRUE)",
        )
        .await;
        let mut reader = storage.read().await.unwrap();
        assert!(events_by_nid(reader.conn(), &[]).await.unwrap().is_empty());
        assert!(events_by_nid(reader.conn(), &[3, 4]).await.unwrap().is_empty());
        let mut found = events_by_nid(reader.conn(), &[4, 2, 3, 1]).await.unwrap();
        found.sort_by_key(|event| event.event_nid);
        let [one, two] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((one.event_nid, one.room_nid, one.depth, one.fate), (1, 5, (1 << 53) - 1, Fate::Accepted));
        assert_eq!((one.live_position, one.snapshot_nid), (Some(12), Some(3)));
        assert_eq!(one.event_id, "$1,é,:one.test");
        assert_eq!(one.redacted_by.as_deref(), Some(REDACTION));
        assert_eq!(one.json, "{\"a\":\"é\"}");
        assert_eq!((two.depth, two.fate), ((1 << 53) - 2, Fate::Outlier));
        assert_eq!((two.live_position, two.snapshot_nid, &two.redacted_by), (None, None, &None));
        assert_eq!((two.event_id.as_str(), &two.json[..]), (REDACTION, &b"{}"[..]));
    }
}
