//! What is answered when something about keys or messages between devices is not done: one table.

use hearth_engine::keys::KeyError;
use http::StatusCode;

use super::error::{Code, RouteError};

impl From<KeyError> for RouteError {
    fn from(error: KeyError) -> Self {
        use KeyError as E;
        let code = match &error {
            E::Storage(_) => return Self::fault(error),
            E::Peer(_) => {
                let message = "Another server did not give an answer";
                return Self::refuse(Code::UNKNOWN, message).status(StatusCode::BAD_GATEWAY);
            }
            E::WrongBackupVersion(current) => {
                let current = current.as_str();
                return Self::refuse(Code::WRONG_ROOM_KEYS_VERSION, error.to_string())
                    .with("current_version", current);
            }
            E::TooMany(_) => Code::USER_LIMIT_EXCEEDED,
            E::Json(parse) => Code::of_json(parse),
            E::Field(_) | E::NotDeviceIds(_) => Code::BAD_JSON,
            E::Invalid { .. } | E::KeyExists => Code::INVALID_PARAM,
            E::TooLarge { .. } => Code::TOO_LARGE,
            E::Signature(_) => Code::INVALID_SIGNATURE,
            E::NoMasterKey => Code::MISSING_PARAM,
            E::KeyIdInUse(_) | E::Changed | E::NotDehydrated => Code::FORBIDDEN,
            E::UnknownDevice | E::NotFound(_) => Code::NOT_FOUND,
        };
        Self::refuse(code, error.to_string())
    }
}
