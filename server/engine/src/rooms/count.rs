//! What a planned event counts for: fixed in the same commit as the event itself.
//!
//! Most people are of a class: what an event counts for them is one row, however many they are. A row of
//! their own is for those alone for whom it counts otherwise.
//!
//! spec: client-server v1.19 §Receiving notifications, §Marking notifications as read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::event::{Event, Membership};
use hearth_protocol::push_rules::{ByClass, Class, PushEvent, PushRoom, PushRules, Reader};
use hearth_protocol::visibility::{Around, HistoryVisibility, may_see};
use hearth_storage::tables::counts::{
    CountedRow, CountedTrim, OtherwiseRow, PushClassRow, ReadChange, ReadMarkRow, Uncounted, UpTo,
};
use hearth_storage::tables::state as state_rows;
use hearth_storage::{Receipt, Slot, StorageError};
use hearth_types::ruma::{OwnedUserId, UserId};

use crate::push::audience::{Audience, Concerned};
use crate::push::classes::Classes;
use crate::push::counts::{Change, MAIN};
use crate::push::rules::PersonRules;
use crate::push::stored::{stored_by_class, stored_class, stored_outcome};
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::plan::Plan;
use crate::rooms::view::Room;
use crate::state::StateMap;

/// A room is looked at for too many counted events when it counts one with an id of which this is a
/// divisor.
const TRIMMED_EVERY: i64 = 256;

/// What a plan changes of what people have not read.
#[derive(Debug, Default)]
pub struct Counting {
    /// The changes, each with its position.
    changes: Vec<(Slot, Change)>,
    /// Whether somebody came whose rules are their own, so that all has to be read again.
    reread: bool,
}

/// How an event counts for those who are judged together.
struct Together {
    by_class: ByClass,
    outcomes: BTreeMap<i64, Class>,
    /// Who is to be judged alone.
    alone: BTreeSet<i64>,
    /// Whom it names, who may have to be judged alone.
    named: BTreeSet<String>,
}

/// Somebody for whom an event is judged alone.
struct OneReader {
    user_nid: i64,
    user_id: OwnedUserId,
    /// Their own rules; none where they have the defaults.
    rules: Option<Arc<PersonRules>>,
    display_name: Option<String>,
}

impl Plan<'_> {
    /// Whom the room's events concern, as rules are now. Before anything is planned on a view that has
    /// nobody yet.
    pub(super) async fn hear(&mut self) -> Result<(), RoomError> {
        let rules = &self.rooms.ctx.push.rules;
        let Some(audience) = &self.view.audience else {
            self.view.audience = Some(Arc::new(self.rooms.audience(self.room).await?));
            return Ok(());
        };
        let now = rules.epoch();
        if audience.as_of == now {
            return Ok(());
        }
        let Some(changed) = rules.since(audience.as_of) else {
            let mut anew = self.rooms.audience(self.room).await?;
            // What is on its way is in the view, and not yet among what is stored.
            (anew.joined, anew.elsewhere) = (audience.joined, audience.elsewhere);
            self.view.audience = Some(Arc::new(anew));
            return Ok(());
        };
        let mut audience = Audience::clone(audience);
        audience.as_of = now;
        let members = Arc::clone(&self.room.live().local_members);
        for user_nid in changed {
            if !members.contains(&user_nid) && !audience.has(user_nid) {
                continue;
            }
            let user_id = self.rooms.ctx.storage.user_id(user_nid).await?;
            match OwnedUserId::try_from(&*user_id) {
                Ok(user_id) if self.is_in(&user_id).await? => {
                    let own = rules.of(&[user_nid]).await?;
                    audience.take(&self.room.id, user_nid, &own);
                }
                _ => audience.drop_member(user_nid),
            }
        }
        self.view.audience = Some(Arc::new(audience));
        Ok(())
    }

    /// Plans what a live event counts for; `after` is the state after it.
    pub(super) async fn count(
        &mut self,
        known: &Known,
        (slot, after): (Slot, &StateMap),
        is_new: bool,
    ) -> Result<(), RoomError> {
        if known.redacted_by.is_some() {
            return Ok(());
        }
        let sender_nid = self.user_nid(known.event.sender()).await?;
        let (by_class, mut otherwise) = self.judged(known, sender_nid).await?;
        if !is_new {
            self.hide(after, (by_class, &mut otherwise)).await?;
        }
        let counts = by_class != SILENT || !otherwise.is_empty();
        let is_ours = self.is_ours(known.event.sender().as_str());
        // A name that changes is told to every room, and is no sign of having read it.
        let speaks = is_ours && known.event.kind() != "m.room.member";
        if !counts && !speaks {
            return Ok(());
        }
        let place = self.thread_of(known).await?;
        let thread: Arc<str> = match &place.root {
            Some(root) => root.as_str().into(),
            None => MAIN.into(),
        };
        if counts {
            self.push_counted(known, (slot, sender_nid, &thread), by_class);
            self.push_otherwise(known, (slot, &thread), (by_class, otherwise));
        }
        match speaks {
            true => self.read_by_speaking(sender_nid, thread, slot),
            false => self.view.caught_up = None,
        }
        Ok(())
    }

    /// Who speaks has read what was said before. Nothing is written where nobody else spoke since they
    /// spoke last.
    fn read_by_speaking(&mut self, user_nid: i64, thread: Arc<str>, slot: Slot) {
        let caught_up = Some((user_nid, thread));
        if self.view.caught_up != caught_up {
            if let Some((_, thread)) = &caught_up {
                self.push_read(user_nid, thread, slot);
            }
            self.view.caught_up = caught_up;
        }
    }

    /// Takes an event out of everybody's counts.
    ///
    /// The specification does not say whether an event counts that was redacted. There is nothing left
    /// of it to be read, so it does not.
    pub(super) fn uncount(&mut self, event_nid: i64) {
        let room_nid = self.room.nid;
        let rows = &mut self.commit.rows;
        rows.uncounted.push(Uncounted {
            room_nid,
            event_nid,
        });
        let change = Change::Uncounted { event_nid };
        self.effects.counting.changes.push((Slot(0), change));
    }

    /// Takes note that somebody came or went: `was` and `is` say whether they are joined.
    pub(super) async fn count_member(
        &mut self,
        (user_nid, local): (i64, bool),
        (was, is): (bool, bool),
        slot: Slot,
    ) -> Result<(), RoomError> {
        if was == is {
            return Ok(());
        }
        let mut audience = Audience::clone(&self.audience());
        let changed = |count: u64| match is {
            true => count + 1,
            false => count.saturating_sub(1),
        };
        audience.joined = changed(audience.joined);
        if !local {
            audience.elsewhere = changed(audience.elsewhere);
        }
        if local && is {
            let rules = &self.rooms.ctx.push.rules;
            let epoch = rules.epoch();
            let own = rules.of(&[user_nid]).await?;
            if self.view.audience.is_none() {
                audience.as_of = epoch;
            }
            if let Some(rules) = own.rules.get(&user_nid) {
                self.effects.counting.reread = true;
                self.classify(rules, user_nid, slot);
            }
            audience.take(&self.room.id, user_nid, &own);
            self.push_read(user_nid, &"".into(), slot);
        } else if local {
            audience.drop_member(user_nid);
            self.commit.rows.read_marks.push(ReadMarkRow {
                room_nid: self.room.nid,
                user_nid,
                change: ReadChange::Left(slot),
            });
            let change = Change::Left { user_nid };
            self.effects.counting.changes.push((slot, change));
        }
        self.view.audience = Some(Arc::new(audience));
        Ok(())
    }

    /// Records the class that somebody comes with, where it is not the one that they have everywhere:
    /// when they made the rule that says so, the room may not have been known here.
    fn classify(&mut self, rules: &PersonRules, user_nid: i64, slot: Slot) {
        let of_rooms = Classes::new(&rules.set, &rules.user_id);
        if let Some(class) = of_rooms.of(&self.room.id) {
            self.commit.rows.push_classes.push(PushClassRow {
                user_nid,
                room_nid: self.room.nid,
                slot,
                class: stored_class(Some(class)),
            });
        }
    }

    fn push_read(&mut self, user_nid: i64, thread: &Arc<str>, slot: Slot) {
        self.commit.rows.read_marks.push(ReadMarkRow {
            room_nid: self.room.nid,
            user_nid,
            change: ReadChange::Read {
                thread: thread.to_string(),
                up_to: UpTo::Slot(slot),
            },
        });
        let change = Change::Read {
            user_nid,
            thread: Arc::clone(thread),
            up_to: 0,
        };
        self.effects.counting.changes.push((slot, change));
    }

    fn push_counted(
        &mut self,
        known: &Known,
        (slot, sender_nid, thread): (Slot, i64, &Arc<str>),
        by_class: ByClass,
    ) {
        if by_class == SILENT {
            return;
        }
        let room_nid = self.room.nid;
        let rows = &mut self.commit.rows;
        rows.counted.push(CountedRow {
            room_nid,
            event_nid: known.nid,
            slot,
            sender_nid,
            thread: thread.to_string(),
            by_class: stored_by_class(by_class),
        });
        if known.nid % TRIMMED_EVERY == 0 {
            rows.counted_trims.push(CountedTrim { room_nid });
        }
        let change = Change::Counted {
            position: 0,
            event_nid: known.nid,
            sender_nid,
            thread: Arc::clone(thread),
            by_class,
        };
        self.effects.counting.changes.push((slot, change));
    }

    fn push_otherwise(
        &mut self,
        known: &Known,
        (slot, thread): (Slot, &Arc<str>),
        (by_class, otherwise): (ByClass, BTreeMap<i64, Class>),
    ) {
        for (user_nid, outcome) in otherwise {
            self.commit.rows.counted_otherwise.push(OtherwiseRow {
                room_nid: self.room.nid,
                user_nid,
                event_nid: known.nid,
                slot,
                thread: thread.to_string(),
                by_class: stored_by_class(by_class),
                outcome: stored_outcome(outcome),
            });
            let change = Change::Otherwise {
                position: 0,
                event_nid: known.nid,
                user_nid,
                thread: Arc::clone(thread),
                by_class,
                outcome,
            };
            self.effects.counting.changes.push((slot, change));
        }
    }

    /// What an event counts for by class, and for whom it counts otherwise.
    async fn judged(
        &self,
        known: &Known,
        sender_nid: i64,
    ) -> Result<(ByClass, BTreeMap<i64, Class>), RoomError> {
        let audience = self.audience();
        // Only who mentions everybody needs the power to do so.
        let asks = known.event.content().contains("m.mentions");
        let power = match asks || audience.has_own_rules() {
            true => self.power().await?,
            false => None,
        };
        let room = PushRoom {
            member_count: audience.joined,
            power: power.as_ref(),
        };
        let together = self.judged_together(known, room, &audience)?;
        let (by_class, mut alone) = (together.by_class, together.alone);
        for name in together.named {
            alone.extend(self.joined_of_ours(&name, &audience).await?);
        }
        alone.remove(&sender_nid);
        let mut outcomes = together.outcomes;
        if !alone.is_empty() {
            let readers = self.readers(&alone, &audience).await?;
            outcomes.extend(self.judged_alone(known, room, &readers)?);
        }
        let ignoring = audience.ignoring(known.event.sender());
        outcomes.extend(ignoring.map(|user_nid| (user_nid, Class::Silent)));
        outcomes.remove(&sender_nid);
        outcomes.retain(|nid, outcome| by_class.outcome(audience.class_of(*nid)) != *outcome);
        Ok((by_class, outcomes))
    }

    /// Judges an event for all who share rules.
    fn judged_together(
        &self,
        known: &Known,
        room: PushRoom<'_>,
        audience: &Audience,
    ) -> Result<Together, RoomError> {
        let event = self.prepared(known)?;
        let by_class = ByClass::of(&event, room);
        let Concerned { outcomes, alone } = audience.concerned(&event, room, by_class);
        Ok(Together {
            by_class,
            outcomes,
            alone,
            named: event.named().map(str::to_owned).collect(),
        })
    }

    /// Judges an event for people one by one, by all of their rules.
    fn judged_alone(
        &self,
        known: &Known,
        room: PushRoom<'_>,
        readers: &[OneReader],
    ) -> Result<Vec<(i64, Class)>, RoomError> {
        let event = self.prepared(known)?;
        let defaults = PushRules::server_default();
        let judge = |one: &OneReader| {
            let reader = Reader {
                user_id: &one.user_id,
                display_name: one.display_name.as_deref(),
            };
            let rules = one.rules.as_ref().map_or(&*defaults, |own| &own.rules);
            let outcome = rules.evaluate(&event, room, reader);
            let class = outcome.map_or(Class::Silent, |outcome| outcome.class());
            (one.user_nid, class)
        };
        Ok(readers.iter().map(judge).collect())
    }

    fn prepared<'k>(&self, known: &'k Known) -> Result<PushEvent<'k>, StorageError> {
        let event = PushEvent::new(self.room.rules, &known.event);
        event.map_err(|error| StorageError::Corrupt {
            what: "event",
            why: error.to_string(),
        })
    }

    async fn readers(
        &self,
        people: &BTreeSet<i64>,
        audience: &Audience,
    ) -> Result<Vec<OneReader>, RoomError> {
        let mut readers = Vec::with_capacity(people.len());
        for user_nid in people.iter().copied() {
            let user_id = self.rooms.ctx.storage.user_id(user_nid).await?;
            let Ok(user_id) = OwnedUserId::try_from(&*user_id) else {
                continue;
            };
            let rules = audience.rules_of(user_nid).cloned();
            // No default asks for it.
            let display_name = match rules {
                Some(_) => self.display_name(&user_id).await?,
                None => None,
            };
            readers.push(OneReader {
                user_nid,
                user_id,
                rules,
                display_name,
            });
        }
        Ok(readers)
    }

    /// Whether servers besides ours may have to hear of an event: those with people in the room, and
    /// the one of somebody whom it takes out.
    pub(super) fn concerns_others(&self, event: &Event) -> bool {
        let target = event.member().and(event.state_key());
        let of_others = target.is_some_and(|target| !self.is_ours(target));
        of_others || self.view.has_others()
    }

    fn audience(&self) -> Arc<Audience> {
        let audience = self.view.audience.as_ref();
        Arc::clone(audience.unwrap_or(&NOBODY))
    }

    /// Somebody of ours who is in the room, by a name that an event gives.
    async fn joined_of_ours(
        &self,
        name: &str,
        audience: &Audience,
    ) -> Result<Option<i64>, RoomError> {
        let Ok(user_id) = <&UserId>::try_from(name) else {
            return Ok(None);
        };
        if !self.is_ours(name) || name.contains('\0') {
            return Ok(None);
        }
        let Some(user_nid) = self.rooms.ctx.storage.user_find(name).await? else {
            return Ok(None);
        };
        let is_in = audience.has(user_nid) || self.is_in(user_id).await?;
        Ok(is_in.then_some(user_nid))
    }

    async fn member(&self, user_id: &UserId) -> Result<Option<Known>, RoomError> {
        let place = [("m.room.member", Cow::Borrowed(user_id.as_str()))];
        let state = self.state_events(&self.view.current, &place).await?;
        Ok(state.find("m.room.member", user_id.as_str()).cloned())
    }

    async fn is_in(&self, user_id: &UserId) -> Result<bool, RoomError> {
        let member = self.member(user_id).await?;
        Ok(member.as_ref().is_some_and(crate::rooms::read::is_joined))
    }

    async fn display_name(&self, user_id: &UserId) -> Result<Option<String>, RoomError> {
        #[derive(serde::Deserialize)]
        struct Content {
            displayname: Option<String>,
        }
        let member = self.member(user_id).await?;
        Ok(member.and_then(|member| {
            let content: Content = serde_json::from_str(member.event.content()).ok()?;
            content.displayname
        }))
    }

    /// An event on a fork counts for nobody who may not see it: who is in the room now may not have
    /// been there.
    async fn hide(
        &self,
        after: &StateMap,
        (by_class, otherwise): (ByClass, &mut BTreeMap<i64, Class>),
    ) -> Result<(), RoomError> {
        let now = &self.view.current.map;
        let changed = after.differences(now);
        if changed.is_empty() || (by_class == SILENT && otherwise.is_empty()) {
            return Ok(());
        }
        let visibility = self.visibility_in(after).await?;
        if matches!(
            visibility,
            HistoryVisibility::WorldReadable | HistoryVisibility::Shared
        ) {
            return Ok(());
        }
        let keys: Vec<i64> = changed.iter().map(|(key, ..)| *key).collect();
        let names = self.rooms.ctx.storage.state_keys(&keys).await?;
        for ((_, then, _), name) in changed.into_iter().zip(names) {
            let user = std::str::from_utf8(&name.state_key).unwrap_or_default();
            if name.kind != b"m.room.member" || !self.is_ours(user) {
                continue;
            }
            let audience = self.audience();
            let Some(user_nid) = self.joined_of_ours(user, &audience).await? else {
                continue;
            };
            let then = match then {
                Some(nid) => self.by_nid(&[nid]).await?.remove(&nid),
                None => None,
            };
            let membership = then.and_then(|then| then.event.member()?.membership);
            let membership = Around::unchanged(membership.unwrap_or(Membership::Leave));
            if !may_see(Around::unchanged(visibility), membership, true) {
                otherwise.insert(user_nid, Class::Silent);
            }
        }
        let audience = self.audience();
        otherwise.retain(|nid, outcome| by_class.outcome(audience.class_of(*nid)) != *outcome);
        Ok(())
    }

    async fn visibility_in(&self, state: &StateMap) -> Result<HistoryVisibility, RoomError> {
        #[derive(serde::Deserialize)]
        struct Content<'a> {
            history_visibility: &'a str,
        }
        let place = [state_key_row("m.room.history_visibility", "")];
        let keys = self.rooms.ctx.storage.state_keys_intern(&place).await?;
        let nids = keys.first().and_then(|key| state.get(*key));
        let nids: Vec<i64> = nids.into_iter().collect();
        let event = self.by_nid(&nids).await?.into_values().next();
        let content = event
            .as_ref()
            .and_then(|known| serde_json::from_str::<Content<'_>>(known.event.content()).ok());
        Ok(content.map_or(HistoryVisibility::default(), |content| {
            HistoryVisibility::from_name(content.history_visibility)
        }))
    }
}

/// What counts for nobody.
const SILENT: ByClass = ByClass {
    all: Class::Silent,
    mentions: Class::Silent,
};

/// The audience of a room that is being made.
static NOBODY: std::sync::LazyLock<Arc<Audience>> = std::sync::LazyLock::new(Arc::default);

impl Rooms {
    /// Whom the events of a room concern, as it is stored.
    async fn audience(&self, room: &Room) -> Result<Audience, StorageError> {
        let rules = &self.ctx.push.rules;
        let as_of = rules.epoch();
        let members: Vec<i64> = room.live().local_members.iter().copied().collect();
        let own = rules.of(&members).await?;
        let mut reader = self.ctx.storage.read().await?;
        let joined = state_rows::joined_count(reader.conn(), room.nid).await?;
        let ours = state_rows::joined_among(reader.conn(), room.nid, &members).await?;
        drop(reader);
        let elsewhere = joined - i64::try_from(ours.len()).unwrap_or(joined);
        let mut audience = Audience::new(
            as_of,
            joined.unsigned_abs(),
            elsewhere.max(0).unsigned_abs(),
        );
        let has_own = |nid: &i64| own.rules.contains_key(nid) || own.ignored.contains_key(nid);
        for user_nid in ours.into_iter().filter(has_own) {
            audience.take(&room.id, user_nid, &own);
        }
        Ok(audience)
    }

    /// Takes over what a commit changed of what people have not read.
    pub(super) fn publish_counts(&self, room_nid: i64, counting: &Counting, receipt: &Receipt) {
        let counts = &self.ctx.push.counts;
        if counting.reread {
            counts.forget(room_nid);
        }
        if !counting.changes.is_empty() {
            let changes = counting.changes.iter();
            counts.changed(
                room_nid,
                changes.map(|(slot, change)| change.clone().at(receipt.at(*slot))),
            );
        }
    }
}
