//! Who is typing in which room: in memory alone, for as long as they say so.
//!
//! spec: client-server v1.19 §Typing Notifications.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_types::ruma::{RoomId, UserId};

use crate::moments::Moments;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::ignored::Ignored;
use crate::rooms::plan::Effects;
use crate::rooms::view::Room;

/// The type of the event that says who is typing.
pub const KIND: &str = "m.typing";

/// How long somebody types who does not say how long.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// How long somebody types at most without saying so again.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// People of a room that others are told of: whoever begins when so many type, types unseen.
const TYPISTS_MAX: usize = 50;

/// Rooms that are remembered.
const ROOMS_MAX: usize = 10_000;

/// Who goes on typing is told of to other servers again after this: they end by themselves what they do
/// not hear of.
const TOLD_EVERY_MS: i64 = 25_000;

/// Ends of typing that fall together are told together.
const TENDED_EVERY: Duration = Duration::from_millis(200);

/// Who is typing where.
#[derive(Debug)]
pub struct Typing {
    moments: Arc<Moments>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rooms in which somebody types, or did.
    rooms: HashMap<i64, RoomTyping>,
    /// In how many of them somebody does.
    busy: usize,
    /// The moment of the newest change.
    newest: i64,
    /// The newest change of a room that is not remembered any more.
    forgotten: i64,
    /// Whether a task ends what nobody ends.
    is_tended: bool,
}

#[derive(Debug, Default)]
struct RoomTyping {
    people: BTreeMap<i64, Typist>,
    changed: i64,
}

#[derive(Debug)]
struct Typist {
    user_id: Arc<str>,
    until_ms: i64,
    /// When other servers were told.
    told_ms: i64,
}

/// What became of somebody's typing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Begun {
    /// They began just now.
    is_new: bool,
    /// Other servers are to be told, this time or again.
    is_told: bool,
}

/// What a client knows of who is typing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Everything up to this moment; none where it begins.
    pub(crate) since: Option<i64>,
    /// Whether it believes somebody to be typing.
    pub(crate) believes: bool,
    /// Whether it was told so by an earlier run of this process.
    pub(crate) is_foreign: bool,
}

/// What is new for a client of who is typing.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The rooms of which it is to be told.
    pub(crate) rooms: BTreeSet<i64>,
    /// Whether anybody types in a room of the reader.
    pub(crate) any: bool,
}

impl Typing {
    pub(super) fn new(moments: Arc<Moments>) -> Self {
        Self {
            moments,
            state: Mutex::default(),
        }
    }

    /// Lets somebody type from now until a time.
    fn begin(&self, room_nid: i64, user: (i64, &str), (now_ms, until_ms): (i64, i64)) -> Begun {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(typist) = state.typist(room_nid, user.0) {
            typist.until_ms = until_ms;
            let is_told = now_ms - typist.told_ms >= TOLD_EVERY_MS;
            if is_told {
                typist.told_ms = now_ms;
            }
            return Begun {
                is_new: false,
                is_told,
            };
        }
        if !state.rooms.contains_key(&room_nid) && state.rooms.len() >= ROOMS_MAX {
            state.forget();
            if state.rooms.len() >= ROOMS_MAX {
                return Begun::default();
            }
        }
        let room = state.rooms.entry(room_nid).or_default();
        if room.people.len() >= TYPISTS_MAX {
            return Begun::default();
        }
        state.busy += usize::from(room.people.is_empty());
        let typist = Typist {
            user_id: user.1.into(),
            until_ms,
            told_ms: now_ms,
        };
        room.people.insert(user.0, typist);
        room.changed = self.moments.next();
        state.newest = room.changed;
        Begun {
            is_new: true,
            is_told: true,
        }
    }

    /// Lets somebody stop. Says whether they were typing.
    fn end(&self, room_nid: i64, user_nid: i64) -> bool {
        let mut state = self.state();
        state.end(room_nid, |nid, _| nid == user_nid, || self.moments.next())
    }

    /// Lets those stop who have said what they typed, or left, by what a commit makes visible.
    pub(super) fn ends_with(&self, room_nid: i64, effects: &Effects) {
        let mut state = self.state();
        if state.busy == 0 {
            return;
        }
        let has_said = |typist: &Typist| {
            let mut shown = effects.shown.iter().map(|(_, known, _)| &known.event);
            shown.any(|it| !it.is_state() && it.sender().as_str() == &*typist.user_id)
        };
        let has_left = |user_nid: i64| {
            let mut changes = effects.memberships.iter();
            changes.any(|it| it.user_nid == user_nid && it.membership != "join")
        };
        let ends = |nid, typist: &Typist| has_said(typist) || has_left(nid);
        state.end(room_nid, ends, || self.moments.next());
    }

    /// Ends what has lasted to the end. Returns the rooms in which something ended, and when the
    /// next one ends; none where nobody types any more, and then nobody tends it any more.
    fn expire(&self, now_ms: i64) -> (Vec<i64>, Option<i64>) {
        let mut state = self.state();
        let ends = |typist: &Typist| typist.until_ms <= now_ms;
        let rooms = state.rooms.iter();
        let ended: Vec<i64> = rooms
            .filter(|(_, room)| room.people.values().any(ends))
            .map(|(nid, _)| *nid)
            .collect();
        for &nid in &ended {
            state.end(nid, |_, typist| ends(typist), || self.moments.next());
        }
        let people = state.rooms.values().flat_map(|room| room.people.values());
        let next = people.map(|typist| typist.until_ms).min();
        state.is_tended = next.is_some();
        (ended, next)
    }

    /// What is new for a client in the rooms of its reader.
    pub(crate) fn news(&self, rooms: impl Iterator<Item = i64>, known: Known) -> News {
        let mut news = News::default();
        let state = self.state();
        let lost = known.is_foreign || known.since.is_some_and(|since| since < state.forgotten);
        let doubts = known.believes && lost;
        if state.busy == 0 && !doubts && known.since.is_none_or(|since| state.newest <= since) {
            return news;
        }
        for nid in rooms {
            let room = state.rooms.get(&nid);
            let is_busy = room.is_some_and(|room| !room.people.is_empty());
            let is_new = room.is_some_and(|room| match known.since {
                Some(since) => room.changed > since,
                None => is_busy,
            });
            news.any |= is_busy;
            if is_new || doubts {
                news.rooms.insert(nid);
            }
        }
        news
    }

    /// Of rooms, with the moment of what a client was told of each, those of which it is to be told
    /// something else, with the moment of that. Moment 0 is that nobody types: where those do alone
    /// who are `ignored`, too.
    pub(crate) fn differing(
        &self,
        rooms: impl Iterator<Item = (i64, i64)>,
        ignored: &Ignored,
    ) -> Vec<(i64, i64)> {
        let state = self.state();
        let now = |nid| {
            let room = state.rooms.get(&nid);
            let busy = room.filter(|room| room.seen(ignored).next().is_some());
            busy.map_or(0, |room| room.changed)
        };
        rooms
            .map(|(nid, told)| (nid, told, now(nid)))
            .filter(|(_, told, now)| told != now)
            .map(|(nid, _, now)| (nid, now))
            .collect()
    }

    /// The `m.typing` event of a room, where anybody types in it who is not `ignored`, or `told` says
    /// that it is to be told anyway.
    pub(crate) fn event(&self, room_nid: i64, told: bool, ignored: &Ignored) -> Option<Vec<u8>> {
        let state = self.state();
        let room = state.rooms.get(&room_nid);
        let user_ids: Vec<&str> = room.into_iter().flat_map(|it| it.seen(ignored)).collect();
        if !told && user_ids.is_empty() {
            return None;
        }
        let event = serde_json::json!({ "type": KIND, "content": { "user_ids": user_ids } });
        Some(event.to_string().into_bytes())
    }

    /// Whether somebody has to tend it from now on.
    fn take_up(&self) -> bool {
        !std::mem::replace(&mut self.state().is_tended, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomTyping {
    /// Those whom somebody sees typing.
    fn seen<'t>(&'t self, ignored: &'t Ignored) -> impl Iterator<Item = &'t str> {
        let people = self.people.values().map(|typist| &*typist.user_id);
        people.filter(|user_id| !ignored.contains(user_id))
    }
}

impl State {
    fn typist(&mut self, room_nid: i64, user_nid: i64) -> Option<&mut Typist> {
        self.rooms.get_mut(&room_nid)?.people.get_mut(&user_nid)
    }

    /// Takes people out of a room, and says whether there were any of these.
    fn end(
        &mut self,
        room_nid: i64,
        ends: impl Fn(i64, &Typist) -> bool,
        moment: impl FnOnce() -> i64,
    ) -> bool {
        let Some(room) = self.rooms.get_mut(&room_nid) else {
            return false;
        };
        let before = room.people.len();
        room.people.retain(|nid, typist| !ends(*nid, typist));
        let ended = room.people.len() < before;
        if ended {
            room.changed = moment();
            self.newest = room.changed;
            self.busy -= usize::from(room.people.is_empty());
        }
        ended
    }

    /// Forgets the rooms in which nobody types.
    fn forget(&mut self) {
        let forgotten = &mut self.forgotten;
        self.rooms.retain(|_, room| {
            let stays = !room.people.is_empty();
            if !stays {
                *forgotten = room.changed.max(*forgotten);
            }
            stays
        });
    }
}

impl Rooms {
    /// Notes that one of our people types in a room for a while, or (none) stops. Says whether other
    /// servers are to be told.
    ///
    /// # Errors
    /// `Forbidden` for those who are not in the room.
    pub async fn set_typing(
        &self,
        room_id: &RoomId,
        (user_nid, user_id): (i64, &UserId),
        timeout: Option<Duration>,
    ) -> Result<bool, RoomError> {
        let room = self.room(room_id).await?;
        let memberships = self.people.of(user_nid).await?;
        let membership = memberships.get(&room.nid);
        if membership.is_none_or(|member| member.membership != "join") {
            return Err(RoomError::outside());
        }
        Ok(self.types(&room, (user_nid, user_id), timeout))
    }

    /// Notes that somebody of a room types in it for a while, or stops. Says whether other servers
    /// are to be told.
    pub(crate) fn types(
        &self,
        room: &Room,
        (user_nid, user_id): (i64, &UserId),
        timeout: Option<Duration>,
    ) -> bool {
        let begun = match timeout {
            // They may have been told that it began, and here it ended with a message.
            None => Begun {
                is_new: self.typing.end(room.nid, user_nid),
                is_told: true,
            },
            Some(timeout) => {
                let timeout_ms = timeout.min(TIMEOUT_MAX).as_millis();
                let now_ms = self.ctx.clock.now_ms();
                let until_ms = now_ms + i64::try_from(timeout_ms).unwrap_or_default();
                let user = (user_nid, user_id.as_str());
                self.typing.begin(room.nid, user, (now_ms, until_ms))
            }
        };
        if begun.is_new {
            self.wake_members(room);
        }
        if timeout.is_some() && self.typing.take_up() {
            let rooms = self.clone();
            let tend = Box::pin(async move { rooms.tend_typing().await });
            self.ctx.tasks.spawn("typing", tend);
        }
        begun.is_told
    }

    /// Ends what nobody ends, for as long as anybody types.
    async fn tend_typing(self) {
        while let Some(next_ms) = self.end_typing().await {
            let left_ms = next_ms.saturating_sub(self.ctx.clock.now_ms());
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
            tokio::time::sleep(left.max(TENDED_EVERY)).await;
        }
    }

    /// Ends the typing that has lasted to its end, and tells so. Says when the next one ends.
    pub(crate) async fn end_typing(&self) -> Option<i64> {
        let (ended, next) = self.typing.expire(self.ctx.clock.now_ms());
        for room_nid in ended {
            // Nobody waits for news of a room that cannot be read.
            if let Ok(room) = self.room_by_nid(room_nid).await {
                self.wake_members(&room);
            }
        }
        next
    }

    fn wake_members(&self, room: &Room) {
        let members = Arc::clone(&room.live().local_members);
        self.ctx.notifier.wake_for_room(members.iter().copied());
    }
}
