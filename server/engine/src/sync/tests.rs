//! `/sync` over whole rooms, on both engines.

mod answers;
pub(crate) mod client;
mod filters;
mod histories;
mod lazy;
mod people;
mod unread;
mod visibility;
