//! What messages take on disk, everything included.

use hearth_storage::Options;
use hearth_storage::driver::Engine;
use hearth_storage::testing::{On, Scratch};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::measure::{self, Bound, report};
use crate::messages::Rooms;

const MESSAGES: usize = 100_000;
const ROOMS: i64 = 100;
/// Messages that are written before the next room has its turn.
const AT_ONCE: usize = 10;

pub(crate) async fn run() {
    for on in [On::Sqlite, On::Postgres] {
        let scratch = Scratch::new(on).await;
        let options = scratch.options();
        write(&options).await;
        let (total, parts) = sizes(&options).await;
        let per_message =
            |bytes: i64| measure::count(usize::try_from(bytes).unwrap()) / measure::count(MESSAGES);
        let bound = (on == On::Sqlite).then_some(Bound::AtMost(900.0));
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(name, bytes)| format!("{name} {:.0}", per_message(bytes)))
            .collect();
        let name = format!("{on:?}: disk per message of {MESSAGES}");
        report(&name, per_message(total), "bytes", &parts.join(", "), bound);
    }
}

async fn write(options: &Options) {
    let (storage, mut background) = crate::open(options).await;
    let rooms = Rooms::create(&storage, ROOMS).await;
    let turns = MESSAGES / rooms.rooms.len() / AT_ONCE;
    for _ in 0..turns {
        let each = rooms
            .rooms
            .iter()
            .map(|room| room.messages(AT_ONCE))
            .collect();
        crate::together(&storage, each).await;
    }
    drop(storage);
    while background.join_next().await.is_some() {}
}

/// Everything, and the largest parts of it.
async fn sizes(options: &Options) -> (i64, Vec<(String, i64)>) {
    match &options.connect_to {
        Engine::Sqlite(to) => {
            let mut conn = SqliteConnection::connect_with(to).await.unwrap();
            let parts =
                "SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 9";
            let parts = sqlx::query_as(parts).fetch_all(&mut conn).await.unwrap();
            drop(conn);
            let file = to.get_filename().display().to_string();
            let sizes = ["", "-wal", "-shm"].map(|end| std::fs::metadata(format!("{file}{end}")));
            let total: u64 = sizes.into_iter().flatten().map(|file| file.len()).sum();
            (i64::try_from(total).unwrap(), parts)
        }
        Engine::Postgres(to) => {
            let mut conn = PgConnection::connect_with(to).await.unwrap();
            let parts = "SELECT relname::TEXT, pg_relation_size(oid) FROM pg_class
                WHERE relnamespace = current_schema()::REGNAMESPACE AND relkind IN ('r', 'i', 't')
                ORDER BY 2 DESC";
            let parts: Vec<(String, i64)> =
                sqlx::query_as(parts).fetch_all(&mut conn).await.unwrap();
            let total = parts.iter().map(|(_, bytes)| bytes).sum();
            (total, parts.into_iter().take(9).collect())
        }
    }
}
