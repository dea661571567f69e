//! The two-engine suite of storage: every test runs on SQLite and on PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on must fail"
)]

mod accounts;
mod bounds;
mod counts;
mod dehydrated_devices;
mod directory;
mod encryption;
mod events;
mod inspect;
mod key_backups;
mod levels;
mod nodes;
mod open;
mod parity;
mod receipts;
mod relations;
mod sessions;
mod sliding;
mod snapshots;
mod trouble;
mod verify;
mod writer;
