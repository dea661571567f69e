//! The admin API, one file per group of endpoints; `hearth-admin-api` has its shapes.

mod registration_tokens;
mod reports;
mod request;
mod rooms;
mod server;
mod users;

use hearth_admin_api::{
    Endpoint, REGISTRATION_TOKEN_CREATE, REGISTRATION_TOKEN_DELETE, REGISTRATION_TOKEN_LIST,
    REGISTRATION_TOKEN_SHOW, REPORT_DELETE, REPORT_LIST, REPORT_SHOW, ROOM_LIST, ROOM_SHOW,
    SERVER_STATUS, USER_CREATE, USER_DEACTIVATE, USER_DEVICE_LOGOUT, USER_DEVICES, USER_LIST,
    USER_MODERATE, USER_PASSWORD, USER_SHOW, USER_TOKEN,
};
use http::{Method, Response};

use crate::{
    http::{
        auth::{Administration, Administrator},
        body::Body,
        error::RouteError,
    },
    routes::{Call, RateClass, Row, raw},
};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        row(SERVER_STATUS, "server_status", server::status),
        row(USER_CREATE, "user_create", users::create),
        row(USER_LIST, "user_list", users::list),
        row(USER_PASSWORD, "user_password", users::set_password),
        row(USER_SHOW, "user_show", users::show),
        row(USER_MODERATE, "user_moderate", users::moderate),
        row(USER_DEACTIVATE, "user_deactivate", users::deactivate),
        row(USER_DEVICES, "user_devices", users::devices),
        row(
            USER_DEVICE_LOGOUT,
            "user_device_logout",
            users::log_device_out,
        ),
        row(USER_TOKEN, "user_token", users::token),
        row(ROOM_LIST, "room_list", rooms::list),
        row(ROOM_SHOW, "room_show", rooms::show),
        row(
            REGISTRATION_TOKEN_CREATE,
            "registration_token_create",
            registration_tokens::create,
        ),
        row(
            REGISTRATION_TOKEN_LIST,
            "registration_token_list",
            registration_tokens::list,
        ),
        row(
            REGISTRATION_TOKEN_SHOW,
            "registration_token_show",
            registration_tokens::show,
        ),
        row(
            REGISTRATION_TOKEN_DELETE,
            "registration_token_delete",
            registration_tokens::delete,
        ),
        row(REPORT_LIST, "report_list", reports::list),
        row(REPORT_SHOW, "report_show", reports::show),
        row(REPORT_DELETE, "report_delete", reports::delete),
    ]
}

fn row<F, Fut>(endpoint: Endpoint, name: &'static str, handler: F) -> Row
where
    F: Fn(Administrator, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    let method = Method::from_bytes(endpoint.method.as_bytes()).unwrap_or_default();
    raw::<Administration, _, _>(method, endpoint.path, name, RateClass::Write, handler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_method_and_path_of_their_endpoint() {
        for endpoint in hearth_admin_api::ENDPOINTS {
            let row = row(*endpoint, "any", server::status);
            assert_eq!(
                (row.method.as_str(), &*row.paths[0]),
                (endpoint.method, endpoint.path)
            );
        }
    }
}
