//! One file per family of tables, each SQL text beside the function that runs it.

pub mod events;
pub mod intern;
pub mod log;
pub mod outbox;
pub mod rooms;
pub mod staging;
pub mod state;
