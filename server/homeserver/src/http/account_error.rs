//! What clients are told when an account action is not done: one table.

use hearth_engine::{accounts::AccountError, peers::PeerError};
use http::StatusCode;

use super::{
    error::{Code, RouteError},
    json::json_refusal,
};

/// How soon to try again when all places for password hashes are taken.
const BUSY_RETRY_MS: i64 = 1_000;

impl From<AccountError> for RouteError {
    fn from(error: AccountError) -> Self {
        use AccountError as E;
        let code = match error {
            E::Interactive(challenge) => return Self::Interactive(challenge),
            E::UnknownToken => return Self::unknown_token(false),
            E::Expired => return Self::unknown_token(true),
            E::Locked => return Self::locked(),
            E::Busy => return Self::limited(BUSY_RETRY_MS),
            E::Peer(error) => return peer(&error),
            E::Json(error) => return json_refusal(&error, &[]),
            E::Storage(_) | E::Fault(_) => return Self::fault(error),
            E::RegistrationClosed
            | E::WrongPassword
            | E::WrongLoginToken
            | E::WrongMac
            | E::TokenUsedUp
            | E::NotThatGuest
            | E::NotAdmin
            | E::NotOwner
            | E::NotActedFor
            | E::AmongAdmins => Code::FORBIDDEN,
            // As the tools expect it that speak this scheme.
            E::NoSharedSecret | E::UnknownNonce => {
                return Self::refuse(Code::UNKNOWN, sentence(&error))
                    .status(StatusCode::BAD_REQUEST);
            }
            E::NoGuests => Code::GUEST_ACCESS_FORBIDDEN,
            E::TokenInUse => Code::INVALID_PARAM,
            E::InvalidUsername(_) => Code::INVALID_USERNAME,
            E::UserInUse => Code::USER_IN_USE,
            E::Exclusive(_) => Code::EXCLUSIVE,
            E::UnknownDevice => Code::UNKNOWN_DEVICE,
            E::NoDevice(_) => Code::MISSING_PARAM,
            E::WeakPassword(_) => Code::WEAK_PASSWORD,
            E::Deactivated => Code::USER_DEACTIVATED,
            E::Missing(_) => Code::MISSING_PARAM,
            E::Invalid { .. } => Code::INVALID_PARAM,
            E::NotFound(_) => Code::NOT_FOUND,
            E::ManagedAccountData => {
                return Self::refuse(Code::BAD_JSON, sentence(&error))
                    .status(StatusCode::METHOD_NOT_ALLOWED);
            }
            E::NotText(_) => Code::BAD_JSON,
            E::FieldNameTooLong => Code::KEY_TOO_LARGE,
            E::ProfileTooLarge => Code::PROFILE_TOO_LARGE,
            E::TooMany(_) => Code::USER_LIMIT_EXCEEDED,
        };
        Self::refuse(code, sentence(&error))
    }
}

/// The error as a sentence: the engine's errors begin in lower case.
fn sentence(error: &AccountError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Another server failed us: what it said is not this server's word, so only that is said.
fn peer(error: &PeerError) -> RouteError {
    let server = match error {
        PeerError::Unreachable { server, .. }
        | PeerError::Refused { server, .. }
        | PeerError::Malformed { server, .. } => server,
    };
    RouteError::refuse(
        Code::UNKNOWN,
        format!("The server {server} did not give an answer"),
    )
    .status(StatusCode::BAD_GATEWAY)
}
