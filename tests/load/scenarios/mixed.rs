//! A bit of everything.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::{Amount, measure};
use crate::people::{Person, all_join, message};

/// How many people share a room.
const ROOM_MEMBERS: usize = 8;

/// A bit of everything, as an organization does it.
#[derive(Args)]
pub(crate) struct Mixed {
    /// People who do something at the same time.
    #[arg(long, default_value_t = 64)]
    workers: usize,
    /// Requests, all of them together.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
}

/// Somebody, a room of theirs, and where their sync stands.
struct Seat {
    person: Arc<Person>,
    room_id: Arc<str>,
    since: String,
}

impl Mixed {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let people = world.people.several(self.workers).await?;
        let mut seats = Vec::new();
        for group in people.chunks(ROOM_MEMBERS) {
            let room_id = group[0].room(&[]).await?;
            all_join(&group[1..], &room_id).await?;
            for person in group {
                let since = text(
                    &person.ask(Call::get("/v3/sync")).await?,
                    "/v3/sync",
                    "next_batch",
                )?;
                seats.push(Seat {
                    person: Arc::clone(person),
                    room_id: room_id.as_str().into(),
                    since,
                });
            }
        }
        let seats = Arc::new(seats);
        let name = format!("mixed, {} workers", self.workers);
        let amount = Amount {
            workers: self.workers,
            requests: self.requests,
        };
        measure(world, &name, amount, move |number| {
            let seats = Arc::clone(&seats);
            async move {
                let seat = &seats[number % seats.len()];
                seat.person.tell(seat.request(number)).await
            }
        })
        .await?;
        Ok(())
    }
}

impl Seat {
    /// Of twenty requests eight are messages, eight syncs, and one each reads history, reads members,
    /// sets a state event and reads a profile.
    fn request(&self, number: usize) -> Call {
        let room_id = &self.room_id;
        // Each worker goes through all twenty, whatever the number of workers is.
        match (number / 3 + number) % 20 {
            0..=7 => message(room_id, &format!("mixed{number}")),
            8..=15 => Call::get(format!("/v3/sync?timeout=0&since={}", self.since)),
            16 => Call::get(format!("/v3/rooms/{room_id}/messages?dir=b&limit=20")),
            17 => Call::get(format!("/v3/rooms/{room_id}/joined_members")),
            18 => Call::put(
                format!(
                    "/v3/rooms/{room_id}/state/m.room.member/{}",
                    self.person.user_id
                ),
                json!({"membership": "join", "displayname": format!("Name {number}")}),
            ),
            _ => Call::get(format!("/v3/profile/{}", self.person.user_id)),
        }
    }
}
