//! Messages: alone, and to many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::{Amount, measure};
use crate::people::{Person, all_join};

/// How long a delivery may take before the measurement has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages, by several senders in several rooms.
#[derive(Args)]
pub(crate) struct Send {
    /// People who send at the same time.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Rooms, taken in turn. Every sender is in every room.
    #[arg(long, default_value_t = 5)]
    rooms: usize,
    /// Messages.
    #[arg(long, default_value_t = 4000)]
    requests: usize,
}

impl Send {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let senders = world.people.several(self.senders).await?;
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            let maker = &senders[number % senders.len()];
            let room_id = maker.room(&[]).await?;
            let others: Vec<_> = senders
                .iter()
                .filter(|sender| !Arc::ptr_eq(sender, maker))
                .cloned()
                .collect();
            all_join(&others, &room_id).await?;
            rooms.push(room_id);
        }
        let name = format!("send, {} senders, {} rooms", self.senders, self.rooms);
        let amount = Amount {
            workers: self.senders,
            requests: self.requests,
        };
        let (senders, rooms) = (Arc::new(senders), Arc::new(rooms));
        measure(world, &name, amount, move |number| {
            let (senders, rooms) = (Arc::clone(&senders), Arc::clone(&rooms));
            async move {
                let (sender, room_id) = (
                    &senders[number % senders.len()],
                    &rooms[number % rooms.len()],
                );
                sender.say(room_id, &format!("m{number}")).await
            }
        })
        .await?;
        Ok(())
    }
}

/// Messages into a room of many members.
#[derive(Args)]
pub(crate) struct Fanout {
    /// Members of the room.
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// How many of them wait in a long poll in the second part.
    #[arg(long, default_value_t = 50)]
    listeners: usize,
    /// Messages in each part.
    #[arg(long, default_value_t = 300)]
    requests: usize,
}

impl Fanout {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let members = world.people.several(self.members).await?;
        let room_id: Arc<str> = members[0].room(&[]).await?.into();
        all_join(&members[1..], &room_id).await?;
        let amount = Amount {
            workers: 1,
            requests: self.requests,
        };

        let name = format!("send to {} members, nobody listening", self.members);
        let (sender, room) = (Arc::clone(&members[0]), Arc::clone(&room_id));
        let quiet = measure(world, &name, amount, move |number| {
            let (sender, room) = (Arc::clone(&sender), Arc::clone(&room));
            async move { sender.say(&room, &format!("quiet{number}")).await }
        })
        .await?;

        let listeners = self.listeners.min(self.members);
        let delivered = Arc::new(Delivered::default());
        let mut listening = JoinSet::new();
        for member in &members[..listeners] {
            let since = sync_token(member).await?;
            listening.spawn(listen(Arc::clone(member), since, Arc::clone(&delivered)));
        }
        let name = format!("send to {} members, {listeners} listening", self.members);
        let sender = Arc::clone(&members[0]);
        let (room, count) = (Arc::clone(&room_id), Arc::clone(&delivered));
        let heard = measure(world, &name, amount, move |number| {
            let (sender, room, count) =
                (Arc::clone(&sender), Arc::clone(&room), Arc::clone(&count));
            async move {
                sender.say(&room, &format!("heard{number}")).await?;
                count.reach((number + 1) * listeners).await
            }
        })
        .await?;
        listening.shutdown().await;
        if let (Some(quiet), Some(heard)) = (quiet.cpu, heard.cpu) {
            let more = heard.saturating_sub(quiet).as_secs_f64() * 1000.0;
            let deliveries = u32::try_from(self.requests * listeners).map_or(f64::MAX, f64::from);
            world
                .report
                .figure("  CPU of one delivery", more / deliveries, "ms");
        }
        Ok(())
    }
}

/// Counts what the listeners were given.
#[derive(Default)]
struct Delivered {
    count: AtomicUsize,
    changed: Notify,
}

impl Delivered {
    fn add(&self, count: usize) {
        self.count.fetch_add(count, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until as many are delivered.
    async fn reach(&self, count: usize) -> Result<(), LoadError> {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if self.count.load(Ordering::SeqCst) >= count {
                    return;
                }
                changed.await;
            }
        };
        let lost = LoadError::Answer {
            what: "a message".to_owned(),
            field: "delivery to every listener",
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .map_err(|_| lost)
    }
}

async fn sync_token(person: &Person) -> Result<String, LoadError> {
    let path = "/v3/sync";
    text(&person.ask(Call::get(path)).await?, path, "next_batch")
}

/// Waits for messages until it is dropped.
async fn listen(
    person: Arc<Person>,
    mut since: String,
    delivered: Arc<Delivered>,
) -> Result<(), LoadError> {
    loop {
        let path = format!("/v3/sync?timeout=30000&since={since}");
        let answer = person.ask(Call::get(path)).await?;
        // Looking for the words is cheaper than parsing, and the machine is shared with the server.
        let words = answer
            .windows(WORDS.len())
            .filter(|words| *words == WORDS)
            .count();
        if words > 0 {
            delivered.add(words);
        }
        since = text(&answer, "/v3/sync", "next_batch")?;
    }
}

/// Words that each of our messages contains once.
const WORDS: &[u8] = b"jumps over the lazy dog";
