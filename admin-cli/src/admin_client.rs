//! The client side of the admin API.

use std::path::PathBuf;

use hearth_admin_api::{ApiError, Endpoint};
use hearth_config::Config;
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::{
    error::{CliError, ExchangeError},
    exchange::{Question, exchange},
};

/// Asks the server that runs with one configuration.
pub(crate) struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            socket: config.admin_socket(),
        }
    }

    /// Asks without a body. `path` is the endpoint's path with its values and query.
    pub(crate) async fn get<A: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        path: &str,
    ) -> Result<A, CliError> {
        self.ask(endpoint.method, path, Vec::new()).await
    }

    /// Asks with a JSON body.
    pub(crate) async fn send<A: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        path: &str,
        request: &impl Serialize,
    ) -> Result<A, CliError> {
        let body = serde_json::to_vec(request).map_err(|source| ExchangeError::Json {
            status: StatusCode::OK,
            source,
        })?;
        self.ask(endpoint.method, path, body).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> Result<A, CliError> {
        let stream =
            UnixStream::connect(&self.socket)
                .await
                .map_err(|source| CliError::NotRunning {
                    socket: self.socket.clone(),
                    source,
                })?;
        let question = Question {
            method,
            host: "localhost",
            path,
            body,
        };
        let (status, body) = exchange(stream, question).await?;
        let json = |source| ExchangeError::Json { status, source };
        if status.is_success() {
            return Ok(serde_json::from_slice(&body).map_err(json)?);
        }
        Err(CliError::Refused(
            serde_json::from_slice::<ApiError>(&body).map_err(json)?,
        ))
    }
}
