//! The admin API: requests and answers shared by the server and `hearthctl`.
//!
//! It is HTTP/1.1 with JSON bodies over a Unix socket that only the server's own user may open,
//! so a request carries no token. Every answer other than 2xx has an [`ApiError`] as its body.

#![deny(missing_docs)]

mod endpoint;
mod error;
mod password;
mod server;
mod user;

pub use endpoint::{ENDPOINTS, Endpoint, SERVER_STATUS, USER_CREATE, USER_LIST, USER_PASSWORD};
pub use error::ApiError;
pub use password::Password;
pub use server::{DatabaseEngine, ServerStatus};
pub use user::{
    CreateUserRequest, Empty, ListUsersQuery, SetPasswordRequest, USERS_PER_PAGE_MAX, User,
    UserList,
};
