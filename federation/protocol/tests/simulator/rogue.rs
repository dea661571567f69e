//! What a server does that does not keep to the rules, or keeps to them carelessly. It judges what it
//! receives like all others.

use hearth_protocol::PduDraft;
use ruma::{OwnedEventId, OwnedUserId, UserId};
use serde_json::json;

use crate::people::{self, Act, draft_at};
use crate::room::{Fate, Room, State};
use crate::server::At;
use crate::world::World;
use crate::world::network::Body;

/// Plays one trick. Whether there was occasion for it.
pub(crate) fn step(world: &mut World, at: At) -> bool {
    let users = world.servers[at].users.clone();
    let (Some(user), Some(store)) = (
        world.people.pick(&users).cloned(),
        &world.servers[at].memory,
    ) else {
        return false;
    };
    let room = store.room.clone();
    let Some(act) = people::inside(world, at, &user) else {
        return false;
    };
    let trick = Trick {
        room: &room,
        user: &user,
        act: &act,
    };
    let draft = match world.people.below(2) {
        0 => trick.with_odd_past(world, at),
        _ => trick.with_odd_auth_events(world),
    };
    let Some(mut draft) = draft else {
        return false;
    };
    draft.depth = [draft.depth, draft.depth, 0, (1 << 53) - 1][world.people.below(4)];
    let stamp = world.stamp();
    draft.origin_server_ts = [stamp, stamp, 0, stamp * 2][world.people.below(4)];
    send(world, at, &draft);
    true
}

/// What somebody wants to do, where they should not or not so.
struct Trick<'r> {
    room: &'r Room,
    user: &'r UserId,
    act: &'r Act,
}

impl Trick<'_> {
    fn at_the_ends(&self, state: &State) -> PduDraft {
        let ends: Vec<usize> = self.room.extremities.iter().take(10).copied().collect();
        draft_at(self.room, self.user, self.act, &ends, state)
    }

    fn after(&self, id: usize) -> PduDraft {
        draft_at(self.room, self.user, self.act, &[id], &after(self.room, id))
    }

    fn any_old_event(&self, world: &World) -> Option<usize> {
        let placed = |id: &usize| self.room.events[*id].place.is_some();
        let all: Vec<usize> = (0..self.room.events.len()).filter(placed).collect();
        world.people.pick(&all).copied()
    }

    fn with_odd_past(&self, world: &mut World, at: At) -> Option<PduDraft> {
        let now = &self.room.current;
        Some(match world.people.weighted(&[6, 5, 3, 3, 2, 1]) {
            // A fork on an old event, well authorized there.
            0 => self.after(self.any_old_event(world)?),
            // Somebody who is out speaks on top of a state in which they were in.
            1 => {
                let (user, id) = outsider(world, self.room, at)?;
                Trick {
                    user: &user,
                    ..*self
                }
                .after(id)
            }
            // Two versions of one moment, for different ears.
            2 => {
                let mut other = self.at_the_ends(now);
                other.origin_server_ts = world.stamp() - 1;
                send(world, at, &other);
                self.at_the_ends(now)
            }
            // Predecessors that nobody has.
            3 => {
                let mut draft = self.at_the_ends(now);
                if world.people.one_in(2) {
                    draft.prev_events.clear();
                }
                draft.prev_events.push(unknown_event(world));
                draft
            }
            // On top of an event that was rejected.
            4 => self.after(rejected(world, self.room)?),
            // No predecessor at all.
            _ => draft_at(self.room, self.user, self.act, &[], now),
        })
    }

    fn with_odd_auth_events(&self, world: &mut World) -> Option<PduDraft> {
        let now = &self.room.current;
        let mut draft = self.at_the_ends(now);
        match world.people.weighted(&[6, 4, 2, 2, 2]) {
            // Auth events of long ago.
            0 => draft = self.at_the_ends(&after(self.room, self.any_old_event(world)?)),
            // More power than there is a right to.
            1 => {
                let mut content = self.room.content(now, "m.room.power_levels", "");
                content["users"][self.user.as_str()] = json!(100);
                let act = Act::state("m.room.power_levels", "", content);
                draft = Trick { act: &act, ..*self }.at_the_ends(now);
            }
            // An auth event of another room.
            2 => {
                let foreign = world
                    .foreign
                    .iter()
                    .map(|pdu| pdu.event().event_id().to_owned());
                draft.auth_events.extend(foreign);
            }
            // One auth event twice, or one too few.
            3 => {
                let last = draft.auth_events.pop();
                if world.people.one_in(2) {
                    draft
                        .auth_events
                        .extend([last.clone(), last].into_iter().flatten());
                }
            }
            // One that was rejected.
            _ => replace_auth(
                self.room,
                &mut draft.auth_events,
                rejected(world, self.room)?,
            ),
        }
        Some(draft)
    }
}

fn after(room: &Room, id: usize) -> State {
    room.events[id]
        .place
        .as_ref()
        .map(|place| (*place.after).clone())
        .unwrap_or_default()
}

/// Somebody of this server who is not in the room, and an event at which they were.
fn outsider(world: &World, room: &Room, at: At) -> Option<(OwnedUserId, usize)> {
    let users = &world.servers[at].users;
    let user = users
        .iter()
        .find(|user| room.membership(&room.current, user) != "join")?;
    let was_in = |id: &usize| room.membership(&after(room, *id), user) == "join";
    let last = (0..room.events.len()).rev().find(was_in)?;
    Some((user.clone(), last))
}

fn rejected(world: &World, room: &Room) -> Option<usize> {
    let is_rejected = |id: &usize| {
        let held = &room.events[*id];
        held.fate == Fate::Rejected && held.place.is_some()
    };
    let all: Vec<usize> = (0..room.events.len()).filter(is_rejected).collect();
    world.people.pick(&all).copied()
}

/// Puts an event into its place among auth events.
fn replace_auth(room: &Room, auth: &mut [OwnedEventId], by: usize) {
    let by = room.event(by);
    for id in auth {
        let same = room.held(id).is_some_and(|held| {
            let event = held.pdu.event();
            event.kind() == by.kind() && event.state_key() == by.state_key()
        });
        if same {
            *id = by.event_id().to_owned();
        }
    }
}

fn unknown_event(world: &World) -> OwnedEventId {
    let name = format!("${:0>43}", world.people.below(1_000_000));
    name.try_into().unwrap()
}

/// Signs, believes, and tells all, or only one.
fn send(world: &mut World, at: At, draft: &PduDraft) {
    let Some(pdu) = world.sign(at, draft) else {
        return;
    };
    world.referee.number(pdu.event());
    let event = pdu.event();
    let received = world.servers[at]
        .memory
        .as_mut()
        .map(|store| store.room.receive(&pdu));
    world.tell(|_| {
        format!(
            "s{at} forges {} {} {:?} {} after {:?}: {received:?}",
            event.event_id(),
            event.kind(),
            event.state_key(),
            event.content(),
            event.prev_events().to_vec()
        )
    });
    world.touch(at);
    let mut others: Vec<At> = (0..world.servers.len())
        .filter(|other| *other != at)
        .collect();
    if world.people.one_in(2) {
        others = world.people.pick(&others).into_iter().copied().collect();
    }
    for to in others {
        world.send(
            at,
            to,
            &Body::Transaction {
                txn: 0,
                pdus: vec![pdu.clone()],
            },
        );
    }
}
