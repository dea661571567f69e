//! HTTP: from a connection to one call of a handler, and back.
//!
//! `accept` owns the sockets, `dispatch` is the one path that every request takes, and the other
//! modules are its steps in the order in which they run.

pub mod accept;
mod account_error;
pub mod auth;
pub mod body;
pub mod client_address;
pub mod compress;
pub mod cors;
pub mod dispatch;
pub mod error;
pub mod json;
mod key_error;
pub mod proof;
pub mod query;
mod room_error;
pub mod standing;
pub mod tls;
