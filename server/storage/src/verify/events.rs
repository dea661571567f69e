//! The bytes of events: that they are what their ids say, that rows and edges repeat them rightly,
//! that our own are signed by us, and redactions.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::{Event, EventJson, Membership, References};
use hearth_protocol::redaction::signing_payload;
use hearth_protocol::verify::UnverifiedPdu;

use super::findings::checks;
use super::room::{EventFacts, Room};
use super::{OwnKey, Pass};
use crate::StorageError;
use crate::rows;
use crate::sql;
use crate::tables::events::{self, Fate, StoredEvent};
use crate::tables::log;

checks! {
    BYTES = "event-json-damaged", "the bytes of the event {}";
    ID = "event-id", "the bytes of the event {} are those of another event";
    HASH = "event-hash", "the content of the event {} does not have the hash that its sender gave";
    SIGNATURE = "event-signature", "our own event {} is not signed with our key";
    ROW = "event-row", "the row of the event {}, but its bytes do not";
    PREV = "prev-edges", "the prev events of {} are not those that it names";
    AUTH = "auth-edges", "the auth events of {} are not those that it names";
    NOT_REDACTED = "redacted-content", "the event {} is redacted, but still has its content";
    REDACTED_BY = "redacted-by",
        "the event {} is redacted, but no redaction of it is recorded as applied";
    REDACTION_LOST = "redaction-lost",
        "the redaction of {} is recorded as applied, but the event is not redacted";
    REDACTION_UNKNOWN = "redaction-unrecorded",
        "the event {} redacts another, but that is not recorded";
}

/// Events whose bytes are in memory at a time.
const BATCH: usize = 500;

/// A row of an event as names.
#[derive(sqlx::FromRow)]
struct Named {
    event_nid: i64,
    origin_server_ts: i64,
    sender: Option<String>,
    kind: Option<Vec<u8>>,
    state_key: Option<Vec<u8>>,
}

/// What is looked up for every event of a room.
struct Context<'a> {
    room: &'a Room,
    nids: BTreeMap<&'a str, i64>,
    /// The target of each redaction.
    redactions: BTreeMap<i64, String>,
    /// The events of which a redaction is recorded as applied.
    applied: BTreeSet<String>,
    server_name: String,
    own_key: Option<&'a OwnKey>,
}

pub(super) async fn look(
    pass: &mut Pass,
    room: &mut Room,
    own_key: Option<&OwnKey>,
) -> Result<(), StorageError> {
    let identity = log::identity_select(pass.conn.conn()).await?;
    let redactions = redactions(pass, room).await;
    let redactions = pass.readable("redactions", redactions).await?;
    let redactions = redactions.unwrap_or_default();
    let applied = redactions.iter().filter(|(.., applied)| *applied);
    let context = Context {
        room,
        nids: room
            .events
            .iter()
            .map(|(nid, facts)| (facts.event_id.as_str(), *nid))
            .collect(),
        applied: applied.map(|(_, target, _)| target.clone()).collect(),
        redactions: redactions
            .into_iter()
            .map(|(nid, target, _)| (nid, target))
            .collect(),
        server_name: identity.map(|it| it.server_name).unwrap_or_default(),
        own_key,
    };
    let mut seen = Vec::with_capacity(room.events.len());
    let nids: Vec<i64> = room.events.keys().copied().collect();
    for batch in nids.chunks(BATCH) {
        for (stored, named) in read(pass, room, batch).await? {
            if let Some(event) = context.look(pass, &stored, &named) {
                seen.push((stored.event_nid, Seen::of(&event, &context.server_name)));
            }
        }
    }
    for (nid, seen) in seen {
        if let Some(facts) = room.events.get_mut(&nid) {
            facts.stated_depth = Some(seen.depth);
            facts.came_in = seen.our_join && !facts.outbound;
            facts.member = seen.member;
        }
    }
    Ok(())
}

/// What later checks need of an event's bytes.
struct Seen {
    depth: i64,
    our_join: bool,
    member: Option<(String, &'static str)>,
}

impl Seen {
    fn of(event: &Event, server_name: &str) -> Self {
        let member = event.state_key().and_then(|whose| {
            let membership = match event.member()?.membership? {
                Membership::Ban => "ban",
                Membership::Invite => "invite",
                Membership::Join => "join",
                Membership::Knock => "knock",
                _ => "leave",
            };
            Some((whose.to_owned(), membership))
        });
        let ours = event.sender().server_name().as_str() == server_name;
        Self {
            depth: event.depth(),
            our_join: ours && member.as_ref().is_some_and(|(_, it)| *it == "join"),
            member,
        }
    }
}

/// The redactions by events of this room: redaction, target, and whether it was applied.
async fn redactions(
    pass: &mut Pass,
    room: &Room,
) -> Result<Vec<(i64, String, bool)>, StorageError> {
    sql!(
        pass.conn.conn(),
        all::<(i64, String, bool)>,
        "SELECT r.redaction_nid, r.target_id, r.applied FROM redactions r
         JOIN events e ON e.event_nid = r.redaction_nid WHERE e.room_nid = $1",
        room.room_nid
    )
}

/// A batch of events. Where one of them cannot be read, the others are read without it.
async fn read(
    pass: &mut Pass,
    room: &Room,
    nids: &[i64],
) -> Result<Vec<(StoredEvent, Named)>, StorageError> {
    let stored = match events::events_by_nid(pass.conn.conn(), nids).await {
        Ok(stored) => stored,
        Err(error) if error.is_disconnect() => return Err(error),
        Err(_) => {
            pass.conn.begin_snapshot().await?;
            let mut readable = Vec::new();
            for nid in nids {
                let one = events::events_by_nid(pass.conn.conn(), &[*nid]).await;
                let name = format!("the event {}", room.name(*nid));
                readable.extend(pass.readable(&name, one).await?.unwrap_or_default());
            }
            readable
        }
    };
    let named = named(pass, nids).await;
    let named = pass.readable("events", named).await?.unwrap_or_default();
    let mut named: BTreeMap<i64, Named> =
        named.into_iter().map(|row| (row.event_nid, row)).collect();
    Ok(stored
        .into_iter()
        .filter_map(|stored| {
            let named = named.remove(&stored.event_nid)?;
            Some((stored, named))
        })
        .collect())
}

async fn named(pass: &mut Pass, nids: &[i64]) -> Result<Vec<Named>, StorageError> {
    rows!(
        pass.conn.conn(),
        all::<Named>,
        "WITH k(nid) AS ({rows})
         SELECT e.event_nid, e.origin_server_ts, u.user_id AS sender, s.kind, s.state_key
         FROM k JOIN events e ON e.event_nid = k.nid
         LEFT JOIN users u ON u.user_nid = e.sender_nid
         LEFT JOIN state_keys s ON s.state_key_nid = e.state_key_nid",
        nids,
        |nid| (*nid => BIGINT)
    )
}

impl Context<'_> {
    /// Looks at one event; gives it back where it can be read.
    fn look(&self, pass: &mut Pass, stored: &StoredEvent, named: &Named) -> Option<Event> {
        let facts = self.room.events.get(&stored.event_nid)?;
        let findings = &mut pass.findings;
        // Without the stored id: it is computed from the bytes.
        let event = match Event::from_trusted(self.room.rules, stored.json.clone(), None) {
            Ok(event) => event,
            Err(error) => {
                findings.add(&BYTES, format!("{}: {error}", stored.event_id));
                return None;
            }
        };
        if event.event_id().as_str() != stored.event_id {
            findings.add(&ID, &stored.event_id);
        }
        if let Some(why) = self.row(&event, facts, named) {
            findings.add(&ROW, format!("{} {why}", stored.event_id));
        }
        self.signed(pass, stored, &event);
        self.edges(pass, stored.event_nid, facts, &event);
        self.redacted(pass, stored, &event);
        Some(event)
    }

    /// What the row says that the bytes do not.
    fn row(&self, event: &Event, facts: &EventFacts, named: &Named) -> Option<&'static str> {
        // The membership of somebody invited from outside is kept without its place.
        let unplaced = facts.fate == Fate::Outlier && facts.state_key_nid.is_none();
        let place = named
            .state_key
            .as_deref()
            .map(|state_key| (named.kind.as_deref().unwrap_or_default(), state_key));
        let stated = event
            .state_key()
            .map(|state_key| (event.kind().as_bytes(), state_key.as_bytes()));
        if event.room_id().as_str() != self.room.room_id {
            Some("puts it into this room")
        } else if named.sender.as_deref() != Some(event.sender().as_str()) {
            Some("names another sender")
        } else if place != stated && !unplaced {
            Some("has another type and state key")
        } else if named.origin_server_ts != event.origin_server_ts() {
            Some("has another origin_server_ts")
        } else {
            None
        }
    }

    fn signed(&self, pass: &mut Pass, stored: &StoredEvent, event: &Event) {
        let rules = self.room.rules;
        let altered = UnverifiedPdu::parse(rules, &stored.json).is_ok_and(|it| it.was_redacted());
        let bare = || {
            event
                .redacted(rules)
                .is_ok_and(|bare| bare.json() == event.json())
        };
        // What came without the content that its hash covers was kept as redacted.
        if altered && !bare() {
            pass.findings.add(&HASH, &stored.event_id);
        }
        let Some(own) = self.own_key else { return };
        if event.sender().server_name().as_str() != self.server_name {
            return;
        }
        let signed = EventJson::parse(&stored.json, rules.canonical_json).is_ok_and(|json| {
            let signature = json
                .fields()
                .get("signatures")
                .and_then(|it| it.as_object()?.get(&self.server_name)?.as_object())
                .and_then(|ours| ours.get(&own.id)?.as_str());
            let payload = signing_payload(&rules.redaction, &json);
            signature.is_some_and(|signature| own.key.verifies(&payload, signature))
        });
        if !signed {
            pass.findings.add(&SIGNATURE, &stored.event_id);
        }
    }

    fn edges(&self, pass: &mut Pass, nid: i64, facts: &EventFacts, event: &Event) {
        let no_gaps = BTreeSet::new();
        let stored = |edges: &BTreeMap<i64, Vec<i64>>| -> BTreeSet<i64> {
            edges.get(&nid).into_iter().flatten().copied().collect()
        };
        let gaps = self.room.gaps.get(&nid).unwrap_or(&no_gaps);
        let prev = self.nids_of(event.prev_events(), gaps);
        if facts.snapshot_nid.is_some() && prev != Some(stored(&self.room.prev)) {
            pass.findings.add(&PREV, &facts.event_id);
        }
        let auth = stored(&self.room.auth);
        let named = self.nids_of(event.auth_events(), &no_gaps);
        // A rejected one may name events of other rooms; a membership from outside has no edges.
        let excused =
            facts.fate == Fate::Rejected || (facts.fate == Fate::Outlier && auth.is_empty());
        if !excused && named != Some(auth) {
            pass.findings.add(&AUTH, &facts.event_id);
        }
    }

    /// The local ids of events of the room, without those in gaps; none where one is not here.
    fn nids_of(&self, ids: References<'_>, gaps: &BTreeSet<String>) -> Option<BTreeSet<i64>> {
        ids.iter()
            .map(|id| id.as_str())
            .filter(|id| !gaps.contains(*id))
            .map(|id| self.nids.get(id).copied())
            .collect()
    }

    fn redacted(&self, pass: &mut Pass, stored: &StoredEvent, event: &Event) {
        if stored.redacted_by.is_some() {
            let bare = event.redacted(self.room.rules);
            if bare.is_ok_and(|bare| bare.json() != event.json()) {
                pass.findings.add(&NOT_REDACTED, &stored.event_id);
            }
            if !self.applied.contains(&stored.event_id) {
                pass.findings.add(&REDACTED_BY, &stored.event_id);
            }
        } else if self.applied.contains(&stored.event_id) {
            pass.findings.add(&REDACTION_LOST, &stored.event_id);
        }
        let accepted = stored.fate == Fate::Accepted && stored.snapshot_nid.is_some();
        if let Some(target) = event.redacts().filter(|_| accepted) {
            let recorded = self.redactions.get(&stored.event_nid);
            if recorded.is_none_or(|it| it.as_str() != target.as_str()) {
                pass.findings.add(&REDACTION_UNKNOWN, &stored.event_id);
            }
        }
    }
}
