//! Simplified sliding sync: windows into a person's rooms, and what is new in them.
//!
//! A client names what it wants with every request; the server remembers per *connection* what it
//! told of each room, and tells the rest. Reading order: [`ClientSync::slide`] → `look` → `lists`
//! (which rooms) → `room` (what of each) → `extensions` (what else). What was told is in `told`, and
//! in memory thanks to `connections`. The pieces that an answer is made of are those of `/sync`.
//!
//! spec: MSC4186, at the path and with the names of its unstable form (MSC3575's).

mod bump;
mod connections;
mod extensions;
mod lists;
mod look;
mod marks;
mod order;
mod outside;
mod pick;
mod places;
mod put_out;
mod request;
mod room;
mod spaces;
mod stored;
mod told;
mod wanted;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_storage::Storage;
use hearth_types::ruma::RoomId;

use super::timeline::Space;
use super::token::SlidingPos;
use super::wait::{self, Looks, Patience, Waiting};
use super::{ClientSync, SyncError};
use crate::json::Json;
use crate::memory::MemoryBudget;
use crate::notifier::Watch;
use bump::Bumps;
pub use connections::Connections;
use connections::{Connection, Turn};
use lists::{Rule, Rules};
use look::{Look, Seen};
use marks::Marks;
use order::Orders;
use places::Places;
use put_out::PutOuts;
pub use request::{SlidingBody, SlidingRequest};
use spaces::Spaces;
use told::{Answer, Point};
use wanted::Wanted;

/// What sliding sync remembers.
pub(super) struct Sliding {
    connections: Arc<Connections>,
    bumps: Bumps,
    marks: Marks,
    orders: Orders,
    places: Places,
    put_outs: PutOuts,
    spaces: Spaces,
}

impl Sliding {
    pub(super) fn new(storage: Storage, memory: MemoryBudget) -> Self {
        let index = memory.sliding_index_bytes();
        Self {
            connections: Arc::new(Connections::new(storage, memory.sliding_bytes())),
            bumps: Bumps::new(index),
            marks: Marks::new(index),
            orders: Orders::new(index),
            places: Places::new(index),
            put_outs: PutOuts::new(index),
            spaces: Spaces::new(index),
        }
    }
}

impl ClientSync {
    /// The connections of sliding sync, to be kept while the server runs.
    #[must_use]
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.sliding.connections)
    }

    /// The answer to `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`, as JSON.
    /// Waits up to the request's timeout, or until `stopping` is done, for something new.
    ///
    /// # Errors
    /// [`SyncError::UnknownPos`] where the client has to begin anew; [`SyncError::Invalid`] for what
    /// breaks a rule; when the database fails.
    pub async fn slide(
        &self,
        request: &SlidingRequest,
        stopping: impl Future<Output = ()>,
    ) -> Result<Bytes, SyncError> {
        request.body.check()?;
        let pos = self.standing(request)?;
        let (session, conn_id) = (&request.session, request.body.connection());
        let connections = &self.sliding.connections;
        let connection = connections.of(session, conn_id, pos.is_none()).await?;
        let turn = connection.take_turn().await;
        self.resume(&connection, pos)?;
        let rules = self.rules(request, &connection).await?;
        let watch = self.ctx.notifier.watch(session.user_nid);
        // Who begins is answered at once.
        let timeout = pos.map_or(Duration::ZERO, |_| request.timeout.min(wait::TIMEOUT_MAX));
        self.presence.polls(session, request.body.status(), timeout);
        let patience = Patience {
            timeout,
            ended: ended(stopping, &turn),
        };
        let looks = Looking {
            sync: self,
            request,
            connection: &connection,
            rules: &rules,
            watch: &watch,
        };
        let waiting = Waiting {
            accounts: &self.accounts,
            session,
            watch: &watch,
        };
        let seen = wait::until_found(waiting, patience, &looks).await?;
        let json = self.answer(request, &connection, seen);
        connections.changed(session, &connection).await?;
        Ok(json)
    }

    /// Where the client says that it stands; none where it begins.
    fn standing(&self, request: &SlidingRequest) -> Result<Option<SlidingPos>, SyncError> {
        let Some(text) = &request.pos else {
            return Ok(None);
        };
        let pos = SlidingPos::decode(text).ok_or(SyncError::UnknownPos)?;
        let committed = self.ctx.storage.writer().head().committed();
        let is_ours = pos.generation == self.generation && pos.position <= committed;
        is_ours.then_some(Some(pos)).ok_or(SyncError::UnknownPos)
    }

    /// Goes on from where the client stands, or begins.
    fn resume(&self, connection: &Connection, pos: Option<SlidingPos>) -> Result<(), SyncError> {
        let mut state = connection.state();
        match pos {
            None => *state = told::State::default(),
            Some(pos) if state.resume(pos.mark) => {}
            Some(_) => return Err(SyncError::UnknownPos),
        }
        state.used_at_ms = self.ctx.clock.now_ms();
        Ok(())
    }

    /// The rules of a request.
    async fn rules(
        &self,
        request: &SlidingRequest,
        connection: &Connection,
    ) -> Result<Rules, SyncError> {
        let me = request.session.user_id.as_str();
        let read = |(limit, wanted): (usize, &[(String, String)])| Rule {
            limit,
            wanted: connection.state().known(Wanted::read(wanted, me)),
        };
        let mut rules = Rules {
            all: request
                .body
                .lists
                .values()
                .map(|list| read(list.rule()))
                .collect(),
            subscribed: BTreeMap::new(),
        };
        for (room_id, rule) in &request.body.room_subscriptions {
            let Ok(room_id) = RoomId::parse(room_id) else {
                continue;
            };
            if let Some(nid) = self.rooms.room_nid(&room_id).await? {
                rules.subscribed.insert(nid, rules.all.len());
                rules.all.push(read(rule.rule()));
            }
        }
        Ok(rules)
    }

    /// Looks until the memberships it sees are within the head that it looks at.
    async fn look_at(
        &self,
        request: &SlidingRequest,
        connection: &Connection,
        (rules, watch): (&Rules, &Arc<Watch>),
    ) -> Result<Seen, SyncError> {
        let head = self.ctx.storage.writer().head();
        loop {
            // A change whose wake-up has come may still be held back by other commits.
            self.visible(head.committed()).await;
            let until = head.position();
            let (point, told) = {
                let state = connection.state();
                (state.point, Arc::clone(&state.told))
            };
            let user_nid = request.session.user_nid;
            let look = Look {
                sync: self,
                request,
                connection,
                rules,
                watch: Arc::clone(watch),
                point,
                told,
                space: Space::whole(),
                until,
                now_ms: self.ctx.clock.now_ms(),
                direct: self
                    .sliding
                    .marks
                    .direct(&self.ctx, user_nid, watch)
                    .await?,
            };
            // Boxed, so that who waits holds no memory for looking.
            if let Some(seen) = Box::pin(look.take()).await? {
                return Ok(seen);
            }
        }
    }

    /// Writes what was seen, and remembers that it was told.
    fn answer(&self, request: &SlidingRequest, connection: &Connection, seen: Seen) -> Bytes {
        let point = Point {
            mark: self.new_mark(),
            ..seen.point
        };
        let pos = SlidingPos {
            generation: self.generation,
            position: point.position,
            mark: point.mark,
        };
        let mut json = Json::default();
        json.open();
        json.field("pos", &pos.encode());
        if let Some(txn_id) = &request.body.txn_id {
            json.field("txn_id", txn_id);
        }
        json.open_at("lists");
        for (name, count) in request.body.lists.keys().zip(&seen.counts) {
            json.open_at(name);
            json.field("count", count);
            json.close();
        }
        json.close();
        json.open_at("rooms");
        for (room_id, room) in &seen.rooms {
            json.key(room_id.as_str());
            json.raw(room);
        }
        json.close();
        seen.extras
            .write(request, self.generation, &seen.beside, &mut json);
        json.close();
        let mut state = connection.state();
        state.keys = Some(Arc::clone(&seen.extras.keys));
        if let Some(quiet) = seen.extras.quiet {
            state.quiet = Some(quiet);
        }
        state.answered(Answer {
            point,
            told: seen.told.into_rooms(),
        });
        json.into_bytes().into()
    }

    /// Names an answer. Never 0: that names none.
    fn new_mark(&self) -> u64 {
        let mut bytes = [0; 8];
        self.ctx.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes).max(1)
    }
}

/// Resolves when a request need not wait any longer.
async fn ended(stopping: impl Future<Output = ()>, turn: &Turn<'_>) {
    tokio::select! {
        () = stopping => {}
        () = turn.overtaken() => {}
    }
}

/// What a request looks for.
struct Looking<'a> {
    sync: &'a ClientSync,
    request: &'a SlidingRequest,
    connection: &'a Connection,
    rules: &'a Rules,
    watch: &'a Arc<Watch>,
}

impl Looks for Looking<'_> {
    type Seen = Seen;

    async fn look(&self, _after: Option<&Seen>) -> Result<Seen, SyncError> {
        let (request, connection) = (self.request, self.connection);
        let looked = self
            .sync
            .look_at(request, connection, (self.rules, self.watch));
        looked.await
    }

    fn is_empty(seen: &Seen) -> bool {
        seen.is_empty()
    }
}
