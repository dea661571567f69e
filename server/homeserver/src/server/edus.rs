//! What other servers tell besides events.

use hearth_engine::{keys::KeyError, rooms::error::RoomError};
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

/// Why an EDU was not taken.
enum NotTaken {
    /// It is not good, and never will be.
    LeftOut(String),
    /// It may be good.
    Storage(StorageError),
}

impl From<KeyError> for NotTaken {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Storage(error) => Self::Storage(error),
            error => Self::LeftOut(error.to_string()),
        }
    }
}

impl From<RoomError> for NotTaken {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Storage(error) => Self::Storage(error),
            error => Self::LeftOut(error.to_string()),
        }
    }
}

/// Takes one EDU. One that is malformed, or speaks for another server than its sender, is left out;
/// kinds that are not known are ignored.
///
/// # Errors
/// When the database fails: then the transaction must not be acknowledged.
async fn receive(app: &App, origin: &ServerName, edu: &InboundEdu) -> Result<(), StorageError> {
    match take(app, origin, edu).await {
        Ok(()) => Ok(()),
        Err(NotTaken::Storage(error)) => Err(error),
        Err(NotTaken::LeftOut(why)) => {
            tracing::debug!(%origin, edu_type = edu.edu_type, why, "an EDU was left out");
            Ok(())
        }
    }
}

async fn take(app: &App, origin: &ServerName, edu: &InboundEdu) -> Result<(), NotTaken> {
    let (lists, federation, content) = (&app.device_lists, &app.federation, &edu.content);
    match edu.edu_type.as_str() {
        "m.device_list_update" => lists.receive_update(origin, content).await?,
        "m.signing_key_update" => lists.receive_signing_keys(origin, content).await?,
        "m.direct_to_device" => app.to_device.receive(origin, content).await?,
        "m.receipt" => {
            let receipts = &app.receipts;
            federation
                .receive_receipts(origin, content, receipts)
                .await?;
        }
        "m.typing" => federation.receive_typing(origin, content).await?,
        "m.presence" => {
            let presence = &app.presence;
            federation
                .receive_presence(origin, content, presence)
                .await?;
        }
        _ => {}
    }
    Ok(())
}
