//! What is new.

use std::{sync::Arc, time::Duration};

use hearth_engine::sync::{SetPresence, StateAt, SyncRequest};
use http::{Response, StatusCode};

use super::request::{invalid, query, query_bool, query_number};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_bytes},
    },
    routes::Call,
};

/// `GET /_matrix/client/v3/sync`
pub(super) async fn sync(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let app = Arc::clone(&call.app);
    let filter = match query(&call, "filter")? {
        Some(given) => app.sync.filter(&user.session, &given).await?,
        None => Arc::default(),
    };
    let state_at = match query_bool(&call, "use_state_after")? {
        true => StateAt::End,
        false if query_bool(&call, "org.matrix.msc4222.use_state_after")? => StateAt::EndUnstable,
        false => StateAt::Start,
    };
    let request = SyncRequest {
        session: Arc::clone(&user.session),
        since: query(&call, "since")?,
        filter,
        full_state: query_bool(&call, "full_state")?,
        state_at,
        timeout: Duration::from_millis(query_number(&call, "timeout")?.unwrap_or_default()),
        set_presence: set_presence(&call)?,
    };
    // The head of the request holds the connection's buffer, which who waits does without.
    drop(call);
    let json = app.sync.sync(&request, app.stopping.cancelled()).await?;
    Ok(json_bytes(StatusCode::OK, json))
}

fn set_presence(call: &Call) -> Result<SetPresence, RouteError> {
    match query(call, "set_presence")?.as_deref() {
        None | Some("online") => Ok(SetPresence::Online),
        Some("unavailable") => Ok(SetPresence::Unavailable),
        Some("offline") => Ok(SetPresence::Offline),
        Some(_) => Err(invalid(
            "set_presence",
            "must be `online`, `unavailable` or `offline`",
        )),
    }
}
