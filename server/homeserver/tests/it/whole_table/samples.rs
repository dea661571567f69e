//! What a good request to each row looks like, and where a row differs from the rule. A new row
//! needs a line here only if it has variables, a query or a body that no other has.

use hearth::routes::Row;
use serde_json::{Value, json};

use super::place::{Account, Place};

/// A good request to a row.
#[derive(Debug)]
pub(super) struct Sample {
    /// The first path of the row with values in place of its variables.
    pub(super) path: Vec<Segment>,
    /// Parameters that are needed, or worth breaking.
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Value,
}

/// A piece of a path.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Fixed(String),
    Variable { name: String, value: String },
}

/// Rows that read no body though their method could carry one.
pub(super) const WITHOUT_BODY: &[&str] = &[
    "logout",
    "logout_all",
    "forget_room",
    "request_openid_token",
];

/// Rows whose body is content: any JSON object is good.
pub(super) const FREE_FORM: &[&str] = &[
    "send_message_event",
    "send_state_event",
    "set_global_account_data",
    "set_room_account_data",
];

/// Rows whose body is taken piece by piece, so that what is wrong with one harms no other.
pub(super) const PIECEWISE: &[(&str, &str)] =
    &[("send_transaction_message", "one bad event harms no other")];

/// Rows of a room that do not ask whether the caller is in it.
pub(super) const ANYBODYS_ROOM: &[(&str, &str)] = &[
    (
        "set_room_account_data",
        "what people keep about a room is theirs, whoever is in it",
    ),
    ("get_tags", "tags are room account data"),
    ("create_tag", "tags are room account data"),
    ("delete_tag", "tags are room account data"),
    (
        "forget_room",
        "what one never was in is as good as forgotten",
    ),
    ("report_room", "the answer is always the same"),
    ("report_content", "the answer is always the same"),
    (
        "room_show",
        "who looks after the server sees every room from outside",
    ),
];

/// The sample of a row, as somebody sends it.
pub(super) fn sample(row: &Row, place: &Place, by: &Account) -> Sample {
    let path = row.paths[0].split('/').skip(1).map(|segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match name {
            None => Segment::Fixed(segment.to_owned()),
            Some(name) => Segment::Variable {
                name: name.to_owned(),
                value: variable(row, name, place, by),
            },
        }
    });
    Sample {
        path: path.collect(),
        query: query(row),
        body: body(row, place, by),
    }
}

fn variable(row: &Row, name: &str, place: &Place, by: &Account) -> String {
    let text = match name.trim_start_matches('*') {
        "room_id" | "room_id_or_alias" => &place.room_id,
        "event_id" => &place.event_id,
        "user_id" => &by.user_id,
        "device_id" => &by.device_id,
        "filter_id" => &place.filter_id,
        "event_type" => match row.name {
            "send_state_event" | "get_state_event_for_key" => "org.test.state",
            _ => "org.test.event",
        },
        "state_key" | "txn_id" | "transaction_id" | "key_id" | "session_id" => "k",
        "version" | "id" => "1",
        "receipt_type" => "m.read",
        "field" | "field_name" | "key_name" => "displayname",
        "room_alias" => "#alias:one.test",
        "tag" => "u.work",
        "rel_type" => "m.thread",
        "kind" => "override",
        "token" => "t",
        "rule_id" => match row.name {
            "set_pushrule" | "delete_pushrule" => "mine",
            _ => ".m.rule.master",
        },
        other => panic!(
            "{row:?}: the test of bad input knows no value for `{other}`; add one to `variable` in {}",
            file!()
        ),
    };
    text.to_owned()
}

fn query(row: &Row) -> Vec<(&'static str, String)> {
    let pairs: &[(&str, &str)] = match row.name {
        "get_message_events" => &[("dir", "b"), ("limit", "1")],
        "get_username_availability" => &[("username", "bob")],
        "check_registration_token_validity" => &[("token", "t")],
        "get_key_changes" => &[("from", "x"), ("to", "x")],
        "sync_events" => &[("since", "x"), ("timeout", "0"), ("filter", "{}")],
        "sliding_sync" => &[("timeout", "0"), ("set_presence", "offline")],
        "query_profile" => &[("user_id", "@alice:one.test"), ("field", "displayname")],
        "get_backfill" => &[("v", "$x"), ("limit", "1")],
        "get_state" | "get_state_ids" => &[("event_id", "$x")],
        "make_join" | "make_knock" => &[("ver", "12")],
        name if name.contains("backup_keys") => &[("version", "1")],
        "get_event_by_timestamp" => &[("ts", "1"), ("dir", "f")],
        "get_context" => &[("limit", "1"), ("filter", "{}")],
        "get_hierarchy" => &[("limit", "1"), ("from", "0.100.false")],
        "get_threads" => &[("limit", "1"), ("include", "all")],
        "get_public_rooms" => &[("limit", "1"), ("since", "x"), ("server", "one.test")],
        "query_directory" => &[("room_alias", "#a:one.test")],
        "get_relating_events" => &[("dir", "b"), ("limit", "1"), ("recurse", "true")],
        "get_dehydrated_events" => &[("from", "x")],
        "get_mutual_rooms" => &[("user_id", "@bob:one.test"), ("from", "0")],
        _ => &[],
    };
    pairs
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

fn body(row: &Row, place: &Place, by: &Account) -> Value {
    match row.name {
        _ if FREE_FORM.contains(&row.name) => json!({ "body": "hello" }),
        "invite_user" | "kick_user" | "ban_user" | "unban_user" => {
            json!({ "user_id": place.mallory.user_id, "reason": "r" })
        }
        "join_room_by_id" | "join_room_by_id_or_alias" | "knock_room" | "leave_room" => {
            json!({ "reason": "r" })
        }
        "set_profile_field" => json!({ "displayname": "A" }),
        "create_alias" => json!({ "room_id": place.room_id }),
        "set_room_visibility" => json!({ "visibility": "public" }),
        "get_public_rooms_filtered" => {
            json!({ "limit": 1, "filter": { "generic_search_term": "x" } })
        }
        "upgrade_room" => json!({ "new_version": "12", "additional_creators": [] }),
        "create_tag" => json!({ "order": 0.5 }),
        "report_room" | "report_content" | "report_user" => json!({ "reason": "r" }),
        "search_users" => json!({ "search_term": "x", "limit": 1 }),
        "create_room" => json!({
            "name": "n", "topic": "t", "preset": "private_chat", "visibility": "private",
            "invite": [place.mallory.user_id], "initial_state": [], "creation_content": {},
            "room_version": "12", "power_level_content_override": {}, "is_direct": false,
        }),
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
        "create_filter" => json!({ "room": {}, "presence": {} }),
        "upload_keys" => json!({ "device_keys": {}, "one_time_keys": {}, "fallback_keys": {} }),
        "get_keys" => json!({ "device_keys": {} }),
        "claim_keys" => json!({ "one_time_keys": {} }),
        "upload_signing_keys" => json!({ "master_key": {}, "self_signing_key": {} }),
        "upload_signatures" => json!({ (by.user_id.clone()): {} }),
        "send_event_to_device" => {
            json!({ "messages": { (place.mallory.user_id.clone()): { "*": { "a": 1 } } } })
        }
        "sliding_sync" => json!({
            "conn_id": "c", "lists": {}, "room_subscriptions": {}, "extensions": {},
        }),
        "redact_event" => json!({ "reason": "r" }),
        "set_read_marker" => json!({ "m.read": place.event_id, "m.fully_read": place.event_id }),
        "create_typing_event" => json!({ "typing": true, "timeout": 1 }),
        "set_presence" => json!({ "presence": "online", "status_msg": "s" }),
        "set_pushrule" => json!({ "actions": [], "conditions": [] }),
        "set_pushrule_actions" => json!({ "actions": [] }),
        "set_pushrule_enabled" => json!({ "enabled": true }),
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
        "send_transaction_message" => json!({ "origin": "two.test", "pdus": [], "edus": [] }),
        "get_missing_events" => json!({ "latest_events": [], "earliest_events": [], "limit": 1 }),
        "user_create" => json!({ "username": "carol", "password": "p", "admin": false }),
        "user_password" => json!({ "password": "p" }),
        "user_moderate" => json!({ "locked": true, "suspended": true }),
        "user_deactivate" => json!({ "erase": true }),
        "user_token" => json!({ "device_id": "D", "display_name": "n" }),
        "registration_token_create" => json!({
            "token": "t", "uses_allowed": 1, "expires_ts_ms": 1,
        }),
        _ => json!({}),
    }
}
