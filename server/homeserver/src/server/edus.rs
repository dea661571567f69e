//! What other servers tell besides events.

use hearth_engine::keys::KeyError;
use hearth_federation::inbound::InboundEdu;
use hearth_storage::StorageError;
use hearth_types::ruma::ServerName;

use crate::{app::App, http::error::RouteError};

/// Whether an EDU is taken in before the events beside it: messages between devices bring the keys
/// of encrypted events, and there are clients that look for a key but once, when they see the event.
pub(super) fn brings_keys(edu: &InboundEdu) -> bool {
    matches!(
        edu.edu_type.as_str(),
        "m.device_list_update" | "m.signing_key_update" | "m.direct_to_device"
    )
}

/// Takes EDUs, one after the other.
///
/// # Errors
/// When the database fails.
pub(super) async fn receive_all(
    app: &App,
    origin: &ServerName,
    edus: &[&InboundEdu],
) -> Result<(), RouteError> {
    for edu in edus {
        receive(app, origin, edu).await.map_err(RouteError::fault)?;
    }
    Ok(())
}

/// Takes one EDU. One that is malformed, or speaks for another server than its sender, is left out;
/// kinds that are not known are ignored.
///
/// # Errors
/// When the database fails: then the transaction must not be acknowledged.
async fn receive(app: &App, origin: &ServerName, edu: &InboundEdu) -> Result<(), StorageError> {
    let content = &edu.content;
    let taken = match edu.edu_type.as_str() {
        "m.device_list_update" => app.device_lists.receive_update(origin, content).await,
        "m.signing_key_update" => app.device_lists.receive_signing_keys(origin, content).await,
        "m.direct_to_device" => app.to_device.receive(origin, content).await,
        _ => Ok(()),
    };
    match taken {
        Ok(()) => Ok(()),
        Err(KeyError::Storage(error)) => Err(error),
        Err(error) => {
            tracing::debug!(%origin, edu_type = edu.edu_type, %error, "an EDU was left out");
            Ok(())
        }
    }
}
