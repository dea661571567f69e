//! What a plan changes in memory: held while its commit is on its way, made visible when it is
//! stored, forgotten when it failed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hearth_storage::{Receipt, Slot};

use crate::rooms::known::Known;
use crate::rooms::plan::Effects;
use crate::rooms::view::{Room, Shown};
use crate::rooms::{Rooms, client_event};

impl Rooms {
    /// Remembers what a plan made, for the plans that build on it before it is committed.
    pub(super) fn remember(&self, effects: &Effects) {
        for known in effects.added.iter().chain(&effects.redacted) {
            self.known.planned(known.clone());
        }
        for snapshot in &effects.snapshots {
            self.snapshots.remember(snapshot);
        }
        for (room_nid, txn, known) in &effects.sent {
            let event_id = known.event.event_id().to_owned();
            self.sent().insert((*room_nid, txn.clone()), event_id);
        }
    }

    /// Forgets what a plan made that did not come to pass.
    pub(super) fn forget(&self, effects: &Effects) {
        for known in effects.added.iter().chain(&effects.redacted) {
            self.known.failed(known);
        }
        for snapshot in &effects.snapshots {
            self.snapshots.forget(snapshot.nid);
        }
        for (room_nid, txn, _) in &effects.sent {
            self.sent().remove(&(*room_nid, txn.clone()));
        }
    }

    /// Makes a flushed commit visible: first the caches, then (by dropping the receipt) the head of
    /// the log, then those who wait are woken.
    pub(super) fn publish(&self, room: &Room, effects: &Effects, receipt: Receipt) {
        let mut concerned;
        self.typing.ends_with(room.nid, effects);
        {
            let mut live = room.live_mut();
            let of_ours = || effects.memberships.iter().filter(|change| change.local);
            for change in &effects.memberships {
                live.position = live.position.max(receipt.at(change.slot));
            }
            for change in of_ours() {
                live.take_membership(change);
                let position = receipt.at(change.slot);
                self.people.changed(room.nid, change, position);
            }
            concerned = Concerned::of(&live.local_members);
            of_ours().for_each(|change| concerned.add(change.user_nid));
            if let Some(last) = effects.slots.checked_sub(1).filter(|last| *last >= 0) {
                live.position = live.position.max(receipt.at(Slot(last)));
            }
            let positions: HashMap<i64, i64> = effects
                .shown
                .iter()
                .map(|(slot, known, _)| (known.nid, receipt.at(*slot)))
                .collect();
            for known in &effects.added {
                self.known.landed(Known {
                    live_position: positions.get(&known.nid).copied(),
                    ..known.clone()
                });
            }
            for (slot, known, current) in &effects.shown {
                let position = receipt.at(*slot);
                let known = Known {
                    live_position: Some(position),
                    ..known.clone()
                };
                live.show(Shown {
                    position,
                    json: client_event::open(&known.event),
                    known,
                    current: Some(current.clone()),
                });
            }
            for target in &effects.related {
                live.relate(target);
                self.known.relate(target);
            }
            for known in &effects.redacted {
                // The commit that showed it may have been on its way when this one was planned.
                let since = || live.position_of(known.nid).or(known.live_position);
                let known = Known {
                    live_position: positions.get(&known.nid).copied().or_else(since),
                    ..known.clone()
                };
                live.replace(&known, &client_event::open(&known.event));
                self.known.landed(known);
            }
            for snapshot in &effects.snapshots {
                self.snapshots.landed(snapshot.nid);
            }
            for (room_nid, txn, _) in &effects.sent {
                self.sent().remove(&(*room_nid, txn.clone()));
            }
            if let Some(view) = &effects.leaves {
                if !view.current.map.is_same(&live.current.map) {
                    self.facts.changed(room.nid);
                }
                live.leave_at(view);
            }
            self.positions.changed(room.nid, live.position);
        }
        self.publish_counts(room.nid, &effects.counting, &receipt);
        drop(receipt);
        if effects.guest_access {
            self.guest_access.changed(room.nid);
        }
        match effects.memberships.is_empty() {
            true => self.ctx.notifier.wake_for_room(concerned.iter()),
            // Who comes or goes changes also whose devices a person follows.
            false => self.ctx.notifier.wake(concerned.iter()),
        }
    }
}

/// Our own people whom a commit concerns: those of the room, and whose membership it changed.
struct Concerned {
    of_room: Arc<BTreeSet<i64>>,
    others: Vec<i64>,
}

impl Concerned {
    fn of(members: &Arc<BTreeSet<i64>>) -> Self {
        Self {
            of_room: Arc::clone(members),
            others: Vec::new(),
        }
    }

    fn add(&mut self, user_nid: i64) {
        if !self.of_room.contains(&user_nid) {
            self.others.push(user_nid);
        }
    }

    fn iter(&self) -> impl Iterator<Item = i64> {
        self.of_room.iter().chain(&self.others).copied()
    }
}
