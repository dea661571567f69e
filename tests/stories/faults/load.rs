//! People who write as fast as they are answered, and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::harness::{Person, Server};

/// How many write at once, besides the one who changes the topic and the one who writes to devices.
const WRITERS: usize = 16;

/// A busy room: alice writes, bob's device is written to.
pub(super) struct Load {
    alice: Arc<Person>,
    bob: Person,
    room: Arc<String>,
    rounds: usize,
    sent: Sent,
    written: Written,
}

/// How much was acknowledged so far, for who waits for it while others write.
#[derive(Clone, Default)]
pub(super) struct Written(Arc<AtomicUsize>);

impl Written {
    /// Waits until so much is. How long that takes depends on the machine.
    pub(super) async fn reaches(&self, count: usize) {
        let reached = async {
            while self.0.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(
            reached.is_ok(),
            "less than {count} was acknowledged in a minute"
        );
    }

    /// Waits until so much more is.
    pub(super) async fn further(&self, count: usize) {
        let now = self.0.load(Ordering::SeqCst);
        self.reaches(now + count).await;
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What was tried, and what the server said was done.
#[derive(Default)]
pub(super) struct Sent {
    /// Event ids by text.
    pub(super) messages: BTreeMap<String, String>,
    /// All texts, answered or not.
    tried: BTreeSet<String>,
    /// Topics whose change was acknowledged, by event id.
    topics: BTreeMap<String, String>,
    /// Messages to bob's device that were acknowledged.
    to_device: BTreeSet<String>,
}

impl Load {
    pub(super) async fn new(server: &Server) -> Self {
        let alice = Arc::new(server.person("alice").await);
        let bob = server.person("bob").await;
        let room = Arc::new(alice.create_room("12", "private_chat").await);
        Self {
            alice,
            bob,
            room,
            rounds: 0,
            sent: Sent::default(),
            written: Written::default(),
        }
    }

    /// Writes until nobody is answered any more; `fault` is what makes it so.
    pub(super) async fn until(&mut self, fault: impl AsyncFnOnce()) {
        self.write(fault, false).await;
    }

    /// Writes during a fault, and again what was refused, until the fault is over.
    pub(super) async fn through(&mut self, fault: impl AsyncFnOnce()) {
        self.write(fault, true).await;
    }

    async fn write(&mut self, fault: impl AsyncFnOnce(), through: bool) {
        let going_on = Arc::new(AtomicBool::new(true));
        let until = Until {
            through,
            going_on: Arc::clone(&going_on),
            written: self.written.clone(),
        };
        let round = self.rounds;
        self.rounds += 1;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (alice, room) = (Arc::clone(&self.alice), Arc::clone(&self.room));
            let until = until.clone();
            writers.spawn(async move { messages(&alice, &room, (round, writer), &until).await });
        }
        let (alice, room) = (Arc::clone(&self.alice), Arc::clone(&self.room));
        let ends = until.clone();
        writers.spawn(async move { topics(&alice, &room, round, &ends).await });
        let (alice, bob) = (Arc::clone(&self.alice), self.bob.id.clone());
        writers.spawn(async move { to_device(&alice, &bob, round, &until).await });
        fault().await;
        going_on.store(false, Ordering::SeqCst);
        for sent in writers.join_all().await {
            self.sent.messages.extend(sent.messages);
            self.sent.tried.extend(sent.tried);
            self.sent.topics.extend(sent.topics);
            self.sent.to_device.extend(sent.to_device);
        }
    }

    /// How much was acknowledged.
    pub(super) fn written(&self) -> Written {
        self.written.clone()
    }

    /// All messages that are there, oldest first.
    pub(super) async fn texts(&self) -> Vec<(String, String)> {
        self.alice.messages(&self.room).await
    }

    /// Everything acknowledged is there, each message once, and nothing that nobody sent.
    pub(super) async fn holds(&self) {
        let lost = self.lost().await;
        assert!(lost.is_empty(), "acknowledged and lost: {lost:#?}");
    }

    /// What was acknowledged and is not there.
    pub(super) async fn lost(&self) -> Vec<String> {
        let messages = self.alice.messages(&self.room).await;
        let there: BTreeMap<&String, &String> =
            messages.iter().map(|(id, text)| (text, id)).collect();
        assert_eq!(there.len(), messages.len(), "every message once");
        for text in there.keys() {
            assert!(self.sent.tried.contains(*text), "{text} was never sent");
        }
        let mut lost: Vec<String> = self
            .sent
            .messages
            .iter()
            .filter(|(text, id)| there.get(text) != Some(id))
            .map(|(text, _)| text.clone())
            .collect();
        for (event_id, topic) in &self.sent.topics {
            if !self.alice.has_event(&self.room, event_id).await {
                lost.push(topic.clone());
            }
        }
        let waiting = self.bob.to_device().await;
        lost.extend(self.sent.to_device.difference(&waiting).cloned());
        lost
    }

    /// Sends again what was half-way: it is there once, whether it was written before or not.
    pub(super) async fn retries_count_once(&self) {
        let before: BTreeMap<String, String> = self.there().await;
        let open = |text: &&String| !self.sent.messages.contains_key(*text);
        for text in self.sent.tried.iter().filter(open) {
            let event_id = self.alice.send(&self.room, text).await;
            assert_eq!(before.get(text).unwrap_or(&event_id), &event_id, "{text}");
        }
        assert_eq!(self.there().await.len(), self.sent.tried.len());
    }

    async fn there(&self) -> BTreeMap<String, String> {
        let messages = self.alice.messages(&self.room).await;
        let count = messages.len();
        let there: BTreeMap<String, String> =
            messages.into_iter().map(|(id, text)| (text, id)).collect();
        assert_eq!(there.len(), count, "every message once");
        there
    }
}

/// How long one writes: until the first refusal, or through a fault until it is over.
#[derive(Clone)]
struct Until {
    through: bool,
    going_on: Arc<AtomicBool>,
    written: Written,
}

impl Until {
    fn is_over(&self) -> bool {
        self.through && !self.going_on.load(Ordering::SeqCst)
    }
}

async fn messages(
    alice: &Person,
    room: &str,
    (round, writer): (usize, usize),
    until: &Until,
) -> Sent {
    let mut sent = Sent::default();
    for number in 0.. {
        let text = format!("{round} {writer} {number}");
        sent.tried.insert(text.clone());
        loop {
            if let Some(event_id) = alice.try_send(room, &text).await {
                sent.messages.insert(text, event_id);
                until.written.add();
                break;
            }
            if !until.through || until.is_over() {
                return sent;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        if until.is_over() {
            break;
        }
    }
    sent
}

async fn topics(alice: &Person, room: &str, round: usize, until: &Until) -> Sent {
    let mut sent = Sent::default();
    for number in 0.. {
        let topic = format!("topic {round} {number}");
        match alice.try_set_topic(room, &topic).await {
            Some(event_id) => drop(sent.topics.insert(event_id, topic)),
            None => break,
        }
        until.written.add();
        if until.is_over() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sent
}

async fn to_device(alice: &Person, bob: &str, round: usize, until: &Until) -> Sent {
    let mut sent = Sent::default();
    for number in 0.. {
        let id = format!("device{round}.{number}");
        let path = format!("/sendToDevice/org.example.test/{id}");
        let body = json!({ "messages": { bob: { "*": { "id": id } } } });
        match alice.ask(Method::PUT, &path, Some(&body)).await {
            Some((200, _)) => drop(sent.to_device.insert(id)),
            _ => break,
        }
        until.written.add();
        if until.is_over() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sent
}
