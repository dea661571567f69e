//! What is new, in windows.

use std::{sync::Arc, time::Duration};

use hearth_engine::sync::sliding::{SlidingBody, SlidingRequest};
use http::{Response, StatusCode};

use super::request::{body, query, query_number};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_bytes},
    },
    routes::Call,
};

/// `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`. What shipping clients put
/// into the query stands in the body in the proposal as it was accepted.
pub(super) async fn sync(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let app = &call.app;
    let mut body: SlidingBody = body(&call)?;
    body.set_presence = query(&call, "set_presence")?.or(body.set_presence);
    let timeout = query_number(&call, "timeout")?.or(body.timeout);
    let request = SlidingRequest {
        session: Arc::clone(&user.session),
        pos: query(&call, "pos")?.or(body.pos.take()),
        timeout: Duration::from_millis(timeout.unwrap_or_default()),
        body,
    };
    let json = app.sync.slide(&request, app.stopping.cancelled()).await?;
    Ok(json_bytes(StatusCode::OK, json))
}
