//! The process over real sockets.

#[cfg(test)]
mod accounts;
#[cfg(test)]
mod administration;
#[cfg(test)]
mod appservices;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod crossing;
#[cfg(test)]
mod dehydrated_devices;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod key_backups;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod online;
#[cfg(test)]
mod people;
#[cfg(test)]
mod process;
#[cfg(test)]
mod push_rules;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod room_reading;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sliding_sync;
#[cfg(test)]
mod standing;
#[cfg(test)]
mod syncing;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod whole_table;
#[cfg(test)]
mod wishes;
