//! Room state on local ids: the persistent map, its snapshots, and their resolution.

pub mod map;
pub mod resolve;
pub mod snapshots;

pub use map::StateMap;
