//! What a client asks of sliding sync, as it stands in the body.
//!
//! spec: MSC4186, in the form of the unstable endpoint; the names that the proposal gave things
//! later (`range`, `is_invited`) are read too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_types::ruma::RoomId;
use serde::Deserialize;

use super::super::SyncError;
use crate::accounts::Session;
use crate::presence::Status;

/// Lists, and rooms subscribed to, in one request.
const RULES_MAX: usize = 100;

/// Entries of one `required_state`.
const WANTED_MAX: usize = 1_000;

/// Bytes of the name of a connection or of a list.
const NAME_MAX_BYTES: usize = 255;

/// Timeline events of a room in one answer.
const TIMELINE_MAX: u64 = 100;

/// A request of sliding sync.
#[derive(Debug)]
pub struct SlidingRequest {
    /// Who, and on which device.
    pub session: Arc<Session>,
    /// Where the client stands: the `pos` of the last answer that it took in. This, not the body's,
    /// is what counts.
    pub pos: Option<String>,
    /// How long to wait for something new.
    pub timeout: Duration,
    /// The rest.
    pub body: SlidingBody,
}

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SlidingBody {
    /// Which of the device's connections this is.
    pub conn_id: Option<String>,
    /// Given back with the answer.
    pub txn_id: Option<String>,
    /// Where the client stands, unless the query says so.
    pub pos: Option<String>,
    /// How many milliseconds to wait, unless the query says so.
    pub timeout: Option<u64>,
    /// What the request says of the person's presence, unless the query says so.
    pub set_presence: Option<String>,
    /// Windows into the person's rooms, by name.
    pub lists: BTreeMap<String, List>,
    /// Rooms that are wanted whatever window they are in.
    pub room_subscriptions: BTreeMap<String, RoomRule>,
    /// What is wanted besides rooms.
    pub extensions: Extensions,
}

/// What is wanted of a room.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RoomRule {
    /// How many of its newest events.
    pub timeline_limit: u64,
    /// Which state: pairs of type and state key.
    pub required_state: Vec<(String, String)>,
}

/// A window into the person's rooms.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct List {
    ranges: Option<Vec<(u64, u64)>>,
    range: Option<(u64, u64)>,
    timeline_limit: u64,
    required_state: Vec<(String, String)>,
    /// Which rooms are in the list.
    pub filters: Option<Filters>,
}

/// Which rooms are in a list; what is left out filters nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Whether the person's `m.direct` names the room.
    pub is_dm: Option<bool>,
    /// Rooms that one of these spaces names as its child.
    pub spaces: Option<Vec<String>>,
    /// Whether the room is encrypted.
    pub is_encrypted: Option<bool>,
    /// Whether the person is invited to it.
    #[serde(alias = "is_invited")]
    pub is_invite: Option<bool>,
    /// Its type is one of these; none stands for a room without one.
    pub room_types: Option<Vec<Option<String>>>,
    /// Its type is none of these.
    pub not_room_types: Option<Vec<Option<String>>>,
    /// It has one of these tags.
    pub tags: Option<Vec<String>>,
    /// It has none of these tags.
    pub not_tags: Option<Vec<String>>,
}

/// What is wanted besides rooms.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Extensions {
    /// Messages to the device.
    pub to_device: Option<ToDeviceAsked>,
    /// Device lists and the device's keys.
    pub e2ee: Option<Asked>,
    /// What the person keeps, globally and with rooms.
    pub account_data: Option<Asked>,
    /// Up to where people have read.
    pub receipts: Option<Asked>,
    /// Who is typing.
    pub typing: Option<Asked>,
}

/// Messages to the device.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToDeviceAsked {
    enabled: Option<bool>,
    /// Where the client stands in them.
    pub since: Option<String>,
}

/// An extension, and of which rooms it is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    enabled: Option<bool>,
    /// Of the rooms of these lists; of all where it is left out.
    pub lists: Option<Vec<String>>,
    /// Of these rooms among those subscribed to (`*` for all); of all where it is left out.
    pub rooms: Option<Vec<String>>,
}

impl List {
    /// Whether a place in the list is within its window.
    pub(super) fn has(&self, place: u64) -> bool {
        let within = |&(first, last): &(u64, u64)| (first..=last).contains(&place);
        match (&self.ranges, &self.range) {
            (None, None) => true,
            (ranges, range) => ranges.iter().flatten().chain(range).any(within),
        }
    }

    /// What is wanted of its rooms.
    pub(super) fn rule(&self) -> (usize, &[(String, String)]) {
        (limit(self.timeline_limit), &self.required_state)
    }

    fn check(&self) -> Result<(), SyncError> {
        let mut ranges = self.ranges.iter().flatten().chain(&self.range);
        if ranges.any(|(first, last)| first > last) {
            return Err(invalid("ranges", "must each begin before they end"));
        }
        Ok(())
    }
}

impl RoomRule {
    /// What is wanted of the room.
    pub(super) fn rule(&self) -> (usize, &[(String, String)]) {
        (limit(self.timeline_limit), &self.required_state)
    }
}

fn limit(asked: u64) -> usize {
    usize::try_from(asked.min(TIMELINE_MAX)).unwrap_or_default()
}

impl Extensions {
    /// Messages to the device, if they are wanted.
    pub(super) fn to_device(&self) -> Option<&ToDeviceAsked> {
        self.to_device
            .as_ref()
            .filter(|it| it.enabled == Some(true))
    }

    /// Whether the device's encryption is of interest.
    pub(super) fn wants_e2ee(&self) -> bool {
        enabled(self.e2ee.as_ref()).is_some()
    }

    /// Account data, if it is wanted.
    pub(super) fn account_data(&self) -> Option<&Asked> {
        enabled(self.account_data.as_ref())
    }

    /// Receipts, if they are wanted.
    pub(super) fn receipts(&self) -> Option<&Asked> {
        enabled(self.receipts.as_ref())
    }

    /// Who is typing, if it is wanted.
    pub(super) fn typing(&self) -> Option<&Asked> {
        enabled(self.typing.as_ref())
    }
}

fn enabled(asked: Option<&Asked>) -> Option<&Asked> {
    asked.filter(|asked| asked.enabled == Some(true))
}

impl SlidingBody {
    /// The name of the connection.
    #[must_use]
    pub fn connection(&self) -> &str {
        self.conn_id.as_deref().unwrap_or_default()
    }

    /// What asking says of the person's presence.
    pub(super) fn status(&self) -> Status {
        match self.set_presence.as_deref() {
            Some("offline") => Status::Offline,
            Some("unavailable") => Status::Unavailable,
            _ => Status::Online,
        }
    }

    /// Refuses what breaks a rule or asks for more than anybody needs.
    pub(super) fn check(&self) -> Result<(), SyncError> {
        if self.connection().len() > NAME_MAX_BYTES || self.connection().contains('\0') {
            return Err(invalid(
                "conn_id",
                "must have at most 255 bytes, none of them 0",
            ));
        }
        let presence = self.set_presence.as_deref();
        if !matches!(presence, None | Some("online" | "offline" | "unavailable")) {
            let rule = "must be `online`, `offline` or `unavailable`";
            return Err(invalid("set_presence", rule));
        }
        if self.lists.len() > RULES_MAX {
            return Err(invalid("lists", "must be at most 100"));
        }
        if self.room_subscriptions.len() > RULES_MAX {
            return Err(invalid("room_subscriptions", "must be at most 100"));
        }
        if self.lists.keys().any(|name| name.len() > NAME_MAX_BYTES) {
            return Err(invalid("lists", "must have names of at most 255 bytes"));
        }
        for list in self.lists.values() {
            list.check()?;
        }
        if self
            .room_subscriptions
            .keys()
            .any(|id| RoomId::parse(id).is_err())
        {
            return Err(invalid("room_subscriptions", "must be named by room ids"));
        }
        let listed = self.lists.values().map(|list| &list.required_state);
        let subscribed = self.room_subscriptions.values();
        let mut wanted = listed.chain(subscribed.map(|rule| &rule.required_state));
        if wanted.any(|wanted| wanted.len() > WANTED_MAX) {
            return Err(invalid("required_state", "must have at most 1,000 entries"));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, rule: &str) -> SyncError {
    SyncError::Invalid {
        field,
        rule: rule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(json: serde_json::Value) -> SlidingBody {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_window_is_one_range_many_or_everything() {
        let list = |json| serde_json::from_value::<List>(json).unwrap();
        let two = list(json!({ "ranges": [[0, 1], [5, 5]] }));
        assert_eq!(
            (0..7).filter(|at| two.has(*at)).collect::<Vec<_>>(),
            [0, 1, 5]
        );
        let one = list(json!({ "range": [2, 3] }));
        assert_eq!((0..7).filter(|at| one.has(*at)).collect::<Vec<_>>(), [2, 3]);
        assert!(list(json!({})).has(1_000_000));
        assert!(!list(json!({ "ranges": [] })).has(0));
    }

    #[test]
    fn what_asks_for_too_much_is_refused() {
        let lists: BTreeMap<String, serde_json::Value> =
            (0..101).map(|n| (n.to_string(), json!({}))).collect();
        let state: Vec<[String; 2]> = (0..1_001).map(|n| [n.to_string(), String::new()]).collect();
        for wrong in [
            json!({ "lists": lists }),
            json!({ "conn_id": "x".repeat(256) }),
            json!({ "conn_id": "a\0" }),
            json!({ "set_presence": "asleep" }),
            json!({ "lists": { "a": { "ranges": [[3, 2]] } } }),
            json!({ "lists": { "a": { "required_state": state } } }),
            json!({ "room_subscriptions": { "no room": {} } }),
        ] {
            assert!(body(wrong.clone()).check().is_err(), "{wrong}");
        }
        assert!(body(json!({ "conn_id": "room-list" })).check().is_ok());
    }
}
