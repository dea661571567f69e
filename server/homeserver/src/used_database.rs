//! A data directory remembers that its database has been set up, so that an emptied or a missing one
//! is not taken for a new server's: people would sign up anew under the names that others know.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use hearth_config::{Config, DatabaseUrl};
use hearth_storage::{Options, inspect};

use crate::data_dir::DataDir;

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

/// Remembers that the database has been set up.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn remember(data_dir: &DataDir, generation: &str) -> io::Result<()> {
    let mark = data_dir.file(MARK);
    if mark.exists() {
        return Ok(());
    }
    let mut file = File::create(&mark)?;
    writeln!(file, "{generation}")?;
    file.sync_all()?;
    match mark.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
