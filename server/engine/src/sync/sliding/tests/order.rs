//! A person's rooms in order, kept right by what changed, are what they would be if they were made anew.

use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;

use crate::accounts::Session;
use crate::rooms::create::Preset;
use crate::sync::sliding::order::{Orders, Person};
use crate::sync::tests::histories::{STEPS, Story};
use crate::sync::tests::people::{House, message};

async fn is_right(house: &House, session: &Arc<Session>) {
    let (rooms, orders) = (&house.rooms, &house.sync.sliding.orders);
    let memberships = rooms.people.of(session.user_nid).await.unwrap();
    let person = Person {
        user_nid: session.user_nid,
        memberships: &memberships,
        until: house.server.context.storage.writer().head().position(),
    };
    let anew = Orders::new(1 << 20);
    let entries = anew.entries(rooms, person).await.unwrap();
    assert_eq!(orders.entries(rooms, person).await.unwrap(), entries);
    assert!(entries.is_sorted_by(|one, next| one > next));
    assert_eq!(entries.len(), memberships.len());
    let facts = anew.facts(rooms, person).await.unwrap();
    assert_eq!(orders.facts(rooms, person).await.unwrap(), facts);
}

async fn run(scratch: &Scratch, seed: u64) {
    let mut story = Story::begin(scratch, seed).await;
    let sessions = story.sessions();
    for _ in 0..6 {
        let room = story.house.create("alice", Preset::PublicChat).await;
        story.rooms.push(room);
    }
    let positions = &story.house.rooms.clone().positions;
    let (mut renewed, mut before) = (0, i64::MAX);
    for number in 0..2 * STEPS {
        story.step(number).await;
        if story.numbers.below(6) == 0 {
            let mut encryption = message("alice", "", None);
            encryption.kind = "m.room.encryption".to_owned();
            encryption.state_key = Some(String::new());
            let room = &story.rooms[story.numbers.below(story.rooms.len())];
            // Whoever is not in it any more changes nothing.
            drop(story.house.rooms.send(room, encryption).await);
        }
        if story.numbers.below(3) == 0 {
            let changed = positions.changed_since(before, story.rooms.len());
            renewed += usize::from(changed.is_some_and(|rooms| !rooms.is_empty()));
            before = story
                .house
                .server
                .context
                .storage
                .writer()
                .head()
                .position();
            for session in &sessions {
                is_right(&story.house, session).await;
            }
        }
    }
    assert!(
        renewed > 5,
        "what changed was looked at again, and that alone"
    );
}

both_engines! {
    async fn an_order_is_kept_right(scratch: Scratch) {
        run(&scratch, 2_000).await;
    }
}

both_engines! {
    async fn so_it_is_in_another_history(scratch: Scratch) {
        run(&scratch, 17).await;
    }
}
