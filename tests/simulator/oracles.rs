//! What must hold at the end of a seed. An error begins with the oracle that saw it.

mod agree;
mod held;
mod kept;
mod shown;

use hearth_protocol::event::{Event, Membership};
use hearth_storage::sql;
use hearth_storage::tables::events;

use crate::world::World;
use held::{Held, Room};

/// Judges a world that has come to rest.
pub(crate) async fn judge(world: &World) -> Result<(), String> {
    let left: i64 = waiting(world)
        .await
        .iter()
        .map(|(_, waiting)| waiting)
        .sum();
    if left > 0 {
        return Err(format!("drained: {left} rows still wait in outboxes"));
    }
    let rooms = held::rooms(world).await;
    for room in &rooms {
        world.trace(|| held::described(world, room));
        count(world, room);
        agree::judge(world, room).await?;
        kept::judge(world, room)?;
        shown::judge(world, room).await?;
    }
    kept::acknowledged(world, &rooms)?;
    shown::clients(world).await
}

/// Whether an event makes somebody joined.
fn is_join(event: &Event) -> bool {
    event.member().and_then(|member| member.membership) == Some(Membership::Join)
}

fn count(world: &World, room: &Room) {
    world.count(
        "events",
        u64::try_from(room.model.events().count()).unwrap(),
    );
    world.count("forks", u64::from(room.model.has_fork()));
    let conflict = room.model.has_conflict("m.room.power_levels");
    world.count("power conflicts", u64::from(conflict));
    for held in &room.held {
        let fates = held.events.values().map(|stored| stored.fate);
        for fate in fates {
            match fate {
                events::Fate::SoftFailed => world.count("soft-fails", 1),
                events::Fate::Rejected => world.count("rejected", 1),
                _ => {}
            }
        }
    }
}

/// For each server that runs, the head of its log and how much waits to be sent.
pub(crate) async fn waiting(world: &World) -> Vec<(i64, i64)> {
    let mut all = Vec::new();
    for host in &world.hosts {
        let Some(process) = host.process() else {
            continue;
        };
        let storage = &process.parts.context.storage;
        let head = storage.writer().head().position();
        let mut reader = storage.read().await.unwrap();
        let text = "SELECT COUNT(*) FROM outbox";
        let queued = sql!(reader.conn(), scalar::<i64>, "SELECT COUNT(*) FROM outbox");
        let queued = queued.expect(text).unwrap_or_default();
        let behind = i64::try_from(process.parts.outbox.behind()).unwrap();
        all.push((head, queued + behind));
    }
    all
}

/// Whether everybody who is in a room holds the same one end of it.
pub(crate) async fn is_one(world: &World) -> bool {
    for (_, room_id) in world.ledger.rooms() {
        let mut ends = std::collections::BTreeSet::new();
        for at in 0..world.hosts.len() {
            if held::joined_of(world, at, &room_id).await.is_empty() {
                continue;
            }
            let room = world.hosts[at].parts().rooms.room(&room_id).await;
            let Ok(room) = room else { return false };
            let own = &room.live().extremities;
            ends.extend(own.iter().map(|end| end.event.event_id().to_owned()));
        }
        if ends.len() > 1 {
            return false;
        }
    }
    true
}

/// For each room and each server in it, somebody of that server who is joined.
pub(crate) async fn speakers(world: &World) -> Vec<(usize, usize)> {
    let mut speakers = Vec::new();
    for (number, (_, room_id)) in world.ledger.rooms().into_iter().enumerate() {
        for at in 0..world.hosts.len() {
            let joined = held::joined_of(world, at, &room_id).await;
            if let Some(who) = joined.first() {
                speakers.push((number, *who));
            }
        }
    }
    speakers
}

/// The name of a server, for an error.
fn name<'a>(world: &'a World, held: &Held) -> &'a str {
    world.hosts[held.host].name.as_str()
}
