//! The client side of the admin API: over the socket of the server that runs here, or over the network
//! with the access token of an administrator.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hearth_admin_api::{ApiError, Endpoint, SERVER_STATUS, ServerStatus};
use hearth_config::Config;
use http::{StatusCode, Uri};
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    arguments::Arguments,
    error::{CliError, ExchangeError},
    exchange::{Question, exchange},
    tls,
};

/// How long a connection over the network may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks one server.
pub(crate) struct AdminClient(Way);

enum Way {
    /// The server that runs here.
    Socket {
        socket: PathBuf,
        server_name: String,
    },
    /// A server elsewhere.
    Network(Remote),
}

struct Remote {
    url: String,
    host: String,
    port: u16,
    /// Without it, the address is plain HTTP on loopback.
    tls: Option<TlsConnector>,
    token: String,
}

impl AdminClient {
    /// The server that the arguments name.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, CliError> {
        let Some(url) = &arguments.server else {
            return Ok(Self::local(&arguments.load()?));
        };
        let token_file = arguments
            .token_file
            .as_deref()
            .ok_or_else(|| argument("token-file", "is needed with `--server`"))?;
        let remote = Remote::new(url, token_file, arguments.trusted_ca.as_deref())?;
        Ok(Self(Way::Network(remote)))
    }

    /// The server that runs with one configuration.
    pub(crate) fn local(config: &Config) -> Self {
        Self(Way::Socket {
            socket: config.admin_socket(),
            server_name: config.server.name.to_string(),
        })
    }

    /// The user id that is meant: a whole one, or that of a localpart on the server.
    pub(crate) async fn user_id(&self, user: &str) -> Result<String, CliError> {
        if user.starts_with('@') {
            return Ok(lower_cased(user));
        }
        let server_name = match &self.0 {
            Way::Socket { server_name, .. } => server_name.clone(),
            Way::Network(_) => {
                let status: ServerStatus = self.get(SERVER_STATUS, SERVER_STATUS.path).await?;
                status.server_name
            }
        };
        Ok(lower_cased(&format!("@{user}:{server_name}")))
    }

    /// Asks without a body. `path` is the endpoint's path with its values and query.
    pub(crate) async fn get<A: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        path: &str,
    ) -> Result<A, CliError> {
        self.ask(endpoint.method, path, Vec::new()).await
    }

    /// Asks for a whole list, page after page; `entries` takes one apart.
    pub(crate) async fn every<P: DeserializeOwned, E>(
        &self,
        endpoint: Endpoint,
        entries: impl Fn(P) -> (Vec<E>, Option<String>),
    ) -> Result<Vec<E>, CliError> {
        let (mut every, mut path) = (Vec::new(), endpoint.path.to_owned());
        loop {
            let (page, next) = entries(self.get(endpoint, &path).await?);
            every.extend(page);
            match next {
                Some(after) => path = next_page(endpoint, &after),
                None => return Ok(every),
            }
        }
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
        let mut question = Question {
            method,
            host: "localhost",
            path,
            token: None,
            body,
        };
        let (status, body) = match &self.0 {
            Way::Socket { socket, .. } => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|source| CliError::NotRunning {
                    socket: socket.clone(),
                    source,
                })?;
                exchange(stream, question).await?
            }
            Way::Network(remote) => {
                question.host = &remote.host;
                question.token = Some(&remote.token);
                remote.exchange(question).await?
            }
        };
        read(status, &body)
    }
}

fn read<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A, CliError> {
    let json = |source| ExchangeError::Json { status, source };
    if status.is_success() {
        return Ok(serde_json::from_slice(body).map_err(json)?);
    }
    let error: ApiError = serde_json::from_slice(body).map_err(json)?;
    Err(match &*error.errcode {
        "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" | "M_USER_LOCKED" => CliError::NotSignedIn(error),
        "M_FORBIDDEN" if status == StatusCode::FORBIDDEN => CliError::NotAdmin(error),
        "M_UNRECOGNIZED" => CliError::NotServed(error),
        _ => CliError::Refused(error),
    })
}

/// A user id of ours has no capital letters, however it is typed.
fn lower_cased(user_id: &str) -> String {
    let (localpart, server) = user_id.split_once(':').unwrap_or((user_id, ""));
    let localpart = localpart.to_ascii_lowercase();
    match server {
        "" => localpart,
        server => format!("{localpart}:{server}"),
    }
}

fn argument(flag: &'static str, rule: impl Into<String>) -> CliError {
    CliError::Argument {
        flag,
        rule: rule.into(),
    }
}

impl Remote {
    fn new(url: &str, token_file: &Path, trusted_ca: Option<&Path>) -> Result<Self, CliError> {
        let uri: Uri = url
            .parse()
            .map_err(|error| argument("server", format!("is no address: {error}")))?;
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            let rule = "must be an address such as https://chat.example.org";
            return Err(argument("server", rule));
        };
        let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let tls = match scheme {
            "https" => Some(connector(trusted_ca)?),
            "http" if is_loopback => None,
            _ => {
                let rule = "must begin with https://, since an administrator's token is sent to it";
                return Err(argument("server", rule));
            }
        };
        let token = fs::read_to_string(token_file).map_err(|source| CliError::File {
            action: "read the access token from",
            path: token_file.to_owned(),
            source,
        })?;
        Ok(Self {
            url: url.to_owned(),
            port: uri
                .port_u16()
                .unwrap_or(if tls.is_some() { 443 } else { 80 }),
            host: host.to_owned(),
            tls,
            token: token.trim().to_owned(),
        })
    }

    async fn exchange(&self, question: Question<'_>) -> Result<(StatusCode, Bytes), CliError> {
        let unreachable = |why: String| CliError::Unreachable {
            url: self.url.clone(),
            why,
        };
        let bare = self.host.trim_matches(['[', ']']);
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((bare, self.port)))
            .await
            .map_err(|_| unreachable("no connection within 10 s".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        let Some(tls) = &self.tls else {
            return Ok(exchange(stream, question).await?);
        };
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|error| argument("server", format!("names no host: {error}")))?;
        let stream = timeout(CONNECT_TIMEOUT, tls.connect(name, stream))
            .await
            .map_err(|_| unreachable("no TLS handshake within 10 s".to_owned()))?
            .map_err(|error| unreachable(error.to_string()))?;
        Ok(exchange(stream, question).await?)
    }
}

fn connector(trusted_ca: Option<&Path>) -> Result<TlsConnector, CliError> {
    let own: Vec<PathBuf> = trusted_ca.map(Path::to_owned).into_iter().collect();
    let roots = tls::roots(&own).map_err(|error| argument("trusted-ca", error))?;
    let config = tls::client(roots).map_err(|error| argument("server", error.to_string()))?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The path of a list with its cursor, encoded as one segment would be.
fn next_page(endpoint: Endpoint, after: &str) -> String {
    let query = Endpoint {
        method: endpoint.method,
        path: "{after}",
    };
    format!("{}?after={}", endpoint.path, query.path_with(&[after]))
}

#[cfg(test)]
mod tests {
    use hearth_admin_api::USER_LIST;

    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "secret\n").unwrap();
        for (url, accepted) in [
            ("https://chat.example.org", true),
            ("https://chat.example.org:8448", true),
            ("http://127.0.0.1:8008", true),
            ("http://localhost:8008", true),
            ("http://chat.example.org", false),
            ("chat.example.org", false),
            ("ftp://chat.example.org", false),
        ] {
            let remote = Remote::new(url, &token, None);
            assert_eq!(remote.is_ok(), accepted, "{url}");
            if let Ok(remote) = remote {
                assert_eq!(remote.token, "secret", "without its line end");
            }
        }
    }

    #[test]
    fn a_person_is_found_however_their_name_is_typed() {
        for (typed, meant) in [
            ("@Alice:One.test:1", "@alice:One.test:1"),
            ("@alice:one.test", "@alice:one.test"),
            ("@ALICE", "@alice"),
        ] {
            assert_eq!(lower_cased(typed), meant);
        }
    }

    #[test]
    fn the_cursor_of_the_next_page_is_encoded() {
        assert_eq!(
            next_page(USER_LIST, "@a+b&c:one.test"),
            "/_hearth/admin/v1/users?after=%40a%2Bb%26c%3Aone.test"
        );
    }
}
