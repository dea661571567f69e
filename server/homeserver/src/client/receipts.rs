//! Up to where people have read.

use hearth_engine::receipts::{Markers, ReceiptKind, Thread};
use hearth_types::ruma::{EventId, OwnedEventId};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{body, invalid, room_id};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

#[derive(Deserialize)]
struct Threaded {
    thread_id: Option<Value>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
pub(super) async fn send_receipt(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let kind = match call.arg(1) {
        "m.read" => ReceiptKind::Read,
        "m.read.private" => ReceiptKind::ReadPrivate,
        "m.fully_read" => ReceiptKind::FullyRead,
        _ => {
            let rule = "must be `m.read`, `m.read.private` or `m.fully_read`";
            return Err(invalid("receiptType", rule));
        }
    };
    let event_id = EventId::parse(call.arg(2))
        .map_err(|error| invalid("eventId", format!("is no event id: {error}")))?;
    let Threaded { thread_id } = body(&call)?;
    let thread = match &thread_id {
        None => Thread::Unthreaded,
        // What is no text is no event id either.
        Some(thread_id) => Thread::named(thread_id.as_str().unwrap_or_default())?,
    };
    let (receipts, room_id) = (&call.app.receipts, room_id(&call)?);
    receipts
        .send(&user.session, &room_id, &event_id, (kind, thread))
        .await?;
    call.app.presence.acts(&user.session);
    Ok(json_response(StatusCode::OK, &json!({})))
}

#[derive(Deserialize)]
struct AskedMarkers {
    #[serde(rename = "m.fully_read")]
    fully_read: Option<OwnedEventId>,
    #[serde(rename = "m.read")]
    read: Option<OwnedEventId>,
    #[serde(rename = "m.read.private")]
    read_private: Option<OwnedEventId>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
pub(super) async fn set_read_markers(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let asked: AskedMarkers = body(&call)?;
    let markers = Markers {
        fully_read: asked.fully_read,
        read: asked.read,
        read_private: asked.read_private,
    };
    let (receipts, room_id) = (&call.app.receipts, room_id(&call)?);
    receipts.mark(&user.session, &room_id, &markers).await?;
    call.app.presence.acts(&user.session);
    Ok(json_response(StatusCode::OK, &json!({})))
}
