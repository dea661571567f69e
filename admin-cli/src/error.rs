use std::{io, path::PathBuf};

use hearth_admin_api::ApiError;
use hearth_config::ConfigError;
use hearth_storage::StorageError;

/// Why a verb did not do its work: one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} exists already; nothing was changed", .0.display())]
    Exists(PathBuf),
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("`--{flag}` {rule}")]
    Argument { flag: &'static str, rule: String },
    #[error("{0}")]
    Password(&'static str),
    #[error("the database cannot be verified: {0}")]
    Database(#[from] StorageError),
    #[error("no server answers on {}: {source}; is it running with this configuration?", .socket.display())]
    NotRunning { socket: PathBuf, source: io::Error },
    #[error("the server did not answer as expected: {0}")]
    Exchange(#[from] ExchangeError),
    #[error("the server at {url} cannot be reached: {why}")]
    Unreachable { url: String, why: String },
    #[error("the server refused: {0}")]
    Refused(ApiError),
    #[error(
        "the server does not take the access token: {0}; sign in again and put the new one into the file of `--token-file`"
    )]
    NotSignedIn(ApiError),
    #[error(
        "the server refused: {0}; the access token must be an administrator's: `hearthctl user create NAME --admin` makes one on the server"
    )]
    NotAdmin(ApiError),
    #[error(
        "the server refused: {0}; it may be of another version, or its listener does not serve the resource `admin`"
    )]
    NotServed(ApiError),
}

/// Why a request over an open connection brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("nothing within {0} s")]
    Timeout(u64),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("the body could not be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the body of a {status} answer is not the expected JSON: {source}")]
    Json {
        status: http::StatusCode,
        source: serde_json::Error,
    },
}
