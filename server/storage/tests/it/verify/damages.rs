//! What is done to a database that real servers wrote, check by check.

/// What is done to a database, and the checks that must report it.
pub(super) struct Damage {
    pub(super) checks: &'static [&'static str],
    pub(super) does: &'static [&'static str],
}

/// Columns that get a value that is no key of the table they refer to.
macro_rules! dangling {
    ($($table:literal . $column:literal),+ $(,)?) => {
        Damage {
            checks: &[$(concat!($table, "-", $column)),+],
            does: &[$(far_off!($table . $column)),+],
        }
    };
}

/// Columns that get a position that the log has not come to.
macro_rules! ahead {
    ($($table:literal . $column:literal),+ $(,)?) => {
        Damage {
            checks: &[$(concat!($table, "-ahead-of-log")),+],
            does: &[$(far_off!($table . $column)),+],
        }
    };
}

macro_rules! far_off {
    ($table:literal . $column:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET ",
            $column,
            " = 987654 WHERE ",
            $column,
            " = (SELECT MIN(",
            $column,
            ") FROM ",
            $table,
            ")"
        )
    };
}

/// Sound rows of the tables that the servers had nothing to write to.
pub(super) const MORE: &[&str] = &[
    "INSERT INTO cross_signing_keys (user_nid, usage, content) VALUES (1, 'master', '{}')",
    "INSERT INTO key_signatures (target_nid, target_key, signer_nid, signer_key, signature, position)
         VALUES (1, 'a', 1, 'b', 'c', 1)",
    "INSERT INTO provisional_states (event_nid, room_nid)
         SELECT event_nid, room_nid FROM events WHERE event_nid = (SELECT MIN(event_nid) FROM events)",
    "INSERT INTO staged_events (room_nid, event_id, origin_nid, json, received_at_ms)
         SELECT MIN(r.room_nid), '$staged', MIN(s.server_nid), '{}', 1 FROM rooms r, servers s",
    "INSERT INTO counted_otherwise
         (room_nid, user_nid, event_nid, position, thread, by_class, outcome)
         SELECT room_nid, 1, event_nid, 1, '', 0, 0 FROM events
         WHERE event_nid = (SELECT MIN(event_nid) FROM events)",
    "INSERT INTO state_chunks (chunks_nid, ordinal, delta)
         SELECT 987653, 0, delta FROM state_snapshots WHERE snapshot_nid =
         (SELECT MIN(snapshot_nid) FROM state_snapshots WHERE base_nid IS NULL)",
    "UPDATE state_snapshots SET chunks_nid = 987653, chunks = 1 WHERE snapshot_nid =
         (SELECT MIN(snapshot_nid) FROM state_snapshots WHERE base_nid IS NULL)",
    "INSERT INTO log_times (position, at_ms) SELECT 1, 1
         WHERE NOT EXISTS (SELECT 1 FROM log_times)",
];

pub(super) const DAMAGES: &[Damage] = &[
    dangling!(
        "devices"."user_nid", "profiles"."user_nid",
        "account_data"."user_nid", "account_data"."room_nid", "receipts"."user_nid",
        "receipts"."room_nid", "receipts"."event_nid", "push_classes"."user_nid",
        "push_classes"."room_nid", "filters"."user_nid", "client_transactions"."user_nid",
        "client_transactions"."event_nid", "device_keys"."user_nid",
        "cross_signing_keys"."user_nid", "key_signatures"."target_nid",
        "key_signatures"."signer_nid", "device_list_changes"."user_nid",
        "remote_device_lists"."user_nid", "to_device_received"."server_nid",
    ),
    dangling!(
        "events"."room_nid", "events"."state_key_nid", "event_edges"."event_nid",
        "event_edges"."prev_nid", "event_auth"."event_nid", "event_auth"."auth_nid",
        "counted_events"."event_nid", "counted_otherwise"."event_nid",
        "counted_otherwise"."user_nid", "read_marks"."room_nid", "read_marks"."user_nid",
        "forward_extremities"."room_nid", "forward_extremities"."event_nid",
        "backward_extremities"."room_nid", "backward_extremities"."child_nid",
        "provisional_states"."event_nid", "provisional_states"."room_nid",
        "redactions"."redaction_nid", "event_relations"."event_nid", "threads"."room_nid",
        "threads"."latest_nid",
    ),
    dangling!(
        "accounts"."user_nid", "rooms"."snapshot_nid", "state_snapshots"."room_nid", "state_snapshots"."chunks_nid",
        "state_changes"."room_nid", "state_changes"."state_key_nid", "state_changes"."event_nid",
        "memberships"."room_nid", "memberships"."user_nid", "stripped_states"."room_nid",
        "stripped_states"."user_nid", "room_aliases"."room_nid", "room_aliases"."creator_nid",
        "published_rooms"."room_nid", "reports"."reporter_nid", "staged_events"."room_nid",
        "staged_events"."origin_nid", "outbox"."server_nid", "outbox"."event_nid",
        "destinations"."server_nid",
    ),
    ahead!(
        "memberships"."position", "profiles"."position", "account_data"."position",
        "counted_events"."position", "counted_otherwise"."position", "read_marks"."position",
        "push_classes"."position", "receipts"."position", "key_signatures"."position",
        "device_list_changes"."position", "remote_device_lists"."position",
        "to_device"."position", "outbox"."position", "destinations"."txn_last",
        "followers"."position", "log_times"."position",
    ),
    Damage {
        checks: &["user-of-other-server"],
        does: &["UPDATE users SET user_id = user_id || 'x' WHERE user_nid = 1"],
    },
    Damage {
        checks: &["identity-missing"],
        does: &["DELETE FROM server_identity"],
    },
    Damage {
        checks: &["account-of-other-server"],
        does: &["UPDATE server_identity SET server_name = 'another.test'"],
    },
    Damage {
        checks: &[
            "device_keys-device",
            "one_time_keys-device",
            "fallback_keys-device",
            "sliding_connections-device",
        ],
        does: &["DELETE FROM devices"],
    },
    Damage {
        checks: &["room-ids-not-reserved", "snapshot-ids-not-reserved"],
        does: &["UPDATE nid_blocks SET next = 1"],
    },
    Damage {
        checks: &["outbox-empty"],
        does: &["UPDATE outbox SET edu = NULL, event_nid = NULL"],
    },
    Damage {
        checks: &["position-of-two-kinds"],
        does: &[
            "UPDATE to_device SET position = (SELECT MAX(live_position) FROM events)
                 WHERE position = (SELECT MIN(position) FROM to_device)",
        ],
    },
    Damage {
        checks: &["live-but-not-accepted"],
        does: &["UPDATE events SET fate = 1 WHERE live_position =
                 (SELECT MAX(live_position) FROM events)"],
    },
    Damage {
        checks: &["edge-to-other-room", "prev-edges"],
        does: &["INSERT INTO event_edges (event_nid, prev_nid)
                 SELECT e.event_nid, (SELECT MIN(o.event_nid) FROM events o
                     WHERE o.room_nid <> e.room_nid)
                 FROM events e WHERE e.live_position = (SELECT MAX(live_position) FROM events)"],
    },
    Damage {
        checks: &["redacted-content", "redacted-by"],
        does: &[
            "UPDATE events SET redacted_by = '$nothing' WHERE live_position =
                 (SELECT MAX(live_position) FROM events)",
        ],
    },
    Damage {
        checks: &["snapshot-chain-long"],
        does: &[
            "INSERT INTO state_snapshots (snapshot_nid, room_nid, base_nid, delta)
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 66)
                 SELECT 987654 + n.i, r.room_nid,
                     CASE WHEN n.i = 1 THEN r.snapshot_nid ELSE 987653 + n.i END, ''
                 FROM n, rooms r WHERE r.room_nid =
                     (SELECT MIN(room_nid) FROM rooms WHERE snapshot_nid IS NOT NULL)",
        ],
    },
    Damage {
        checks: &["snapshot-entry"],
        does: &["UPDATE events SET fate = 2 WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events
                  WHERE fate = 0 AND state_key_nid IS NOT NULL)"],
    },
    Damage {
        checks: &["state-after-event"],
        does: &[MERGE],
    },
    Damage {
        checks: &["dehydrated_devices-device"],
        does: &[
            "INSERT INTO dehydrated_devices (user_nid, device_id, device_data)
                 VALUES (987654, 'X', '{}')",
        ],
    },
    Damage {
        checks: &["backed_up_keys-version"],
        does: &[
            "INSERT INTO backed_up_keys (user_nid, version, room_id, session_id,
                 first_message_index, forwarded_count, is_verified, session_data)
                 VALUES (1, 7, '!a', 's', 0, 0, FALSE, '{}')",
        ],
    },
    Damage {
        checks: &["key_backups-count", "key_backups-user_nid"],
        does: &[
            "INSERT INTO key_backups (user_nid, version, algorithm, auth_data, etag,
                 key_count, size_bytes, deleted) VALUES (987654, 7, 'x', '{}', 1, 1, 1, FALSE)",
        ],
    },
    Damage {
        checks: &["event-json-missing"],
        does: &["DELETE FROM event_json WHERE event_nid = (SELECT MIN(event_nid) FROM events)"],
    },
    Damage {
        checks: &["event-json-damaged"],
        does: &["UPDATE event_json SET json = '{\"no\":\"event\"}'
                 WHERE event_nid = (SELECT MIN(event_nid) FROM events)"],
    },
    Damage {
        checks: &["unreadable"],
        does: &[
            "UPDATE event_json SET json = SUBSTR(json, 1, LENGTH(json) - 1)
                 WHERE event_nid = (SELECT MIN(event_nid) FROM events)",
        ],
    },
    Damage {
        checks: &["event_json-event_nid"],
        does: &[
            "INSERT INTO event_json (event_nid, json) SELECT 987654, json FROM event_json
                 WHERE event_nid = (SELECT MIN(event_nid) FROM event_json)",
        ],
    },
    Damage {
        checks: &["event-id", "event-row", "prev-edges", "auth-edges"],
        does: &["UPDATE event_json SET json = (SELECT json FROM event_json
                 WHERE event_nid = (SELECT MIN(event_nid) FROM event_json))
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["event-row"],
        does: &["UPDATE events SET origin_server_ts = 12
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events)"],
    },
    Damage {
        checks: &["prev-edges", "extremity-missing"],
        does: &["DELETE FROM event_edges WHERE event_nid =
                 (SELECT MAX(d.event_nid) FROM event_edges d JOIN events e
                  ON e.event_nid = d.event_nid WHERE e.outbound)"],
    },
    Damage {
        checks: &["auth-edges"],
        does: &["DELETE FROM event_auth WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0 AND outbound)"],
    },
    Damage {
        checks: &["cycle", "prev-edges"],
        does: &["INSERT INTO event_edges (event_nid, prev_nid)
                 SELECT MIN(d.prev_nid), MIN(d.event_nid) FROM event_edges d
                 WHERE d.event_nid = (SELECT MAX(event_nid) FROM event_edges)"],
    },
    Damage {
        checks: &["auth-cycle", "auth-edges"],
        does: &["INSERT INTO event_auth (event_nid, auth_nid)
                 SELECT MIN(a.auth_nid), MIN(a.event_nid) FROM event_auth a
                 WHERE a.event_nid = (SELECT MAX(event_nid) FROM events WHERE outbound)"],
    },
    Damage {
        checks: &["depth"],
        does: &["UPDATE events SET depth = depth + 1 WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE outbound)"],
    },
    Damage {
        checks: &["extremity-has-child"],
        does: &["INSERT INTO forward_extremities (room_nid, event_nid)
                 SELECT room_nid, MIN(event_nid) FROM events WHERE outbound AND fate = 0
                 GROUP BY room_nid ORDER BY room_nid LIMIT 1"],
    },
    Damage {
        checks: &["extremities-none", "extremity-missing"],
        does: &["DELETE FROM forward_extremities WHERE room_nid =
                 (SELECT MIN(room_nid) FROM forward_extremities)"],
    },
    Damage {
        checks: &["extremity-not-accepted"],
        does: &["INSERT INTO forward_extremities (room_nid, event_nid)
                 SELECT room_nid, event_nid FROM events WHERE fate = 3
                 ORDER BY event_nid LIMIT 1"],
    },
    Damage {
        checks: &["snapshot-damaged"],
        does: &[
            "UPDATE state_snapshots SET delta = SUBSTR(delta, 1, LENGTH(delta) - 1)
                 WHERE snapshot_nid = (SELECT snapshot_nid FROM rooms
                 WHERE snapshot_nid IS NOT NULL ORDER BY room_nid LIMIT 1)",
        ],
    },
    Damage {
        checks: &["state_snapshots-base_nid", "snapshot-base"],
        does: &[
            "UPDATE state_snapshots SET base_nid = 987654 WHERE snapshot_nid =
                 (SELECT MAX(snapshot_nid) FROM state_snapshots WHERE base_nid IS NOT NULL)",
        ],
    },
    Damage {
        checks: &["events-snapshot_nid"],
        does: &["UPDATE events SET snapshot_nid = 987654 WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["state-after-event"],
        does: &[
            "UPDATE events SET snapshot_nid = (SELECT e.snapshot_nid FROM events e
                     WHERE e.room_nid = events.room_nid AND e.fate = 0
                     ORDER BY e.event_nid LIMIT 1)
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events
                     WHERE outbound AND fate = 0 AND state_key_nid IS NOT NULL)",
        ],
    },
    Damage {
        checks: &["current-state", "state-changes", "membership"],
        does: &[
            "UPDATE rooms SET snapshot_nid = (SELECT e.snapshot_nid FROM events e
                     WHERE e.room_nid = rooms.room_nid AND e.snapshot_nid IS NOT NULL
                     ORDER BY e.event_nid LIMIT 1) WHERE room_nid =
                 (SELECT room_nid FROM events WHERE outbound ORDER BY event_nid LIMIT 1)",
        ],
    },
    Damage {
        checks: &["accepted-without-state"],
        does: &["UPDATE events SET snapshot_nid = NULL WHERE event_nid =
                 (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["membership"],
        does: &["UPDATE memberships SET membership = 'ban' WHERE membership = 'join'"],
    },
    Damage {
        checks: &["membership"],
        does: &["DELETE FROM memberships WHERE membership = 'join'"],
    },
    Damage {
        checks: &["memberships-event_nid"],
        does: &["UPDATE memberships SET event_nid = 987654 WHERE membership = 'join'"],
    },
    Damage {
        checks: &["state-changes"],
        does: &["UPDATE state_changes SET event_nid = NULL WHERE position =
                 (SELECT MAX(position) FROM state_changes)"],
    },
    Damage {
        checks: &["events-ahead-of-log", "state_changes-ahead-of-log"],
        does: &["UPDATE log_head SET position = 3"],
    },
    Damage {
        checks: &["log-head-missing"],
        does: &["DELETE FROM log_head"],
    },
    Damage {
        checks: &["position-twice"],
        does: &["UPDATE events SET live_position =
                     (SELECT MIN(live_position) FROM events WHERE fate = 0)
                 WHERE event_nid = (SELECT MAX(event_nid) FROM events WHERE fate = 0)"],
    },
    Damage {
        checks: &["event-ids-not-reserved"],
        does: &["UPDATE nid_blocks SET next = 2 WHERE kind = 'event'"],
    },
    Damage {
        checks: &["redacted-by", "redaction-unrecorded"],
        does: &["DELETE FROM redactions"],
    },
    Damage {
        checks: &["redaction-lost"],
        does: &["UPDATE events SET redacted_by = NULL"],
    },
    Damage {
        checks: &["events-sender_nid", "users-server_nid"],
        does: &[
            "DELETE FROM users WHERE user_nid = (SELECT MIN(sender_nid) FROM events)",
            "UPDATE users SET server_nid = 987654 WHERE user_nid =
             (SELECT MAX(sender_nid) FROM events)",
        ],
    },
    Damage {
        checks: &["purpose_tokens-device", "refresh_tokens-device"],
        does: &[
            "INSERT INTO refresh_tokens (user_nid, device_id, family_hash) VALUES (1, 'NONE', 'f')",
            "INSERT INTO purpose_tokens (token_hash, purpose, user_nid, device_id, expires_at_ms)
             VALUES ('t', 'login', 1, 'NONE', 1)",
        ],
    },
    Damage {
        checks: &["access_tokens-device", "to_device-device"],
        does: &["DELETE FROM devices"],
    },
    Damage {
        checks: &["room-version-unknown"],
        does: &["UPDATE rooms SET version = 'org.example'"],
    },
    Damage {
        checks: &["fate-unknown"],
        does: &["UPDATE events SET fate = 9 WHERE event_nid = (SELECT MAX(event_nid) FROM events)"],
    },
];

/// The first message that follows events with different states.
macro_rules! merge {
    () => {
        "(SELECT MIN(m.event_nid) FROM events m
          WHERE m.state_key_nid IS NULL AND m.live_position IS NOT NULL AND
              (SELECT COUNT(DISTINCT p.snapshot_nid) FROM event_edges d
               JOIN events p ON p.event_nid = d.prev_nid WHERE d.event_nid = m.event_nid) > 1)"
    };
}

pub(super) const MERGE_ID: &str =
    concat!("SELECT event_id FROM events WHERE event_nid = ", merge!());

/// Gives it the state after one of them alone.
pub(super) const MERGE: &str = concat!(
    "UPDATE events SET snapshot_nid =
         (SELECT MAX(p.snapshot_nid) FROM event_edges d JOIN events p ON p.event_nid = d.prev_nid
          WHERE d.event_nid = events.event_nid AND p.snapshot_nid <> events.snapshot_nid)
     WHERE event_nid = ",
    merge!()
);
