//! The admin API, one file per group of endpoints; `hearth-admin-api` has its shapes.

mod server;
mod users;

use hearth_admin_api::{Endpoint, SERVER_STATUS, USER_CREATE, USER_LIST, USER_PASSWORD};
use http::{Method, Response};

use crate::{
    http::{
        auth::{AdminSocket, Owner},
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
    ]
}

fn row<F, Fut>(endpoint: Endpoint, name: &'static str, handler: F) -> Row
where
    F: Fn(Owner, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    let method = Method::from_bytes(endpoint.method.as_bytes()).unwrap_or_default();
    raw::<AdminSocket, _, _>(method, endpoint.path, name, RateClass::Unlimited, handler)
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
