//! Whether a redaction takes effect, asked of the rules and read a second time from raw JSON; and
//! redacted copies, which a careless server hands out in place of what it once had.

use hearth_protocol::power_levels::RoomPower;
use hearth_protocol::room_version::{RedactionCheck, RedactsPlace};
use hearth_protocol::{Event, RoomVersionRules};
use ruma::UserId;

use crate::referee::fault;
use crate::room::{Room, State};

/// Whether `redaction` takes effect on `target`, by the state before it.
pub(crate) fn applies(room: &Room, state: &State, redaction: &Event, target: &Event) -> bool {
    let at = |kind: &str| room.at(state, kind, "").map(|id| room.event(id).clone());
    let rules = &room.rules.authorization;
    let Some(create) = at("m.room.create") else {
        return false;
    };
    let Ok(power) = RoomPower::new(rules, create.clone(), at("m.room.power_levels")) else {
        return false;
    };
    let answer = power.may_redact(redaction.sender(), target.sender());
    let same_server = redaction.sender().server_name() == target.sender().server_name();
    let second = rules.redactions == RedactionCheck::WhenAuthorized
        || same_server
        || may_redact(room, state, &create, redaction.sender());
    if answer != second {
        fault(
            "who may redact",
            &format!("{redaction:?} of {target:?}: {answer}"),
        );
    }
    answer
}

/// spec: client-server v1.19 §m.room.power_levels; rooms/v12 (creators stand above all levels).
fn may_redact(room: &Room, state: &State, create: &Event, user: &UserId) -> bool {
    let content: serde_json::Value = serde_json::from_str(create.content()).unwrap();
    let named = |list: &str| {
        let others = content[list].as_array().into_iter().flatten();
        others
            .filter_map(|other| other.as_str())
            .any(|other| other == user.as_str())
    };
    let creates = create.sender() == user;
    if room.rules.id == "12" && (creates || named("additional_creators")) {
        return true;
    }
    if room.at(state, "m.room.power_levels", "").is_none() {
        return creates;
    }
    let levels = room.content(state, "m.room.power_levels", "");
    let number = |value: &serde_json::Value| value.as_i64();
    let level = number(&levels["users"][user.as_str()]).or(number(&levels["users_default"]));
    level.unwrap_or(0) >= number(&levels["redact"]).unwrap_or(50)
}

/// Whether all that the rules read of an event survives its redaction. It does not always: that
/// `invite` and the signature of a third-party invite are lost was mended in room version 11,
/// `notifications` and the keys of third-party invites are lost to this day. Servers that have
/// different copies of such an event differ, and nothing in Matrix keeps them from it.
pub(crate) fn keeps_its_meaning(rules: &RoomVersionRules, event: &Event) -> bool {
    let mended = rules.event_format.redacts == RedactsPlace::Content;
    let lost: &[&str] = match event.kind() {
        "m.room.create" | "m.room.third_party_invite" | "m.room.redaction" => return false,
        "m.room.member" if !mended => &["third_party_invite", "join_authorised_via_users_server"],
        "m.room.power_levels" if mended => &["notifications"],
        "m.room.power_levels" => &["\"invite\"", "notifications"],
        _ => &[],
    };
    !lost.iter().any(|key| event.content().contains(key))
}
