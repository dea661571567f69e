//! Profiles of our own people, for other servers.

use std::sync::Arc;

use hearth_types::federation::query::get_profile_information::v1::Request;
use http::{Response, StatusCode};

use crate::{
    app::App,
    http::{
        auth::Server,
        body::Body,
        error::{Code, RouteError, json_response},
    },
};

/// `GET /_matrix/federation/v1/query/profile`
pub(super) async fn query_profile(
    app: Arc<App>,
    _caller: Server,
    request: Request,
) -> Result<Response<Body>, RouteError> {
    if !app.context.is_ours(request.user_id.server_name().as_str()) {
        let message = "`user_id` is not of this server";
        return Err(RouteError::refuse(Code::INVALID_PARAM, message));
    }
    let mut fields = app.accounts.own_profile(&request.user_id).await?;
    if let Some(field) = request.field {
        fields.retain(|name, _| name == field.as_str());
    }
    Ok(json_response(StatusCode::OK, &fields))
}
