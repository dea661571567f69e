//! The rows: each version says what it changes on the one before it.

use super::redaction::{REDACTION_V1, REDACTION_V6, REDACTION_V8, REDACTION_V9, REDACTION_V11};
use super::{
    AuthorizationRules, CreatorField, CreatorPower, EventFormatRules, EventIdFormat, InitialState,
    LevelValues, RedactionCheck, RedactsPlace, ReferenceFormat, RoomIdFormat, RoomVersionRules,
    SignatureRules, StateResolutionRules, StateResolutionV2Rules,
};
use crate::canonical_json::CanonicalJsonRules;
use crate::event::JoinRule;

/// spec: rooms/v1.
const V1: RoomVersionRules = RoomVersionRules {
    id: "1",
    event_format: EventFormatRules {
        event_id: EventIdFormat::Stated,
        references: ReferenceFormat::IdsWithHashes,
        room_id: RoomIdFormat::ServerAssigned,
        redacts: RedactsPlace::TopLevel,
    },
    canonical_json: CanonicalJsonRules::LENIENT,
    signatures: SignatureRules {
        event_id_server: true,
        authorizing_server: false,
        key_validity: false,
    },
    redaction: REDACTION_V1,
    authorization: AUTHORIZATION_V1,
    state_resolution: StateResolutionRules::V1,
};

/// spec: rooms/v1 §Authorisation rules.
const AUTHORIZATION_V1: AuthorizationRules = AuthorizationRules {
    create_in_auth_events: true,
    creator: CreatorField::Content,
    creators: CreatorPower::UntilPowerLevels,
    aliases_of_own_server: true,
    redactions: RedactionCheck::WhenAuthorized,
    join_rules: &[JoinRule::Public, JoinRule::Invite],
    level_values: LevelValues::Lenient,
    notification_levels: false,
};

/// spec: rooms/v2 ("changing only the state resolution algorithm").
const V2: RoomVersionRules = RoomVersionRules {
    id: "2",
    state_resolution: StateResolutionRules::V2(StateResolutionV2Rules {
        initial_state: InitialState::Unconflicted,
        conflicted_state_subgraph: false,
    }),
    ..V1
};

/// spec: rooms/v3 §Handling redactions.
const AUTHORIZATION_V3: AuthorizationRules = AuthorizationRules {
    redactions: RedactionCheck::WhenApplied,
    ..AUTHORIZATION_V1
};

/// spec: rooms/v3 §Event IDs, §Event format, §Authorisation rules ("does not need a signature from
/// that server").
const V3: RoomVersionRules = RoomVersionRules {
    id: "3",
    event_format: EventFormatRules {
        event_id: EventIdFormat::Hash,
        references: ReferenceFormat::Ids,
        ..V1.event_format
    },
    signatures: SignatureRules {
        event_id_server: false,
        ..V2.signatures
    },
    authorization: AUTHORIZATION_V3,
    ..V2
};

/// spec: rooms/v4 §Event IDs.
const V4: RoomVersionRules = RoomVersionRules {
    id: "4",
    event_format: EventFormatRules {
        event_id: EventIdFormat::UrlSafeHash,
        ..V3.event_format
    },
    ..V3
};

/// spec: rooms/v5 §Signing key validity period.
const V5: RoomVersionRules = RoomVersionRules {
    id: "5",
    signatures: SignatureRules {
        key_validity: true,
        ..V4.signatures
    },
    ..V4
};

/// spec: rooms/v6 §Authorisation rules.
const AUTHORIZATION_V6: AuthorizationRules = AuthorizationRules {
    aliases_of_own_server: false,
    notification_levels: true,
    ..AUTHORIZATION_V3
};

/// spec: rooms/v6 §Redactions, §Canonical JSON.
const V6: RoomVersionRules = RoomVersionRules {
    id: "6",
    canonical_json: CanonicalJsonRules::STRICT,
    redaction: REDACTION_V6,
    authorization: AUTHORIZATION_V6,
    ..V5
};

/// spec: rooms/v7 §Authorisation rules (knocking).
const AUTHORIZATION_V7: AuthorizationRules = AuthorizationRules {
    join_rules: &[JoinRule::Public, JoinRule::Invite, JoinRule::Knock],
    ..AUTHORIZATION_V6
};

const V7: RoomVersionRules = RoomVersionRules {
    id: "7",
    authorization: AUTHORIZATION_V7,
    ..V6
};

/// spec: rooms/v8 §Authorisation rules (restricted rooms).
const AUTHORIZATION_V8: AuthorizationRules = AuthorizationRules {
    join_rules: &[
        JoinRule::Public,
        JoinRule::Invite,
        JoinRule::Knock,
        JoinRule::Restricted,
    ],
    ..AUTHORIZATION_V7
};

/// spec: rooms/v8 §Redactions; §Authorisation rules 4.2.
const V8: RoomVersionRules = RoomVersionRules {
    id: "8",
    signatures: SignatureRules {
        authorizing_server: true,
        ..V7.signatures
    },
    redaction: REDACTION_V8,
    authorization: AUTHORIZATION_V8,
    ..V7
};

/// spec: rooms/v9 §Redactions.
const V9: RoomVersionRules = RoomVersionRules {
    id: "9",
    redaction: REDACTION_V9,
    ..V8
};

/// spec: rooms/v10 §Authorisation rules; §Values in `m.room.power_levels` events must be integers.
const AUTHORIZATION_V10: AuthorizationRules = AuthorizationRules {
    join_rules: &[
        JoinRule::Public,
        JoinRule::Invite,
        JoinRule::Knock,
        JoinRule::Restricted,
        JoinRule::KnockRestricted,
    ],
    level_values: LevelValues::Integers,
    ..AUTHORIZATION_V8
};

const V10: RoomVersionRules = RoomVersionRules {
    id: "10",
    authorization: AUTHORIZATION_V10,
    ..V9
};

/// spec: rooms/v11 §Remove the `creator` property of `m.room.create` events.
const AUTHORIZATION_V11: AuthorizationRules = AuthorizationRules {
    creator: CreatorField::Sender,
    ..AUTHORIZATION_V10
};

/// spec: rooms/v11 §Redactions; §Moving the `redacts` property of `m.room.redaction` events to a
/// `content` property.
const V11: RoomVersionRules = RoomVersionRules {
    id: "11",
    event_format: EventFormatRules {
        redacts: RedactsPlace::Content,
        ..V10.event_format
    },
    redaction: REDACTION_V11,
    authorization: AUTHORIZATION_V11,
    ..V10
};

/// spec: rooms/v12 §Authorisation rules.
const AUTHORIZATION_V12: AuthorizationRules = AuthorizationRules {
    create_in_auth_events: false,
    creators: CreatorPower::Infinite,
    ..AUTHORIZATION_V11
};

/// spec: rooms/v12 §Room IDs as hashes of the create event, §Event format, §State resolution.
const V12: RoomVersionRules = RoomVersionRules {
    id: "12",
    event_format: EventFormatRules {
        room_id: RoomIdFormat::CreateHash,
        ..V11.event_format
    },
    authorization: AUTHORIZATION_V12,
    state_resolution: StateResolutionRules::V2(StateResolutionV2Rules {
        initial_state: InitialState::Empty,
        conflicted_state_subgraph: true,
    }),
    ..V11
};

/// Every room version that we know, the oldest first.
pub static ROOM_VERSIONS: [RoomVersionRules; 12] =
    [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12];

/// The rules of the room version with this name.
#[must_use]
pub fn rules_for(room_version: &str) -> Option<&'static RoomVersionRules> {
    ROOM_VERSIONS.iter().find(|rules| rules.id == room_version)
}
