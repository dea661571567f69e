//! What was acknowledged: it must be there for ever after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};

/// An event whose sender was told that it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) host: usize,
    pub(crate) room: OwnedRoomId,
    pub(crate) event: OwnedEventId,
}

/// A membership that its sender was told is set.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) host: usize,
    pub(crate) room: OwnedRoomId,
    pub(crate) target: OwnedUserId,
    pub(crate) membership: &'static str,
}

#[derive(Debug, Default)]
struct Inner {
    sent: Vec<Sent>,
    members: Vec<Member>,
    rooms: Vec<(usize, OwnedRoomId)>,
    /// Messages to devices that were acknowledged, by recipient.
    to_device: BTreeMap<OwnedUserId, BTreeSet<String>>,
    refused: BTreeMap<String, u64>,
}

/// What was acknowledged to whom.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Inner>);

impl Ledger {
    pub(crate) fn sent(&self, sent: Sent) {
        self.0.lock().unwrap().sent.push(sent);
    }

    pub(crate) fn all_sent(&self) -> Vec<Sent> {
        self.0.lock().unwrap().sent.clone()
    }

    pub(crate) fn set(&self, member: Member) {
        self.0.lock().unwrap().members.push(member);
    }

    pub(crate) fn all_members(&self) -> Vec<Member> {
        self.0.lock().unwrap().members.clone()
    }

    pub(crate) fn created(&self, host: usize, room: OwnedRoomId) {
        self.0.lock().unwrap().rooms.push((host, room));
    }

    pub(crate) fn rooms(&self) -> Vec<(usize, OwnedRoomId)> {
        self.0.lock().unwrap().rooms.clone()
    }

    pub(crate) fn told_device(&self, recipient: &OwnedUserId, message: String) {
        let mut inner = self.0.lock().unwrap();
        let told = inner.to_device.entry(recipient.clone()).or_default();
        told.insert(message);
    }

    pub(crate) fn told_to(&self, recipient: &OwnedUserId) -> BTreeSet<String> {
        let inner = self.0.lock().unwrap();
        inner.to_device.get(recipient).cloned().unwrap_or_default()
    }

    pub(crate) fn refused(&self, why: String) {
        *self.0.lock().unwrap().refused.entry(why).or_default() += 1;
    }

    pub(crate) fn refusals(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().refused.clone()
    }
}
