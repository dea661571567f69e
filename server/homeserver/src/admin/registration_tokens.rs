//! Registration tokens, for who looks after the server.

use hearth_admin_api::{
    CreateRegistrationTokenRequest, Empty, RegistrationToken, RegistrationTokenList,
};
use hearth_engine::accounts::{self, NewRegistrationToken};
use http::{Response, StatusCode};

use super::request::{body, created, page};
use crate::{
    http::{
        auth::Administrator,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `REGISTRATION_TOKEN_CREATE`
pub(super) async fn create(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let request: CreateRegistrationTokenRequest = body(&call)?;
    let new = NewRegistrationToken {
        token: request.token,
        uses_allowed: request.uses_allowed,
        expires_at_ms: request.expires_ts_ms,
    };
    created(
        call.app.accounts.create_registration_token(new).await,
        shown,
    )
}

/// `REGISTRATION_TOKEN_LIST`
pub(super) async fn list(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let (after, limit) = page(&call)?;
    let accounts = &call.app.accounts;
    let page = accounts.list_registration_tokens(&after, limit).await?;
    let list = RegistrationTokenList {
        tokens: page.tokens.into_iter().map(shown).collect(),
        next: page.next,
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `REGISTRATION_TOKEN_SHOW`
pub(super) async fn show(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let token = call.app.accounts.registration_token(call.arg(0)).await?;
    Ok(json_response(StatusCode::OK, &shown(token)))
}

/// `REGISTRATION_TOKEN_DELETE`
pub(super) async fn delete(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    call.app
        .accounts
        .delete_registration_token(call.arg(0))
        .await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

fn shown(token: accounts::RegistrationToken) -> RegistrationToken {
    RegistrationToken {
        token: token.stored.token,
        uses_allowed: token.stored.uses_allowed,
        pending: token.pending,
        completed: token.stored.completed,
        expires_ts_ms: token.stored.expires_at_ms,
        created_ts_ms: token.stored.created_at_ms,
    }
}
