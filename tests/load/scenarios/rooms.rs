//! Rooms come into being and fill.

use std::sync::Arc;

use clap::Args;

use crate::World;
use crate::error::LoadError;
use crate::measure::{Amount, measure};
use crate::people::any_state;

/// Joining a public room of the same server.
#[derive(Args)]
pub(crate) struct Join {
    /// How many join, one after the other.
    #[arg(long, default_value_t = 500)]
    members: usize,
}

impl Join {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let maker = world.people.person().await?;
        let room_id: Arc<str> = maker.room(&[]).await?.into();
        let people = Arc::new(world.people.several(self.members).await?);
        let name = format!("join a room, up to {} members", self.members);
        measure(
            world,
            &name,
            Amount {
                workers: 1,
                requests: self.members,
            },
            move |number| {
                let (people, room_id) = (Arc::clone(&people), Arc::clone(&room_id));
                async move { people[number].join(&room_id).await }
            },
        )
        .await?;
        Ok(())
    }
}

/// Creating rooms.
#[derive(Args)]
pub(crate) struct Create {
    /// State events that are given with the request.
    #[arg(long, default_value_t = 20)]
    state: usize,
    /// How many rooms.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl Create {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = world.people.person().await?;
        let state = Arc::new(any_state(self.state));
        let name = format!("create a room with {} state events", self.state);
        measure(
            world,
            &name,
            Amount {
                workers: 1,
                requests: self.requests,
            },
            move |_| {
                let (person, state) = (Arc::clone(&person), Arc::clone(&state));
                async move { person.room(&state).await.map(|_| ()) }
            },
        )
        .await?;
        Ok(())
    }
}
