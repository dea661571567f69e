//! One file per family of tables, each SQL text beside the function that runs it.

pub mod account_data;
pub mod accounts;
pub mod bounds;
pub mod counts;
pub mod cross_signing;
pub mod dehydrated_devices;
pub mod device_keys;
pub mod device_lists;
pub mod devices;
pub mod events;
pub mod filters;
pub mod intern;
pub mod key_backups;
pub mod log;
pub mod one_time_keys;
pub mod outbox;
pub mod profiles;
pub mod rooms;
pub mod server_keys;
pub mod sharing;
pub mod sliding;
pub mod staging;
pub mod state;
pub mod to_device;
pub mod tokens;
