//! What somebody is shown of a room that they are not in, as another server says it.
//!
//! spec: client-server v1.19 §Stripped state.

use hearth_protocol::event::Event;
use serde_json::{Value, json};

use crate::rooms::client_event;
use crate::rooms::error::RoomError;

/// Stripped state events kept of a room, and their size in all.
const STRIPPED_MAX: usize = 100;
const STRIPPED_MAX_BYTES: usize = 128 * 1024;

/// Levels of nesting in the content of a stripped event. A client reads it inside a whole answer, and
/// may give the answer up where it is too deep for its parser.
const STRIPPED_MAX_LEVELS: usize = 32;

/// What the person of an invite or a knock will be shown: of stripped events, the parts that such
/// have, within bounds, and the member event itself.
///
/// # Errors
/// When it is too much.
pub(crate) fn stripped_of(stripped: &[Value], member: &Event) -> Result<Vec<u8>, RoomError> {
    let invalid = |rule: &str| RoomError::Invalid {
        field: "invite_room_state",
        rule: rule.to_owned(),
    };
    if stripped.len() > STRIPPED_MAX {
        return Err(invalid("it holds too many events"));
    }
    let mut shown: Vec<Value> = stripped
        .iter()
        .filter_map(|event| {
            let text = |key: &str| event.get(key)?.as_str();
            let content = event.get("content").filter(|content| content.is_object())?;
            if is_deeper(content, STRIPPED_MAX_LEVELS) {
                return None;
            }
            // The person's membership comes from the verified event alone.
            let own =
                text("type")? == "m.room.member" && Some(text("state_key")?) == member.state_key();
            (!own).then(|| {
                json!({
                    "type": text("type"),
                    "state_key": text("state_key"),
                    "sender": text("sender"),
                    "content": content,
                })
            })
        })
        .filter(|event| event["state_key"].is_string() && event["sender"].is_string())
        .collect();
    let own = client_event::stripped(member);
    shown.push(serde_json::from_str(own.get()).unwrap_or_default());
    let content = serde_json::to_vec(&shown).unwrap_or_default();
    if content.len() > STRIPPED_MAX_BYTES {
        return Err(invalid("it is too large"));
    }
    Ok(content)
}

/// Whether a value has more levels than that.
fn is_deeper(value: &Value, levels: usize) -> bool {
    let inner = |it: &Value| levels == 0 || is_deeper(it, levels.saturating_sub(1));
    match value {
        Value::Array(items) => items.iter().any(inner),
        Value::Object(fields) => fields.values().any(inner),
        _ => false,
    }
}
