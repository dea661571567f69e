//! Where this server is and what it is, for other servers.

use std::sync::Arc;

use hearth_types::{
    federation::discovery::{discover_homeserver, get_server_version::v1 as get_server_version},
    ruma::ServerName,
};

use crate::{
    app::App,
    http::{auth::Anyone, error::RouteError},
};

/// `GET /.well-known/matrix/server`: where clients reach us, other servers do too.
pub(super) async fn discover_homeserver(
    app: Arc<App>,
    _caller: Anyone,
    _request: discover_homeserver::Request,
) -> Result<discover_homeserver::Response, RouteError> {
    let server = ServerName::parse(delegated(app.config.public_url().as_str()));
    Ok(discover_homeserver::Response::new(
        server.map_err(RouteError::fault)?,
    ))
}

/// Host and port of a URL; without a port in it, the port of its scheme.
fn delegated(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split('/').next().unwrap_or(rest);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.ends_with(']'));
    match (has_port, scheme) {
        (true, _) => authority.to_owned(),
        (false, "http") => format!("{authority}:80"),
        (false, _) => format!("{authority}:443"),
    }
}

/// `GET /_matrix/federation/v1/version`
pub(super) async fn get_server_version(
    _app: Arc<App>,
    _caller: Anyone,
    _request: get_server_version::Request,
) -> Result<get_server_version::Response, RouteError> {
    let server = get_server_version::Server {
        name: Some("Hearth".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    Ok(get_server_version::Response {
        server: Some(server),
    })
}

#[cfg(test)]
mod tests {
    use super::delegated;

    #[test]
    fn other_servers_are_sent_to_the_port_that_clients_use() {
        for (url, server) in [
            ("https://chat.example.org", "chat.example.org:443"),
            ("https://chat.example.org:8448", "chat.example.org:8448"),
            ("https://chat.example.org/sub", "chat.example.org:443"),
            ("http://127.0.0.1:8008", "127.0.0.1:8008"),
            ("https://[::1]", "[::1]:443"),
            ("http://one.test", "one.test:80"),
        ] {
            assert_eq!(delegated(url), server);
        }
    }
}
