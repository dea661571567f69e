//! How a route says no: every `errcode` with its status, in one table.

use std::{borrow::Cow, error::Error as StdError};

use bytes::Bytes;
use hearth_config::Config;
use hearth_engine::{
    accounts::AccountError, keys::KeyError, rooms::error::RoomError, sync::SyncError,
};
use hearth_protocol::canonical_json::{JsonRule, ParseError};
use hearth_storage::{StorageError, Trouble};
use hearth_types::client::uiaa::UiaaInfo;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use super::body::Body;

/// An `errcode` and the status that it is answered with unless a route says otherwise.
///
/// spec: client-server v1.19 § Standard error response, and the error sections of the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The value of `errcode`.
    pub errcode: &'static str,
    /// The usual status.
    pub status: StatusCode,
}

macro_rules! codes {
    ($($name:ident: $status:ident $errcode:literal,)*) => {
        impl Code {
            $(#[doc = concat!("`", $errcode, "`")]
            pub const $name: Code = Code { errcode: $errcode, status: StatusCode::$status };)*

            /// Every code, for the test that keeps the table free of doubles.
            pub const ALL: &[Code] = &[$(Code::$name),*];
        }
    };
}

codes! {
    ALREADY_UPLOADED: CONFLICT "M_CANNOT_OVERWRITE_MEDIA",
    BAD_ALIAS: BAD_REQUEST "M_BAD_ALIAS",
    BAD_JSON: BAD_REQUEST "M_BAD_JSON",
    BAD_STATE: FORBIDDEN "M_BAD_STATE",
    CANNOT_LEAVE_SERVER_NOTICE_ROOM: FORBIDDEN "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM",
    DUPLICATE_ANNOTATION: BAD_REQUEST "M_DUPLICATE_ANNOTATION",
    EXCLUSIVE: BAD_REQUEST "M_EXCLUSIVE",
    FORBIDDEN: FORBIDDEN "M_FORBIDDEN",
    GUEST_ACCESS_FORBIDDEN: FORBIDDEN "M_GUEST_ACCESS_FORBIDDEN",
    INCOMPATIBLE_ROOM_VERSION: BAD_REQUEST "M_INCOMPATIBLE_ROOM_VERSION",
    INVALID_PARAM: BAD_REQUEST "M_INVALID_PARAM",
    INVALID_ROOM_STATE: BAD_REQUEST "M_INVALID_ROOM_STATE",
    INVALID_USERNAME: BAD_REQUEST "M_INVALID_USERNAME",
    INVALID_SIGNATURE: BAD_REQUEST "M_INVALID_SIGNATURE",
    INVITE_BLOCKED: FORBIDDEN "M_INVITE_BLOCKED",
    KEY_TOO_LARGE: BAD_REQUEST "M_KEY_TOO_LARGE",
    LIMIT_EXCEEDED: TOO_MANY_REQUESTS "M_LIMIT_EXCEEDED",
    MISSING_PARAM: BAD_REQUEST "M_MISSING_PARAM",
    MISSING_TOKEN: UNAUTHORIZED "M_MISSING_TOKEN",
    NOT_FOUND: NOT_FOUND "M_NOT_FOUND",
    NOT_JSON: BAD_REQUEST "M_NOT_JSON",
    NOT_YET_UPLOADED: GATEWAY_TIMEOUT "M_NOT_YET_UPLOADED",
    PROFILE_TOO_LARGE: BAD_REQUEST "M_PROFILE_TOO_LARGE",
    ROOM_IN_USE: BAD_REQUEST "M_ROOM_IN_USE",
    THREEPID_NOT_FOUND: BAD_REQUEST "M_THREEPID_NOT_FOUND",
    TOO_LARGE: PAYLOAD_TOO_LARGE "M_TOO_LARGE",
    UNABLE_TO_AUTHORISE_JOIN: BAD_REQUEST "M_UNABLE_TO_AUTHORISE_JOIN",
    UNABLE_TO_GRANT_JOIN: BAD_REQUEST "M_UNABLE_TO_GRANT_JOIN",
    UNAUTHORIZED: UNAUTHORIZED "M_UNAUTHORIZED",
    UNKNOWN: INTERNAL_SERVER_ERROR "M_UNKNOWN",
    UNKNOWN_DEVICE: BAD_REQUEST "M_UNKNOWN_DEVICE",
    UNKNOWN_POS: BAD_REQUEST "M_UNKNOWN_POS",
    UNKNOWN_TOKEN: UNAUTHORIZED "M_UNKNOWN_TOKEN",
    UNRECOGNIZED: NOT_FOUND "M_UNRECOGNIZED",
    UNSUPPORTED_ROOM_VERSION: BAD_REQUEST "M_UNSUPPORTED_ROOM_VERSION",
    USER_DEACTIVATED: FORBIDDEN "M_USER_DEACTIVATED",
    USER_IN_USE: BAD_REQUEST "M_USER_IN_USE",
    USER_LIMIT_EXCEEDED: FORBIDDEN "M_USER_LIMIT_EXCEEDED",
    USER_LOCKED: UNAUTHORIZED "M_USER_LOCKED",
    USER_SUSPENDED: FORBIDDEN "M_USER_SUSPENDED",
    WEAK_PASSWORD: BAD_REQUEST "M_WEAK_PASSWORD",
    WRONG_ROOM_KEYS_VERSION: FORBIDDEN "M_WRONG_ROOM_KEYS_VERSION",
}

impl Code {
    /// The code for text that was read as canonical JSON and is none.
    #[must_use]
    pub fn of_json(error: &ParseError) -> Self {
        match error.rule {
            JsonRule::Float
            | JsonRule::FloatRange
            | JsonRule::NegativeZero
            | JsonRule::IntegerRange
            | JsonRule::DuplicateKey
            | JsonRule::LoneSurrogate
            | JsonRule::Depth
            | JsonRule::NotAnObject => Self::BAD_JSON,
            _ => Self::NOT_JSON,
        }
    }
}

/// What a handler returns instead of a response.
#[derive(Debug)]
pub enum RouteError {
    /// The request is refused for a reason that the caller may know.
    Refused(Box<Refusal>),
    /// User-interactive authentication goes on: 401 with the stages that are left.
    Interactive(Box<UiaaInfo>),
    /// Something that should not happen. The caller learns an id; the log has the reason under it.
    Fault(Box<dyn StdError + Send + Sync>),
}

/// A refusal: code, sentence, and the fields that the code adds to the answer.
#[derive(Debug)]
pub struct Refusal {
    code: Code,
    status: StatusCode,
    message: Cow<'static, str>,
    fields: Map<String, Value>,
}

impl RouteError {
    /// Refuses with a code and a sentence for people.
    pub fn refuse(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self::Refused(Box::new(Refusal {
            code,
            status: code.status,
            message,
            fields: Map::new(),
        }))
    }

    /// Refuses because too much was asked for; `retry_after_ms` is when to come back.
    #[must_use]
    pub fn limited(retry_after_ms: i64) -> Self {
        Self::refuse(Code::LIMIT_EXCEEDED, "Too many requests; try again later")
            .with("retry_after_ms", retry_after_ms)
    }

    /// The token is not known (any more). With `soft_logout` the client keeps its keys and signs
    /// in again.
    #[must_use]
    pub fn unknown_token(soft_logout: bool) -> Self {
        Self::refuse(Code::UNKNOWN_TOKEN, "This access token is not known")
            .with("soft_logout", soft_logout)
    }

    /// The account is locked. The client keeps its keys and tries again.
    ///
    /// spec: client-server v1.19 §Account locking
    #[must_use]
    pub fn locked() -> Self {
        Self::refuse(Code::USER_LOCKED, "This account has been locked").with("soft_logout", true)
    }

    /// Asks for the next stage of user-interactive authentication.
    #[must_use]
    pub fn interactive(info: UiaaInfo) -> Self {
        Self::Interactive(Box::new(info))
    }

    /// Something unexpected: answered as 500, logged once. Where it is only that the database as a
    /// whole cannot do its work at the moment, the answer says so; storage has logged it.
    pub fn fault(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let error = error.into();
        match trouble(&*error) {
            Some(trouble) => Self::unavailable(trouble),
            None => Self::Fault(error),
        }
    }

    /// The database cannot do its work at the moment; the same request may succeed later.
    fn unavailable(trouble: Trouble) -> Self {
        let status = match trouble {
            Trouble::Full => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::refuse(
            Code::UNKNOWN,
            format!("This server cannot do this now: {trouble}"),
        )
        .status(status)
        .with("retry_after_ms", UNAVAILABLE_RETRY_MS)
    }

    /// The same refusal under another status than the code's usual one.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.status = status;
        }
        self
    }

    /// The same refusal with one more field in its body.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.fields.insert(field.to_owned(), value.into());
        }
        self
    }

    /// The same with what the answer says of this server: to a limit of an account belongs the page
    /// about limits.
    ///
    /// spec: client-server v1.19 §Common error codes (`M_USER_LIMIT_EXCEEDED`).
    #[must_use]
    pub(super) fn of_server(self, config: &Config) -> Self {
        match &self {
            Self::Refused(refusal) if refusal.code == Code::USER_LIMIT_EXCEEDED => {
                self.with("info_uri", config.limits_url().as_str())
            }
            _ => self,
        }
    }

    /// The answer; a fault is logged here, and only here, under `request_id`.
    pub(super) fn into_response(self, request_id: &str) -> Response<Body> {
        match self {
            Self::Refused(refusal) => refusal.into_response(),
            Self::Interactive(info) => json_response(StatusCode::UNAUTHORIZED, &info),
            Self::Fault(error) => {
                let error: &(dyn StdError + 'static) = &*error;
                tracing::error!(request_id, error, "a request failed unexpectedly");
                let message = format!("Something went wrong on this server (error {request_id})");
                refusal_response(Code::UNKNOWN, StatusCode::INTERNAL_SERVER_ERROR, &message)
            }
        }
    }
}

/// How soon to try again when the database cannot do its work.
const UNAVAILABLE_RETRY_MS: i64 = 5_000;

/// What an error of any part says of the database as a whole.
fn trouble(error: &(dyn StdError + Send + Sync + 'static)) -> Option<Trouble> {
    let storage = if let Some(RoomError::Storage(it)) = error.downcast_ref() {
        it
    } else if let Some(AccountError::Storage(it)) = error.downcast_ref() {
        it
    } else if let Some(KeyError::Storage(it)) = error.downcast_ref() {
        it
    } else if let Some(SyncError::Storage(it)) = error.downcast_ref() {
        it
    } else {
        error.downcast_ref::<StorageError>()?
    };
    storage.trouble()
}

impl Refusal {
    fn into_response(mut self) -> Response<Body> {
        let retry_after_ms = self.fields.get("retry_after_ms").and_then(Value::as_i64);
        self.fields
            .insert("errcode".to_owned(), self.code.errcode.into());
        self.fields
            .insert("error".to_owned(), self.message.into_owned().into());
        let mut response = json_response(self.status, &self.fields);
        if let Some(retry_after_ms) = retry_after_ms {
            let seconds = retry_after_ms.saturating_add(999).div_euclid(1000).max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn refusal_response(code: Code, status: StatusCode, message: &str) -> Response<Body> {
    #[derive(Serialize)]
    struct Standard<'a> {
        errcode: &'a str,
        error: &'a str,
    }
    json_response(
        status,
        &Standard {
            errcode: code.errcode,
            error: message,
        },
    )
}

/// A JSON answer. What we serialize are maps with string keys, which cannot fail; if one ever
/// does, the status still arrives.
pub fn json_response(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    json_bytes(status, serde_json::to_vec(value).unwrap_or_default().into())
}

/// An answer of JSON that is already text.
#[must_use]
pub fn json_bytes(status: StatusCode, json: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(json));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt;

    use super::*;

    fn body(response: Response<Body>) -> Value {
        let collected = futures_util::FutureExt::now_or_never(response.into_body().collect());
        serde_json::from_slice(&collected.unwrap().unwrap().to_bytes()).unwrap()
    }

    #[test]
    fn no_code_stands_twice_in_the_table() {
        let distinct: BTreeSet<_> = Code::ALL.iter().map(|code| code.errcode).collect();
        assert_eq!(distinct.len(), Code::ALL.len());
    }

    #[test]
    fn a_rate_limit_says_when_to_come_back_in_header_and_body() {
        let response = RouteError::limited(1_001).into_response("r");
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let body = body(response);
        assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED");
        assert_eq!(body["retry_after_ms"], 1_001);
    }

    #[test]
    fn an_unknown_token_says_whether_the_client_keeps_its_keys() {
        let response = RouteError::unknown_token(true).into_response("r");
        assert_eq!(response.status(), 401);
        assert_eq!(body(response)["soft_logout"], true);
    }

    #[test]
    fn a_fault_tells_the_caller_an_id_and_nothing_else() {
        let response = RouteError::fault("the disk is on fire").into_response("req-7");
        assert_eq!(response.status(), 500);
        let body = body(response);
        assert_eq!(body["errcode"], "M_UNKNOWN");
        assert!(body["error"].as_str().unwrap().contains("req-7"));
        assert!(!body.to_string().contains("disk"));
    }

    #[test]
    fn trouble_with_the_database_is_said_and_is_no_fault() {
        for (trouble, status) in [(Trouble::Full, 507), (Trouble::Unreachable, 503)] {
            let error = RoomError::Storage(StorageError::Unavailable(trouble));
            let response = RouteError::fault(error).into_response("r");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], "5");
            let body = body(response);
            assert_eq!(body["errcode"], "M_UNKNOWN");
            let said = body["error"].as_str().unwrap();
            assert!(said.contains(&trouble.to_string()), "{said}");
        }
    }

    #[test]
    fn interactive_authentication_answers_401_with_the_flows() {
        let info: UiaaInfo = serde_json::from_value(serde_json::json!({
            "flows": [{ "stages": ["m.login.dummy"] }], "params": {}, "session": "s",
        }))
        .unwrap();
        let response = RouteError::interactive(info).into_response("r");
        assert_eq!(response.status(), 401);
        assert_eq!(body(response)["flows"][0]["stages"][0], "m.login.dummy");
    }
}
