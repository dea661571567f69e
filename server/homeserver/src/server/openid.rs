//! Who showed somebody a token of ours.

use std::sync::Arc;

use hearth_types::federation::openid::get_openid_userinfo::v1::{Request, Response};

use crate::{
    app::App,
    http::{auth::Anyone, error::RouteError},
};

/// `GET /_matrix/federation/v1/openid/userinfo`
pub(super) async fn userinfo(
    app: Arc<App>,
    _caller: Anyone,
    request: Request,
) -> Result<Response, RouteError> {
    let user_id = app.accounts.openid_owner(&request.access_token).await?;
    Ok(Response::new(user_id))
}
