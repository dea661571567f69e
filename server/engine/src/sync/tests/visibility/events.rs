//! What is read of events: history, one event, what is around it, at a time, and what relates to it.

use std::collections::BTreeSet;

use hearth_types::ruma::EventId;
use serde_json::Value;

use super::ids;
use super::model::{Fact, Model};
use super::story::Story;
use crate::json::Json;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::relations::RelationsQuery;
use crate::rooms::serve::Reader;
use crate::rooms::viewpoint::Viewpoint;
use crate::sync::filter::EventFilter;

impl Story {
    pub(super) async fn history_agrees(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        model: &Model<'_>,
    ) {
        let rooms = &self.house.rooms;
        let seen = model.seen(|_| true);
        let now = rooms.history_now();
        let all = |_: &Known| true;
        let page = rooms.history(viewpoint, now, 1_000, &all).await.unwrap();
        let mut backwards = ids(&page.events);
        backwards.reverse();
        assert_eq!(backwards, seen, "{name}: history");
        let first = HistoryPlace::first(now);
        let page = rooms.history_onwards(viewpoint, first, 1_000, &all).await;
        assert_eq!(ids(&page.unwrap().events), seen, "{name}: history onwards");
    }

    /// Everything that is asked of one event.
    pub(super) async fn event_agrees(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        model: &Model<'_>,
        at: usize,
    ) {
        let (rooms, fact) = (&self.house.rooms, &model.facts[at]);
        let event_id = EventId::parse(&fact.id).unwrap();
        let found = rooms.event(viewpoint, &event_id).await.unwrap();
        assert_eq!(found.is_some(), model.sees(at), "{name}: {fact:?}");
        let query = RelationsQuery {
            event_id: &event_id,
            rel_type: None,
            kind: None,
            recurse: false,
            backwards: false,
            from: None,
            to: None,
            limit: 1_000,
        };
        let relations = rooms.relations(viewpoint, &query).await;
        if found.is_none() {
            assert!(matches!(relations, Err(RoomError::NotFound(_))), "{name}");
        } else {
            let id = Some(fact.id.as_str());
            let relating =
                model.seen(|it| it.target("m.thread") == id || it.target("m.reference") == id);
            assert_eq!(
                ids(&relations.unwrap().events),
                relating,
                "{name}: relations"
            );
        }
        self.context_agrees(name, viewpoint, (fact, model)).await;
        self.times_agree(name, viewpoint, (fact, model)).await;
    }

    async fn context_agrees(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        (fact, model): (&Fact, &Model<'_>),
    ) {
        let event_id = EventId::parse(&fact.id).unwrap();
        let seen = model.seen(|_| true);
        let context = self
            .house
            .rooms
            .context(viewpoint, &event_id, 1_000, &EventFilter::default())
            .await;
        if !seen.contains(&fact.id) {
            assert!(matches!(context, Err(RoomError::NotFound(_))), "{name}");
            return;
        }
        let context = context.unwrap();
        let mut around = ids(&context.before);
        around.reverse();
        around.push(fact.id.clone());
        around.extend(ids(&context.after));
        assert_eq!(around, seen, "{name}: context");
        let last = model
            .facts
            .iter()
            .rposition(|it| seen.last() == Some(&it.id));
        let state = model.state_at(last.unwrap()).into_values();
        let told: BTreeSet<String> = ids(&context.state).into_iter().collect();
        assert_eq!(told, state.collect(), "{name}: context's state");
    }

    /// The event nearest to a time is the same; of several at one time, the first or the last.
    async fn times_agree(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        (fact, model): (&Fact, &Model<'_>),
    ) {
        let seen = || {
            let facts = model.facts.iter().enumerate();
            facts.filter(|(at, _)| model.sees(*at))
        };
        let order = |(at, it): &(usize, &Fact)| (it.time_ms, *at);
        let later = seen().filter(|(_, it)| it.time_ms >= fact.time_ms);
        let later = later.min_by_key(order);
        let earlier = seen().filter(|(_, it)| it.time_ms <= fact.time_ms);
        let earlier = earlier.max_by_key(order);
        for (onwards, nearest) in [(true, later), (false, earlier)] {
            let rooms = &self.house.rooms;
            let found = rooms.event_at_time(viewpoint, fact.time_ms, onwards).await;
            let found = found.unwrap();
            assert_eq!(
                found.as_ref().map(|known| known.event.event_id().as_str()),
                nearest.map(|(_, it)| it.id.as_str()),
                "{name}: nearest to a time, onwards: {onwards}"
            );
        }
    }

    pub(super) async fn threads_agree(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>) {
        let rooms = &self.house.rooms;
        let page = rooms
            .threads(&self.reads(name), viewpoint, false, (None, 1_000))
            .await;
        let threads: BTreeSet<String> = ids(&page.unwrap().events).into_iter().collect();
        let has_reply = |root: &Fact| {
            let replies = model.seen(|it| it.target("m.thread") == Some(root.id.as_str()));
            !replies.is_empty()
        };
        let expected: BTreeSet<String> = model.seen(has_reply).into_iter().collect();
        assert_eq!(threads, expected, "{name}: threads");
    }

    /// What is told with an event holds nothing that the reader may not see by itself.
    pub(super) async fn served_agrees(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>) {
        let (rooms, now) = (&self.house.rooms, self.house.rooms.history_now());
        let all = |_: &Known| true;
        let page = rooms.history(viewpoint, now, 1_000, &all).await.unwrap();
        let mut json = Json::default();
        rooms
            .serve(&mut json, (&self.reads(name), viewpoint), &page.events)
            .await
            .unwrap();
        let served: Vec<Value> = serde_json::from_slice(&json.into_bytes()).unwrap();
        for served in served {
            let id = served["event_id"].as_str();
            let at = model.facts.iter().position(|it| Some(it.id.as_str()) == id);
            let (at, unsigned) = (at.unwrap(), &served["unsigned"]);
            let membership = model.membership_after(Some(at));
            assert_eq!(unsigned["membership"], membership, "{name}: {served}");
            let before = unsigned.get("prev_content");
            assert_eq!(before, model.replaced(at), "{name}: {served}");
            let bundle = &unsigned["m.relations"];
            let replies = model.seen(|it| it.target("m.thread") == id);
            let latest = bundle["m.thread"]["latest_event"]["event_id"].as_str();
            assert_eq!(
                latest,
                replies.last().map(String::as_str),
                "{name}: {served}"
            );
            let told = super::ids_of(&bundle["m.reference"]["chunk"]);
            assert_eq!(
                told,
                model.seen(|it| it.target("m.reference") == id),
                "{name}"
            );
        }
    }

    fn reads<'s>(&'s self, name: &str) -> Reader<'s> {
        let session = &self.sessions[name];
        Reader {
            user_nid: session.user_nid,
            user_id: &session.user_id,
            device_id: None,
            now_ms: 0,
        }
    }
}
