//! The feature matrix of the specification, written down a second time and by feature.

use super::*;

/// The versions for which `feature` holds.
fn versions_with(feature: impl Fn(&RoomVersionRules) -> bool) -> Vec<&'static str> {
    ROOM_VERSIONS
        .iter()
        .filter(|rules| feature(rules))
        .map(|rules| rules.id)
        .collect()
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|number| number.to_string()).collect()
}

#[track_caller]
fn holds(from: usize, to: usize, feature: impl Fn(&RoomVersionRules) -> bool) {
    assert_eq!(versions_with(feature), numbers(from, to));
}

/// spec: rooms v1.19 §Feature matrix.
#[test]
fn the_feature_matrix() {
    holds(1, 12, |_| true);
    // Event ids and formats.
    holds(1, 2, |rules| {
        rules.event_format.event_id == EventIdFormat::Stated
    });
    holds(3, 3, |rules| {
        rules.event_format.event_id == EventIdFormat::Hash
    });
    holds(4, 12, |rules| {
        rules.event_format.event_id == EventIdFormat::UrlSafeHash
    });
    holds(1, 2, |rules| {
        rules.event_format.references == ReferenceFormat::IdsWithHashes
    });
    holds(1, 10, |rules| {
        rules.event_format.redacts == RedactsPlace::TopLevel
    });
    holds(12, 12, |rules| {
        rules.event_format.room_id == RoomIdFormat::CreateHash
    });
    holds(6, 12, |rules| {
        rules.canonical_json == CanonicalJsonRules::STRICT
    });
    // Signatures.
    holds(1, 2, |rules| rules.signatures.event_id_server);
    holds(5, 12, |rules| rules.signatures.key_validity);
    holds(8, 12, |rules| rules.signatures.authorizing_server);
    // Authorization.
    holds(1, 2, |rules| {
        rules.authorization.redactions == RedactionCheck::WhenAuthorized
    });
    holds(1, 5, |rules| rules.authorization.aliases_of_own_server);
    holds(6, 12, |rules| rules.authorization.notification_levels);
    holds(7, 12, |rules| rules.authorization.knocking());
    holds(8, 12, |rules| rules.authorization.restricted_joins());
    holds(10, 12, |rules| {
        rules
            .authorization
            .join_rules
            .contains(&JoinRule::KnockRestricted)
    });
    holds(10, 12, |rules| {
        rules.authorization.level_values == LevelValues::Integers
    });
    holds(1, 10, |rules| {
        rules.authorization.creator == CreatorField::Content
    });
    holds(1, 11, |rules| rules.authorization.create_in_auth_events);
    holds(12, 12, |rules| {
        rules.authorization.creators == CreatorPower::Infinite
    });
    // State resolution.
    holds(1, 1, |rules| {
        rules.state_resolution == StateResolutionRules::V1
    });
    holds(2, 12, |rules| rules.state_resolution.auth_difference());
    holds(12, 12, |rules| {
        rules.state_resolution.conflicted_state_subgraph()
    });
}

#[test]
fn rules_are_found_by_their_name_and_by_nothing_else() {
    for rules in &ROOM_VERSIONS {
        assert_eq!(rules_for(rules.id), Some(rules));
    }
    for unknown in ["", "0", "13", "01", " 1", "1.0", "org.example.mystery"] {
        assert_eq!(rules_for(unknown), None);
    }
    assert!(rules_for(DEFAULT).is_some());
}

/// The redaction algorithm looks keys up in these lists and writes them in their order.
#[test]
fn what_redactions_keep_is_in_order() {
    for rules in &ROOM_VERSIONS {
        assert!(rules.redaction.top_level.is_sorted());
        for (_, keep) in rules.redaction.content {
            if let Keep::Keys(keys) = keep {
                assert!(keys.is_sorted_by_key(|(key, _)| key));
            }
        }
    }
}
