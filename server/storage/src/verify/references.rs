//! What the database itself can check: that what a row names is there, and that no position is
//! ahead of the log.

use super::RowCheck;

/// Every value of a column is a key of another table.
macro_rules! refers {
    ($table:literal . $column:literal => $to:literal . $key:literal) => {
        RowCheck::new(
            concat!($table, "-", $column),
            concat!($table, ".", $column, " is {}, which is not in ", $to),
            concat!(
                "SELECT CAST(t.",
                $column,
                " AS TEXT) FROM ",
                $table,
                " t WHERE t.",
                $column,
                " IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ",
                $to,
                " r WHERE r.",
                $key,
                " = t.",
                $column,
                ")"
            ),
        )
    };
}

/// Every value of a column is a position that was given out.
macro_rules! position {
    ($table:literal . $column:literal) => {
        RowCheck::new(
            concat!($table, "-ahead-of-log"),
            concat!(
                $table,
                ".",
                $column,
                " is {}, but the log has not come so far"
            ),
            concat!(
                "SELECT CAST(t.",
                $column,
                " AS TEXT) FROM ",
                $table,
                " t, log_head h WHERE t.",
                $column,
                " > h.position OR t.",
                $column,
                " < 0"
            ),
        )
    };
}

/// The next local id of a kind is beyond all that are taken.
macro_rules! nids {
    ($kind:literal, $table:literal . $column:literal) => {
        RowCheck::new(
            concat!($kind, "-ids-not-reserved"),
            concat!(
                "the ",
                $kind,
                " id {} is in use, but would be given out again"
            ),
            concat!(
                "SELECT CAST(t.",
                $column,
                " AS TEXT) FROM ",
                $table,
                " t WHERE t.",
                $column,
                " >= COALESCE((SELECT b.next FROM nid_blocks b WHERE b.kind = '",
                $kind,
                "'), 0)"
            ),
        )
    };
}

pub(super) const NAMES: &[RowCheck] = &[
    refers!("users"."server_nid" => "servers"."server_nid"),
    RowCheck::new(
        "user-of-other-server",
        "the user id {} does not end in the name of its server",
        "SELECT u.user_id FROM users u JOIN servers s ON s.server_nid = u.server_nid
         WHERE SUBSTR(u.user_id, LENGTH(u.user_id) - LENGTH(s.server_name)) <> ':' || s.server_name",
    ),
    RowCheck::new(
        "identity-missing",
        "the row of {} is missing",
        "SELECT 'server_identity' WHERE NOT EXISTS (SELECT 1 FROM server_identity WHERE id = 1)",
    ),
];

pub(super) const PEOPLE: &[RowCheck] = &[
    refers!("accounts"."user_nid" => "users"."user_nid"),
    RowCheck::new(
        "account-of-other-server",
        "the account of {} is of another server than this one",
        "SELECT u.user_id FROM accounts a JOIN users u ON u.user_nid = a.user_nid
         JOIN servers s ON s.server_nid = u.server_nid JOIN server_identity i ON i.id = 1
         WHERE s.server_name <> i.server_name",
    ),
    refers!("devices"."user_nid" => "accounts"."user_nid"),
    RowCheck::new(
        "access_tokens-device",
        "an access token is for the device {}, which is not there",
        "SELECT t.device_id FROM access_tokens t WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = t.user_nid AND d.device_id = t.device_id)",
    ),
    RowCheck::new(
        "refresh_tokens-device",
        "a refresh token is for the device {}, which is not there",
        "SELECT t.device_id FROM refresh_tokens t WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = t.user_nid AND d.device_id = t.device_id)",
    ),
    RowCheck::new(
        "purpose_tokens-device",
        "a token for one purpose is for the device {}, which is not there",
        "SELECT t.device_id FROM purpose_tokens t WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = t.user_nid AND d.device_id = t.device_id)",
    ),
    refers!("profiles"."user_nid" => "users"."user_nid"),
    refers!("account_data"."user_nid" => "accounts"."user_nid"),
    refers!("receipts"."user_nid" => "users"."user_nid"),
    refers!("receipts"."room_nid" => "rooms"."room_nid"),
    refers!("receipts"."event_nid" => "events"."event_nid"),
    RowCheck::new(
        "account_data-room_nid",
        "account_data.room_nid is {}, which is not in rooms",
        "SELECT CAST(a.room_nid AS TEXT) FROM account_data a WHERE a.room_nid <> 0
         AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_nid = a.room_nid)",
    ),
    refers!("push_classes"."user_nid" => "users"."user_nid"),
    RowCheck::new(
        "push_classes-room_nid",
        "push_classes.room_nid is {}, which is not in rooms",
        "SELECT CAST(c.room_nid AS TEXT) FROM push_classes c WHERE c.room_nid <> 0
         AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_nid = c.room_nid)",
    ),
    refers!("filters"."user_nid" => "accounts"."user_nid"),
    refers!("client_transactions"."user_nid" => "accounts"."user_nid"),
    refers!("client_transactions"."event_nid" => "events"."event_nid"),
];

pub(super) const KEYS: &[RowCheck] = &[
    refers!("device_keys"."user_nid" => "users"."user_nid"),
    RowCheck::new(
        "device_keys-device",
        "there are keys of our device {}, which is not there",
        "SELECT k.device_id FROM device_keys k JOIN accounts a ON a.user_nid = k.user_nid
         WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = k.user_nid AND d.device_id = k.device_id)",
    ),
    RowCheck::new(
        "one_time_keys-device",
        "there are one-time keys of the device {}, which is not there",
        "SELECT k.device_id FROM one_time_keys k WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = k.user_nid AND d.device_id = k.device_id)",
    ),
    RowCheck::new(
        "fallback_keys-device",
        "there is a fallback key of the device {}, which is not there",
        "SELECT k.device_id FROM fallback_keys k WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = k.user_nid AND d.device_id = k.device_id)",
    ),
    RowCheck::new(
        "to_device-device",
        "a message waits for the device {}, which is not there",
        "SELECT t.device_id FROM to_device t WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = t.user_nid AND d.device_id = t.device_id)",
    ),
    RowCheck::new(
        "sliding_connections-device",
        "there is a connection of the device {}, which is not there",
        "SELECT c.device_id FROM sliding_connections c WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = c.user_nid AND d.device_id = c.device_id)",
    ),
    refers!("cross_signing_keys"."user_nid" => "users"."user_nid"),
    refers!("key_signatures"."target_nid" => "users"."user_nid"),
    refers!("key_signatures"."signer_nid" => "users"."user_nid"),
    refers!("device_list_changes"."user_nid" => "users"."user_nid"),
    refers!("remote_device_lists"."user_nid" => "users"."user_nid"),
    RowCheck::new(
        "dehydrated_devices-device",
        "there is a dehydrated device {}, which is not among the devices",
        "SELECT x.device_id FROM dehydrated_devices x WHERE NOT EXISTS
         (SELECT 1 FROM devices d WHERE d.user_nid = x.user_nid AND d.device_id = x.device_id)",
    ),
    refers!("key_backups"."user_nid" => "accounts"."user_nid"),
    RowCheck::new(
        "backed_up_keys-version",
        "keys are backed up to the version {}, which is not there",
        "SELECT DISTINCT CAST(k.version AS TEXT) FROM backed_up_keys k WHERE NOT EXISTS
         (SELECT 1 FROM key_backups b WHERE b.user_nid = k.user_nid AND b.version = k.version)",
    ),
    RowCheck::new(
        "key_backups-count",
        "the version {} of a key backup has another number of keys than it says",
        "SELECT CAST(b.version AS TEXT) FROM key_backups b WHERE b.key_count <>
         (SELECT COUNT(*) FROM backed_up_keys k
          WHERE k.user_nid = b.user_nid AND k.version = b.version)",
    ),
    refers!("to_device_received"."server_nid" => "servers"."server_nid"),
];

pub(super) const ROOMS: &[RowCheck] = &[
    refers!("rooms"."snapshot_nid" => "state_snapshots"."snapshot_nid"),
    refers!("events"."room_nid" => "rooms"."room_nid"),
    refers!("events"."sender_nid" => "users"."user_nid"),
    refers!("events"."state_key_nid" => "state_keys"."state_key_nid"),
    refers!("events"."snapshot_nid" => "state_snapshots"."snapshot_nid"),
    RowCheck::new(
        "event-json-missing",
        "the event {} has no JSON",
        "SELECT e.event_id FROM events e
         WHERE NOT EXISTS (SELECT 1 FROM event_json j WHERE j.event_nid = e.event_nid)",
    ),
    refers!("event_json"."event_nid" => "events"."event_nid"),
    refers!("event_edges"."event_nid" => "events"."event_nid"),
    refers!("event_edges"."prev_nid" => "events"."event_nid"),
    refers!("event_auth"."event_nid" => "events"."event_nid"),
    refers!("event_auth"."auth_nid" => "events"."event_nid"),
    refers!("counted_events"."event_nid" => "events"."event_nid"),
    refers!("counted_otherwise"."event_nid" => "events"."event_nid"),
    refers!("counted_otherwise"."user_nid" => "users"."user_nid"),
    refers!("read_marks"."room_nid" => "rooms"."room_nid"),
    refers!("read_marks"."user_nid" => "users"."user_nid"),
    refers!("forward_extremities"."room_nid" => "rooms"."room_nid"),
    refers!("forward_extremities"."event_nid" => "events"."event_nid"),
    refers!("backward_extremities"."room_nid" => "rooms"."room_nid"),
    refers!("backward_extremities"."child_nid" => "events"."event_nid"),
    refers!("state_snapshots"."room_nid" => "rooms"."room_nid"),
    refers!("state_snapshots"."base_nid" => "state_snapshots"."snapshot_nid"),
    refers!("state_snapshots"."chunks_nid" => "state_chunks"."chunks_nid"),
    refers!("provisional_states"."event_nid" => "events"."event_nid"),
    refers!("provisional_states"."room_nid" => "rooms"."room_nid"),
    refers!("state_changes"."room_nid" => "rooms"."room_nid"),
    refers!("state_changes"."state_key_nid" => "state_keys"."state_key_nid"),
    refers!("state_changes"."event_nid" => "events"."event_nid"),
    refers!("memberships"."room_nid" => "rooms"."room_nid"),
    refers!("memberships"."user_nid" => "users"."user_nid"),
    RowCheck::new(
        "memberships-event_nid",
        "memberships.event_nid is {}, which is not in events",
        "SELECT CAST(m.event_nid AS TEXT) FROM memberships m WHERE m.event_nid <> 0
         AND NOT EXISTS (SELECT 1 FROM events e WHERE e.event_nid = m.event_nid)",
    ),
    refers!("stripped_states"."room_nid" => "rooms"."room_nid"),
    refers!("stripped_states"."user_nid" => "users"."user_nid"),
    refers!("redactions"."redaction_nid" => "events"."event_nid"),
    refers!("room_aliases"."room_nid" => "rooms"."room_nid"),
    refers!("room_aliases"."creator_nid" => "users"."user_nid"),
    refers!("published_rooms"."room_nid" => "rooms"."room_nid"),
    refers!("event_relations"."event_nid" => "events"."event_nid"),
    refers!("threads"."room_nid" => "rooms"."room_nid"),
    refers!("threads"."latest_nid" => "events"."event_nid"),
    refers!("reports"."reporter_nid" => "users"."user_nid"),
    nids!("event", "events"."event_nid"),
    nids!("room", "rooms"."room_nid"),
    nids!("snapshot", "state_snapshots"."snapshot_nid"),
];

pub(super) const FEDERATION: &[RowCheck] = &[
    refers!("staged_events"."room_nid" => "rooms"."room_nid"),
    refers!("staged_events"."origin_nid" => "servers"."server_nid"),
    refers!("outbox"."server_nid" => "servers"."server_nid"),
    refers!("outbox"."event_nid" => "events"."event_nid"),
    RowCheck::new(
        "outbox-empty",
        "what waits to be sent at the position {} is neither an event nor an EDU, or both",
        "SELECT CAST(o.position AS TEXT) FROM outbox o
         WHERE (o.event_nid IS NULL) = (o.edu IS NULL)",
    ),
    refers!("destinations"."server_nid" => "servers"."server_nid"),
];

pub(super) const POSITIONS: &[RowCheck] = &[
    RowCheck::new(
        "log-head-missing",
        "the row of {} is missing",
        "SELECT 'log_head' WHERE NOT EXISTS (SELECT 1 FROM log_head WHERE id = 1)",
    ),
    position!("events"."live_position"),
    position!("state_changes"."position"),
    position!("memberships"."position"),
    position!("profiles"."position"),
    position!("account_data"."position"),
    position!("counted_events"."position"),
    position!("counted_otherwise"."position"),
    position!("read_marks"."position"),
    position!("push_classes"."position"),
    position!("receipts"."position"),
    position!("key_signatures"."position"),
    position!("device_list_changes"."position"),
    position!("remote_device_lists"."position"),
    position!("to_device"."position"),
    position!("outbox"."position"),
    position!("destinations"."txn_last"),
    position!("followers"."position"),
    position!("log_times"."position"),
    RowCheck::new(
        "position-twice",
        "the position {} was given to two events",
        "SELECT CAST(e.live_position AS TEXT) FROM events e WHERE e.live_position IS NOT NULL
         GROUP BY e.live_position HAVING COUNT(*) > 1",
    ),
    RowCheck::new(
        "position-of-two-kinds",
        "the position {} was given to an event and to something else",
        "SELECT CAST(e.live_position AS TEXT) FROM events e
         JOIN to_device t ON t.position = e.live_position
         UNION SELECT CAST(e.live_position AS TEXT) FROM events e
         JOIN state_changes c ON c.position = e.live_position
         WHERE c.event_nid IS NULL OR c.event_nid <> e.event_nid
         UNION SELECT CAST(t.position AS TEXT) FROM to_device t
         JOIN state_changes c ON c.position = t.position",
    ),
    RowCheck::new(
        "live-but-not-accepted",
        "the event {} is in live order, but was not accepted",
        "SELECT e.event_id FROM events e WHERE e.live_position IS NOT NULL AND e.fate <> 0",
    ),
];
