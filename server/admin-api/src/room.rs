use serde::{Deserialize, Serialize};

/// A room that this server takes or took part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its id.
    pub room_id: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
    /// Who may join: `public`, `invite`, …
    pub join_rule: Option<String>,
    /// What encrypts its messages; absent: nothing does.
    pub encryption: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
    /// How many are joined.
    pub joined_members: i64,
    /// How many of them have an account on this server.
    pub joined_local_members: i64,
}

/// One page of rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomList {
    /// The rooms of this page, ordered by id.
    pub rooms: Vec<Room>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
