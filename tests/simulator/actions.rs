//! What people do.

use std::sync::Arc;

use hearth::app::Parts;
use hearth_engine::accounts::Session;
use hearth_engine::rooms::create::{CreateRoom, InitialState, Preset};
use hearth_engine::rooms::error::RoomError;
use hearth_engine::rooms::membership::SetMembership;
use hearth_engine::rooms::plan::ClientTxn;
use hearth_engine::rooms::send::Send;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::ledger::{Member, Sent};
use crate::random::Random;
use crate::world::World;

/// What somebody does. Rooms and people are named by their numbers.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Create {
        version: &'static str,
        preset: Preset,
        visibility: &'static str,
    },
    Say {
        room: usize,
        uid: String,
        txn: bool,
    },
    Topic {
        room: usize,
        uid: String,
    },
    Power {
        room: usize,
        target: usize,
        level: i64,
    },
    Visibility {
        room: usize,
        value: &'static str,
    },
    JoinRule {
        room: usize,
        value: &'static str,
    },
    Redact {
        room: usize,
        nth: u64,
    },
    Member {
        room: usize,
        target: usize,
        membership: &'static str,
    },
    Join {
        room: usize,
        via: usize,
    },
    Leave {
        room: usize,
    },
    Tell {
        target: usize,
        uid: String,
    },
    Sync {
        limit: usize,
    },
    Look {
        room: usize,
        nth: u64,
    },
}

pub(crate) const VISIBILITIES: [&str; 4] = ["shared", "joined", "invited", "world_readable"];

/// Everything an engine is asked with about one person.
struct Here {
    parts: Arc<Parts>,
    me: OwnedUserId,
    session: Arc<Session>,
}

/// Does it, and remembers what was acknowledged. The outer error is one that no fault explains.
pub(crate) async fn act(world: Arc<World>, who: usize, act: Act) -> Result<(), String> {
    let person = &world.people[who];
    let host = Arc::clone(&world.hosts[person.host]);
    if let Act::Sync { limit } = act {
        return sync(&world, who, limit).await;
    }
    let (token, me) = (person.token.clone(), person.id.clone());
    let (inner, doing) = (Arc::clone(&world), act.clone());
    let done = host.run(move |parts| async move {
        let session = parts.accounts.authenticate(&token).await;
        let session = session.map_err(|error| error.to_string())?;
        let here = Here { parts, me, session };
        here.done(&inner, who, doing)
            .await
            .map_err(|error| match error {
                RoomError::Storage(error) => format!("storage: {error}"),
                RoomError::Peer(_) => "peer".to_owned(),
                other => other.to_string(),
            })
    });
    let outcome = match done.await {
        Some(Ok(Done::Told(recipient, uid))) => {
            world.ledger.told_device(&recipient, uid);
            "done".to_owned()
        }
        Some(Ok(done)) => {
            remember(&world, person.host, done);
            "done".to_owned()
        }
        Some(Err(why)) => why,
        None => "down".to_owned(),
    };
    world.trace(|| format!("{} {act:?}: {outcome}", person.id));
    let is_unsure = outcome == "down" || outcome.starts_with("storage");
    if is_unsure && matches!(act, Act::Say { txn: true, .. }) {
        world.is_unsure(who, act);
    }
    if outcome != "done" {
        world.ledger.refused(outcome);
    }
    Ok(())
}

/// What was acknowledged.
enum Done {
    Sent(OwnedRoomId, OwnedEventId),
    Set(OwnedRoomId, OwnedUserId, &'static str),
    Created(OwnedRoomId),
    Told(OwnedUserId, String),
    Nothing,
}

fn remember(world: &World, host: usize, done: Done) {
    match done {
        Done::Sent(room, event) => world.ledger.sent(Sent { host, room, event }),
        Done::Set(room, target, membership) => world.ledger.set(Member {
            host,
            room,
            target,
            membership,
        }),
        Done::Created(room) => world.ledger.created(host, room),
        Done::Told(..) | Done::Nothing => {}
    }
}

async fn sync(world: &Arc<World>, who: usize, limit: usize) -> Result<(), String> {
    let person = &world.people[who];
    let host = Arc::clone(&world.hosts[person.host]);
    let mut client = person.client.lock().await;
    let mut next = client.clone();
    let token = person.token.clone();
    let synced = host.run(move |parts| async move {
        let session = parts.accounts.authenticate(&token).await;
        let session = session.map_err(|error| format!("sync: {error}"))?;
        next.sync(&parts, &session, limit).await.map(|()| next)
    });
    match synced.await {
        Some(Ok(next)) => *client = next,
        // An answer that was not given, or that could not be read to its end, is asked for again.
        Some(Err(error)) if error.starts_with("sync:") => {}
        Some(Err(error)) => return Err(format!("sync: {error}")),
        None => {}
    }
    Ok(())
}

impl Here {
    async fn done(&self, world: &World, who: usize, act: Act) -> Result<Done, RoomError> {
        let room = |number: usize| {
            let rooms = world.ledger.rooms();
            let room = rooms.get(number).map(|(_, room)| room.clone());
            room.ok_or(RoomError::NotFound("a room of that number"))
        };
        let id = |number: usize| world.people[number].id.clone();
        match act {
            Act::Create {
                version,
                preset,
                visibility,
            } => self.create(version, preset, visibility).await,
            Act::Say {
                room: number,
                uid,
                txn,
            } => {
                let room = room(number)?;
                let content = json!({ "msgtype": "m.text", "body": uid });
                let txn = txn.then(|| ClientTxn {
                    user_nid: self.session.user_nid,
                    device_id: self.session.place().to_string(),
                    endpoint: "send".to_owned(),
                    txn_id: uid,
                });
                self.send(&room, "m.room.message", None, content, txn).await
            }
            Act::Topic { room: number, uid } => {
                let content = json!({ "topic": uid });
                self.send(&room(number)?, "m.room.topic", Some(""), content, None)
                    .await
            }
            Act::Power {
                room: number,
                target,
                level,
            } => self.power(&room(number)?, &id(target), level).await,
            Act::Visibility {
                room: number,
                value,
            } => {
                let content = json!({ "history_visibility": value });
                let kind = "m.room.history_visibility";
                self.send(&room(number)?, kind, Some(""), content, None)
                    .await
            }
            Act::JoinRule {
                room: number,
                value,
            } => {
                let content = json!({ "join_rule": value });
                self.send(&room(number)?, "m.room.join_rules", Some(""), content, None)
                    .await
            }
            Act::Redact { room: number, nth } => self.redact(world, room(number)?, nth).await,
            Act::Member {
                room: number,
                target,
                membership,
            } => {
                let room = room(number)?;
                let change = SetMembership {
                    sender: self.me.clone(),
                    target: id(target),
                    membership,
                    reason: None,
                    is_direct: false,
                };
                self.parts.rooms.change(&room, change).await?;
                Ok(Done::Set(room, id(target), membership))
            }
            Act::Join { room: number, via } => {
                let (room, via) = (room(number)?, vec![world.hosts[via].name.clone()]);
                self.join(&room, via).await?;
                Ok(Done::Set(room, self.me.clone(), "join"))
            }
            Act::Leave { room: number } => {
                let room = room(number)?;
                self.parts.rooms.leave(&room, self.me.clone(), None).await?;
                Ok(Done::Set(room, self.me.clone(), "leave"))
            }
            Act::Tell { target, uid } => self.tell(id(target), uid).await,
            Act::Look { room: number, nth } => {
                let room = room(number)?;
                self.look(world, who, &room, nth).await
            }
            Act::Sync { .. } => Ok(Done::Nothing),
        }
    }

    async fn create(
        &self,
        version: &str,
        preset: Preset,
        visibility: &str,
    ) -> Result<Done, RoomError> {
        let initial = InitialState {
            kind: "m.room.history_visibility".to_owned(),
            state_key: String::new(),
            content: json!({ "history_visibility": visibility }),
        };
        let create = CreateRoom {
            creator: self.me.clone(),
            version: Some(version.to_owned()),
            preset,
            creation_content: Map::new(),
            name: Some("simulated".to_owned()),
            topic: None,
            power_levels: Map::new(),
            initial_state: vec![initial],
            invite: Vec::new(),
            is_direct: false,
            is_published: false,
            alias_name: None,
            appservice: None,
        };
        Ok(Done::Created(self.parts.rooms.create(create).await?))
    }

    async fn send(
        &self,
        room: &RoomId,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
        txn: Option<ClientTxn>,
    ) -> Result<Done, RoomError> {
        let send = Send {
            sender: self.me.clone(),
            kind: kind.to_owned(),
            state_key: state_key.map(ToOwned::to_owned),
            content: to_raw_value(&content).unwrap(),
            txn,
        };
        let event = self.parts.rooms.send(room, send).await?;
        Ok(Done::Sent(room.to_owned(), event))
    }

    async fn redact(&self, world: &World, room: OwnedRoomId, nth: u64) -> Result<Done, RoomError> {
        let sent = world.ledger.all_sent();
        let of_room: Vec<_> = sent.iter().filter(|sent| sent.room == room).collect();
        if of_room.is_empty() {
            return Ok(Done::Nothing);
        }
        let target = &Random::new(nth).pick(&of_room).event;
        let rooms = &self.parts.rooms;
        let redacted = rooms.redact(&room, self.me.clone(), target, None, None);
        let redacted = redacted.await?;
        Ok(Done::Sent(room, redacted))
    }

    async fn power(
        &self,
        room: &RoomId,
        target: &OwnedUserId,
        level: i64,
    ) -> Result<Done, RoomError> {
        let rooms = &self.parts.rooms;
        let viewpoint = rooms
            .viewpoint(room, self.session.user_nid, &self.me)
            .await?;
        let kind = "m.room.power_levels";
        let now = rooms.state_event(&viewpoint, kind, "").await?;
        let now = now.ok_or(RoomError::NotFound("the power levels"))?;
        let mut content: Value = serde_json::from_str(now.event.content()).unwrap();
        if !content["users"].is_object() {
            content["users"] = json!({});
        }
        content["users"][target.as_str()] = json!(level);
        self.send(room, kind, Some(""), content, None).await
    }

    async fn join(&self, room: &RoomId, via: Vec<OwnedServerName>) -> Result<(), RoomError> {
        self.parts
            .rooms
            .join(room, self.me.clone(), None, via)
            .await
    }

    async fn tell(&self, target: OwnedUserId, uid: String) -> Result<Done, RoomError> {
        let mut messages = Map::new();
        messages.insert(target.to_string(), json!({ "*": { "uid": uid } }));
        let body = json!({ "messages": messages }).to_string();
        let sender = (&*self.me, self.session.place());
        let sent = &self.parts.to_device;
        match sent.send(sender, ("m.sim", &uid), body.as_bytes()).await {
            Ok(()) => Ok(Done::Told(target, uid)),
            Err(error) => Err(RoomError::Forbidden(error.to_string())),
        }
    }

    /// Reads an event by its id: what is shown, the oracles judge at the end.
    async fn look(
        &self,
        world: &World,
        who: usize,
        room: &RoomId,
        nth: u64,
    ) -> Result<Done, RoomError> {
        let sent = world.ledger.all_sent();
        let of_room: Vec<_> = sent.iter().filter(|sent| sent.room == room).collect();
        if of_room.is_empty() {
            return Ok(Done::Nothing);
        }
        let event = &Random::new(nth).pick(&of_room).event;
        let rooms = &self.parts.rooms;
        let viewpoint = rooms
            .viewpoint(room, self.session.user_nid, &self.me)
            .await?;
        if rooms.event(&viewpoint, event).await?.is_some() {
            world.saw(who, room, event);
        }
        Ok(Done::Nothing)
    }
}
