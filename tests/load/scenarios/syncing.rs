//! `/sync`, and sliding sync.

use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::{Amount, measure};
use crate::people::{Person, any_state, prepare};

/// The path at which shipping clients ask for simplified sliding sync (MSC4186).
const SLIDING: &str = "/unstable/org.matrix.simplified_msc3575/sync";

/// What somebody's rooms hold.
#[derive(Args, Clone, Copy)]
struct Rooms {
    /// Rooms of the person who syncs.
    #[arg(long, default_value_t = 20)]
    rooms: usize,
    /// State events in each, besides those of its creation.
    #[arg(long, default_value_t = 20)]
    state: usize,
    /// Messages in each.
    #[arg(long, default_value_t = 10)]
    messages: usize,
}

impl Rooms {
    /// Somebody with these rooms.
    async fn fill(self, world: &World) -> Result<Arc<Person>, LoadError> {
        let person = world.people.person().await?;
        let owner = Arc::clone(&person);
        prepare(self.rooms, move |_| {
            let owner = Arc::clone(&owner);
            async move {
                let room_id = owner.room(&any_state(self.state)).await?;
                owner.chat(&room_id, self.messages).await
            }
        })
        .await?;
        Ok(person)
    }

    fn name(self, what: &str) -> String {
        format!(
            "{what}, {} × ({} + {})",
            self.rooms, self.state, self.messages
        )
    }
}

/// Asks the same thing many times, one after the other.
async fn again(
    world: &World,
    name: &str,
    requests: usize,
    person: Arc<Person>,
    call: Call,
) -> Result<(), LoadError> {
    let call = Arc::new(call);
    measure(
        world,
        name,
        Amount {
            workers: 1,
            requests,
        },
        move |_| {
            let (person, call) = (Arc::clone(&person), Call::clone(&call));
            async move { person.tell(call).await }
        },
    )
    .await?;
    Ok(())
}

/// The first sync.
#[derive(Args)]
pub(crate) struct Initial {
    #[command(flatten)]
    rooms: Rooms,
    /// How often it is asked.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl Initial {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = self.rooms.fill(world).await?;
        again(
            world,
            &self.rooms.name("initial sync"),
            self.requests,
            person,
            Call::get("/v3/sync"),
        )
        .await
    }
}

/// A sync with nothing new.
#[derive(Args)]
pub(crate) struct Incremental {
    #[command(flatten)]
    rooms: Rooms,
    /// How often it is asked.
    #[arg(long, default_value_t = 5000)]
    requests: usize,
}

impl Incremental {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = self.rooms.fill(world).await?;
        let since = text(
            &person.ask(Call::get("/v3/sync")).await?,
            "/v3/sync",
            "next_batch",
        )?;
        let call = Call::get(format!("/v3/sync?timeout=0&since={since}"));
        again(
            world,
            &self.rooms.name("nothing new"),
            self.requests,
            person,
            call,
        )
        .await
    }
}

/// The first window of a sliding sync.
#[derive(Args)]
pub(crate) struct Sliding {
    #[command(flatten)]
    rooms: Rooms,
    /// Rooms in the window.
    #[arg(long, default_value_t = 20)]
    window: usize,
    /// How often it is asked.
    #[arg(long, default_value_t = 200)]
    requests: usize,
}

impl Sliding {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let person = self.rooms.fill(world).await?;
        let required = json!([
            ["m.room.create", ""],
            ["m.room.name", ""],
            ["m.room.encryption", ""],
            ["m.room.member", "$ME"]
        ]);
        let last = self.window.saturating_sub(1);
        let body = json!({"lists": {"all": {
            "ranges": [[0, last]], "timeline_limit": 10, "required_state": required,
        }}});
        let name = format!(
            "sliding sync, window {} of {}",
            self.window, self.rooms.rooms
        );
        again(
            world,
            &name,
            self.requests,
            person,
            Call::post(SLIDING, body),
        )
        .await
    }
}
