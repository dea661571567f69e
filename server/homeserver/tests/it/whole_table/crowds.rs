//! How many requests of one person are answered at a time, seen from outside.

use std::time::Duration;

use futures_util::future::select_all;
use hearth::{concurrency::Concurrency, http::body::BodyTime, routes};
use hearth_storage::testing::{On, Scratch};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    place::{Account, Door, Place},
    samples::sample,
};
use crate::harness::{Reply, Setting, converse, request};

/// A row of each lane, and how many of its requests one person may have under way.
const LANES: [(&str, usize); 3] = [
    ("create_room", 8),
    ("sliding_sync", 64),
    ("send_message_event", 64),
];

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_too_much_at_once_is_refused_and_takes_nothing_from_others() {
    let minute = Duration::from_secs(60);
    let setting = Setting {
        concurrency: Concurrency::limited(),
        connections_max: 200,
        body_time: BodyTime {
            idle: minute,
            total: minute,
        },
        ..Setting::default()
    };
    let place = Place::with(Scratch::new(On::Sqlite).await, setting).await;
    for (at, (name, max)) in LANES.into_iter().enumerate() {
        let mut held = Vec::new();
        for _ in 0..=max {
            held.push(begin(&place, name).await);
        }
        // A request holds its place while its body has not come; one of these finds none.
        let answers = held
            .iter_mut()
            .map(|stream| Box::pin(converse(stream, b"")));
        let (refused, index, _) = select_all(answers).await;
        assert_eq!(refused.status, 429, "{name}: {refused:?}");
        assert_eq!(refused.errcode(), "M_LIMIT_EXCEEDED");
        assert!(refused.json()["retry_after_ms"].is_i64(), "{refused:?}");
        drop(held.remove(index));

        let again = ask(&place, name, &place.alice).await;
        assert_eq!(again.status, 429, "{name}: {again:?}");
        let other = ask(&place, name, &place.mallory).await;
        assert_ne!(other.status, 429, "{name}, somebody else: {other:?}");
        let (elsewhere, _) = LANES[(at + 1) % LANES.len()];
        let reply = ask(&place, elsewhere, &place.alice).await;
        assert_eq!(reply.status, 200, "{elsewhere} beside {name}: {reply:?}");

        for mut stream in held {
            let reply = converse(&mut stream, b"{}").await;
            assert_eq!(reply.status, 200, "{name}, served after all: {reply:?}");
        }
        let after = ask(&place, name, &place.alice).await;
        assert_eq!(after.status, 200, "{name}, with room again: {after:?}");
    }
}

/// A whole request to a row, with an empty object.
fn bytes(place: &Place, name: &str, by: &Account) -> Vec<u8> {
    let row = routes::table().into_iter().find(|row| row.name == name);
    let row = row.unwrap();
    let target = sample(&row, place, by).target();
    let bearer = format!("authorization: Bearer {}", by.token);
    request(row.method.as_str(), &target, &[&bearer], "{}")
}

async fn ask(place: &Place, name: &str, by: &Account) -> Reply {
    place.exchange(Door::Network, &bytes(place, name, by)).await
}

/// Sends all of a request but its body.
async fn begin(place: &Place, name: &str) -> TcpStream {
    let bytes = bytes(place, name, &place.alice);
    let mut stream = place.connect().await;
    let head = bytes.strip_suffix(b"{}").unwrap();
    stream.write_all(head).await.unwrap();
    stream
}
