//! The protocol against its specification, against itself, and against a second implementation.

#[cfg(test)]
mod auth_rules;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod generated_rooms;
#[cfg(test)]
mod naive_v1;
#[cfg(test)]
mod ruma_oracle;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod signers;
#[cfg(test)]
mod state_resets;
#[cfg(test)]
mod state_resolution;
#[cfg(test)]
mod state_resolution_v1;
#[cfg(test)]
mod test_room;
