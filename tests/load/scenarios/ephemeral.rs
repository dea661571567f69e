//! What is not part of history: receipts and typing.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::{Amount, measure};
use crate::people::{Person, all_join, message};

/// Receipts and typing in a room of many members, nobody of whom listens.
#[derive(Args)]
pub(crate) struct Ephemeral {
    /// Members of the room.
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// Requests of each kind; each is the next one's of the members.
    #[arg(long, default_value_t = 2_000)]
    requests: usize,
}

impl Ephemeral {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let members = Arc::new(world.people.several(self.members).await?);
        let room_id: Arc<str> = members[0].room(&[]).await?.into();
        all_join(&members[1..], &room_id).await?;
        let mut said = Vec::new();
        for number in 0..=self.requests / self.members {
            let call = message(&room_id, &format!("read{number}"));
            said.push(text(&members[0].ask(call).await?, "send", "event_id")?);
        }
        let said = Arc::new(said);
        let amount = Amount {
            workers: 1,
            requests: self.requests,
        };
        let (people, room) = (Arc::clone(&members), Arc::clone(&room_id));
        let name = format!("receipt, {} members", self.members);
        measure(world, &name, amount, move |number| {
            let event_id = &said[number / people.len()];
            let path = format!("/v3/rooms/{room}/receipt/m.read/{event_id}");
            let person = Arc::clone(&people[number % people.len()]);
            async move { person.tell(Call::post(path, json!({}))).await }
        })
        .await?;
        let name = format!("typing, {} members", self.members);
        measure(world, &name, amount, move |number| {
            let person = Arc::clone(&members[number / 2 % members.len()]);
            let call = typing(&room_id, &person, number % 2 == 0);
            async move { person.tell(call).await }
        })
        .await?;
        Ok(())
    }
}

fn typing(room_id: &str, person: &Person, typing: bool) -> Call {
    let path = format!("/v3/rooms/{room_id}/typing/{}", person.user_id);
    Call::put(path, json!({ "typing": typing, "timeout": 30_000 }))
}
