//! What is read of a room's state and its members, now and as they were.

use std::collections::BTreeSet;

use super::ids;
use super::model::{Model, Standing, State};
use super::story::{Mark, Story};
use crate::rooms::error::RoomError;
use crate::rooms::viewpoint::Viewpoint;
use crate::sync::token::decode_place;

/// The member events of a state.
fn members_of(state: State) -> BTreeSet<String> {
    let members = state
        .into_iter()
        .filter(|((kind, _), _)| kind == "m.room.member");
    members.map(|(_, id)| id).collect()
}

impl Story {
    pub(super) async fn state_agrees(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>) {
        let (rooms, expected) = (&self.house.rooms, model.state());
        let state = rooms.state(viewpoint).await.unwrap();
        let state: BTreeSet<String> = ids(&state).into_iter().collect();
        assert_eq!(state, expected.values().cloned().collect(), "{name}: state");
        for ((kind, key), id) in &expected {
            let found = rooms.state_event(viewpoint, kind, key).await.unwrap();
            assert_eq!(found.unwrap().event.event_id().as_str(), id);
        }
        let members = rooms.members(viewpoint).await.unwrap();
        let members: BTreeSet<String> = ids(&members).into_iter().collect();
        assert_eq!(members, members_of(expected), "{name}: members");
        let joined = viewpoint.must_be_joined().is_ok();
        assert_eq!(joined, model.standing() == Standing::Inside, "{name}");
        assert_eq!(viewpoint.looks_in(), !joined && model.is_open(), "{name}");
        for mark in &self.marks {
            self.members_then_agree(name, viewpoint, (mark, model))
                .await;
        }
    }

    /// The members at a place of history are those in the state at the last event before it, where the
    /// reader may see that. Of what came after they left, they know nothing: they are shown the end of
    /// their stay.
    async fn members_then_agree(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        (mark, model): (&Mark, &Model<'_>),
    ) {
        let (rooms, mark_of) = (&self.house.rooms, self.house.sync.generation());
        let place = decode_place(mark_of, &mark.token).unwrap();
        let then = rooms.looking_back(viewpoint.clone(), place).await;
        let last = match model.is_open() {
            true => mark.known - 1,
            false => model.end().min(mark.known - 1),
        };
        match then {
            Ok(then) => {
                assert!(model.may_see(last), "{name}: members then");
                let members = rooms.members(&then).await.unwrap();
                let members: BTreeSet<String> = ids(&members).into_iter().collect();
                let expected = members_of(model.state_at(last));
                assert_eq!(members, expected, "{name}: members then");
            }
            Err(RoomError::Forbidden(_)) => {
                assert!(!model.may_see(last), "{name}: members then");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
