//! What may go wrong while measuring.

use hyper::StatusCode;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The connection failed.
    #[error("{what}: {cause}")]
    Connection {
        /// Method and path.
        what: String,
        /// What the client said.
        cause: String,
    },
    /// The server refused.
    #[error("{what} was answered with {status}: {body}")]
    Refused {
        /// Method and path.
        what: String,
        /// The answer's status.
        status: StatusCode,
        /// The beginning of its body.
        body: String,
    },
    /// The answer lacks what it must have.
    #[error("the answer to {what} has no {field}")]
    Answer {
        /// Method and path, or the scenario.
        what: String,
        /// The field that is missing.
        field: &'static str,
    },
    /// A process that should be measured cannot be read.
    #[error("process {pid} cannot be measured: {cause}")]
    Process {
        /// Its id.
        pid: u32,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A hash cannot be made at such a cost.
    #[error("argon2id at such a cost: {0}")]
    Cost(String),
    /// A task of our own ended early.
    #[error("a worker of the load tool ended early: {0}")]
    Worker(#[from] tokio::task::JoinError),
}
