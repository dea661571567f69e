//! The memory budget: however many rooms are active, what is kept in memory stays within it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Authority, On, Person, Server, escaped};

const ROOMS: usize = 1_000;
/// Messages in each room, and how long each is: 160 MiB in all, which are held twice where they are
/// held (as an event, and as clients are shown it).
const MESSAGES: usize = 4;
const MESSAGE_BYTES: usize = 40 << 10;
/// Rooms that somebody writes into at the same time.
const AT_ONCE: usize = 16;
/// Clients that listen meanwhile, and the rooms that each of them hears everything of.
const LISTENERS: usize = 4;
const HEARD: usize = 25;
/// For a machine that does other things too: a minute is usual.
const PATIENCE: Duration = Duration::from_secs(600);
const BUDGET_MIB: u64 = 16;
/// Memory that the process took for itself: not its code, of which the kernel keeps in memory what runs.
const OWN: &str = "RssAnon";
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What the process may take besides its caches, at any moment: a third more than it was seen to take.
/// With 16 MiB of caches it grew by 51 MiB, with 64 MiB by 95: it holds what it is told to, and 35 MiB besides.
/// These are pages that the connections to the database keep (ten here, of at most 8 MiB each), connections,
/// requests and answers on their way, and 6 MiB of gaps between the allocator's arenas: with one arena,
/// it is 6 MiB less.
const BESIDES_MIB: u64 = 48;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_active_rooms_fit_into_the_budget() {
    let authority = Authority::new();
    let mut server = Server::start(&authority, On::Sqlite).await;
    assert!(server.stop().success());
    let budget = (
        "HEARTH_CACHE__MEMORY_MIB".to_owned(),
        BUDGET_MIB.to_string(),
    );
    server.set_env(vec![budget]);
    server.start_again().await;
    let person = server.person("ann").await;
    let fresh = server.memory_mib(OWN);

    let work = async {
        let rooms = create(&person).await;
        let heard = rooms.chunks(HEARD).take(LISTENERS);
        let listening = join_all(heard.map(|heard| hear(&person, heard)));
        tokio::join!(write(&person, &rooms), listening);
        rooms
    };
    let work = tokio::time::timeout(PATIENCE, work);
    let (most, rooms) = most_while(&server, work).await;
    let (grown, rooms) = (most - fresh, rooms.expect("all is heard"));
    println!("{ROOMS} rooms took {grown} MiB under a budget of {BUDGET_MIB} MiB");
    assert!(
        grown <= BUDGET_MIB + BESIDES_MIB,
        "{ROOMS} rooms took {grown} MiB under a budget of {BUDGET_MIB} MiB"
    );
    for room in [&rooms[0], &rooms[ROOMS - 1]] {
        let said = person.messages(room).await;
        let long = |(_, text): &&(String, String)| text.len() == MESSAGE_BYTES;
        assert_eq!(said.iter().filter(long).count(), MESSAGES);
    }
}

/// The most memory of its own that a process has while something is done.
async fn most_while<T>(server: &Server, work: impl Future<Output = T>) -> (u64, T) {
    let (mut work, mut most) = (pin!(work), 0);
    loop {
        let done = tokio::time::timeout(LOOK, &mut work).await;
        most = server.memory_mib(OWN).max(most);
        if let Ok(done) = done {
            return (most, done);
        }
    }
}

async fn create(person: &Person) -> Vec<String> {
    stream::iter(0..ROOMS)
        .map(|_| person.create_room("12", "private_chat"))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// Writes into all rooms, again and again.
async fn write(person: &Person, rooms: &[String]) {
    let message = json!({ "msgtype": "m.text", "body": "x".repeat(MESSAGE_BYTES) });
    for round in 0..MESSAGES {
        stream::iter(rooms)
            .for_each_concurrent(AT_ONCE, |room| {
                let room = escaped(room);
                let path = format!("/rooms/{room}/send/m.room.message/{round}");
                let message = &message;
                async move { drop(person.call(Method::PUT, &path, Some(message)).await) }
            })
            .await;
    }
}

/// A client that syncs some rooms until it has heard every message in them.
async fn hear(person: &Person, rooms: &[String]) {
    let filter = json!({ "room": { "rooms": rooms } }).to_string();
    let filter = escaped(&filter);
    let mut since = String::new();
    let mut heard = BTreeSet::new();
    while heard.len() < rooms.len() * MESSAGES {
        let path = format!("/sync?timeout=10000&filter={filter}{since}");
        let answer = person.call(Method::GET, &path, None).await;
        since = format!("&since={}", answer["next_batch"].as_str().unwrap());
        heard.extend(messages(&answer));
    }
}

/// The ids of the messages in an answer.
fn messages(answer: &Value) -> Vec<String> {
    let rooms = answer["rooms"]["join"].as_object();
    let rooms = rooms.into_iter().flat_map(serde_json::Map::values);
    rooms
        .flat_map(|room| room["timeline"]["events"].as_array().unwrap())
        .filter(|event| event["type"] == "m.room.message")
        .map(|event| event["event_id"].as_str().unwrap().to_owned())
        .collect()
}
