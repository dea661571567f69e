//! Events in requests of other servers.

use bytes::Bytes;
use hearth_protocol::{
    room_version::RoomVersionRules,
    verify::{UnverifiedPdu, VerifiedPdu},
};
use hearth_types::ruma::{EventId, RoomId};

use crate::{
    app::App,
    http::error::{Code, RouteError},
};

/// The event of a request whose path names its room and its id.
///
/// # Errors
/// `M_BAD_JSON` when it is no event of this room version, `M_INVALID_PARAM` when it is another one
/// than the path says, `M_FORBIDDEN` when it is not signed as it must be.
pub(super) async fn verified(
    app: &App,
    rules: &'static RoomVersionRules,
    named: (&RoomId, &EventId),
    json: Bytes,
) -> Result<VerifiedPdu, RouteError> {
    let parsed = UnverifiedPdu::parse(rules, &json)
        .map_err(|error| RouteError::refuse(Code::BAD_JSON, error.to_string()))?;
    if (parsed.room_id(), parsed.event_id()) != named {
        let message = "The event is not the one that the path names";
        return Err(RouteError::refuse(Code::INVALID_PARAM, message));
    }
    let verified = app.context.peers.verify(vec![parsed]).await.pop();
    verified.ok_or_else(|| {
        let message = "The event is not signed as it must be";
        RouteError::refuse(Code::FORBIDDEN, message)
    })
}
