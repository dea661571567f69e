//! `hearthctl room …`.

use hearth_admin_api::{ROOM_LIST, ROOM_SHOW, Room, RoomList};

use crate::{
    admin_client::AdminClient,
    error::CliError,
    output::{Outcome, table, to_json},
};

pub(crate) async fn list(client: &AdminClient) -> Result<Rooms, CliError> {
    let page = |page: RoomList| (page.rooms, page.next);
    Ok(Rooms(client.every(ROOM_LIST, page).await?))
}

pub(crate) async fn show(client: &AdminClient, room: &str) -> Result<Shown, CliError> {
    let path = ROOM_SHOW.path_with(&[room]);
    Ok(Shown(client.get(ROOM_SHOW, &path).await?))
}

/// Every room.
pub(crate) struct Rooms(Vec<Room>);

impl Outcome for Rooms {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "No rooms yet.".to_owned();
        }
        table(self.0.iter().map(|room| {
            vec![
                room.room_id.clone(),
                format!(
                    "{} of {} here",
                    room.joined_local_members, room.joined_members
                ),
                called(room),
            ]
        }))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "rooms": to_json(&self.0) })
    }
}

fn called(room: &Room) -> String {
    let name = room.name.as_ref().or(room.canonical_alias.as_ref());
    name.cloned().unwrap_or_default()
}

/// One room.
pub(crate) struct Shown(Room);

impl Outcome for Shown {
    fn text(&self) -> String {
        let room = &self.0;
        let row = |name: &str, value: Option<&str>| {
            vec![name.to_owned(), value.unwrap_or_default().to_owned()]
        };
        let members = format!(
            "{}, of whom {} of this server",
            room.joined_members, room.joined_local_members
        );
        table([
            row("room", Some(&room.room_id)),
            row("name", room.name.as_deref()),
            row("alias", room.canonical_alias.as_deref()),
            row("topic", room.topic.as_deref()),
            row("version", Some(&room.version)),
            row("made by", room.creator.as_deref()),
            row("join rule", room.join_rule.as_deref()),
            row(
                "encryption",
                Some(room.encryption.as_deref().unwrap_or("none")),
            ),
            row("joined", Some(&members)),
        ])
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}
