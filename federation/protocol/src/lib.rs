//! The Matrix rules as pure functions.
//!
//! This crate is the executable form of the parts of the specification (v1.19) on which every
//! server of a room must agree: canonical JSON, the event format, hashes, identifiers, redaction,
//! signatures, the selection of auth events, the authorization rules and state resolution.
//!
//! It does no I/O, awaits nothing, reads no clock and draws no randomness; its maps are ordered. The
//! same input gives the same output on every machine, so it can be replayed, simulated and compared
//! with a second implementation.
//!
//! Differences between room versions are data ([`room_version::RoomVersionRules`]); no algorithm
//! compares version numbers.
//!
//! Reading order: [`canonical_json`] → [`room_version`] → [`event`] → [`redaction`] → [`signing`] →
//! [`draft`] and [`verify`] (the two ways an event comes into being) → [`auth_events`] →
//! [`power_levels`] → [`auth_rules`] → [`state_resolution`] → [`visibility`], [`server_acl`] and [`push_rules`].
#![deny(missing_docs)]
#![deny(clippy::indexing_slicing)]

pub mod ambient;
pub mod auth_events;
pub mod auth_rules;
pub mod canonical_json;
pub mod draft;
mod encoding;
pub mod event;
mod glob;
pub mod key_document;
pub mod power_levels;
pub mod push_rules;
pub mod redaction;
pub mod room_version;
pub mod server_acl;
pub mod signing;
pub mod state_resolution;
pub mod verify;
pub mod visibility;

pub use draft::PduDraft;
pub use event::{Event, FormatError};
pub use room_version::{RoomVersionRules, rules_for};
pub use verify::{UnverifiedPdu, VerifiedPdu};
