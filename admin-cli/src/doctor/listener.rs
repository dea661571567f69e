use std::{net::SocketAddr, sync::Arc, time::Duration};

use hearth_config::sections::Listener;
use http::StatusCode;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Check, certificate};
use crate::{
    exchange::{Question, exchange},
    tls,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const PATH: &str = "/_matrix/client/versions";

/// Before the server runs its port must be free; while it runs it must answer there.
pub(super) async fn check(listener: &Listener, running: bool) -> Check {
    let name = format!("listener {}", listener.bind);
    match running {
        true => answers(name, listener).await,
        false => is_free(name, listener.bind).await,
    }
}

async fn is_free(name: String, bind: SocketAddr) -> Check {
    match TcpListener::bind(bind).await {
        Ok(_) => Check::ok(name, "the port is free"),
        Err(error) => Check::problem(
            name,
            format!("the server could not listen here: {error}"),
            "end the program that uses the port, or change `bind`",
        ),
    }
}

async fn answers(name: String, listener: &Listener) -> Check {
    if listener.bind.port() == 0 {
        return Check::ok(name, "the server chose the port itself");
    }
    match ask(listener).await {
        // A listener that does not serve clients answers in Matrix's words all the same.
        Ok(StatusCode::OK | StatusCode::NOT_FOUND) => Check::ok(name, "the server answers"),
        Ok(status) => Check::problem(
            name,
            format!("{PATH} is answered with {status}"),
            "look into the server's log",
        ),
        Err(error) => Check::problem(
            name,
            format!("the server runs but does not answer here: {error}"),
            "restart it, so that it reads its configuration and certificate anew",
        ),
    }
}

async fn ask(listener: &Listener) -> Result<StatusCode, String> {
    let address = reachable(listener.bind);
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .map_err(|_| "no connection within 5 s".to_owned())?
        .map_err(|error| error.to_string())?;
    let host = address.to_string();
    let question = Question {
        method: "GET",
        host: &host,
        path: PATH,
        token: None,
        body: Vec::new(),
    };
    let answer = match (&listener.tls_cert, &listener.tls_key) {
        (Some(cert), Some(key)) => {
            let chain = certificate::read(cert, key)?;
            let first = chain.into_iter().next().ok_or("the certificate is empty")?;
            exchange(secured(stream, address, first).await?, question).await
        }
        _ => exchange(stream, question).await,
    };
    answer
        .map(|(status, _)| status)
        .map_err(|error| error.to_string())
}

async fn secured(
    stream: TcpStream,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let config = tls::client_of_one(certificate).map_err(|error| error.to_string())?;
    let name = ServerName::IpAddress(address.ip().into());
    timeout(
        CONNECT_TIMEOUT,
        TlsConnector::from(Arc::new(config)).connect(name, stream),
    )
    .await
    .map_err(|_| "no TLS handshake within 5 s".to_owned())?
    .map_err(|error| error.to_string())
}

/// An address that means "every interface" is reached on loopback.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let mut address = bind;
    if bind.ip().is_unspecified() {
        address.set_ip(match bind {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
