//! How an event relates to another, by its own words.
//!
//! spec: client-server v1.19 §Forming relationships between events.

use hearth_protocol::event::Event;
use hearth_types::ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::Value;

pub(super) const ANNOTATION: &str = "m.annotation";
pub(super) const REFERENCE: &str = "m.reference";
pub(super) const REPLACE: &str = "m.replace";
pub(super) const THREAD: &str = "m.thread";

/// The longest kind of a relation.
const REL_TYPE_BYTES_MAX: usize = 255;

/// How an event relates to another.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct RelatesTo {
    /// The kind of relation.
    pub(super) rel_type: String,
    /// The event that it names, whether there is one or not.
    pub(super) event_id: OwnedEventId,
    /// What an annotation says.
    #[serde(default)]
    pub(super) key: Value,
}

impl RelatesTo {
    /// How an event relates to another, where it says so in the form that is specified and that can be
    /// stored. A rich reply alone is no such relation.
    pub(super) fn of(event: &Event) -> Option<Self> {
        Self::of_content(event.content())
    }

    fn of_content(content: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Content {
            #[serde(rename = "m.relates_to")]
            relates_to: RelatesTo,
        }
        // Most events relate to nothing, and need not be parsed for that.
        if !content.contains("\"m.relates_to\"") {
            return None;
        }
        let content: Content = serde_json::from_str(content).ok()?;
        Some(content.relates_to).filter(Self::is_storable)
    }

    fn is_storable(&self) -> bool {
        self.rel_type.len() <= REL_TYPE_BYTES_MAX
            && !self.rel_type.contains('\0')
            && !self.event_id.as_str().contains('\0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_is_one_in_the_specified_form_alone() {
        for (content, expected) in [
            (r#"{"body":"m.relates_to"}"#, None),
            (r#"{"m.relates_to":"x"}"#, None),
            (
                r#"{"m.relates_to":{"m.in_reply_to":{"event_id":"$a"}}}"#,
                None,
            ),
            (
                r#"{"m.relates_to":{"rel_type":"m.thread","event_id":"a"}}"#,
                None,
            ),
            (r#"{"m.relates_to":{"rel_type":1,"event_id":"$a"}}"#, None),
            (
                r#"{"m.relates_to":{"rel_type":"m.thread","event_id":"$a\u0000"}}"#,
                None,
            ),
            (
                r#"{"m.relates_to":{"rel_type":"m.thread","event_id":"$a","key":1}}"#,
                Some("$a"),
            ),
        ] {
            let found = RelatesTo::of_content(content).map(|it| it.event_id.to_string());
            assert_eq!(found.as_deref(), expected, "{content}");
        }
    }
}
