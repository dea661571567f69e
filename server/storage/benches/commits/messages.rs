//! Commits as the engine makes them for text messages.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hearth_protocol::ambient::split_mix;
use hearth_storage::tables::counts::{CountedRow, CountedTrim, ReadChange, ReadMarkRow, UpTo};
use hearth_storage::tables::events::{ClientTransactionRow, EdgeRow, EventRow, ExtremityRow, Fate};
use hearth_storage::tables::rooms::{RoomAdvance, RoomRow};
use hearth_storage::{Commit, Slot, Storage};

/// Messages between two looks at whether a room counts too many.
const TRIMMED_EVERY: i64 = 256;
/// That a message notifies whoever wants to know of all messages.
const NOTIFIES: i64 = 1;

/// The thread of what is in none.
const MAIN: &str = "main";

const START_MS: i64 = 1_795_242_793_840;

const WORDS: [&str; 24] = [
    "the", "kettle", "is", "on", "who", "brings", "biscuits", "today", "I", "can", "but", "only",
    "after", "four", "our", "train", "was", "late", "again", "see", "you", "there", "then", "ok",
];

/// Rooms, each with two or three people who talk.
pub(crate) struct Rooms {
    pub(crate) rooms: Vec<Room>,
}

/// A room's last event and revision.
struct Tip {
    event_nid: i64,
    event_id: String,
    revision: i64,
    depth: i64,
    /// Who said it.
    person: i64,
}

pub(crate) struct Room {
    nid: i64,
    room_id: String,
    auth: [(i64, String); 2],
    tip: Mutex<Tip>,
    random: Mutex<Random>,
}

static NEXT_NID: AtomicI64 = AtomicI64::new(1);

fn next_nid() -> i64 {
    NEXT_NID.fetch_add(1, Ordering::Relaxed)
}

impl Rooms {
    pub(crate) async fn create(storage: &Storage, count: i64) -> Self {
        let mut rooms = Vec::new();
        for nid in 1..=count {
            let mut random = Random(nid.unsigned_abs());
            let room_id = format!("!{}", random.base64(32));
            let mut commit = Commit::default();
            commit.rows.rooms.push(RoomRow {
                room_nid: nid,
                room_id: room_id.clone(),
                version: "12".to_owned(),
            });
            commit.rooms.push(RoomAdvance {
                room_nid: nid,
                expected: 0,
                snapshot_nid: Some(nid),
            });
            storage.writer().commit(commit).await.unwrap();
            let tip = Tip {
                event_nid: next_nid(),
                event_id: random.event_id(),
                revision: 1,
                depth: 7,
                person: 0,
            };
            rooms.push(Room {
                nid,
                room_id,
                auth: [next_nid(), next_nid()].map(|nid| (nid, random.event_id())),
                tip: Mutex::new(tip),
                random: Mutex::new(random),
            });
        }
        Self { rooms }
    }
}

impl Room {
    /// Its next messages.
    pub(crate) fn messages(&self, count: usize) -> Vec<Commit> {
        (0..count).map(|_| self.message()).collect()
    }

    pub(crate) fn message(&self) -> Commit {
        let (mut tip, mut random) = (self.tip.lock().unwrap(), self.random.lock().unwrap());
        let person = self.nid * 3 + random.below(3);
        let event = Tip {
            event_nid: next_nid(),
            event_id: random.event_id(),
            revision: tip.revision + 1,
            depth: tip.depth + 1,
            person,
        };
        let sent_ms = START_MS + event.event_nid * 50;
        let mut commit = Commit::default();
        let slot = commit.slot();
        commit.rooms.push(RoomAdvance {
            room_nid: self.nid,
            expected: tip.revision,
            snapshot_nid: Some(self.nid),
        });
        let rows = &mut commit.rows;
        rows.events.push(EventRow {
            event_nid: event.event_nid,
            event_id: event.event_id.clone(),
            room_nid: self.nid,
            sender_nid: person,
            state_key_nid: None,
            depth: event.depth,
            origin_server_ts: sent_ms,
            live: Some(slot),
            fate: Fate::Accepted,
            outbound: true,
            snapshot_nid: Some(self.nid),
            json: self.json(&tip, sent_ms, person, &mut random).into(),
        });
        let edge = |other_nid| EdgeRow {
            event_nid: event.event_nid,
            other_nid,
        };
        let end = |event_nid| ExtremityRow {
            room_nid: self.nid,
            event_nid,
        };
        rows.edges.push(edge(tip.event_nid));
        rows.auth
            .extend(self.auth.iter().map(|(nid, _)| edge(*nid)));
        rows.extremities.push(end(event.event_nid));
        rows.extended.push(end(tip.event_nid));
        self.count(&mut commit, (event.event_nid, slot), (tip.person, person));
        commit.claims.push(ClientTransactionRow {
            user_nid: person,
            device_id: format!("DEVICE{person:04}"),
            room_nid: self.nid,
            endpoint: "send".to_owned(),
            txn_id: format!("m{sent_ms}.{}", random.below(100)),
            event_nid: event.event_nid,
            created_at_ms: sent_ms,
        });
        *tip = event;
        commit
    }

    /// What a message counts for. Who speaks after somebody else has read what that one said.
    fn count(
        &self,
        commit: &mut Commit,
        (event_nid, slot): (i64, Slot),
        (before, person): (i64, i64),
    ) {
        commit.rows.counted.push(CountedRow {
            room_nid: self.nid,
            event_nid,
            slot,
            sender_nid: person,
            thread: MAIN.to_owned(),
            by_class: NOTIFIES,
        });
        if event_nid % TRIMMED_EVERY == 0 {
            let room_nid = self.nid;
            commit.rows.counted_trims.push(CountedTrim { room_nid });
        }
        if before != person {
            commit.rows.read_marks.push(ReadMarkRow {
                room_nid: self.nid,
                user_nid: person,
                change: ReadChange::Read {
                    thread: MAIN.to_owned(),
                    up_to: UpTo::Slot(slot),
                },
            });
        }
    }

    /// The event as it is federated in room version 12.
    fn json(&self, tip: &Tip, sent_ms: i64, person: i64, random: &mut Random) -> String {
        let words = 3 + random.below(18);
        let body: Vec<&str> = (0..words).map(|_| random.word()).collect();
        format!(
            r#"{{"auth_events":["{}","{}"],"content":{{"body":"{}","m.mentions":{{}},"msgtype":"m.text"}},"depth":{},"hashes":{{"sha256":"{}"}},"origin_server_ts":{sent_ms},"prev_events":["{}"],"room_id":"{}","sender":"@person{person}:chat.example.org","signatures":{{"chat.example.org":{{"ed25519:a_c2ad16":"{}"}}}},"type":"m.room.message"}}"#,
            self.auth[0].1,
            self.auth[1].1,
            body.join(" "),
            tip.depth + 1,
            STANDARD_NO_PAD.encode(random.bytes(32)),
            tip.event_id,
            self.room_id,
            STANDARD_NO_PAD.encode(random.bytes(64)),
        )
    }
}

/// Rows that a message writes, those that it changes or removes included: an event with its JSON, an
/// edge, auth edges, an extremity and the one before it, what it counts for, perhaps how far its sender
/// has read, a transaction id, and the room.
pub(crate) fn rows_of(commit: &Commit) -> usize {
    let rows = &commit.rows;
    rows.events.len() * 2
        + rows.edges.len()
        + rows.auth.len()
        + rows.extremities.len()
        + rows.extended.len()
        + rows.counted.len()
        + rows.read_marks.len()
        + commit.claims.len()
        + commit.rooms.len()
}

/// SplitMix64: the same messages in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        split_mix(&mut self.0)
    }

    fn below(&mut self, end: u64) -> i64 {
        i64::try_from(self.next() % end).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn base64(&mut self, bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes(bytes))
    }

    fn event_id(&mut self) -> String {
        format!("${}", self.base64(32))
    }

    fn word(&mut self) -> &'static str {
        WORDS[usize::try_from(self.below(24)).unwrap()]
    }
}
