//! History and state of one room.

use std::sync::Arc;

use clap::Args;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::{Amount, measure};
use crate::people::{all_join, any_state};

/// Pages of a long history.
#[derive(Args)]
pub(crate) struct Messages {
    /// Messages in the room.
    #[arg(long, default_value_t = 10_000)]
    messages: usize,
    /// Events on a page.
    #[arg(long, default_value_t = 100)]
    page: usize,
    /// Pages that are read, spread over the history.
    #[arg(long, default_value_t = 500)]
    requests: usize,
}

impl Messages {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = world.people.person().await?;
        let room_id = person.room(&[]).await?;
        person.chat(&room_id, self.messages).await?;
        let path = format!("/v3/rooms/{room_id}/messages?dir=b&limit={}", self.page);
        let mut pages = vec![path.clone()];
        for _ in 0..self.messages / self.page {
            let last = pages.last().cloned().unwrap_or_default();
            let answer = person.ask(Call::get(last)).await?;
            let Ok(end) = text(&answer, &path, "end") else {
                break;
            };
            pages.push(format!("{path}&from={end}"));
        }
        let name = format!("{} of {} messages", self.page, self.messages);
        let pages = Arc::new(pages);
        let stride = (pages.len() / self.requests.max(1)).max(1);
        measure(
            world,
            &name,
            Amount {
                workers: 1,
                requests: self.requests,
            },
            move |number| {
                let (person, pages) = (Arc::clone(&person), Arc::clone(&pages));
                async move {
                    person
                        .tell(Call::get(pages[number * stride % pages.len()].as_str()))
                        .await
                }
            },
        )
        .await?;
        Ok(())
    }
}

/// The whole state of a room.
#[derive(Args)]
pub(crate) struct State {
    /// Its members.
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// Its other state events, besides those of its creation.
    #[arg(long, default_value_t = 300)]
    state: usize,
    /// How often it is read.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl State {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let members = world.people.several(self.members).await?;
        let person = Arc::clone(&members[0]);
        let room_id = person.room(&any_state(self.state)).await?;
        all_join(&members[1..], &room_id).await?;
        let name = format!("state of {} members + {}", self.members, self.state);
        let call = Arc::new(Call::get(format!("/v3/rooms/{room_id}/state")));
        measure(
            world,
            &name,
            Amount {
                workers: 1,
                requests: self.requests,
            },
            move |_| {
                let (person, call) = (Arc::clone(&person), Call::clone(&call));
                async move { person.tell(call).await }
            },
        )
        .await?;
        Ok(())
    }
}
