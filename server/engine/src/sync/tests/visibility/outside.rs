//! What is told of a room to whoever asks what it is: its summary, and as part of a space.

use serde_json::Value;

use super::model::Model;
use super::story::Story;
use crate::rooms::error::RoomError;
use crate::rooms::hierarchy::HierarchyAsk;

impl Story {
    pub(super) async fn summary_agrees(&self, name: &str, model: &Model<'_>) {
        let (rooms, session) = (&self.house.rooms, &self.sessions[name]);
        let asker = (session.user_nid, &*session.user_id);
        let now = model.membership().map_or("leave", |(_, it)| it);
        let askers = [
            (Some(asker), model.may_know(), Some(now)),
            (None, model.may_anybody_know(), None),
        ];
        for (asker, may_know, membership) in askers {
            let told = match rooms.room_summary(asker, &self.room_id).await {
                Ok(told) => Some(serde_json::to_value(&told).unwrap()),
                Err(RoomError::NotFound(_)) => None,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(told.is_some(), may_know, "{name}: summary");
            if let Some(told) = told {
                assert_eq!(told["membership"].as_str(), membership, "{name}: {told}");
                summary_is(&told, model);
            }
        }
    }

    /// As a space, which the room is not, and as part of one.
    pub(super) async fn hierarchy_agrees(&self, name: &str, model: &Model<'_>) {
        let (rooms, session) = (&self.house.rooms, &self.sessions[name]);
        let asker = (session.user_nid, &*session.user_id);
        let ask = HierarchyAsk {
            suggested_only: false,
            max_depth: 1,
            skip: 0,
            limit: 1_000,
        };
        let page = rooms.hierarchy(asker, &self.space_id, ask).await.unwrap();
        let told = page
            .rooms
            .iter()
            .map(|room| serde_json::to_value(room).unwrap());
        let told: Vec<Value> = told
            .filter(|told| told["room_id"] == self.room_id.as_str())
            .collect();
        assert_eq!(told.len(), usize::from(model.may_know()), "{name}: space");
        told.iter().for_each(|told| summary_is(told, model));
        match rooms.hierarchy(asker, &self.room_id, ask).await {
            Ok(page) => {
                assert!(model.may_know(), "{name}: hierarchy");
                assert_eq!(page.rooms.len(), 1, "{name}: hierarchy");
            }
            Err(RoomError::Forbidden(_)) => assert!(!model.may_know(), "{name}: hierarchy"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A summary is of now, whoever asks.
fn summary_is(told: &Value, model: &Model<'_>) {
    let text = |kind: &str, field: &str| &model.content((kind, ""))[field];
    assert_eq!(told["name"], *text("m.room.name", "name"));
    assert_eq!(told["join_rule"], *text("m.room.join_rules", "join_rule"));
    assert_eq!(told["world_readable"], model.is_open());
    assert_eq!(told["num_joined_members"], model.joined());
}
