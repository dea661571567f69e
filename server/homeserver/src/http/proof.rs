//! The proof (`auth`) that comes with a request under user-interactive authentication, as clients send
//! it: what the types do not take is put into a form that they do, so that its answer is a challenge.
//!
//! spec: client-server v1.19 §User-Interactive Authentication API

use hearth_types::client::uiaa::AuthData;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::RouteError;

/// Reads a request; where that fails, once more with its proof in a form that can be read.
///
/// # Errors
/// What `read` says of the request as it was sent, if its proof is not at fault.
pub fn read_with_proof<T>(
    body: &[u8],
    read: impl Fn(&[u8]) -> Result<T, RouteError>,
) -> Result<T, RouteError> {
    read(body).or_else(|refused| match with_readable_proof(body) {
        Some(body) => read(&body),
        None => Err(refused),
    })
}

/// The body with a proof that can be read; `None` where it has none, or that is not what is wrong.
fn with_readable_proof(body: &[u8]) -> Option<Vec<u8>> {
    let mut request: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let auth = request.get("auth").filter(|auth| auth.is_object())?;
    if is_readable(auth) {
        return None;
    }
    match readable(auth.clone()) {
        Some(auth) => request.insert("auth".to_owned(), auth),
        None => request.remove("auth"),
    };
    serde_json::to_vec(&request).ok()
}

/// A proof in a form that can be read: of one that lacks something only its session is left, which
/// proves nothing; without a session it is as good as none.
fn readable(mut auth: Value) -> Option<Value> {
    // An older way to name the person, which `/login` takes too.
    if let (None, Some(user)) = (auth.get("identifier"), auth.get("user")) {
        auth["identifier"] = json!({ "type": "m.id.user", "user": user });
    }
    if is_readable(&auth) {
        return Some(auth);
    }
    let session = auth.get("session").filter(|session| session.is_string())?;
    Some(json!({ "session": session }))
}

fn is_readable(auth: &Value) -> bool {
    AuthData::deserialize(auth).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(sent: &Value) -> Option<Value> {
        let body = json!({ "auth": sent, "devices": ["A"] }).to_string();
        let body: Value = serde_json::from_slice(&with_readable_proof(body.as_bytes())?).unwrap();
        assert_eq!(body["devices"], json!(["A"]));
        Some(body["auth"].clone())
    }

    #[test]
    fn the_older_form_of_a_password_is_one_with_an_identifier() {
        let older =
            json!({ "type": "m.login.password", "user": "a", "password": "p", "session": "s" });
        let put = auth(&older).unwrap();
        assert_eq!(
            put["identifier"],
            json!({ "type": "m.id.user", "user": "a" })
        );
        assert_eq!(
            (&put["password"], &put["session"]),
            (&json!("p"), &json!("s"))
        );
    }

    #[test]
    fn of_a_proof_that_lacks_something_the_session_is_left() {
        for lacking in [
            json!({ "type": "m.login.password", "session": "s" }),
            json!({ "type": "m.login.password", "user": 5, "password": "p", "session": "s" }),
            json!({ "type": "m.login.registration_token", "session": "s" }),
            json!({ "type": 5, "session": "s" }),
        ] {
            assert_eq!(auth(&lacking), Some(json!({ "session": "s" })), "{lacking}");
        }
        for nothing in [json!({}), json!({ "type": "m.login.password" })] {
            assert_eq!(auth(&nothing), Some(Value::Null), "{nothing}");
        }
    }

    #[test]
    fn what_can_be_read_and_what_is_no_proof_stay_as_they_are() {
        for sent in [
            json!({ "type": "m.login.dummy" }),
            json!({ "session": "s" }),
            json!({ "type": "org.new", "session": "s" }),
            json!("text"),
            Value::Null,
        ] {
            assert_eq!(auth(&sent), None, "{sent}");
        }
    }
}
