//! Filters, which sync and history are asked for with.

use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    http::{
        auth::User,
        body::Body,
        error::{Code, RouteError, json_bytes, json_response},
    },
    routes::Call,
};

/// `POST /_matrix/client/v3/user/{userId}/filter`
pub(super) async fn create_filter(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let filter = call.request.body();
    let user_nid = user.session.user_nid;
    let filter_id = call.app.accounts.put_filter(user_nid, filter).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "filter_id": filter_id }),
    ))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
pub(super) async fn get_filter(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let user_nid = user.session.user_nid;
    let filter = call.app.accounts.filter(user_nid, call.arg(1)).await?;
    let filter = filter
        .ok_or_else(|| RouteError::refuse(Code::NOT_FOUND, "There is no filter of this id"))?;
    Ok(json_bytes(StatusCode::OK, filter.into()))
}
