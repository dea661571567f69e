//! Keys for end-to-end encryption: what devices publish, and what others ask for.
//!
//! The server holds public keys only. It checks their shape, so that nothing it hands out can break
//! another server or client; whether a signature on a device is *trusted* is for clients to say.
//!
//! Reading order: [`schema`] → [`person`] → [`upload`] → [`query`] and [`remote`] → [`claim`] →
//! [`cross_signing`] → [`signatures`]. [`backup`] and [`dehydrated`] stand by
//! themselves.
//!
//! spec: client-server v1.19 §End-to-End Encryption; server-server v1.19 §End-to-End Encryption.

mod backup;
mod claim;
mod cross_signing;
mod dehydrated;
pub mod error;
pub(crate) mod person;
mod query;
pub(crate) mod remote;
pub(crate) mod schema;
mod signatures;
mod upload;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use hearth_protocol::canonical_json::Object;
use hearth_storage::StorageError;
use hearth_types::ruma::{OwnedServerName, OwnedUserId, UserId};
use serde::Serialize;
use serde_json::Value;

pub use backup::{BackupChange, BackupInfo, BackupKeys};
pub use claim::ClaimAnswer;
pub use cross_signing::CrossSigningPlan;
pub use dehydrated::DehydratedEvents;
pub use error::KeyError;
pub use query::QueryAnswer;
pub use signatures::{SignatureFailure, SignaturesAnswer};
pub use upload::KeyCounts;
pub(crate) use upload::counted;

use crate::context::Context;
use crate::device_lists::DeviceLists;
use crate::peers::{Answer, PeerError};

/// Other servers that are asked at the same time for one request.
const PARALLEL_SERVERS: usize = 20;

/// How long other servers are waited for, in milliseconds, unless the client is in more of a hurry.
const TIMEOUT_MS: u64 = 10_000;

/// Keys.
pub struct Keys {
    context: Arc<Context>,
    lists: Arc<DeviceLists>,
}

/// Why another server's people are missing from an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    errcode: &'static str,
    error: String,
}

impl Keys {
    /// Keys over `context`, with the device lists of the same.
    #[must_use]
    pub fn new(context: Arc<Context>, lists: Arc<DeviceLists>) -> Self {
        Self { context, lists }
    }

    /// The local id of one of our people.
    async fn nid(&self, user_id: &UserId) -> Result<i64, StorageError> {
        let server = user_id.server_name().as_str();
        self.context
            .storage
            .user_intern(user_id.as_str(), server)
            .await
    }

    /// Asks several servers at once, each for its own people, and waits for none longer than the
    /// client wants.
    async fn ask_servers<'a, W: Sync, F>(
        &'a self,
        wanted: &'a BTreeMap<OwnedServerName, W>,
        timeout: Duration,
        ask: F,
    ) -> Vec<(&'a OwnedServerName, &'a W, Result<Value, PeerError>)>
    where
        F: Fn(&'a OwnedServerName, &'a W) -> Answer<'a, Value>,
    {
        let asking = wanted.iter().map(|(server, wanted)| {
            let answer = tokio::time::timeout(timeout, ask(server, wanted));
            async move {
                let answer = answer.await.unwrap_or_else(|_late| {
                    Err(PeerError::Unreachable {
                        server: server.to_string(),
                        why: "it did not answer in time".to_owned(),
                    })
                });
                (server, wanted, answer)
            }
        });
        let asking: Vec<_> = asking.collect();
        stream::iter(asking)
            .buffer_unordered(PARALLEL_SERVERS)
            .collect()
            .await
    }
}

/// How long a client wants to wait for other servers.
fn timeout(body: &Object<'_>) -> Result<Duration, KeyError> {
    let wanted = body
        .optional_integer("timeout")?
        .and_then(|ms| u64::try_from(ms).ok());
    Ok(Duration::from_millis(
        wanted.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS),
    ))
}

/// A user id in a body.
fn user_id(text: &str, field: &str) -> Result<OwnedUserId, KeyError> {
    UserId::parse(text)
        .map_err(|_| KeyError::invalid(format!("{field}.{text}"), "must be named by a user id"))
}

fn failure(error: &PeerError) -> Failure {
    Failure {
        errcode: "M_UNKNOWN",
        error: error.to_string(),
    }
}
