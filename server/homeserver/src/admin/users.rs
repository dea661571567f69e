//! Accounts, for the server's owner.

use hearth_admin_api::{
    CreateUserRequest, Empty, ListUsersQuery, SetPasswordRequest, USERS_PER_PAGE_MAX, User,
    UserList,
};
use hearth_engine::accounts::{AccountError, NewAccount};
use hearth_storage::tables::accounts::ListedAccount;
use hearth_types::ruma::UserId;
use http::{Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::{
    http::{
        auth::Owner,
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
    },
    routes::Call,
};

const USERS_PER_PAGE: u32 = 100;

/// `USER_CREATE`
pub(super) async fn create(_owner: Owner, call: Call) -> Result<Response<Body>, RouteError> {
    let request: CreateUserRequest = body(&call)?;
    let new = NewAccount {
        localpart: request.localpart,
        password: request.password.expose().to_owned(),
        display_name: request.display_name,
        admin: request.admin,
    };
    let made = call.app.accounts.create_account(new).await;
    let made = made.map_err(|error| match error {
        AccountError::UserInUse => RouteError::from(error).status(StatusCode::CONFLICT),
        other => other.into(),
    })?;
    Ok(json_response(StatusCode::CREATED, &shown(made)))
}

/// `USER_LIST`
pub(super) async fn list(_owner: Owner, call: Call) -> Result<Response<Body>, RouteError> {
    let query = call.request.uri().query().unwrap_or_default();
    let query: ListUsersQuery = serde_html_form::from_str(query)
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, error.to_string()))?;
    let limit = query.limit.unwrap_or(USERS_PER_PAGE);
    if !(1..=USERS_PER_PAGE_MAX).contains(&limit) {
        let message = format!("`limit` must be from 1 to {USERS_PER_PAGE_MAX}");
        return Err(RouteError::refuse(Code::INVALID_PARAM, message));
    }
    let after = query.after.unwrap_or_default();
    let page = call.app.accounts.list_accounts(&after, limit).await?;
    let list = UserList {
        users: page.accounts.into_iter().map(shown).collect(),
        next: page.next,
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `USER_PASSWORD`
pub(super) async fn set_password(_owner: Owner, call: Call) -> Result<Response<Body>, RouteError> {
    let user_id = UserId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`user_id`: {error}")))?;
    let request: SetPasswordRequest = body(&call)?;
    call.app
        .accounts
        .set_password(&user_id, request.password.expose(), request.log_out)
        .await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

fn shown(account: ListedAccount) -> User {
    User {
        user_id: account.user_id,
        display_name: account.display_name,
        admin: account.admin,
        deactivated: account.deactivated,
        created_ts_ms: account.created_at_ms,
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, RouteError> {
    let body = call.request.body();
    serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))
}
