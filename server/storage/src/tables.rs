//! One file per family of tables, each SQL text beside the function that runs it.

pub mod account_data;
pub mod accounts;
pub mod devices;
pub mod events;
pub mod filters;
pub mod intern;
pub mod log;
pub mod outbox;
pub mod profiles;
pub mod rooms;
pub mod staging;
pub mod state;
pub mod tokens;
