//! Random histories of two servers: whatever a client was told, in however many answers, equals what
//! a client that begins now is told, once its gaps are filled.
//!
//! `HEARTH_SYNC_SEEDS` says how many histories are lived through, `HEARTH_SYNC_SEED` which one is
//! lived again.

use std::sync::Arc;

use futures_util::FutureExt as _;
use hearth_storage::testing::{On, Scratch};
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use super::super::pair::Pair;
use super::dice::Dice;
use super::told::{Asked, Client, Way};
use super::{receipts_of, sync_with};
use crate::accounts::{Accounts, Session, Standing};
use crate::memory::MemoryBudget;
use crate::receipts::{ReceiptKind, Receipts, Thread};
use crate::rooms::create::Preset;
use crate::sync::{ClientSync, StateAt};

const OURS: [&str; 3] = ["@alice:one.test", "@bob:one.test", "@erin:one.test"];
const THEIRS: [&str; 2] = ["@carol:two.test", "@dave:two.test"];

/// Histories of an ordinary run, on each engine.
const SEEDS: u64 = 3;
const STEPS: usize = 90;

/// One history.
struct Story {
    pair: Pair,
    sync: ClientSync,
    receipts: Arc<Receipts>,
    accounts: Accounts,
    rooms: Vec<OwnedRoomId>,
    said: Vec<(usize, OwnedEventId)>,
    clients: Vec<Client>,
    dice: Dice,
    /// Whether the servers write without knowing of each other.
    forks: bool,
}

impl Story {
    async fn begin(scratch: Scratch, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let memory = MemoryBudget::of_mib(*dice.of(&[0, 1, 64]));
        let pair = Pair::within(scratch, memory).await;
        let version = *dice.of(&["6", "10", "11", "12"]);
        let rooms = vec![
            pair.one.create(OURS[0], Preset::PublicChat, version).await,
            pair.one.create(OURS[1], Preset::PublicChat, "12").await,
        ];
        for room in &rooms {
            pair.two
                .join_over(room, THEIRS[0], "one.test")
                .await
                .unwrap();
        }
        let mut clients = Vec::new();
        for user_id in OURS {
            for (state_at, lazy, by_thread) in [
                (StateAt::Start, false, true),
                (StateAt::Start, true, false),
                (StateAt::End, false, false),
                (StateAt::End, true, true),
            ] {
                let session = Session {
                    user_nid: pair.one.person(user_id).await,
                    user_id: user_id.try_into().unwrap(),
                    device_id: Some(format!("{user_id} {state_at:?} {lazy}").into()),
                    admin: false,
                    guest: false,
                    standing: Standing::Good,
                    appservice: None,
                };
                let way = Way {
                    state_at,
                    lazy,
                    by_thread,
                };
                clients.push(Client::new(&Arc::new(session), way));
            }
        }
        let receipts = receipts_of(&pair.one);
        Self {
            sync: sync_with(&pair.one, &receipts),
            receipts,
            accounts: Accounts::new(Arc::clone(&pair.one.ctx)),
            pair,
            rooms,
            said: Vec::new(),
            clients,
            forks: dice.below(4) > 0,
            dice,
        }
    }

    async fn live(mut self) {
        for number in 0..STEPS {
            let at = self.dice.below(self.rooms.len());
            match self.dice.below(12) {
                0..4 => self.ours(at, number).await,
                4..7 => self.theirs(at, number).await,
                7 => self.kept(at, number).await,
                8 => self.read(at).await,
                9 => self.forget(at).await,
                10 if self.forks => self.out_of_place(at).await,
                _ => self.between(at).await,
            }
            if !self.forks {
                self.meet().await;
            }
            if self.dice.one_in(2) {
                let client = self.dice.below(self.clients.len());
                self.ask(client).await;
            }
        }
        self.meet().await;
        self.agree().await;
    }

    /// What somebody says: in a thread, or not.
    fn words(&mut self, at: usize, number: usize) -> Value {
        let body = number.to_string();
        let said = self.said.iter().filter(|(other, _)| *other == at);
        let said: Vec<&OwnedEventId> = said.map(|(_, id)| id).collect();
        if said.is_empty() || self.dice.below(3) > 0 {
            return json!({ "body": body });
        }
        let root = self.dice.of(&said[..said.len().min(3)]);
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        json!({ "body": body, "m.relates_to": relation })
    }

    /// One of ours has read up to something, in all or in its thread.
    async fn read(&mut self, at: usize) {
        let client = self.dice.below(self.clients.len());
        let said = self.said.iter().filter(|(other, _)| *other == at);
        let said: Vec<&OwnedEventId> = said.map(|(_, id)| id).collect();
        if said.is_empty() {
            return;
        }
        let (event_id, one) = (*self.dice.of(&said), &self.pair.one);
        let there = one.rooms.room(&self.rooms[at]).await.unwrap();
        let known = one.rooms.known.one(there.rules, event_id).await.unwrap();
        // Not everything that theirs said was heard.
        let Some(known) = known else {
            return;
        };
        let place = one.rooms.thread_of(&there, &known).await.unwrap();
        let thread = match (self.dice.one_in(3), &place.root) {
            (true, _) => Thread::Unthreaded,
            (false, None) => Thread::Main,
            (false, Some(root)) => Thread::Root(root.as_str().into()),
        };
        let kind = *self.dice.of(&[ReceiptKind::Read, ReceiptKind::ReadPrivate]);
        let session = &self.clients[client].session;
        let sent = self
            .receipts
            .send(session, &self.rooms[at], event_id, (kind, thread));
        drop(sent.await);
    }

    /// One of ours forgets a room that they left, on every device.
    async fn forget(&mut self, at: usize) {
        let (room, one) = (&self.rooms[at], &self.pair.one);
        let who = *self.dice.of(&OURS);
        let user_nid = one.person(who).await;
        if one.rooms.forget_room(room, user_nid).await.is_ok() {
            for client in &mut self.clients {
                if *client.session.user_id == *who {
                    client.forget(room);
                }
            }
        }
    }

    /// One of ours says or changes something; what the rooms do not allow does not happen.
    async fn ours(&mut self, at: usize, number: usize) {
        let words = self.words(at, number);
        let (room, one) = (&self.rooms[at], &self.pair.one);
        let who = *self.dice.of(&OURS);
        let body = number.to_string();
        match self.dice.below(6) {
            0..3 => {
                let said = one.post(room, who, "m.room.message", None, words);
                if let Ok(id) = said.await {
                    self.said.push((at, id));
                }
            }
            3 => drop(one.rename(room, who, &body).await),
            4 => {
                let content = json!({ "membership": "join", "displayname": body });
                drop(
                    one.post(room, who, "m.room.member", Some(who), content)
                        .await,
                );
            }
            _ if !self.said.is_empty() => {
                let (at, target) = self.dice.of(&self.said);
                let (room, who) = (&self.rooms[*at], hearth_types::ruma::UserId::parse(who));
                drop(
                    one.rooms
                        .redact(room, who.unwrap(), target, None, None)
                        .await,
                );
            }
            _ => {}
        }
    }

    /// One of theirs does, without that we hear of it now.
    async fn theirs(&mut self, at: usize, number: usize) {
        let words = self.words(at, number);
        let (room, two) = (&self.rooms[at], &self.pair.two);
        let who = *self.dice.of(&THEIRS);
        let body = number.to_string();
        match self.dice.below(6) {
            0..3 => {
                let said = two.post(room, who, "m.room.message", None, words);
                if let Ok(id) = said.await {
                    self.said.push((at, id));
                }
            }
            3 => drop(two.rename(room, who, &body).await),
            4 => {
                let content = json!({ "membership": "join", "displayname": body });
                drop(
                    two.post(room, who, "m.room.member", Some(who), content)
                        .await,
                );
            }
            _ => drop(two.join_over(room, who, "one.test").await),
        }
    }

    /// People come and go, and settings change.
    async fn kept(&mut self, at: usize, number: usize) {
        let (room, one) = (&self.rooms[at], &self.pair.one);
        let (who, other) = (
            *self.dice.of(&OURS),
            *self.dice.of(&[OURS[1], OURS[2], THEIRS[0]]),
        );
        match self.dice.below(8) {
            0..2 => drop(one.join(room, who).await),
            2 => drop(one.leave(room, who).await),
            3 => {
                let change = *self.dice.of(&["invite", "leave", "ban", "leave"]);
                drop(one.change(room, who, other, change).await);
            }
            4 => {
                let all = ["shared", "joined", "invited", "world_readable"];
                let content = json!({ "history_visibility": self.dice.of(&all) });
                let kind = "m.room.history_visibility";
                drop(one.post(room, who, kind, Some(""), content).await);
            }
            5 => {
                let levels = json!({ "users": { (OURS[0]): 100, (THEIRS[0]): 50 } });
                let content = if self.dice.one_in(2) {
                    levels
                } else {
                    json!({})
                };
                drop(
                    one.post(room, who, "m.room.power_levels", Some(""), content)
                        .await,
                );
            }
            _ => {
                let room = (self.dice.below(3) > 0).then_some(&**room);
                let kind = *self.dice.of(&["m.tag", "org.test"]);
                let content = json!({ "number": number }).to_string();
                let user_nid = one.person(who).await;
                self.accounts
                    .set_account_data(user_nid, room, kind, content.as_bytes())
                    .await
                    .unwrap();
            }
        }
    }

    /// What nobody with our code would send: on an old place of the graph, or not allowed.
    async fn out_of_place(&mut self, at: usize) {
        let (one, two) = (&self.pair.one, &self.pair.two);
        let room = &self.rooms[at];
        let who = *self.dice.of(&THEIRS);
        let of_room: Vec<&OwnedEventId> = self
            .said
            .iter()
            .filter(|(other, _)| *other == at)
            .map(|(_, id)| id)
            .collect();
        let pdu = match self.dice.below(3) {
            0 => {
                let content = r#"{"users":{}}"#;
                let sent = two.valid(room, who, "m.room.power_levels", Some(""), content);
                std::panic::AssertUnwindSafe(sent).catch_unwind().await.ok()
            }
            _ if of_room.is_empty() => None,
            _ => {
                let prev = vec![(*self.dice.of(&of_room)).clone()];
                let depth = i64::try_from(1 + self.dice.below(30)).unwrap();
                Some(
                    two.placed_at(room, who, "m.room.message", prev, depth)
                        .await,
                )
            }
        };
        let there = one.rooms.room(room).await.unwrap();
        if let Some(pdu) = pdu {
            drop(one.rooms.receive(&there, pdu, false).await);
        }
    }

    /// What happens to the servers.
    async fn between(&mut self, at: usize) {
        match self.dice.below(7) {
            0..4 => self.pair.deliver().await,
            4 if self.forks => self.pair.lose().await,
            5 => {
                self.pair.restart_one().await;
                self.receipts = receipts_of(&self.pair.one);
                self.sync = sync_with(&self.pair.one, &self.receipts);
                self.accounts = Accounts::new(Arc::clone(&self.pair.one.ctx));
            }
            _ => {
                drop(self.pair.two.leave(&self.rooms[at], THEIRS[0]).await);
            }
        }
    }

    /// Both servers hear everything.
    async fn meet(&mut self) {
        self.pair.deliver().await;
        if self.forks {
            self.pair.one.settle().await;
            self.pair.two.settle().await;
            self.pair.deliver().await;
        }
    }

    async fn ask(&mut self, client: usize) {
        let mut asked = Asked {
            side: &self.pair.one,
            sync: &self.sync,
            dice: &mut self.dice,
        };
        self.clients[client].sync(&mut asked).await;
    }

    async fn agree(&mut self) {
        for client in &mut self.clients {
            let mut asked = Asked {
                side: &self.pair.one,
                sync: &self.sync,
                dice: &mut self.dice,
            };
            client.equals_a_new_one(&mut asked, self.forks).await;
            client.reads_the_same_both_ways(&mut asked).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test run says what to run")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lives through some histories, each on a runtime of its own.
fn live(on: On) {
    let seeds = match number("HEARTH_SYNC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..1 + number("HEARTH_SYNC_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let story = async {
            let story = Story::begin(Scratch::new(on).await, seed).await;
            Box::pin(story.live()).await;
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(story);
        }));
        if let Err(why) = outcome {
            println!("replay: HEARTH_SYNC_SEED={seed} cargo test -p hearth-engine stories");
            std::panic::resume_unwind(why);
        }
    }
}

#[test]
fn answers_add_up_on_sqlite() {
    live(On::Sqlite);
}

#[test]
fn answers_add_up_on_postgres() {
    live(On::Postgres);
}
