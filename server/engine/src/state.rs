//! Room state on local ids: the persistent map, its snapshots, and their resolution.

pub mod auth_chain;
pub mod auth_chains;
mod keeper;
pub mod map;
pub mod merge;
pub mod resolve;
pub mod snapshots;
pub mod sweep;

pub use map::StateMap;

#[cfg(test)]
mod tests;
