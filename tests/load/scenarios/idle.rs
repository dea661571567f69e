//! Memory of long polls that wait.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;

use crate::World;
use crate::error::LoadError;
use crate::http::{Call, text};
use crate::measure::resident_kib;

/// How long the connections are given to arrive and settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Memory of long polls that wait.
#[derive(Args)]
pub(crate) struct Idle {
    /// Long polls at the same time, all of one person.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
}

impl Idle {
    /// Measures.
    ///
    /// # Errors
    /// When the server refuses something, or its process is not known.
    pub(crate) async fn run(self, world: &World) -> Result<(), LoadError> {
        let unknown = || LoadError::Answer {
            what: "idle".to_owned(),
            field: "--pid, whose memory it measures",
        };
        let person = world.people.person().await?;
        let since = text(
            &person.ask(Call::get("/v3/sync")).await?,
            "/v3/sync",
            "next_batch",
        )?;
        let before = resident_kib(world)?.ok_or_else(unknown)?;
        let mut polls = JoinSet::new();
        for _ in 0..self.connections {
            let (person, path) = (
                Arc::clone(&person),
                format!("/v3/sync?timeout=60000&since={since}"),
            );
            polls.spawn(async move { person.tell(Call::get(path)).await });
        }
        tokio::time::sleep(SETTLE).await;
        let after = resident_kib(world)?.ok_or_else(unknown)?;
        polls.shutdown().await;
        let kib = |kib: u64| u32::try_from(kib).map_or(f64::MAX, f64::from);
        let each = kib(after.saturating_sub(before))
            / kib(self.connections.try_into().unwrap_or(u64::MAX));
        let name = format!("memory of each of {} idle long polls", self.connections);
        world.report.figure(&name, each, "KiB");
        Ok(())
    }
}
