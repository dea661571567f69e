//! A data directory remembers that its database has been set up, so that an emptied or a missing one
//! is not taken for a new server's: people would sign up anew under the names that others know. It
//! remembers how far the database's log had come, so that one that was put back from a backup is
//! known as such.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hearth_config::{Config, DatabaseUrl};
use hearth_storage::{Head, LastUse, Options, Storage, inspect};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{data_dir::DataDir, tasks::Tasks};

/// The file in the data directory.
const MARK: &str = "database.used";

/// A database that was in use holds nothing any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "{database} is empty, but {} says that this server has used a database before: put that one back \
     from a backup, or, to begin anew without accounts and rooms, remove {remove}",
    .says.display()
)]
pub struct Emptied {
    database: String,
    says: PathBuf,
    remove: String,
}

/// Refuses an empty database where there was one.
///
/// # Errors
/// When it is empty. Whether it can be opened at all is for its opening to say.
pub(crate) async fn refuse_emptied(config: &Config, data_dir: &DataDir) -> Result<(), Emptied> {
    let mark = data_dir.file(MARK);
    let (database, empty) = match config.database_url() {
        DatabaseUrl::Sqlite(path) => {
            let empty = fs::metadata(&path).map_or(true, |file| file.len() == 0);
            (path.display().to_string(), empty)
        }
        DatabaseUrl::Postgres(url) => {
            let empty = mark.exists() && is_unused(url.expose()).await;
            ("the PostgreSQL database".to_owned(), empty)
        }
    };
    let key = data_dir.file("signing.key");
    let left_empty = || file_is_there(config) && key.exists();
    if empty && mark.exists() {
        let remove = mark.display().to_string();
        let says = mark;
        return Err(Emptied {
            database,
            says,
            remove,
        });
    }
    // What an earlier version leaves: a key, and a file that it never leaves without a byte.
    if empty && left_empty() {
        let remove = database.clone();
        return Err(Emptied {
            database,
            says: key,
            remove,
        });
    }
    Ok(())
}

/// Whether a SQLite file exists, with or without content.
fn file_is_there(config: &Config) -> bool {
    matches!(config.database_url(), DatabaseUrl::Sqlite(path) if path.exists())
}

/// Whether no server has set a database up. One that cannot be asked is not for us to judge.
async fn is_unused(url: &str) -> bool {
    match Options::new(url) {
        Ok(options) => matches!(inspect::identity(&options.connect_to).await, Ok(None)),
        Err(_) => false,
    }
}

/// Where the database stood when it was last used, if that is known.
pub(crate) fn last_use(data_dir: &DataDir) -> Option<LastUse> {
    let text = fs::read_to_string(data_dir.file(MARK)).ok()?;
    let mut lines = text.lines();
    let generation = lines.next()?.to_owned();
    // Earlier versions wrote no position.
    let position = lines.next().and_then(|line| line.parse().ok());
    Some(LastUse {
        generation,
        position: position.unwrap_or_default(),
    })
}

/// Remembers that the database has been set up, and where it stands.
///
/// # Errors
/// When the file cannot be written.
fn remember(data_dir: &DataDir, last_use: &LastUse) -> io::Result<()> {
    let mark = data_dir.file(MARK);
    let next = data_dir.file("database.next");
    let mut file = File::create(&next)?;
    writeln!(file, "{}\n{}", last_use.generation, last_use.position)?;
    file.sync_all()?;
    fs::rename(&next, &mark)?;
    match mark.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Between two times at which it is written down how far the log has come.
const EVERY: Duration = Duration::from_secs(10);

/// Remembers that there is a database, and from now on, where it stands.
///
/// # Errors
/// When the file is not there and cannot be written. Later, that is logged.
pub(crate) fn keep(data_dir: &Arc<DataDir>, storage: &Storage, tasks: &Tasks) -> io::Result<()> {
    let generation = storage.identity().generation.clone();
    let head = storage.writer().head().clone();
    if !data_dir.file(MARK).exists() {
        let position = head.position();
        let generation = generation.clone();
        remember(
            data_dir,
            &LastUse {
                generation,
                position,
            },
        )?;
    }
    let stopping = tasks.stopping().clone();
    let work = follow(Arc::clone(data_dir), generation, head, stopping);
    tasks.spawn("mark of the database", work);
    Ok(())
}

/// Writes down again and again how far the log has come, and once more at the end.
async fn follow(
    data_dir: Arc<DataDir>,
    generation: String,
    head: Head,
    stopping: CancellationToken,
) {
    let mut written = last_use(&data_dir);
    let mut told = false;
    loop {
        let stops = stopping.is_cancelled();
        let standing = LastUse {
            generation: generation.clone(),
            position: head.position(),
        };
        if written.as_ref() != Some(&standing) {
            match remember(&data_dir, &standing) {
                Ok(()) => (written, told) = (Some(standing), false),
                Err(error) if !told => {
                    tracing::warn!(%error, "how far the database has come could not be written down");
                    told = true;
                }
                Err(_) => {}
            }
        }
        if stops {
            return;
        }
        // Either the time is up, or this is the end.
        let _ = timeout(EVERY, stopping.cancelled()).await;
    }
}
