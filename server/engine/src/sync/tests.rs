//! `/sync` over whole rooms, on both engines.

mod answers;
pub(crate) mod client;
mod ephemeral;
mod erased;
mod filters;
pub(crate) mod histories;
mod lazy;
pub(crate) mod people;
mod receipts;
mod space;
mod standing;
mod threads;
mod unread;
mod visibility;
