//! What clients are told of a room whose servers disagreed for a while.

mod dice;
mod stories;
mod told;

use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_types::ruma::OwnedRoomId;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::pair::{Pair, Side};
use crate::accounts::{Accounts, Session, Standing};
use crate::device_lists::DeviceLists;
use crate::keys::Keys;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::receipts::Receipts;
use crate::rooms::create::Preset;
use crate::rooms::history::HistoryPlace;
use crate::rooms::plan::Received;
use crate::rooms::send::Send;
use crate::sync::tests::client::Client;
use crate::sync::{ClientSync, Sources, StateAt};
use crate::to_device::ToDevice;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

fn sync_of(side: &Side) -> ClientSync {
    sync_with(side, &receipts_of(side))
}

fn receipts_of(side: &Side) -> Arc<Receipts> {
    Arc::new(Receipts::new(Arc::clone(&side.ctx), side.rooms.clone()))
}

fn sync_with(side: &Side, receipts: &Arc<Receipts>) -> ClientSync {
    let ctx = || Arc::clone(&side.ctx);
    let lists = Arc::new(DeviceLists::new(ctx()));
    let sources = Sources {
        rooms: side.rooms.clone(),
        accounts: Arc::new(Accounts::new(ctx())),
        keys: Arc::new(Keys::new(ctx(), Arc::clone(&lists))),
        lists,
        to_device: Arc::new(ToDevice::new(ctx())),
        receipts: Arc::clone(receipts),
        presence: Presence::new(
            ctx(),
            side.rooms.clone(),
            Outbox::new(ctx(), side.rooms.clone()),
        ),
    };
    ClientSync::new(ctx(), sources)
}

async fn client(side: &Side, user_id: &str) -> Client {
    let session = Session {
        user_nid: side.person(user_id).await,
        user_id: user_id.try_into().unwrap(),
        device_id: Some("DEVICE".into()),
        admin: false,
        guest: false,
        standing: Standing::Good,
        appservice: None,
    };
    // With forks, only the state after the timeline says what won.
    Client::new(&Arc::new(session), StateAt::End)
}

/// Both talk and rename the room while the wire is cut, and go on when it is mended.
async fn disagree(pair: &Pair, room: &OwnedRoomId, round: usize) {
    for number in 0..=round % 4 {
        let body = format!("{round}.{number}");
        pair.one.send(room, ALICE, &body).await.unwrap();
        if number % 2 == 0 {
            drop(pair.two.send(room, BOB, &body).await);
            drop(pair.two.rename(room, BOB, &body).await);
        }
        pair.one.rename(room, ALICE, &body).await.unwrap();
    }
}

both_engines! {
    async fn late_forks_are_told_once_and_states_agree(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::TrustedPrivateChat, "12").await;
        pair.one.invite(&room, ALICE, BOB).await.unwrap();
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        let (one, two) = (sync_of(&pair.one), sync_of(&pair.two));
        let (mut alice, mut bob) = (client(&pair.one, ALICE).await, client(&pair.two, BOB).await);
        for round in 0..12 {
            disagree(&pair, &room, round).await;
            if round % 3 == 0 {
                alice.sync(&one, &pair.one.rooms, 2).await;
            }
            if round % 4 == 1 {
                bob.sync(&two, &pair.two.rooms, 3).await;
            }
            if round % 2 == 1 {
                pair.deliver().await;
            }
        }
        pair.deliver().await;
        pair.one.settle().await;
        pair.two.settle().await;
        pair.deliver().await;
        pair.assert_same_state(&room).await;
        alice.equals_a_new_one(&one, &pair.one.rooms).await;
        bob.equals_a_new_one(&two, &pair.two.rooms).await;
        let told = &alice.joined[room.as_str()];
        let state = pair.one.state(&room).await;
        assert_eq!(told.state.len(), state.len());
        for (kind, state_key, event_id) in state {
            assert_eq!(told.state[&(kind, state_key)], event_id.as_str());
        }
    }
}

both_engines! {
    async fn who_was_invited_on_a_fork_that_lost_is_counted_no_more(scratch: Scratch) {
        const DAVE: &str = "@dave:two.test";
        let pair = Pair::new(scratch).await;
        let (one, two) = (&pair.one, &pair.two);
        let room = one.create(ALICE, Preset::PublicChat, "11").await;
        two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        two.join(&room, DAVE).await.unwrap();
        let levels = async |bob: u8| {
            let content = json!({ "users": { (ALICE): 100, (BOB): bob }, "invite": 50 });
            one.post(&room, ALICE, "m.room.power_levels", Some(""), content).await.unwrap();
        };
        levels(50).await;
        pair.deliver().await;
        let (sync, mut dice) = (sync_of(two), dice::Dice::new(1));
        let session = client(two, DAVE).await.session;
        let way = told::Way { state_at: StateAt::End, lazy: false, by_thread: false };
        let mut dave = told::Client::new(&session, way);
        let mut asked = told::Asked { side: two, sync: &sync, dice: &mut dice };
        // Bob invites while Alice takes from him what he needs for that.
        two.invite(&room, BOB, "@erin:two.test").await.unwrap();
        dave.ask(&mut asked, false).await;
        assert_eq!(dave.rooms[room.as_str()].counts["m.invited_member_count"], 1);
        levels(0).await;
        pair.deliver().await;
        dave.ask(&mut asked, false).await;
        assert_eq!(dave.rooms[room.as_str()].counts["m.invited_member_count"], 0);
    }
}

both_engines! {
    async fn what_was_said_on_a_fork_before_somebody_joined_is_not_shown_to_them(scratch: Scratch) {
        const CAROL: &str = "@carol:one.test";
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        let content = json!({ "history_visibility": "joined" });
        let visibility = Send {
            sender: ALICE.try_into().unwrap(),
            kind: "m.room.history_visibility".to_owned(),
            state_key: Some(String::new()),
            content: to_raw_value(&content).unwrap(),
            txn: None,
        };
        pair.one.rooms.send(&room, visibility).await.unwrap();
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.one.join(&room, CAROL).await.unwrap();
        let unseen = pair.two.send(&room, BOB, "carol is not here").await.unwrap();
        let sync = sync_of(&pair.one);
        let mut carol = client(&pair.one, CAROL).await;
        carol.sync(&sync, &pair.one.rooms, 10).await;
        pair.deliver().await;
        assert_eq!(pair.one.read(&room, ALICE).await, ["carol is not here"]);
        carol.sync(&sync, &pair.one.rooms, 10).await;
        assert!(!carol.joined[room.as_str()].events.contains(unseen.as_str()));
        carol.equals_a_new_one(&sync, &pair.one.rooms).await;
    }
}

both_engines! {
    async fn history_goes_on_past_what_is_rejected_or_not_to_be_seen(scratch: Scratch) {
        const ERIN: &str = "@erin:one.test";
        let pair = Pair::new(scratch).await;
        let (one, two) = (&pair.one, &pair.two);
        let room = one.create(ALICE, Preset::PublicChat, "12").await;
        two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        one.send(&room, ALICE, "first").await.unwrap();
        let visibility = |name: &str| json!({ "history_visibility": name });
        let kind = "m.room.history_visibility";
        one.post(&room, ALICE, kind, Some(""), visibility("joined")).await.unwrap();
        let there = one.rooms.room(&room).await.unwrap();
        for number in 0..120 {
            one.send(&room, ALICE, &number.to_string()).await.unwrap();
            // Nobody may take a level that they do not have.
            let content = json!({ "users": { BOB: number } }).to_string();
            let levels = two.valid(&room, BOB, "m.room.power_levels", Some(""), &content).await;
            let became = one.rooms.receive(&there, levels, false).await.unwrap();
            assert!(matches!(became, Received::Rejected(_)), "{became:?}");
        }
        one.join(&room, ERIN).await.unwrap();
        one.send(&room, ALICE, "last").await.unwrap();
        let nid = one.person(ERIN).await;
        let viewpoint = one.rooms.viewpoint(&room, nid, ERIN.try_into().unwrap()).await.unwrap();
        let now = one.rooms.history_now();
        for (back, expected) in [(true, ["last", "first"]), (false, ["first", "last"])] {
            let mut place = Some(if back { now } else { HistoryPlace::first(now) });
            let mut read = Vec::new();
            for _ in 0..100 {
                let Some(from) = place else {
                    break;
                };
                let page = match back {
                    true => one.rooms.history(&viewpoint, from, 5, &|_| true).await.unwrap(),
                    false => {
                        one.rooms.history_onwards(&viewpoint, from, 5, &|_| true).await.unwrap()
                    }
                };
                read.extend(page.events);
                place = page.next;
            }
            assert_eq!(place, None, "history has an end");
            let bodies: Vec<_> = read
                .iter()
                .filter(|known| known.event.kind() == "m.room.message")
                .map(|known| {
                    let content: Value = serde_json::from_str(known.event.content()).unwrap();
                    content["body"].as_str().unwrap().to_owned()
                })
                .collect();
            assert_eq!(bodies, expected);
        }
    }
}
