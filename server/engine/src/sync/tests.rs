//! `/sync` over whole rooms, on both engines.

mod answers;
pub(crate) mod client;
mod ephemeral;
mod filters;
mod histories;
mod lazy;
mod people;
mod receipts;
mod unread;
mod visibility;
