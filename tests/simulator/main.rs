//! Level 2 of the simulator: whole engines over real databases, in one process, over a pretend
//! network that loses, delays, repeats, reorders and corrupts, with partitions and with processes
//! that end in the middle of a commit.
//!
//! What the network does to the n-th call of one kind on one link, and what is done at each step,
//! follows from the seed alone: both replay, and a test holds them to it. How the engines' own tasks
//! and the threads of SQLite interleave does not, so a seed that failed may have to be run a few times.
//!
//! * `HEARTH_SIM_SEED=n` runs one seed, with what happens in it.
//! * `HEARTH_SIM_SEEDS=n` runs so many, `HEARTH_SIM_FIRST=n` says from which on.
//! * `HEARTH_SIM_ON=1` goes on after a seed that failed, and names all that did at the end.

#[cfg(test)]
mod actions;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod link;
#[cfg(test)]
mod model;
#[cfg(test)]
mod network;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod random;
#[cfg(test)]
mod rogue;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod seed;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod world;
