//! The rules of accounts, on both engines.

mod appservices;
mod closed;
mod devices;
mod found;
mod guests;
mod refresh;
mod register;
mod stored;
mod tokens;

use hearth_types::client::uiaa::{AuthData, AuthType};
use hearth_types::ruma::user_id;
use serde_json::json;

use super::*;
use crate::rooms::create::{CreateRoom, Preset};
use crate::testing::{TestServer, new_room};

pub(super) const PASSWORD: &str = "correct horse";

pub(super) fn room_of_bob(preset: Preset) -> CreateRoom {
    new_room(user_id!("@bob:one.test").to_owned(), preset)
}

pub(super) fn accounts(server: &TestServer) -> Accounts {
    Accounts::new(Arc::clone(&server.context))
}

/// A server with settings of its own, and its accounts.
pub(super) async fn with_settings(
    scratch: &hearth_storage::testing::Scratch,
    change: impl FnOnce(&mut crate::context::Settings),
) -> (TestServer, Accounts) {
    let mut settings = crate::testing::settings();
    change(&mut settings);
    let server = TestServer::with(scratch, Arc::new(crate::peers::Isolated), settings).await;
    let accounts = accounts(&server);
    (server, accounts)
}

pub(super) fn auth(value: serde_json::Value) -> AuthData {
    serde_json::from_value(value).unwrap()
}

pub(super) fn dummy() -> AuthData {
    auth(json!({ "type": "m.login.dummy" }))
}

pub(super) fn proof(user: &str, password: &str) -> AuthData {
    auth(json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
    }))
}

pub(super) fn registration(username: &str) -> Registration {
    Registration {
        username: Some(username.to_owned()),
        password: Some(PASSWORD.to_owned()),
        ..Registration::default()
    }
}

/// Registers somebody and returns their session and token.
pub(super) async fn join(accounts: &Accounts, username: &str) -> (Arc<Session>, String) {
    let made = accounts
        .register(registration(username), Some(&dummy()))
        .await
        .unwrap();
    let token = made.session.unwrap().access_token;
    (accounts.authenticate(&token).await.unwrap(), token)
}

pub(super) async fn login(
    accounts: &Accounts,
    user: &str,
    password: &str,
    device_id: Option<&str>,
) -> Result<LoggedIn, AccountError> {
    let device = NewDevice {
        device_id: device_id.map(str::to_owned),
        ..NewDevice::default()
    };
    accounts
        .login(Login {
            user: user.to_owned(),
            password: password.to_owned(),
            device,
        })
        .await
}

pub(super) fn challenge(error: AccountError) -> Challenge {
    match error {
        AccountError::Interactive(challenge) => *challenge,
        other => panic!("{other}"),
    }
}
