//! Which thread an event belongs to.
//!
//! spec: client-server v1.19 §Threading, §Threaded read receipts.

use std::borrow::Cow;

use hearth_types::ruma::OwnedEventId;
use serde::Deserialize;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::view::Room;

/// How far relations are followed from an event to a thread.
const HOPS_MAX: usize = 3;

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<Relation<'a>>,
}

#[derive(Deserialize)]
struct Relation<'a> {
    #[serde(borrow)]
    rel_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
}

/// What an event relates to, where it says so in the form that is specified.
fn relation(content: &str) -> Option<(Cow<'_, str>, OwnedEventId)> {
    // Most events relate to nothing, and need not be parsed for that.
    if !content.contains("m.relates_to") {
        return None;
    }
    let content: Content<'_> = serde_json::from_str(content).ok()?;
    let relation = content.relates_to?;
    let event_id = OwnedEventId::try_from(relation.event_id?.as_ref()).ok()?;
    Some((relation.rel_type?, event_id))
}

/// Where an event stands among the threads of its room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ThreadPlace {
    /// The root of the thread that it is part of; none in the main timeline.
    pub root: Option<OwnedEventId>,
    /// The events that it relates to on the way there, the nearest first.
    pub related: Vec<OwnedEventId>,
}

impl Rooms {
    /// Which thread an event is part of: the one that it names, or that an event names to which it
    /// relates over a few hops.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn thread_of(&self, room: &Room, known: &Known) -> Result<ThreadPlace, RoomError> {
        let mut place = ThreadPlace::default();
        let mut found = relation(known.event.content());
        for _ in 0..HOPS_MAX {
            let Some((rel_type, event_id)) = found else {
                break;
            };
            if rel_type == "m.thread" {
                place.root = Some(event_id);
                break;
            }
            let parent = self
                .known
                .of_room(room, std::slice::from_ref(&event_id))
                .await?;
            found = parent
                .get(&event_id)
                .and_then(|parent| relation(parent.event.content()))
                .map(|(rel_type, event_id)| (Cow::Owned(rel_type.into_owned()), event_id));
            place.related.push(event_id);
        }
        Ok(place)
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
                r#"{"m.relates_to":{"rel_type":"m.thread","event_id":"$a"}}"#,
                Some("$a"),
            ),
        ] {
            let found = relation(content).map(|(_, event_id)| event_id.to_string());
            assert_eq!(found.as_deref(), expected, "{content}");
        }
    }
}
