//! One file per section. A setting marked `reserved` is accepted, but nothing acts on it yet.

mod admin;
mod appservice;
mod cache;
mod database;
mod email;
mod federation;
mod listener;
mod log;
mod media;
mod outbound;
mod password;
mod presence;
mod rate_limit;
mod registration;
mod rooms;
mod server;
mod turn;
mod url_preview;

pub use admin::Admin;
pub use appservice::Appservice;
pub use cache::Cache;
pub use database::Database;
pub use email::Email;
pub use federation::Federation;
pub use listener::Listener;
pub use log::Log;
pub use media::Media;
pub use outbound::Outbound;
pub use password::Password;
pub use presence::Presence;
pub use rate_limit::RateLimit;
pub use registration::Registration;
pub use rooms::Rooms;
pub use server::Server;
pub use turn::Turn;
pub use url_preview::UrlPreview;
