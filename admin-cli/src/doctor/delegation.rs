use std::{net::IpAddr, sync::Arc, time::Duration};

use hearth_config::{Config, Resource};
use http::StatusCode;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Check;
use crate::{
    exchange::{Question, exchange},
    tls,
};

const NAME: &str = ".well-known";
const PATH: &str = "/.well-known/matrix/server";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The port that other servers try when nothing says otherwise. spec: server-server v1.19
/// §resolving-server-names
const FEDERATION_PORT: u16 = 8448;

#[derive(Deserialize)]
struct WellKnown {
    #[serde(rename = "m.server")]
    server: String,
}

/// How other servers find this one. A name with a port or an IP address says it by itself, and
/// nobody else reaches a name that means their own machine (RFC 6761 §6.3).
pub(super) async fn check(config: &Config) -> Option<Check> {
    let name = &config.server.name;
    let host = name.host();
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    let is_local = host == "localhost" || host.ends_with(".localhost");
    if !config.federation.enabled || name.port().is_some() || is_address || is_local {
        return None;
    }
    let listens = config.listeners.iter().any(|listener| {
        listener.bind.port() == FEDERATION_PORT
            && listener.resources.contains(&Resource::Federation)
    });
    Some(match fetch(config, host).await {
        Ok(server) if hearth_config::ServerName::parse(&server).is_ok() => Check::ok(
            NAME,
            format!("https://{host}{PATH} sends other servers to {server}"),
        ),
        Ok(_) => Check::problem(
            NAME,
            format!("https://{host}{PATH} does not name a server"),
            r#"it must be {"m.server": "host:port"}"#,
        ),
        Err(_) if listens => Check::ok(
            NAME,
            format!("none, so other servers come to {host}:{FEDERATION_PORT}"),
        ),
        Err(error) => Check::warning(
            NAME,
            format!(
                "https://{host}{PATH} gives no answer ({error}), and nothing listens on port {FEDERATION_PORT}"
            ),
            "serve that file, or listen on that port (a proxy may do either)",
        ),
    })
}

/// The server that the file names; empty text when the file is not of the form.
async fn fetch(config: &Config, host: &str) -> Result<String, String> {
    timeout(TIMEOUT, fetch_slowly(config, host))
        .await
        .unwrap_or_else(|_| Err("nothing within 10 s".to_owned()))
}

async fn fetch_slowly(config: &Config, host: &str) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let tls = tls::client(tls::roots(&config.federation.trusted_ca)?).map_err(|e| text(&e))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|e| text(&e))?;
    let stream = TcpStream::connect((host, 443))
        .await
        .map_err(|e| text(&e))?;
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .map_err(|e| text(&e))?;
    let question = Question {
        method: "GET",
        host,
        path: PATH,
        token: None,
        body: Vec::new(),
    };
    let (status, body) = exchange(stream, question).await.map_err(|e| text(&e))?;
    if status != StatusCode::OK {
        return Err(format!("status {status}"));
    }
    Ok(serde_json::from_slice::<WellKnown>(&body)
        .map(|file| file.server)
        .unwrap_or_default())
}
