//! Storage: every SQL text, both engines, the writer and the log's positions.
//!
//! *Down by call, up by position*: no function here knows who will read what it wrote. A caller
//! reads through [`Storage::read`] and the functions of [`tables`], and writes by handing a
//! [`commit::Commit`] to the [`writer::Writer`].

pub mod bundle;
pub mod cache;
pub mod checkpoint;
pub mod commit;
pub mod delta;
pub mod dialect;
pub mod driver;
pub mod error;
pub mod feed;
pub mod figures;
pub mod head;
pub mod inspect;
mod last_use;
mod lease;
mod migrate;
pub mod nids;
pub mod packed_json;
pub mod script;
mod storage;
pub mod tables;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trouble;
pub mod upkeep;
pub mod verify;
pub mod writer;

pub use commit::{Commit, CommitError, Guard, Outcome, Refusal, Slot};
pub use error::StorageError;
pub use head::Head;
pub use last_use::LastUse;
pub use storage::{Background, Options, Storage};
pub use trouble::Trouble;
pub use writer::{Receipt, Writer};
