//! Every authorization rule, in both polarities, in the room versions that have it.

mod auth_events;
mod create;
mod level_values;
mod members;
mod old_rules;
mod other_events;
mod power_levels;
mod third_party_invites;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hearth_protocol::auth_rules::{
    AuthError, KnownEvent, ThirdPartyInviteRule, check_state_independent,
};
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::power_levels::PowerLevelsError;
use hearth_protocol::signing::{SigningKey, sign_json};
use hearth_protocol::{Event, PduDraft};
use ruma::server_name;
use serde_json::{Value, json, value::to_raw_value};

use crate::test_room::{
    ALICE, BOB, CAROL, Id, State, TestRoom, all_versions, versions, with_alice,
};

const ALL: RangeInclusive<usize> = 1..=12;
const DAVE: &str = "@dave:four.test";

/// One event of a case: sender, type, state key, content.
struct Attempt<'c>(&'c str, &'c str, Option<&'c str>, Value);

fn member<'c>(sender: &'c str, target: &'c str, membership: &str) -> Attempt<'c> {
    Attempt(
        sender,
        "m.room.member",
        Some(target),
        json!({"membership": membership}),
    )
}

/// Power levels by Alice, who keeps her power. `content` is what they state beside Bob's 50.
fn levels(mut content: Value) -> Attempt<'static> {
    let users = content.as_object_mut().unwrap().remove("users");
    content["users"] = users.unwrap_or_else(|| json!({BOB: 50}));
    Attempt(ALICE, "m.room.power_levels", Some(""), content)
}

/// A room where Alice (the creator) has 100 or infinite power, Bob 50 and Carol 0, with `setup` on top
/// of it.
fn room_with(version: &str, setup: &[Attempt<'_>]) -> (TestRoom, State) {
    let (mut room, mut state) = TestRoom::with_members(version, &json!({BOB: 50}));
    for Attempt(sender, kind, state_key, content) in setup {
        let mut content = content.clone();
        if *kind == "m.room.power_levels" {
            content["users"] = with_alice(version, &content["users"]);
        }
        room.send(&mut state, sender, kind, *state_key, &content);
    }
    (room, state)
}

fn verdict(room: &mut TestRoom, state: &State, attempt: &Attempt<'_>) -> Result<(), AuthError> {
    let Attempt(sender, kind, state_key, content) = attempt;
    let id = room.event(state, &[], sender, kind, *state_key, content);
    let verdict = room.check(id, state);
    assert_eq!(
        verdict.is_ok(),
        room.ruma_check(id, state).is_ok(),
        "ruma differs in version {}: {content}",
        room.rules.id
    );
    verdict
}

/// Tries `attempt` in a room with `setup`, in these versions.
#[track_caller]
fn check(
    range: RangeInclusive<usize>,
    setup: &[Attempt<'_>],
    attempt: &Attempt<'_>,
    expected: &Result<(), AuthError>,
) {
    for version in versions(range) {
        let (mut room, state) = room_with(version, setup);
        assert_eq!(
            &verdict(&mut room, &state, attempt),
            expected,
            "version {version}"
        );
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a table of cases reads better without `&`"
)]
#[track_caller]
fn allowed_in(range: RangeInclusive<usize>, setup: &[Attempt<'_>], attempt: Attempt<'_>) {
    check(range, setup, &attempt, &Ok(()));
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a table of cases reads better without `&`"
)]
#[track_caller]
fn refused_in(
    range: RangeInclusive<usize>,
    setup: &[Attempt<'_>],
    attempt: Attempt<'_>,
    rule: AuthError,
) {
    check(range, setup, &attempt, &Err(rule));
}

/// In every version.
#[track_caller]
fn allowed(setup: &[Attempt<'_>], attempt: Attempt<'_>) {
    allowed_in(ALL, setup, attempt);
}

/// In every version.
#[track_caller]
fn refused(setup: &[Attempt<'_>], attempt: Attempt<'_>, rule: AuthError) {
    refused_in(ALL, setup, attempt, rule);
}

fn join_rule(rule: &str) -> Attempt<'static> {
    Attempt(
        ALICE,
        "m.room.join_rules",
        Some(""),
        json!({"join_rule": rule}),
    )
}
