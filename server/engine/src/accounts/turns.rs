//! Turns: what a person keeps is read, changed and written by one request after the other.
//!
//! Another process may still come in between, which the commit finds out; within this one, requests would
//! only make each other's plans worthless.

use tokio::sync::{Mutex, MutexGuard};

/// People share turns: more than change something at the same moment.
const TURNS: usize = 64;

/// The turns.
#[derive(Debug)]
pub(super) struct Turns([Mutex<()>; TURNS]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    /// Waits for a person's turn, which lasts until this is dropped.
    pub(super) async fn of(&self, user_nid: i64) -> MutexGuard<'_, ()> {
        let nth = usize::try_from(user_nid.unsigned_abs()).unwrap_or_default() % TURNS;
        self.0[nth].lock().await
    }
}
