use hearth_config::{Config, DatabaseUrl};
use hearth_storage::{Options, StorageError, inspect};

use super::Check;

const NAME: &str = "database";

/// It can be read, and it is this server's. Nothing is created or migrated.
pub(super) async fn check(config: &Config) -> Check {
    let (url, shown) = match config.database_url() {
        DatabaseUrl::Sqlite(path) if !path.exists() => {
            return Check::warning(
                NAME,
                format!("{} is not there yet", path.display()),
                "the server makes it when it first starts",
            );
        }
        DatabaseUrl::Sqlite(path) => (
            format!("sqlite://{}", path.display()),
            path.display().to_string(),
        ),
        DatabaseUrl::Postgres(url) => (url.expose().to_owned(), "PostgreSQL".to_owned()),
    };
    let ours = config.server.name.as_str();
    match identity(&url).await {
        Ok(None) => Check::warning(
            NAME,
            format!("{shown} answers, but no server has used it yet"),
            "the server sets it up when it first starts",
        ),
        Ok(Some(owner)) if owner == ours => Check::ok(NAME, format!("{shown} belongs to {owner}")),
        Ok(Some(owner)) => Check::problem(
            NAME,
            format!("{shown} belongs to {owner}, but `server.name` is {ours}"),
            "name another database, or put the old name back: a server's name cannot be changed",
        ),
        Err(error) => Check::problem(
            NAME,
            format!("{shown} cannot be read: {error}"),
            "check `database.url`, that the database runs, and who may open it",
        ),
    }
}

async fn identity(url: &str) -> Result<Option<String>, StorageError> {
    let options = Options::new(url)?;
    Ok(inspect::identity(&options.connect_to)
        .await?
        .map(|identity| identity.server_name))
}
