//! Dehydrated devices (MSC3814).

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::request::{body, query};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `PUT /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(super) async fn put(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let owner = (user.session.user_nid, &*user.session.user_id);
    let device_id = call
        .app
        .keys
        .dehydrated_put(owner, call.request.body())
        .await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "device_id": device_id }),
    ))
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(super) async fn get(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let device = call.app.keys.dehydrated(user.session.user_nid).await?;
    let data = raw(device.device_data.into())?;
    let body = Found {
        device_id: &device.device_id,
        device_data: &data,
    };
    Ok(json_response(StatusCode::OK, &body))
}

#[derive(Serialize)]
struct Found<'a> {
    device_id: &'a str,
    device_data: &'a RawValue,
}

/// `DELETE /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device`
pub(super) async fn delete(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let owner = (user.session.user_nid, &*user.session.user_id);
    let device_id = call.app.keys.dehydrated_delete(owner).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "device_id": device_id }),
    ))
}

#[derive(Serialize)]
struct Events {
    events: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// `POST /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`: the
/// older form, whose last page is an empty one.
pub(super) async fn post_events(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    #[derive(serde::Deserialize)]
    struct From {
        next_batch: Option<String>,
    }
    let from: From = body(&call)?;
    events(&user, &call, from.next_batch, |_more| true).await
}

/// `GET /_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events`: the
/// newer form, whose last page names no other.
pub(super) async fn get_events(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let from = match query(&call, "from")? {
        Some(from) => Some(from),
        None => query(&call, "next_batch")?,
    };
    events(&user, &call, from, |more| more).await
}

async fn events(
    user: &User,
    call: &Call,
    from: Option<String>,
    names_next: impl Fn(bool) -> bool,
) -> Result<Response<Body>, RouteError> {
    let page = call
        .app
        .keys
        .dehydrated_events(user.session.user_nid, call.arg(0), from.as_deref())
        .await?;
    let events: Result<_, RouteError> = page.events.into_iter().map(raw).collect();
    let body = Events {
        events: events?,
        next_batch: names_next(page.more).then_some(page.next_batch),
    };
    Ok(json_response(StatusCode::OK, &body))
}

/// JSON as it is stored.
fn raw(json: Bytes) -> Result<Box<RawValue>, RouteError> {
    let text = String::from_utf8(json.into()).map_err(RouteError::fault)?;
    RawValue::from_string(text).map_err(RouteError::fault)
}
