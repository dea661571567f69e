//! What is answered when something is not done in a room or by a sync: one table.

use hearth_engine::{peers::PeerError, rooms::error::RoomError, sync::SyncError};
use http::StatusCode;

use super::error::{Code, RouteError};

/// How soon to try again when a room has too much to do.
const BUSY_RETRY_MS: i64 = 1_000;

impl From<RoomError> for RouteError {
    fn from(error: RoomError) -> Self {
        use RoomError as E;
        let code = match &error {
            E::Storage(_) => return Self::fault(error),
            E::Peer(error) => return peer(error),
            E::Busy => return Self::limited(BUSY_RETRY_MS),
            E::Forbidden(_) => Code::FORBIDDEN,
            E::NotFound(_) => Code::NOT_FOUND,
            E::Invalid {
                field: "content", ..
            } => Code::BAD_JSON,
            E::Invalid { .. } => Code::INVALID_PARAM,
            E::TooLarge(_) => Code::TOO_LARGE,
            E::AliasTaken => Code::ROOM_IN_USE,
            E::AliasExclusive => Code::EXCLUSIVE,
            E::NoGuests => Code::GUEST_ACCESS_FORBIDDEN,
            E::DuplicateAnnotation => Code::DUPLICATE_ANNOTATION,
            E::BadAlias(_) => Code::BAD_ALIAS,
            E::InvalidState(_) => Code::INVALID_ROOM_STATE,
            E::InviteBlocked(_) => Code::INVITE_BLOCKED,
            // spec: client-server v1.19 §Validation of `m.thread` relationships.
            E::StillThere | E::NoThreadRoot => {
                let message = sentence(&error.to_string());
                return Self::refuse(Code::UNKNOWN, message).status(StatusCode::BAD_REQUEST);
            }
            E::UnableToAuthorizeJoin => Code::UNABLE_TO_AUTHORISE_JOIN,
            E::UnableToGrantJoin => Code::UNABLE_TO_GRANT_JOIN,
            E::UnsupportedVersion(_) => Code::UNSUPPORTED_ROOM_VERSION,
        };
        Self::refuse(code, sentence(&error.to_string()))
    }
}

impl From<SyncError> for RouteError {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Room(error) => error.into(),
            SyncError::Account(error) => error.into(),
            SyncError::Storage(_) => Self::fault(error),
            SyncError::UnknownPos => Self::refuse(Code::UNKNOWN_POS, sentence(&error.to_string())),
            SyncError::Invalid { .. } => Self::refuse(Code::INVALID_PARAM, error.to_string()),
        }
    }
}

/// The engine's errors begin in lower case.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Another server failed us or refused. Its words are not this server's, so they stay in the log.
fn peer(error: &PeerError) -> RouteError {
    tracing::info!(%error, "another server did not do what a room needed");
    match error {
        PeerError::Refused {
            server,
            status: 403,
            ..
        } => RouteError::refuse(
            Code::FORBIDDEN,
            format!("The server {server} does not allow it"),
        ),
        PeerError::Refused {
            server,
            status: 404,
            ..
        } => RouteError::refuse(
            Code::NOT_FOUND,
            format!("The server {server} knows no such room"),
        ),
        PeerError::Unreachable { server, .. }
        | PeerError::Refused { server, .. }
        | PeerError::Malformed { server, .. } => {
            let message = format!("The server {server} did not give a good answer");
            RouteError::refuse(Code::UNKNOWN, message).status(StatusCode::BAD_GATEWAY)
        }
    }
}
