//! The simulator, level 1: virtual servers over the pure rules, in one thread, replayable to the bit.
//!
//! A seed decides on everything: the room version, servers, people and what they do, a server that
//! breaks the rules, what the network loses, delays, reorders and repeats, when it parts and heals, and
//! when a server crashes. Oracles watch each step ([`referee`], [`room`]) and the end ([`end`],
//! [`sight`]).
//!
//! `HEARTH_SIM_SEED=7 cargo test -p hearth-protocol --test simulator -- --nocapture` replays one seed
//! and tells what happens; `HEARTH_SIM_SEEDS` says how many are run, `HEARTH_SIM_FIRST` from which on.

#[cfg(test)]
mod dice;
#[cfg(test)]
mod end;
#[cfg(test)]
mod people;
#[cfg(test)]
mod redaction;
#[cfg(test)]
mod referee;
#[cfg(test)]
mod rogue;
#[cfg(test)]
mod room;
#[cfg(test)]
mod scenario;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sight;
#[cfg(test)]
mod world;
