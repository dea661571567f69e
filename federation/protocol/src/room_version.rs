//! Room versions as data: one row per version, one column per difference.
//!
//! The algorithms of this crate read these columns and never the version's name. A further version is
//! a further row, and, where it differs in a new way, a further column. This file has the columns,
//! [`rows`] the rows, [`redaction`] the lists of what redactions keep.
//!
//! spec: rooms v1.19 §Feature matrix; rooms/v1 – rooms/v12.

mod redaction;
mod rows;

#[cfg(test)]
mod tests;

pub use redaction::{Keep, Kept, RedactionRules};
pub use rows::{ROOM_VERSIONS, rules_for};

use crate::canonical_json::CanonicalJsonRules;
use crate::event::JoinRule;

/// The version of rooms that we create.
///
/// spec: rooms v1.19 §Feature matrix ("Servers SHOULD use room version 12 as the default").
pub const DEFAULT: &str = "12";

/// Everything in which one room version may differ from another.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomVersionRules {
    /// Name of the version, as in `content.room_version` of the create event.
    pub id: &'static str,
    /// What an event looks like.
    pub event_format: EventFormatRules,
    /// Which JSON it may hold.
    pub canonical_json: CanonicalJsonRules,
    /// Who must have signed it, and with which keys.
    pub signatures: SignatureRules,
    /// What a redaction leaves.
    pub redaction: RedactionRules,
    /// Who may send it.
    pub authorization: AuthorizationRules,
    /// How forked states become one.
    pub state_resolution: StateResolutionRules,
}

/// Shape of events and identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFormatRules {
    /// Where event ids come from.
    pub event_id: EventIdFormat,
    /// How an event names the events before it and those that allow it.
    pub references: ReferenceFormat,
    /// Where room ids come from.
    pub room_id: RoomIdFormat,
    /// Where a redaction says what it redacts.
    pub redacts: RedactsPlace,
}

/// Where event ids come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIdFormat {
    /// `$opaque:server`, chosen by the sending server and stated in the event.
    Stated,
    /// `$` and the reference hash in unpadded base64; not in the event.
    Hash,
    /// `$` and the reference hash in URL-safe unpadded base64; not in the event.
    UrlSafeHash,
}

/// How `prev_events` and `auth_events` name events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceFormat {
    /// Pairs of the event's id and its hashes.
    IdsWithHashes,
    /// The event's id.
    Ids,
}

/// Where room ids come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomIdFormat {
    /// `!opaque:server`, chosen by the creating server and stated in every event.
    ServerAssigned,
    /// `!` and the reference hash of the create event, which itself states none (MSC4291).
    CreateHash,
}

/// Where a redaction says what it redacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedactsPlace {
    /// `redacts` beside `content`.
    TopLevel,
    /// `redacts` in `content`.
    Content,
}

/// Differences in what makes signatures sufficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureRules {
    /// Whether the server that the event id names must have signed too.
    pub event_id_server: bool,
    /// Whether the server of `content.join_authorised_via_users_server` must have signed too.
    pub authorizing_server: bool,
    /// Whether a key counts only for events of the time in which it was valid.
    pub key_validity: bool,
}

/// Differences in the authorization rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizationRules {
    /// Whether the create event is selected for the `auth_events` of the others. Where it is not, the
    /// room id implies it.
    pub create_in_auth_events: bool,
    /// Which field of the create event names the room's creator.
    pub creator: CreatorField,
    /// What the creators of a room are entitled to.
    pub creators: CreatorPower,
    /// Whether each server may set the `m.room.aliases` of its own name, whatever the power levels.
    pub aliases_of_own_server: bool,
    /// When it is decided whether a redaction may redact its target.
    pub redactions: RedactionCheck,
    /// The join rules that mean something; any other lets nobody in.
    pub join_rules: &'static [JoinRule],
    /// What counts as a power level.
    pub level_values: LevelValues,
    /// Whether a change of `notifications` in the power levels needs the power of the levels changed.
    pub notification_levels: bool,
}

impl AuthorizationRules {
    /// Whether `knock` is a membership.
    #[must_use]
    pub fn knocking(&self) -> bool {
        self.join_rules.contains(&JoinRule::Knock)
    }

    /// Whether a member can vouch for somebody who joins.
    #[must_use]
    pub fn restricted_joins(&self) -> bool {
        self.join_rules.contains(&JoinRule::Restricted)
    }
}

/// Which field of the create event names the room's creator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatorField {
    /// `content.creator`, which must be there.
    Content,
    /// `sender`.
    Sender,
}

/// Power of a room's creators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatorPower {
    /// The creator has power level 100 until power levels are set.
    UntilPowerLevels,
    /// The sender of the create event and its `additional_creators` stand above all power levels,
    /// for ever (MSC4289).
    Infinite,
}

/// When it is decided whether a redaction may redact its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedactionCheck {
    /// When the redaction is authorized, by its own event id and that of its target.
    WhenAuthorized,
    /// When it is applied, by its sender and that of its target. Any redaction is authorized.
    WhenApplied,
}

/// What counts as a power level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelValues {
    /// Integers, strings that hold one, and, where the JSON of the version admits them, numbers with
    /// fraction and exponent.
    Lenient,
    /// Integers alone.
    Integers,
}

/// How forked states become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateResolutionRules {
    /// By depth: rooms/v1.
    V1,
    /// By power and mainline: rooms/v2 and its refinements.
    V2(StateResolutionV2Rules),
}

impl StateResolutionRules {
    /// Whether the auth difference of the states has a part in it.
    #[must_use]
    pub fn auth_difference(&self) -> bool {
        matches!(self, Self::V2(_))
    }

    /// Whether the conflicted state subgraph has a part in it.
    #[must_use]
    pub fn conflicted_state_subgraph(&self) -> bool {
        matches!(self, Self::V2(rules) if rules.conflicted_state_subgraph)
    }
}

/// Differences in version 2 of state resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateResolutionV2Rules {
    /// The state on which the first pass of iterative auth checks starts.
    pub initial_state: InitialState,
    /// Whether the conflicted state subgraph belongs to the full conflicted set (MSC4297).
    pub conflicted_state_subgraph: bool,
}

/// The state on which the iterative auth checks start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// The unconflicted state map (v2).
    Unconflicted,
    /// The empty map (v2.1, MSC4297).
    Empty,
}
