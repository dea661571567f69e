//! `/sync` over whole rooms, on both engines.

mod answers;
mod histories;
mod people;
