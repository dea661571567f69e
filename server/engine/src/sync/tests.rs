//! `/sync` over whole rooms, on both engines.

mod answers;
pub(crate) mod client;
mod histories;
mod people;
