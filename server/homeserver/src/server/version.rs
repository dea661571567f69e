//! Name and version of this implementation.

use std::sync::Arc;

use hearth_types::federation::discovery::get_server_version::v1::{Request, Response, Server};

use crate::{
    app::App,
    http::{auth::Anyone, error::RouteError},
};

/// `GET /_matrix/federation/v1/version`
pub(super) async fn get_server_version(
    _app: Arc<App>,
    _caller: Anyone,
    _request: Request,
) -> Result<Response, RouteError> {
    let server = Server {
        name: Some("Hearth".to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
    };
    Ok(Response {
        server: Some(server),
    })
}
