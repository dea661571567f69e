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

/// What is known of a person.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) user_id: Arc<str>,
    /// Until when they are connected with a client that is used, and with one that is not.
    online_until_ms: i64,
    idle_until_ms: i64,
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
            online_until_ms: 0,
            idle_until_ms: 0,
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

    /// They say how it is with them.
    pub(super) fn sets(&mut self, status: Status, now_ms: i64) {
        let until_ms = now_ms.saturating_add(GRACE_MS);
        match status {
            Status::Online => {
                self.online_until_ms = self.online_until_ms.max(until_ms);
                self.acts(now_ms);
            }
            Status::Unavailable => {
                self.idle_until_ms = self.idle_until_ms.max(until_ms);
                self.is_away = true;
            }
            Status::Offline => (self.online_until_ms, self.idle_until_ms) = (0, 0),
        }
    }

    /// A client of theirs asks for news until a time.
    pub(super) fn polls(&mut self, status: Status, now_ms: i64, until_ms: i64) {
        let came = self.online_until_ms <= now_ms;
        let until_ms = until_ms.saturating_add(GRACE_MS);
        match status {
            Status::Online => {
                self.online_until_ms = self.online_until_ms.max(until_ms);
                if came {
                    self.acts(now_ms);
                }
            }
            Status::Unavailable => self.idle_until_ms = self.idle_until_ms.max(until_ms),
            Status::Offline => {}
        }
    }

    /// They do something.
    pub(super) fn acts(&mut self, now_ms: i64) {
        self.is_away = false;
        self.last_active_ms = Some(now_ms);
    }

    /// Another server says how it is with them.
    pub(super) fn is_said(&mut self, status: Status, active_ms: Option<i64>, now_ms: i64) {
        let until_ms = now_ms.saturating_add(REMOTE_MS);
        (self.online_until_ms, self.idle_until_ms) = match status {
            Status::Online => (until_ms, 0),
            Status::Unavailable => (0, until_ms),
            Status::Offline => (0, 0),
        };
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
        let is_online = self.online_until_ms > now_ms;
        let acted = self
            .last_active_ms
            .is_some_and(|at_ms| now_ms - at_ms < IDLE_MS);
        match is_online || self.idle_until_ms > now_ms {
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
