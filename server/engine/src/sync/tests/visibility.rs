//! Who sees what: random histories of one room, in which visibility, memberships and join rules change,
//! read through every way to read, against a model that knows nothing of the engine. Each room ends with
//! every reader in a standing that is named, so that every visibility is crossed with every standing.

mod events;
mod model;
mod outside;
mod slides;
mod state;
mod story;
mod syncs;

use std::collections::BTreeSet;

use hearth_storage::both_engines;
use serde_json::Value;

use self::model::{Model, Standing};
use self::story::{READERS, Story, VISIBILITIES};
use super::people::user;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;

/// How the readers of a room end, one each.
const ENDS: [[&str; READERS.len()]; 3] = [
    ["never", "invited", "joined"],
    ["left", "banned", "forgotten"],
    ["as it is", "knocked", "as it is"],
];
const STANDINGS: [&str; 7] = [
    "never",
    "invited",
    "knocked",
    "joined",
    "left",
    "banned",
    "forgotten",
];
const STEPS: usize = 30;

/// A visibility and how a reader stood to a room that had it.
type Cell = (String, &'static str);

/// What a reader is to a room, by the names of [`STANDINGS`].
fn standing_of(model: &Model<'_>) -> Option<&'static str> {
    let was_inside = matches!(model.standing(), Standing::Left(_));
    match model.membership().map(|(_, membership)| membership) {
        None => Some("never"),
        Some("invite") => Some("invited"),
        Some("knock") => Some("knocked"),
        Some("join") => Some("joined"),
        Some(_) if model.forgotten => Some("forgotten"),
        Some("leave") if was_inside => Some("left"),
        Some("ban") if was_inside => Some("banned"),
        Some(_) => None,
    }
}

impl Story {
    /// A room with a past, in which readers end as they are told to.
    async fn live(&mut self, seed: u64, visibility: &str, ends: [&str; READERS.len()]) {
        self.another_room(seed).await;
        for (reader, end) in READERS.into_iter().zip(ends) {
            if end == "never" {
                self.absent.insert(reader);
            }
        }
        for step in 0..STEPS {
            self.step().await;
            if self.numbers.below(8) == 0 {
                let reader = self.reader();
                self.slide(reader).await;
            }
            if step % (STEPS / 3) == 0 {
                self.mark().await;
            }
        }
        self.mark().await;
        let is_first = self.numbers.below(2) == 0;
        if is_first {
            self.set_visibility(visibility).await;
        }
        for (reader, end) in READERS.into_iter().zip(ends) {
            self.bring(reader, end).await;
        }
        self.mark().await;
        self.say().await;
        if !is_first {
            self.set_visibility(visibility).await;
        }
        self.say().await;
        for reader in READERS {
            self.slide(reader).await;
        }
    }

    /// Reads the room in every way, as everybody. Gives the cells that were read from.
    async fn check(&self) -> BTreeSet<Cell> {
        let (facts, mut cells) = (self.facts().await, BTreeSet::new());
        for name in READERS {
            let (user_id, ignored) = (user(name), self.ignored_by(name));
            let model = self.model(name, (&facts, user_id.as_str(), &ignored));
            let standing = standing_of(&model);
            cells.extend(standing.map(|standing| (model.visibility().to_owned(), standing)));
            self.sync_agrees(name, &model).await;
            self.sync_goes_on(name, &model).await;
            self.sliding_sync_agrees(name, &model).await;
            self.summary_agrees(name, &model).await;
            self.hierarchy_agrees(name, &model).await;
            match self.viewpoint(name).await {
                Ok(viewpoint) => {
                    assert_ne!(model.standing(), Standing::Refused, "{name} looks in");
                    self.history_agrees(name, &viewpoint, &model).await;
                    self.state_agrees(name, &viewpoint, &model).await;
                    for at in 0..model.facts.len() {
                        self.event_agrees(name, &viewpoint, &model, at).await;
                    }
                    self.threads_agree(name, &viewpoint, &model).await;
                    self.served_agrees(name, &viewpoint, &model).await;
                }
                Err(RoomError::Forbidden(_)) => {
                    assert_eq!(model.standing(), Standing::Refused, "{name}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        cells
    }
}

/// The ids of a list of events in an answer.
fn ids_of(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect()
}

/// The events of a list as they are, in no order: stripped ones have no id.
fn shown_of(events: &Value) -> BTreeSet<String> {
    let events = events.as_array().unwrap();
    events.iter().map(Value::to_string).collect()
}

fn ids(events: &[Known]) -> Vec<String> {
    events
        .iter()
        .map(|known| known.event.event_id().to_string())
        .collect()
}

both_engines! {
    async fn every_way_to_read_shows_what_the_model_shows(scratch: Scratch) {
        let mut story = Story::begin(&scratch).await;
        let (mut cells, mut seed) = (BTreeSet::new(), 0);
        for visibility in VISIBILITIES {
            for ends in ENDS {
                seed += 1;
                story.live(seed, visibility, ends).await;
                cells.extend(story.check().await);
            }
        }
        let all = VISIBILITIES.into_iter().flat_map(|visibility| {
            STANDINGS.map(|standing| (visibility.to_owned(), standing))
        });
        assert_eq!(cells, all.collect(), "each visibility with each standing");
        // The newest room once more, for who does not want to hear somebody, and after a restart.
        for reader in READERS {
            story.ignore(reader).await;
        }
        story.check().await;
        story = story.restarted();
        story.check().await;
    }
}
