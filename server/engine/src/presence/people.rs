//! People and what is known of their presence.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hearth_types::ruma::UserId;
use serde::{Deserialize, Serialize};

use super::{GRACE_MS, Shown};

/// People who are remembered.
const PEOPLE_MAX: usize = 20_000;

/// Who has done nothing for so long is idle.
const IDLE_MS: i64 = 5 * 60_000;

/// How long what another server said holds.
const REMOTE_MS: i64 = 30 * 60_000;

/// Devices of a person that are connected at a time; who comes later takes the place of who leaves first.
const DEVICES_MAX: usize = 16;

/// What stands for all devices of a person of another server.
const ELSEWHERE: &str = "";

/// A person's presence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// They are there.
    Online,
    /// They are connected and do nothing.
    Unavailable,
    /// They are not there, or do not want to be seen.
    #[default]
    Offline,
}

/// A device that is connected.
#[derive(Debug)]
struct Connected {
    device_id: Box<str>,
    /// Whether it is used.
    is_online: bool,
    until_ms: i64,
}

/// What is known of a person.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) user_id: Arc<str>,
    connected: Vec<Connected>,
    /// They said that they are away, and did nothing since.
    is_away: bool,
    last_active_ms: Option<i64>,
    pub(super) status_msg: Option<Arc<str>>,
    /// Of a remote person: our own people who share a room with them.
    pub(super) audience: Option<Arc<BTreeSet<i64>>>,
    audience_at_ms: i64,
    /// What was told, and the moment of that.
    told: (Status, Option<Arc<str>>),
    pub(super) changed: i64,
    is_remote: bool,
}

impl Person {
    fn new(user_id: &UserId, is_ours: bool) -> Self {
        Self {
            user_id: user_id.as_str().into(),
            connected: Vec::new(),
            is_away: false,
            last_active_ms: None,
            status_msg: None,
            audience: None,
            audience_at_ms: 0,
            told: (Status::Offline, None),
            changed: 0,
            is_remote: !is_ours,
        }
    }

    /// They say on a device how it is with them.
    pub(super) fn sets(&mut self, device_id: &str, status: Status, now_ms: i64) {
        let until_ms = now_ms.saturating_add(GRACE_MS);
        match status {
            Status::Online => {
                self.connects(device_id, Some(true), (now_ms, until_ms));
                self.acts(now_ms);
            }
            Status::Unavailable => {
                self.connects(device_id, None, (now_ms, until_ms));
                self.is_away = true;
            }
            Status::Offline => self.connected.clear(),
        }
    }

    /// A device of theirs asks for news until a time, and says whether it is used.
    pub(super) fn polls(&mut self, device_id: &str, status: Status, now_ms: i64, until_ms: i64) {
        let until_ms = until_ms.saturating_add(GRACE_MS);
        let came = !self.is_online(now_ms);
        match status {
            Status::Online => {
                self.connects(device_id, Some(true), (now_ms, until_ms));
                if came {
                    self.acts(now_ms);
                }
            }
            Status::Unavailable => self.connects(device_id, Some(false), (now_ms, until_ms)),
            Status::Offline => {}
        }
    }

    /// A device is connected until a time; where it does not say whether it is used, that stays as it was.
    fn connects(&mut self, device_id: &str, used: Option<bool>, (now_ms, until_ms): (i64, i64)) {
        self.connected.retain(|it| it.until_ms > now_ms);
        let known = self.connected.iter_mut();
        if let Some(device) = known.into_iter().find(|it| &*it.device_id == device_id) {
            device.is_online = used.unwrap_or(device.is_online);
            device.until_ms = device.until_ms.max(until_ms);
            return;
        }
        if self.connected.len() >= DEVICES_MAX {
            self.connected.sort_unstable_by_key(|it| it.until_ms);
            self.connected.remove(0);
        }
        self.connected.push(Connected {
            device_id: device_id.into(),
            is_online: used.unwrap_or(false),
            until_ms,
        });
    }

    fn is_online(&self, now_ms: i64) -> bool {
        let mut connected = self.connected.iter();
        connected.any(|it| it.is_online && it.until_ms > now_ms)
    }

    /// They do something.
    pub(super) fn acts(&mut self, now_ms: i64) {
        self.is_away = false;
        self.last_active_ms = Some(now_ms);
    }

    /// Another server says how it is with them.
    pub(super) fn is_said(&mut self, status: Status, active_ms: Option<i64>, now_ms: i64) {
        let until_ms = now_ms.saturating_add(REMOTE_MS);
        self.connected.clear();
        if status != Status::Offline {
            let used = status == Status::Online;
            self.connects(ELSEWHERE, Some(used), (now_ms, until_ms));
        }
        self.last_active_ms = active_ms;
    }

    /// Who of ours shares a room with them, if that was found out after a time.
    pub(super) fn audience_since(&self, after_ms: i64) -> Option<Arc<BTreeSet<i64>>> {
        let audience = self.audience.as_ref();
        let fresh = audience.filter(|_| self.audience_at_ms > after_ms);
        fresh.map(Arc::clone)
    }

    /// These of ours share a room with them.
    pub(super) fn is_heard_by(&mut self, audience: Arc<BTreeSet<i64>>, now_ms: i64) {
        if self
            .audience
            .as_ref()
            .is_none_or(|known| !Arc::ptr_eq(known, &audience))
        {
            self.audience_at_ms = now_ms;
            self.audience = Some(audience);
        }
    }

    fn status(&self, now_ms: i64) -> Status {
        let is_online = self.is_online(now_ms);
        let is_there = self.connected.iter().any(|it| it.until_ms > now_ms);
        let acted = self
            .last_active_ms
            .is_some_and(|at_ms| now_ms - at_ms < IDLE_MS);
        match is_there {
            false => Status::Offline,
            true if is_online && !self.is_away && (acted || self.is_remote) => Status::Online,
            true => Status::Unavailable,
        }
    }

    /// What others may know of them.
    pub(super) fn shown(&self, now_ms: i64) -> Shown {
        let presence = self.status(now_ms);
        Shown {
            presence,
            last_active_ago: self.last_active_ms.map(|at_ms| (now_ms - at_ms).max(0)),
            // Who is online has done something lately: that is what it means here.
            currently_active: (presence == Status::Online).then_some(true),
            status_msg: self.status_msg.as_deref().map(str::to_owned),
        }
    }

    /// Whether there is anything to tell somebody who knows nothing yet.
    pub(super) fn is_worth_telling(&self) -> bool {
        self.told != (Status::Offline, None)
    }
}

/// Everybody.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) people: HashMap<i64, Person>,
    /// Whose presence changed when.
    pub(super) by_moment: BTreeMap<i64, i64>,
    /// Whether a task ticks.
    pub(super) is_tended: bool,
}

impl State {
    /// A person; none where too many are online to remember one more.
    pub(super) fn person(
        &mut self,
        nid: i64,
        user_id: &UserId,
        is_ours: bool,
    ) -> Option<&mut Person> {
        if !self.people.contains_key(&nid) && self.people.len() >= PEOPLE_MAX {
            self.forget_one()?;
        }
        let person = self.people.entry(nid);
        Some(person.or_insert_with(|| Person::new(user_id, is_ours)))
    }

    /// Forgets who has been offline the longest.
    fn forget_one(&mut self) -> Option<()> {
        let is_gone = |nid: &i64| {
            let person = self.people.get(nid);
            person.is_none_or(|person| person.told.0 == Status::Offline)
        };
        let (&moment, &nid) = self.by_moment.iter().find(|(_, nid)| is_gone(nid))?;
        self.by_moment.remove(&moment);
        self.people.remove(&nid);
        Some(())
    }

    /// Whether somebody has to tick from now on.
    pub(super) fn take_up(&mut self) -> bool {
        !std::mem::replace(&mut self.is_tended, true)
    }

    /// Takes over what changed since the last step, and gives each change a moment.
    pub(super) fn step(&mut self, now_ms: i64, moment: impl Fn() -> i64) -> Vec<i64> {
        let mut changed = Vec::new();
        let mut anybody = false;
        for (&nid, person) in &mut self.people {
            let status = person.status(now_ms);
            anybody |= status != Status::Offline;
            if person.told.0 == status && person.told.1 == person.status_msg {
                continue;
            }
            person.told = (status, person.status_msg.clone());
            self.by_moment.remove(&person.changed);
            person.changed = moment();
            self.by_moment.insert(person.changed, nid);
            changed.push(nid);
        }
        self.is_tended = anybody;
        changed
    }
}

#[cfg(test)]
mod tests {
    use hearth_types::ruma::user_id;

    use super::*;

    const PHONE: &str = "PHONE";
    const LAPTOP: &str = "LAPTOP";

    fn somebody() -> Person {
        Person::new(user_id!("@alice:one.test"), true)
    }

    #[test]
    fn what_a_device_says_takes_the_place_of_what_it_said() {
        let mut alice = somebody();
        alice.sets(PHONE, Status::Online, 0);
        assert_eq!(alice.status(1), Status::Online);
        alice.polls(PHONE, Status::Unavailable, 1, 1);
        assert_eq!(alice.status(2), Status::Unavailable);
        alice.polls(PHONE, Status::Online, 2, 2);
        assert_eq!(alice.status(3), Status::Online);
    }

    #[test]
    fn one_device_that_is_used_is_enough() {
        let mut alice = somebody();
        alice.polls(LAPTOP, Status::Online, 0, 0);
        alice.polls(PHONE, Status::Unavailable, 0, 0);
        assert_eq!(alice.status(GRACE_MS - 1), Status::Online);
        alice.polls(PHONE, Status::Unavailable, GRACE_MS, GRACE_MS);
        assert_eq!(alice.status(GRACE_MS + 1), Status::Unavailable);
        assert_eq!(alice.status(3 * GRACE_MS), Status::Offline);
    }

    #[test]
    fn who_said_that_they_are_away_stays_so_while_their_device_polls() {
        let mut alice = somebody();
        alice.polls(PHONE, Status::Online, 0, 0);
        alice.sets(PHONE, Status::Unavailable, 1);
        alice.polls(PHONE, Status::Online, 2, 2);
        assert_eq!(alice.status(3), Status::Unavailable);
        alice.acts(3);
        assert_eq!(alice.status(4), Status::Online);
    }

    #[test]
    fn connected_devices_are_bounded() {
        let mut alice = somebody();
        for device in 0..i64::try_from(3 * DEVICES_MAX).unwrap() {
            alice.polls(&format!("D{device}"), Status::Online, 0, device);
        }
        assert_eq!(alice.connected.len(), DEVICES_MAX);
        assert_eq!(alice.status(GRACE_MS + 40), Status::Online);
        alice.sets(PHONE, Status::Offline, 1);
        assert_eq!(alice.status(2), Status::Offline);
    }
}
