//! What may happen to a server's storage, and what must be true after it: nothing acknowledged is
//! lost, nothing is half done, and the log says once what is wrong.
//!
//! `HEARTH_FAULT_ROUNDS` says how often each random fault is tried (1 without it), and
//! `HEARTH_FAULT_SEED` where its randomness begins; a failing run prints the seed.

mod disk;
mod journal;
mod kill;
mod load;
mod lost;
mod power_cut;
mod random;
mod read_only;
mod torn;

use load::Load;
use random::{Random, rounds};
