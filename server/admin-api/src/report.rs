use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What somebody reported to the administrators: an event, a room, or a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// Who reported it.
    pub reporter: String,
    /// The room that was reported, or that the event is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<String>,
    /// The event that was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The person who was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Why, in the words of who reported it.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub received_ts_ms: i64,
    /// The event as its reporter sees it; where one report is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
}

/// One page of reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportList {
    /// The reports of this page, the newest first.
    pub reports: Vec<Report>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
