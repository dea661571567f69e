//! A database that fails as a whole while it is in use.

use std::time::Duration;

use hearth_storage::driver::Engine;
use hearth_storage::tables::intern;
use hearth_storage::testing::Scratch;
use hearth_storage::{Storage, StorageError, Trouble};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);

/// Writes names one after the other, and knows which it was told are stored.
struct Names<'a> {
    storage: &'a Storage,
    tried: usize,
    stored: Vec<(String, i64)>,
}

impl Names<'_> {
    async fn write(&mut self) -> Result<(), StorageError> {
        self.tried += 1;
        let name = format!("@person{}:one.test", self.tried);
        let nid = self.storage.user_intern(&name, "one.test").await?;
        self.stored.push((name, nid));
        Ok(())
    }

    /// Writes until the outcome is the one that is waited for.
    async fn write_until(&mut self, enough: impl Fn(&Result<(), StorageError>) -> bool) {
        let begun = Instant::now();
        loop {
            let outcome = self.write().await;
            if enough(&outcome) {
                return;
            }
            if let Err(error) = &outcome {
                let lost = [Some(Trouble::Unreachable), Some(Trouble::ReadOnly)];
                assert!(lost.contains(&error.trouble()), "{error:?}");
            }
            assert!(begun.elapsed() < PATIENCE, "still {outcome:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Runs a text on a database of the server that is nobody's.
async fn administer(to: &PgConnectOptions, text: String) {
    let elsewhere = to.clone().database("postgres");
    let mut conn = PgConnection::connect_with(&elsewhere).await.unwrap();
    sqlx::query(AssertSqlSafe(text))
        .execute(&mut conn)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_becomes_read_only_is_told_and_recovered_from() {
    for alone in [false, true] {
        read_only_for_a_while(alone).await;
    }
}

async fn read_only_for_a_while(alone: bool) {
    let name = if alone {
        "read_only_alone"
    } else {
        "read_only"
    };
    let scratch = Scratch::database(name).await;
    let scratch = if alone { scratch.alone() } else { scratch };
    let Engine::Postgres(to) = scratch.options().connect_to else {
        panic!("this is PostgreSQL");
    };
    let database = to.get_database().unwrap().to_owned();
    let setting = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    let storage = scratch.open().await;
    let mut names = Names {
        storage: &storage,
        tried: 0,
        stored: Vec::new(),
    };
    names.write().await.unwrap();
    administer(&to, setting).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ";
    administer(&to, format!("{cut}'{database}'")).await;
    let read_only = |outcome: &Result<(), StorageError>| {
        let error = outcome.as_ref().err();
        error.and_then(StorageError::trouble) == Some(Trouble::ReadOnly)
    };
    names.write_until(read_only).await;
    // It stays so, is said, and reading goes on.
    for _ in 0..5 {
        assert!(read_only(&names.write().await));
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        storage.writer().standing().trouble(),
        Some(Trouble::ReadOnly)
    );
    let mut reader = storage.read().await.unwrap();
    let (first, nid) = &names.stored[0];
    let read = intern::user_nid(reader.conn(), first).await.unwrap();
    assert_eq!(read, Some(*nid));
    drop(reader);
    // Nobody ends the sessions that began while it was so.
    administer(
        &to,
        format!("ALTER DATABASE {database} RESET default_transaction_read_only"),
    )
    .await;
    names.write_until(Result::is_ok).await;
    assert_eq!(storage.writer().standing().trouble(), None);
    assert!(names.stored.len() > 1 && names.stored.len() < names.tried);
    // Asked of the database: this process remembers names.
    let mut reader = storage.read().await.unwrap();
    for (name, nid) in names.stored {
        let stored = intern::user_nid(reader.conn(), &name).await.unwrap();
        assert_eq!(stored, Some(nid), "{name}");
    }
}

/// Whoever reads waits in vain for the others, and says that the database does not answer. The writer, whose
/// connection lives and holds the database, knows better.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_get_no_connection_for_a_while_do_not_end_it_all() {
    let scratch = Scratch::database("busy").await.alone();
    let storage = scratch.open().await;
    let mut busy = Vec::new();
    for _ in 0..scratch.options().read_connections {
        busy.push(storage.read().await.unwrap());
    }
    let error = storage.read().await.unwrap_err();
    assert_eq!(error.trouble(), Some(Trouble::Unreachable));
    drop(busy);
    let begun = Instant::now();
    while let Err(error) = storage.read().await {
        assert!(begun.elapsed() < PATIENCE, "still {error:?}");
        sleep(Duration::from_millis(50)).await;
    }
    storage
        .user_intern("@after:one.test", "one.test")
        .await
        .unwrap();
    // It is still ours alone.
    assert!(
        Storage::open(&scratch.options(), storage.identity())
            .await
            .is_err()
    );
}
