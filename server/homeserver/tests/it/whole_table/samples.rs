//! What a good request to each row looks like, and where a row differs from the rule. A new row
//! needs a line here only if it has variables, a query or a body that no other has.

mod bodies;

use hearth::{http::auth::AuthClass, routes::Row};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::place::{Account, Place, SIGNED};

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

/// Rows of a room that are for some who are not in it: which, and why.
pub(super) const DOORS: &[(&str, &[&str], &str)] = &[
    ("join_room_by_id", &["is invited"], "an invite is taken"),
    (
        "join_room_by_id_or_alias",
        &["is invited"],
        "an invite is taken",
    ),
    (
        "leave_room",
        &["is invited", "left"],
        "an invite is refused; who left may leave again",
    ),
    (
        "get_summary",
        &["is invited"],
        "an invite shows what it is for",
    ),
    (
        "get_hierarchy",
        &["is invited"],
        "an invite shows what it is for",
    ),
];

/// Variables of paths that have a grammar.
pub(super) const IDS: &[&str] = &[
    "room_id",
    "room_id_or_alias",
    "user_id",
    "event_id",
    "room_alias",
];

/// Parameters that are no free text: `~` is none of their values.
pub(super) const TYPED: &[&str] = &[
    "at",
    "dir",
    "filter",
    "from",
    "full_state",
    "include",
    "limit",
    "max_depth",
    "membership",
    "recurse",
    "set_presence",
    "since",
    "suggested_only",
    "timeout",
    "to",
    "ts",
    "use_state_after",
];

/// Fields whose insides are content, or an open set of the client's own: the row (or all, `*`), and
/// where in the body.
pub(super) const OPEN: &[(&str, &str)] = &[
    ("*", "/auth"),
    ("create_room", "/creation_content"),
    ("create_room", "/initial_state/0/content/"),
    ("create_room", "/power_level_content_override"),
    ("send_event_to_device", "/messages/"),
];

/// Rows whose sample is refused as it is, and why.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("registration_nonce", "the shared secret is not set"),
    ("register_signed", "the shared secret is not set"),
    ("forget_room", "Alice is in the room"),
    ("get_key_changes", "its tokens are of one server's past"),
    ("get_dehydrated_events", "its token is of one server's past"),
    ("upload_keys", "keys are signed: keys.rs breaks good ones"),
    (
        "upload_signing_keys",
        "keys are signed: keys.rs breaks good ones",
    ),
    (
        "put_dehydrated_device",
        "keys are signed: dehydrated_devices.rs breaks good ones",
    ),
    (
        "create_join_event",
        "events are signed: strangers.rs breaks good ones",
    ),
    (
        "create_knock_event",
        "events are signed: strangers.rs breaks good ones",
    ),
    (
        "create_leave_event",
        "events are signed: strangers.rs breaks good ones",
    ),
    (
        "create_invite",
        "events are signed: strangers.rs breaks good ones",
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
        body: bodies::body(row, place, by),
    }
}

/// The header of a good request by somebody.
pub(super) fn credentials(row: &Row, by: &Account) -> Option<String> {
    match row.auth {
        AuthClass::AccessToken | AuthClass::OptionalAccessToken => {
            Some(format!("authorization: Bearer {}", by.token))
        }
        AuthClass::ServerSignature => Some(SIGNED.to_owned()),
        AuthClass::None | AuthClass::OptionalAppserviceToken | AuthClass::Administrator => None,
    }
}

const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

pub(super) fn path_of(segments: &[Segment]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        match segment {
            Segment::Fixed(text) => path.push_str(text),
            Segment::Variable { value, .. } => {
                path.extend(utf8_percent_encode(value, COMPONENT));
            }
        }
    }
    path
}

pub(super) fn with_query(path: &str, query: &[(&'static str, String)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, COMPONENT)))
        .collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

impl Sample {
    /// Path and query, as a request names them.
    pub(super) fn target(&self) -> String {
        with_query(&path_of(&self.path), &self.query)
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
        "get_message_events" => &[("dir", "b"), ("limit", "1"), ("filter", "{}")],
        "get_member_events" => &[("membership", "join")],
        "get_username_availability" => &[("username", "bob")],
        "check_registration_token_validity" => &[("token", "t")],
        "get_key_changes" => &[("from", "x"), ("to", "x")],
        "sync_events" => &[
            ("timeout", "0"),
            ("filter", "{}"),
            ("full_state", "true"),
            ("set_presence", "offline"),
            ("use_state_after", "true"),
        ],
        "sliding_sync" => &[("timeout", "0"), ("set_presence", "offline")],
        "get_profile_information" => &[("user_id", "@alice:one.test"), ("field", "displayname")],
        "get_backfill" => &[("v", "$x"), ("limit", "1")],
        "get_room_state" | "get_room_state_ids" => &[("event_id", "$x")],
        "prepare_join_event" | "prepare_knock_event" => &[("ver", "12")],
        "get_openid_userinfo" => &[("access_token", "x")],
        name if name.contains("backup_keys") => &[("version", "1")],
        "get_event_by_timestamp" => &[("ts", "1"), ("dir", "f")],
        "get_context" => &[("limit", "1"), ("filter", "{}")],
        "get_hierarchy" => &[
            ("limit", "1"),
            ("max_depth", "1"),
            ("suggested_only", "true"),
            ("from", "0.1.true"),
        ],
        "get_threads" => &[("limit", "1"), ("include", "all")],
        "get_public_rooms" => &[("limit", "1"), ("server", "one.test")],
        "get_room_information" => &[("room_alias", "#a:one.test")],
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
