//! The admin API: requests and answers shared by the server and `hearthctl`.
//!
//! It is HTTP/1.1 with JSON bodies: over a Unix socket that only the server's own user may open, so
//! that a request carries no token, or over the network with the access token of an administrator.
//! Every answer other than 2xx has an [`ApiError`] as its body.

#![deny(missing_docs)]

mod endpoint;
mod error;
mod list;
mod password;
mod registration_token;
mod report;
mod room;
mod server;
mod session;
mod user;

pub use endpoint::*;
pub use error::ApiError;
pub use list::{ListQuery, PER_PAGE_MAX};
pub use password::Password;
pub use registration_token::{
    CreateRegistrationTokenRequest, RegistrationToken, RegistrationTokenList,
};
pub use report::{Report, ReportList};
pub use room::{Room, RoomList};
pub use server::{DatabaseEngine, ServerStatus};
pub use session::{Device, DeviceList, OpenSessionRequest, OpenedSession};
pub use user::{
    CreateUserRequest, DeactivateUserRequest, Empty, ModerateUserRequest, SetPasswordRequest, User,
    UserList,
};
