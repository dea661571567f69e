//! The bodies of good requests.

use hearth::routes::Row;
use serde_json::{Value, json};

use super::{Account, FREE_FORM, Place};

/// What a row is sent: empty where nothing else is said.
pub(super) fn body(row: &Row, place: &Place, by: &Account) -> Value {
    match row.name {
        _ if FREE_FORM.contains(&row.name) => json!({ "body": "hello" }),
        "invite_user" | "kick_user" | "ban_user" | "unban_user" => {
            json!({ "user_id": place.mallory.user_id, "reason": "r" })
        }
        "join_room_by_id" | "join_room_by_id_or_alias" | "knock_room" | "leave_room" => {
            json!({ "reason": "r" })
        }
        "create_alias" => json!({ "room_id": place.room_id }),
        "set_room_visibility" => json!({ "visibility": "public" }),
        "get_public_rooms_filtered" => {
            json!({ "limit": 1, "filter": { "generic_search_term": "x" } })
        }
        "upgrade_room" => json!({
            "new_version": "12", "additional_creators": [place.mallory.user_id],
        }),
        "report_room" | "report_content" | "report_user" => json!({ "reason": "r" }),
        "create_room" => json!({
            "name": "n", "topic": "t", "preset": "private_chat", "visibility": "private",
            "invite": [place.mallory.user_id], "creation_content": {},
            "initial_state": [{ "type": "org.test", "state_key": "", "content": {} }],
            "room_version": "12", "power_level_content_override": {}, "is_direct": false,
        }),
        "redact_event" => json!({ "reason": "r" }),
        "set_read_marker" => json!({ "m.read": place.event_id, "m.fully_read": place.event_id }),
        "create_typing_event" => json!({ "typing": true, "timeout": 1 }),
        _ => personal(row, place, by),
    }
}

/// What people keep and how they see their rooms.
fn personal(row: &Row, place: &Place, by: &Account) -> Value {
    match row.name {
        "set_profile_field" => json!({ "displayname": "A" }),
        "create_tag" => json!({ "order": 0.5 }),
        "search_users" => json!({ "search_term": "x", "limit": 1 }),
        "create_filter" => json!({
            "room": {
                "rooms": [place.room_id], "include_leave": true,
                "timeline": { "limit": 1, "types": ["m.x"], "lazy_load_members": true },
                "state": { "not_senders": [by.user_id], "contains_url": true },
            },
            "presence": { "limit": 1 }, "event_fields": ["type"],
        }),
        "sliding_sync" => json!({
            "conn_id": "c",
            "lists": { "all": {
                "ranges": [[0, 1]], "timeline_limit": 1, "required_state": [["m.x", "*"]],
                "filters": { "is_dm": false, "spaces": [place.room_id], "tags": ["u.x"] },
            } },
            "room_subscriptions": { (place.room_id.clone()): { "timeline_limit": 1 } },
            "extensions": {
                "to_device": { "enabled": true, "since": "1" }, "e2ee": { "enabled": true },
                "receipts": { "lists": ["all"], "rooms": [place.room_id] },
            },
        }),
        "set_presence" => json!({ "presence": "online", "status_msg": "s" }),
        "set_pushrule" => json!({
            "actions": ["notify"],
            "conditions": [{ "kind": "event_match", "key": "type", "pattern": "m.x" }],
        }),
        "set_pushrule_actions" => json!({ "actions": [] }),
        "set_pushrule_enabled" => json!({ "enabled": true }),
        _ => account(row, place, by),
    }
}

/// Accounts, sessions and devices.
fn account(row: &Row, place: &Place, by: &Account) -> Value {
    match row.name {
        "register" => json!({
            "username": "carol", "password": "p", "device_id": "D", "auth": {},
            "initial_device_display_name": "n", "inhibit_login": true,
        }),
        "login" => json!({
            "type": "m.login.password", "password": "p", "device_id": "D",
            "identifier": { "type": "m.id.user", "user": "alice" },
        }),
        "refresh_token" => json!({ "refresh_token": "r" }),
        "get_login_token" => json!({ "auth": {} }),
        "deactivate" => json!({ "erase": true, "auth": {} }),
        "register_signed" => json!({
            "nonce": "n", "username": "carol", "password": "p", "admin": false, "mac": "00",
        }),
        "lock_user" => json!({ "locked": true }),
        "suspend_user" => json!({ "suspended": true }),
        "change_password" => json!({ "new_password": "p", "logout_devices": true, "auth": {} }),
        "update_device" => json!({ "display_name": "n" }),
        "delete_device" => json!({ "auth": {} }),
        "delete_devices" => json!({ "devices": [by.device_id], "auth": {} }),
        _ => keys(row, place, by),
    }
}

/// What encryption needs.
fn keys(row: &Row, place: &Place, by: &Account) -> Value {
    match row.name {
        "upload_keys" => json!({ "device_keys": {}, "one_time_keys": {}, "fallback_keys": {} }),
        "get_keys" => json!({ "device_keys": { (by.user_id.clone()): [by.device_id] } }),
        "claim_keys" => json!({ "one_time_keys": {
            (by.user_id.clone()): { (by.device_id.clone()): "signed_curve25519" },
        } }),
        "upload_signing_keys" => json!({ "master_key": {}, "self_signing_key": {} }),
        "upload_signatures" => json!({ (by.user_id.clone()): {} }),
        "send_event_to_device" => {
            json!({ "messages": { (place.mallory.user_id.clone()): { "*": { "a": 1 } } } })
        }
        "create_backup_version" | "update_backup_version" => json!({
            "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {},
        }),
        "add_backup_keys" => json!({ "rooms": {} }),
        "add_backup_keys_for_room" => json!({ "sessions": {} }),
        "add_backup_keys_for_session" => json!({
            "first_message_index": 0, "forwarded_count": 0, "is_verified": false,
            "session_data": {},
        }),
        "put_dehydrated_device" => json!({ "device_id": "D", "device_data": {} }),
        _ => beyond(row),
    }
}

/// What other servers and administrators send.
fn beyond(row: &Row) -> Value {
    match row.name {
        "send_transaction_message" => json!({ "origin": "two.test", "pdus": [], "edus": [] }),
        "create_invite" => json!({ "room_version": "12", "event": {}, "invite_room_state": [] }),
        "get_missing_events" => json!({ "latest_events": [], "earliest_events": [], "limit": 1 }),
        "user_create" => json!({
            "localpart": "carol", "password": "p", "display_name": "n", "admin": false,
        }),
        "user_password" => json!({ "password": "p", "log_out": true }),
        "user_moderate" => json!({ "locked": true, "suspended": true }),
        "user_deactivate" => json!({ "erase": true }),
        "user_token" => json!({ "device_id": "D", "display_name": "n" }),
        "registration_token_create" => json!({
            "token": "t", "uses_allowed": 1, "expires_ts_ms": 4_102_444_800_000_i64,
        }),
        _ => json!({}),
    }
}
