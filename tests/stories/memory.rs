//! The memory budget: however many rooms are active, what is kept in memory stays within it.

use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Authority, On, Server};

const ROOMS: usize = 1_000;
/// Messages in each room, and how long each is: 160 MiB in all, which are held twice where they are
/// held (as an event, and as clients are shown it).
const MESSAGES: usize = 4;
const MESSAGE_BYTES: usize = 40 << 10;
/// Rooms that somebody writes into at the same time.
const AT_ONCE: usize = 16;
const BUDGET_MIB: u64 = 16;
/// What the process may take besides its caches: the allocator's gaps, connections, requests on their
/// way, pages of the database.
const BESIDES_MIB: u64 = 128;

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
    let fresh = server.resident_mib();

    let create = |_| person.create_room("12", "private_chat");
    let rooms: Vec<String> = stream::iter(0..ROOMS)
        .map(create)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let long = "x".repeat(MESSAGE_BYTES);
    let message = json!({ "msgtype": "m.text", "body": long });
    for round in 0..MESSAGES {
        stream::iter(&rooms)
            .for_each_concurrent(AT_ONCE, |room| {
                let path = format!(
                    "/rooms/{}/send/m.room.message/{round}",
                    room.replace('!', "%21")
                );
                let (person, message) = (&person, &message);
                async move { drop(person.call(Method::PUT, &path, Some(message)).await) }
            })
            .await;
    }

    let grown = server.resident_mib() - fresh;
    assert!(
        grown <= BUDGET_MIB + BESIDES_MIB,
        "{ROOMS} rooms took {grown} MiB under a budget of {BUDGET_MIB} MiB"
    );
    for room in [&rooms[0], &rooms[ROOMS - 1]] {
        let said = person.messages(room).await;
        assert_eq!(
            said.iter().filter(|(_, text)| *text == long).count(),
            MESSAGES
        );
    }
}
