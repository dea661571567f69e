//! Room versions as data: one row per version, one column per difference.
//!
//! The algorithms of this crate read these columns and never the version's name. A further version is
//! a further row, and, where it differs in a new way, a further column.
//!
//! spec: rooms/v11, rooms/v12.

use crate::canonical_json::CanonicalJsonRules;

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
    /// What a redaction leaves.
    pub redaction: RedactionRules,
    /// Who may send it.
    pub authorization: AuthorizationRules,
    /// How forked states become one.
    pub state_resolution: StateResolutionRules,
}

/// Shape of events and identifiers.
#[derive(Debug, PartialEq, Eq)]
pub struct EventFormatRules {
    /// Where room ids come from.
    pub room_id: RoomIdFormat,
}

/// Where room ids come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomIdFormat {
    /// `!opaque:server`, chosen by the creating server and stated in every event.
    ServerAssigned,
    /// `!` and the reference hash of the create event, which itself states none (MSC4291).
    CreateHash,
}

/// What the redaction algorithm keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct RedactionRules {
    /// Top-level keys, in order.
    pub top_level: &'static [&'static str],
    /// What stays of the content, by event type; of other types nothing stays.
    pub content: &'static [(&'static str, Keep)],
}

/// Which part of an object survives redaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Everything,
    /// These keys, in order, each with everything under it or a part.
    Keys(&'static [(&'static str, Keep)]),
}

/// Differences in the authorization rules.
#[derive(Debug, PartialEq, Eq)]
pub struct AuthorizationRules {
    /// Whether the create event is selected for the `auth_events` of the others. Where it is not, the
    /// room id implies it.
    pub create_in_auth_events: bool,
    /// What the creators of a room are entitled to.
    pub creators: CreatorPower,
}

/// Power of a room's creators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatorPower {
    /// The sender of the create event has power level 100 until power levels are set.
    UntilPowerLevels,
    /// The sender of the create event and its `additional_creators` stand above all power levels,
    /// for ever (MSC4289).
    Infinite,
}

/// Differences in state resolution.
#[derive(Debug, PartialEq, Eq)]
pub struct StateResolutionRules {
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

/// spec: rooms/v11 §Redactions.
const REDACTION_V11: RedactionRules = RedactionRules {
    top_level: &[
        "auth_events",
        "content",
        "depth",
        "event_id",
        "hashes",
        "origin_server_ts",
        "prev_events",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "type",
    ],
    content: &[
        ("m.room.create", Keep::Everything),
        (
            "m.room.history_visibility",
            Keep::Keys(&[("history_visibility", Keep::Everything)]),
        ),
        (
            "m.room.join_rules",
            Keep::Keys(&[("allow", Keep::Everything), ("join_rule", Keep::Everything)]),
        ),
        (
            "m.room.member",
            Keep::Keys(&[
                ("join_authorised_via_users_server", Keep::Everything),
                ("membership", Keep::Everything),
                (
                    "third_party_invite",
                    Keep::Keys(&[("signed", Keep::Everything)]),
                ),
            ]),
        ),
        (
            "m.room.power_levels",
            Keep::Keys(&[
                ("ban", Keep::Everything),
                ("events", Keep::Everything),
                ("events_default", Keep::Everything),
                ("invite", Keep::Everything),
                ("kick", Keep::Everything),
                ("redact", Keep::Everything),
                ("state_default", Keep::Everything),
                ("users", Keep::Everything),
                ("users_default", Keep::Everything),
            ]),
        ),
        (
            "m.room.redaction",
            Keep::Keys(&[("redacts", Keep::Everything)]),
        ),
    ],
};

const V11: RoomVersionRules = RoomVersionRules {
    id: "11",
    event_format: EventFormatRules {
        room_id: RoomIdFormat::ServerAssigned,
    },
    canonical_json: CanonicalJsonRules::STRICT,
    redaction: REDACTION_V11,
    authorization: AuthorizationRules {
        create_in_auth_events: true,
        creators: CreatorPower::UntilPowerLevels,
    },
    state_resolution: StateResolutionRules {
        initial_state: InitialState::Unconflicted,
        conflicted_state_subgraph: false,
    },
};

const V12: RoomVersionRules = RoomVersionRules {
    id: "12",
    event_format: EventFormatRules {
        room_id: RoomIdFormat::CreateHash,
    },
    authorization: AuthorizationRules {
        create_in_auth_events: false,
        creators: CreatorPower::Infinite,
    },
    state_resolution: StateResolutionRules {
        initial_state: InitialState::Empty,
        conflicted_state_subgraph: true,
    },
    ..V11
};

/// Every room version that we know.
pub static ROOM_VERSIONS: [RoomVersionRules; 2] = [V11, V12];

/// The rules of the room version with this name.
#[must_use]
pub fn rules_for(room_version: &str) -> Option<&'static RoomVersionRules> {
    ROOM_VERSIONS.iter().find(|rules| rules.id == room_version)
}
