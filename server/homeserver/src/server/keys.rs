//! The keys of this server, for everyone who checks its signatures.

use std::collections::BTreeMap;

use hearth_protocol::key_document::ServerKeys;
use http::{Response, StatusCode};

use crate::{
    http::{
        auth::Anyone,
        body::Body,
        error::{RouteError, json_bytes},
    },
    routes::Call,
};

/// How long others may keep our keys before they ask again.
const VALID_FOR_MS: i64 = 24 * 60 * 60 * 1000;

/// `GET /_matrix/key/v2/server`, and with a key id at its end as older servers ask.
///
/// spec: server-server v1.19 § Publishing Keys
pub(super) async fn get_server_keys(
    _caller: Anyone,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let valid_until_ts = call.app.context.clock.now_ms() + VALID_FOR_MS;
    let keys = [call.app.context.signing_key.clone()];
    let document = ServerKeys::publish(
        &call.app.context.server_name,
        &keys,
        &BTreeMap::new(),
        valid_until_ts,
    );
    Ok(json_bytes(StatusCode::OK, document.into()))
}
