//! What the redaction algorithm keeps, per version.

/// What the redaction algorithm keeps.
#[derive(Debug, PartialEq, Eq)]
pub struct RedactionRules {
    /// Top-level keys, in order.
    pub top_level: &'static [&'static str],
    /// What stays of the content, by event type; of other types nothing stays.
    pub content: &'static [Kept],
}

/// An event type, and what stays of its content.
pub type Kept = (&'static str, Keep);

/// Which part of an object survives redaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Everything,
    /// These keys, in order, each with everything under it or a part.
    Keys(&'static [(&'static str, Keep)]),
}

/// spec: rooms/v1 §Redactions.
pub(super) const REDACTION_V1: RedactionRules = RedactionRules {
    top_level: TOP_LEVEL_V1,
    content: &[
        ALIASES,
        CREATE_V1,
        HISTORY_VISIBILITY,
        JOIN_RULES_V1,
        MEMBER_V1,
        POWER_LEVELS_V1,
    ],
};

/// spec: rooms/v6 §Redactions ("All significant meaning for `m.room.aliases` has been removed").
pub(super) const REDACTION_V6: RedactionRules = RedactionRules {
    top_level: TOP_LEVEL_V1,
    content: &[
        CREATE_V1,
        HISTORY_VISIBILITY,
        JOIN_RULES_V1,
        MEMBER_V1,
        POWER_LEVELS_V1,
    ],
};

/// spec: rooms/v8 §Redactions ("`m.room.join_rules` events now keep `allow`").
pub(super) const REDACTION_V8: RedactionRules = RedactionRules {
    top_level: TOP_LEVEL_V1,
    content: &[
        CREATE_V1,
        HISTORY_VISIBILITY,
        JOIN_RULES_V8,
        MEMBER_V1,
        POWER_LEVELS_V1,
    ],
};

/// spec: rooms/v9 §Redactions ("`m.room.member` events now keep `join_authorised_via_users_server`").
pub(super) const REDACTION_V9: RedactionRules = RedactionRules {
    top_level: TOP_LEVEL_V1,
    content: &[
        CREATE_V1,
        HISTORY_VISIBILITY,
        JOIN_RULES_V8,
        MEMBER_V9,
        POWER_LEVELS_V1,
    ],
};

/// spec: rooms/v11 §Redactions.
pub(super) const REDACTION_V11: RedactionRules = RedactionRules {
    top_level: TOP_LEVEL_V11,
    content: &[
        ("m.room.create", Keep::Everything),
        HISTORY_VISIBILITY,
        JOIN_RULES_V8,
        MEMBER_V11,
        POWER_LEVELS_V11,
        (
            "m.room.redaction",
            Keep::Keys(&[("redacts", Keep::Everything)]),
        ),
    ],
};

const TOP_LEVEL_V1: &[&str] = &[
    "auth_events",
    "content",
    "depth",
    "event_id",
    "hashes",
    "membership",
    "origin",
    "origin_server_ts",
    "prev_events",
    "prev_state",
    "room_id",
    "sender",
    "signatures",
    "state_key",
    "type",
];

const TOP_LEVEL_V11: &[&str] = &[
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
];

const ALIASES: Kept = (
    "m.room.aliases",
    Keep::Keys(&[("aliases", Keep::Everything)]),
);

const CREATE_V1: Kept = (
    "m.room.create",
    Keep::Keys(&[("creator", Keep::Everything)]),
);

const HISTORY_VISIBILITY: Kept = (
    "m.room.history_visibility",
    Keep::Keys(&[("history_visibility", Keep::Everything)]),
);

const JOIN_RULES_V1: Kept = (
    "m.room.join_rules",
    Keep::Keys(&[("join_rule", Keep::Everything)]),
);

const JOIN_RULES_V8: Kept = (
    "m.room.join_rules",
    Keep::Keys(&[("allow", Keep::Everything), ("join_rule", Keep::Everything)]),
);

const MEMBER_V1: Kept = (
    "m.room.member",
    Keep::Keys(&[("membership", Keep::Everything)]),
);

const MEMBER_V9: Kept = (
    "m.room.member",
    Keep::Keys(&[
        ("join_authorised_via_users_server", Keep::Everything),
        ("membership", Keep::Everything),
    ]),
);

const MEMBER_V11: Kept = (
    "m.room.member",
    Keep::Keys(&[
        ("join_authorised_via_users_server", Keep::Everything),
        ("membership", Keep::Everything),
        (
            "third_party_invite",
            Keep::Keys(&[("signed", Keep::Everything)]),
        ),
    ]),
);

const POWER_LEVELS_V1: Kept = (
    "m.room.power_levels",
    Keep::Keys(&[
        ("ban", Keep::Everything),
        ("events", Keep::Everything),
        ("events_default", Keep::Everything),
        ("kick", Keep::Everything),
        ("redact", Keep::Everything),
        ("state_default", Keep::Everything),
        ("users", Keep::Everything),
        ("users_default", Keep::Everything),
    ]),
);

const POWER_LEVELS_V11: Kept = (
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
);
