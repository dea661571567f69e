//! One room at a time: its rows are read together, its events' bytes in batches.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::room_version::{RoomVersionRules, rules_for};

use super::findings::{Report, checks};
use super::{OwnKey, Pass, events, graph, state};
use crate::StorageError;
use crate::sql;
use crate::tables::events::Fate;

checks! {
    VERSION = "room-version-unknown",
        "this version of Hearth does not know the version of the room {}";
    OTHER_ROOM = "edge-to-other-room", "{}, which is of another room";
    CODE = "fate-unknown", "the fate of the event {} is no known one";
}

/// A room and everything that is stored of it, but for the bytes of its events.
pub(super) struct Room {
    pub(super) room_nid: i64,
    pub(super) room_id: String,
    pub(super) rules: &'static RoomVersionRules,
    pub(super) snapshot_nid: Option<i64>,
    pub(super) events: BTreeMap<i64, EventFacts>,
    pub(super) prev: BTreeMap<i64, Vec<i64>>,
    pub(super) auth: BTreeMap<i64, Vec<i64>>,
    /// The unknown prev events of each event.
    pub(super) gaps: BTreeMap<i64, BTreeSet<String>>,
    pub(super) extremities: BTreeSet<i64>,
}

/// What the row of an event says, and later what was seen in its bytes.
pub(super) struct EventFacts {
    pub(super) event_id: String,
    pub(super) state_key_nid: Option<i64>,
    pub(super) depth: i64,
    pub(super) live_position: Option<i64>,
    pub(super) fate: Fate,
    pub(super) outbound: bool,
    pub(super) snapshot_nid: Option<i64>,
    /// Of a member event: whose membership, and which.
    pub(super) member: Option<(String, &'static str)>,
    /// The depth that its bytes state.
    pub(super) stated_depth: Option<i64>,
    /// Whether one of ours may have come into the room with it over another server.
    pub(super) came_in: bool,
}

impl EventFacts {
    pub(super) fn is_accepted(&self) -> bool {
        self.fate == Fate::Accepted && self.snapshot_nid.is_some()
    }
}

#[derive(sqlx::FromRow)]
struct RoomRow {
    room_nid: i64,
    room_id: String,
    version: String,
    snapshot_nid: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct EventRow {
    event_nid: i64,
    event_id: String,
    state_key_nid: Option<i64>,
    depth: i64,
    live_position: Option<i64>,
    fate: i64,
    outbound: bool,
    snapshot_nid: Option<i64>,
}

pub(super) async fn look_at_all(
    mut pass: Pass,
    own_key: Option<&OwnKey>,
) -> Result<Report, StorageError> {
    let rooms = sql!(
        pass.conn.conn(),
        all::<RoomRow>,
        "SELECT room_nid, room_id, version, snapshot_nid FROM rooms ORDER BY room_nid"
    );
    let rooms = pass.readable("rooms", rooms).await?.unwrap_or_default();
    let mut report = Report {
        rooms: 0,
        events: 0,
        snapshots: 0,
        findings: Vec::new(),
    };
    for row in rooms {
        report.rooms += 1;
        let Some(rules) = rules_for(&row.version) else {
            pass.findings.add(&VERSION, &row.room_id);
            continue;
        };
        let room_id = row.room_id.clone();
        let read = read(&mut pass, row, rules).await;
        let Some(mut room) = pass.readable(&room_id, read).await? else {
            continue;
        };
        report.events += u64::try_from(room.events.len()).unwrap_or_default();
        events::look(&mut pass, &mut room, own_key).await?;
        graph::look(&mut pass.findings, &room);
        report.snapshots += state::look(&mut pass, &room).await?;
    }
    report.findings = pass.findings.into_vec();
    Ok(report)
}

async fn read(
    pass: &mut Pass,
    row: RoomRow,
    rules: &'static RoomVersionRules,
) -> Result<Room, StorageError> {
    let rows = sql!(
        pass.conn.conn(),
        all::<EventRow>,
        "SELECT event_nid, event_id, state_key_nid, depth, live_position, fate, outbound,
         snapshot_nid FROM events WHERE room_nid = $1",
        row.room_nid
    )?;
    let mut events = BTreeMap::new();
    for row in rows {
        let Ok(fate) = Fate::of(row.fate) else {
            pass.findings.add(&CODE, &row.event_id);
            continue;
        };
        let facts = EventFacts {
            event_id: row.event_id,
            state_key_nid: row.state_key_nid,
            depth: row.depth,
            live_position: row.live_position,
            fate,
            outbound: row.outbound,
            snapshot_nid: row.snapshot_nid,
            member: None,
            stated_depth: None,
            came_in: false,
        };
        events.insert(row.event_nid, facts);
    }
    let prev = sql!(
        pass.conn.conn(),
        all::<(i64, i64)>,
        "SELECT d.event_nid, d.prev_nid FROM event_edges d
         JOIN events e ON e.event_nid = d.event_nid WHERE e.room_nid = $1",
        row.room_nid
    )?;
    let auth = sql!(
        pass.conn.conn(),
        all::<(i64, i64)>,
        "SELECT a.event_nid, a.auth_nid FROM event_auth a
         JOIN events e ON e.event_nid = a.event_nid WHERE e.room_nid = $1",
        row.room_nid
    )?;
    let gaps = sql!(
        pass.conn.conn(),
        all::<(i64, String)>,
        "SELECT child_nid, event_id FROM backward_extremities WHERE room_nid = $1",
        row.room_nid
    )?;
    let extremities = sql!(
        pass.conn.conn(),
        scalars::<i64>,
        "SELECT event_nid FROM forward_extremities WHERE room_nid = $1",
        row.room_nid
    )?;
    let mut room = Room {
        room_nid: row.room_nid,
        room_id: row.room_id,
        rules,
        snapshot_nid: row.snapshot_nid,
        events,
        prev: BTreeMap::new(),
        auth: BTreeMap::new(),
        gaps: BTreeMap::new(),
        extremities: extremities.into_iter().collect(),
    };
    room.take_edges(pass, prev, auth);
    for (child, event_id) in gaps {
        room.gaps.entry(child).or_default().insert(event_id);
    }
    Ok(room)
}

impl Room {
    /// Takes the edges in. One that leads out of the room is wrong, but for the auth events of what
    /// was rejected, which may have been rejected for just that.
    fn take_edges(&mut self, pass: &mut Pass, prev: Vec<(i64, i64)>, auth: Vec<(i64, i64)>) {
        let kinds = [(prev, "follows"), (auth, "is allowed by")];
        for (index, (edges, verb)) in kinds.into_iter().enumerate() {
            for (from, to) in edges {
                let rejected = |facts: &EventFacts| facts.fate == Fate::Rejected;
                let may_leave = index == 1 && self.events.get(&from).is_some_and(rejected);
                if !self.events.contains_key(&to) && !may_leave {
                    let subject = format!("the event {} {verb} event {to}", self.name(from));
                    pass.findings.add(&OTHER_ROOM, subject);
                }
                let kind = if index == 0 {
                    &mut self.prev
                } else {
                    &mut self.auth
                };
                kind.entry(from).or_default().push(to);
            }
        }
    }

    /// How an event is called in a sentence.
    pub(super) fn name(&self, nid: i64) -> String {
        match self.events.get(&nid) {
            Some(facts) => facts.event_id.clone(),
            None => format!("number {nid}"),
        }
    }
}
