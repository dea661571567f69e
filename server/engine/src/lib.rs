//! The engine: what a homeserver *does*. Rooms, sync, accounts, devices, keys.
//!
//! It knows no HTTP and no sockets. Requests come in as calls, changes go out as
//! [`hearth_storage::Commit`]s, other servers are reached through [`peers::Peers`], and time,
//! randomness and tasks are what its [`context::Context`] was given.

pub mod accounts;
pub mod appservices;
pub mod context;
pub mod departures;
pub mod device_lists;
pub mod erased;
pub mod federation;
mod followed;
pub mod json;
pub mod keys;
pub mod memory;
pub mod moments;
pub mod notifier;
pub mod outbox;
pub mod peers;
pub mod presence;
pub mod push;
pub mod receipts;
pub mod rooms;
pub mod state;
pub mod sync;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod to_device;
