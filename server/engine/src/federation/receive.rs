//! Events that other servers send, and the staging lane for those that name events we lack.
//!
//! A sender is answered when its events are committed or staged. What is missing is fetched
//! afterwards, outside the room's mailbox; local sends pass it by.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use hearth_protocol::verify::{UnverifiedPdu, VerifiedPdu};
use hearth_storage::Commit;
use hearth_storage::tables::intern;
use hearth_storage::tables::staging::{self, Staged, StagedRow, Unstaged};
use hearth_types::ruma::{OwnedEventId, OwnedServerName, ServerName};

use crate::federation::Federation;
use crate::peers::{MissingEvents, PeerError};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Received;
use crate::rooms::view::SharedRoom;

/// Events of one origin that may wait.
const STAGED_MAX: i64 = 1_000;
/// How long an event may wait. One that is given up comes back with the next that builds on it.
const WAIT_MAX_MS: i64 = 24 * 60 * 60 * 1_000;
/// How often what waits is tried again without an occasion.
const RETRY: Duration = Duration::from_secs(10 * 60);
/// Events that one origin may leave waiting before it is asked nothing more for now.
const OWED_MAX: usize = 10;
/// Waiting events read at a time.
const PAGE: i64 = 50;
/// Rounds of filling before the rest waits for the next occasion.
const ROUNDS_MAX: usize = 20;
/// Events asked for to close a gap; beyond that the state is asked for.
const GAP_MAX: u32 = 50;
/// Missing auth events fetched one by one for one event.
const AUTH_FETCH_MAX: usize = 100;

impl Federation {
    /// Takes events in, each for itself: one that is refused harms no other. The error of an event
    /// says why it was refused. After `Busy` (too much of this origin waits already) and `Storage` the
    /// event is neither refused nor kept: its sender must not be told that it was received.
    pub async fn receive(
        &self,
        origin: &ServerName,
        pdus: Vec<VerifiedPdu>,
    ) -> Vec<(OwnedEventId, Result<(), RoomError>)> {
        let mut results = Vec::with_capacity(pdus.len());
        for pdu in pdus {
            let id = pdu.event().event_id().to_owned();
            results.push((id, self.receive_one(origin, pdu).await));
        }
        results
    }

    async fn receive_one(&self, origin: &ServerName, pdu: VerifiedPdu) -> Result<(), RoomError> {
        if self.take_back_invite(origin, &pdu).await? {
            return Ok(());
        }
        let room = self.admitting(origin, pdu.event().room_id()).await?;
        let sender = pdu.event().sender().server_name();
        if sender != origin && self.is_denied(&room, sender).await? {
            return Err(RoomError::Forbidden(
                "the access list denies the sender".to_owned(),
            ));
        }
        match self.rooms.receive(&room, pdu.clone(), false).await {
            Ok(Received::Accepted | Received::Duplicate | Received::SoftFailed(_)) => Ok(()),
            Ok(Received::Rejected(rule)) => Err(RoomError::Forbidden(rule)),
            // A room that has too much to do just now: the sender, once answered, forgets the event.
            Ok(Received::Missing { .. }) | Err(RoomError::Busy) => {
                self.stage(origin, &room, &pdu).await?;
                self.fill(room);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn stage(
        &self,
        origin: &ServerName,
        room: &SharedRoom,
        pdu: &VerifiedPdu,
    ) -> Result<(), RoomError> {
        let origin_nid = self.ctx.storage.server_intern(origin.as_str()).await?;
        let waiting =
            staging::staged_count(self.ctx.storage.read().await?.conn(), origin_nid).await?;
        if waiting >= STAGED_MAX {
            return Err(RoomError::Busy);
        }
        let mut commit = Commit::default();
        commit.rows.staged.push(StagedRow {
            room_nid: room.nid,
            event_id: pdu.event().event_id().to_string(),
            origin_nid,
            json: pdu.event().json().clone(),
            received_at_ms: self.ctx.clock.now_ms(),
        });
        self.ctx.storage.writer().commit(commit).await?;
        Ok(())
    }

    /// Tries again what waits, from the start of the process on, until the process ends.
    pub async fn tend(self) {
        loop {
            if let Err(error) = self.resume().await
                && error.trouble().is_none()
            {
                tracing::warn!(%error, "waiting events cannot be read");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn resume(&self) -> Result<(), RoomError> {
        let rooms = staging::staged_rooms(self.ctx.storage.read().await?.conn()).await?;
        for nid in rooms {
            match self.rooms.room_by_nid(nid).await {
                Ok(room) => self.fill(room),
                Err(error) => tracing::info!(nid, %error, "events wait for a room without state"),
            }
        }
        Ok(())
    }

    /// Fetches what a room's waiting events need; one task per room. Where one runs, it goes over
    /// them once more.
    fn fill(&self, room: SharedRoom) {
        let began = self.filling().insert(room.nid, true).is_none();
        if !began {
            return;
        }
        let federation = self.clone();
        let task = async move {
            while federation.begin_filling(room.nid) {
                if let Err(error) = federation.fill_now(&room).await
                    && error.trouble().is_none()
                {
                    tracing::warn!(room = %room.id, %error, "gaps cannot be filled");
                }
            }
        };
        self.ctx.tasks.spawn("gap", Box::pin(task));
    }

    /// Whether anything came that was not looked at; if not, filling ends with this question.
    fn begin_filling(&self, room_nid: i64) -> bool {
        let mut filling = self.filling();
        let more = filling.insert(room_nid, false) == Some(true);
        if !more {
            filling.remove(&room_nid);
        }
        more
    }

    fn filling(&self) -> MutexGuard<'_, BTreeMap<i64, bool>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fill_now(&self, room: &SharedRoom) -> Result<(), RoomError> {
        let mut patience = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            if !self.fill_round(room, &mut patience).await? {
                break;
            }
        }
        Ok(())
    }

    /// Goes once over what waits in a room. What cannot be had for one event keeps no other waiting;
    /// `patience` counts what each origin owes, so that one is not asked for ever. Whether any event
    /// waits no longer.
    async fn fill_round(
        &self,
        room: &SharedRoom,
        patience: &mut BTreeMap<i64, usize>,
    ) -> Result<bool, RoomError> {
        let (mut moved, mut place) = (false, (i64::MIN, String::new()));
        loop {
            let mut reader = self.ctx.storage.read().await?;
            let after = (place.0, place.1.as_str());
            let waiting = staging::staged_in(reader.conn(), room.nid, after, PAGE).await?;
            let origins: Vec<i64> = waiting.iter().map(|staged| staged.origin_nid).collect();
            let names = intern::server_names(reader.conn(), &origins).await?;
            drop(reader);
            let Some(last) = waiting.last() else {
                return Ok(moved);
            };
            place = (last.received_at_ms, last.event_id.clone());
            for staged in waiting {
                let owed = patience.entry(staged.origin_nid).or_default();
                let name = names.iter().find(|(nid, _)| *nid == staged.origin_nid);
                let origin = name
                    .and_then(|(_, name)| OwnedServerName::try_from(name.as_str()).ok())
                    .filter(|_| *owed < OWED_MAX);
                match self.settle(room, origin.as_deref(), staged).await {
                    Ok(true) => moved = true,
                    Ok(false) => *owed += 1,
                    Err(error) => {
                        *owed += 1;
                        tracing::info!(room = %room.id, %error, "an event still waits");
                    }
                }
            }
        }
    }

    /// Tries one waiting event again, asking `ask` for what it needs. Whether it waits no longer.
    async fn settle(
        &self,
        room: &SharedRoom,
        ask: Option<&ServerName>,
        staged: Staged,
    ) -> Result<bool, RoomError> {
        if staged.received_at_ms + WAIT_MAX_MS < self.ctx.clock.now_ms() {
            return self.unstage(room, staged.event_id).await;
        }
        let parsed = UnverifiedPdu::parse(room.rules, &staged.json);
        let parsed = parsed.into_iter().collect();
        let Some(pdu) = self.ctx.peers.verify(parsed).await.pop() else {
            return self.unstage(room, staged.event_id).await;
        };
        let mut received = self.rooms.receive(room, pdu.clone(), false).await?;
        if let (Received::Missing { .. }, Some(origin)) = (&received, ask) {
            received = self.fetch_for(room, origin, &pdu, received).await?;
        }
        match received {
            Received::Missing { .. } => Ok(false),
            _ => self.unstage(room, staged.event_id).await,
        }
    }

    /// Fetches what an event needs: what lies between, then what authorizes it, and where that is
    /// not enough, the state before it.
    async fn fetch_for(
        &self,
        room: &SharedRoom,
        origin: &ServerName,
        pdu: &VerifiedPdu,
        received: Received,
    ) -> Result<Received, RoomError> {
        let mut received = received;
        if let Received::Missing { prev, .. } = &received
            && !prev.is_empty()
        {
            or_less(self.fetch_gap(room, origin, pdu).await)?;
            received = self.rooms.receive(room, pdu.clone(), false).await?;
        }
        if let Received::Missing { auth, .. } = &received
            && !auth.is_empty()
        {
            or_less(self.fetch_auth(room, origin, auth.clone()).await)?;
            received = self.rooms.receive(room, pdu.clone(), false).await?;
        }
        match received {
            Received::Missing { .. } => self.anchor(room, origin, pdu).await,
            other => Ok(other),
        }
    }

    /// Asks for the events between what we have and an event, and takes them in, oldest first.
    async fn fetch_gap(
        &self,
        room: &SharedRoom,
        origin: &ServerName,
        pdu: &VerifiedPdu,
    ) -> Result<(), RoomError> {
        let earliest: Vec<OwnedEventId> = room
            .live()
            .extremities
            .iter()
            .map(|end| end.event.event_id().to_owned())
            .collect();
        let latest = [pdu.event().event_id().to_owned()];
        let range = MissingEvents {
            room_id: &room.id,
            earliest: &earliest,
            latest: &latest,
            limit: GAP_MAX,
        };
        let handed_over = self
            .ctx
            .peers
            .missing_events(origin, room.rules, range)
            .await?;
        let between = self.between(room, pdu, handed_over).await?;
        for (index, pdu) in between.into_iter().enumerate() {
            let received = self.rooms.receive(room, pdu.clone(), false).await?;
            let Received::Missing { prev, auth } = received else {
                continue;
            };
            if !auth.is_empty() {
                self.fetch_auth(room, origin, auth).await?;
            }
            // Only where the gap begins is the state asked for: the others follow from it.
            if index == 0 && !prev.is_empty() {
                self.anchor(room, origin, &pdu).await?;
            } else {
                self.rooms.receive(room, pdu, false).await?;
            }
        }
        Ok(())
    }

    /// Of the events handed over, those that lead from an event back to what has a place here, oldest
    /// first. Another server that lacks our extremities goes on behind them: what lies there was
    /// before our people joined, and is neither news nor an end of the graph.
    async fn between(
        &self,
        room: &SharedRoom,
        pdu: &VerifiedPdu,
        handed_over: Vec<VerifiedPdu>,
    ) -> Result<Vec<VerifiedPdu>, RoomError> {
        let ids: Vec<OwnedEventId> = handed_over.iter().map(id_of).collect();
        let here = self.rooms.known.of_room(room, &ids).await?;
        let mut handed_over: BTreeMap<OwnedEventId, VerifiedPdu> = handed_over
            .into_iter()
            .map(|pdu| (id_of(&pdu), pdu))
            .filter(|(id, _)| !here.get(id).is_some_and(Known::is_placed))
            .collect();
        let mut wanted = pdu.event().prev_events().to_vec();
        let mut between = Vec::new();
        while let Some(id) = wanted.pop() {
            if let Some(pdu) = handed_over.remove(&id) {
                wanted.extend(pdu.event().prev_events().to_vec());
                between.push(pdu);
            }
        }
        between.sort_by_key(|pdu| pdu.event().depth());
        Ok(between)
    }

    /// Fetches missing auth events, and theirs, until all are here or the bound is reached.
    async fn fetch_auth(
        &self,
        room: &SharedRoom,
        origin: &ServerName,
        missing: Vec<OwnedEventId>,
    ) -> Result<(), RoomError> {
        let mut wanted = missing;
        let mut fetched: Vec<VerifiedPdu> = Vec::new();
        while let Some(id) = wanted.pop() {
            let seen = fetched.iter().any(|pdu| pdu.event().event_id() == id);
            if seen || self.rooms.known.one(room.rules, &id).await?.is_some() {
                continue;
            }
            if fetched.len() >= AUTH_FETCH_MAX {
                return Err(RoomError::Busy);
            }
            let pdu = self.ctx.peers.event(origin, room.rules, &id).await?;
            if pdu.event().event_id() != id || pdu.event().room_id() != room.id {
                return Err(RoomError::Forbidden(
                    "another event was handed over".to_owned(),
                ));
            }
            wanted.extend(pdu.event().auth_events().to_vec());
            fetched.push(pdu);
        }
        self.rooms.take_in_outliers(room, fetched).await
    }

    /// Asks for the state before an event whose predecessors cannot be had, and places it there.
    async fn anchor(
        &self,
        room: &SharedRoom,
        origin: &ServerName,
        pdu: &VerifiedPdu,
    ) -> Result<Received, RoomError> {
        let event_id = pdu.event().event_id();
        let ids = self.ctx.peers.state_ids(origin, &room.id, event_id).await?;
        let mut all = ids.state.clone();
        all.extend(ids.auth_chain);
        let here = self.rooms.known.by_id(room.rules, &all).await?;
        let lacking: Vec<OwnedEventId> = all
            .into_iter()
            .filter(|id| !here.contains_key(id))
            .collect();
        if lacking.len() > AUTH_FETCH_MAX {
            let whole = self
                .ctx
                .peers
                .state(origin, room.rules, &room.id, event_id)
                .await?;
            let mut events = whole.auth_chain;
            events.extend(whole.state);
            self.rooms.take_in_outliers(room, events).await?;
        } else {
            self.fetch_auth(room, origin, lacking).await?;
        }
        self.rooms.anchor(room, pdu.clone(), ids.state).await
    }

    async fn unstage(&self, room: &SharedRoom, event_id: String) -> Result<bool, RoomError> {
        let mut commit = Commit::default();
        commit.rows.unstaged.push(Unstaged {
            room_nid: room.nid,
            event_id,
        });
        self.ctx.storage.writer().commit(commit).await?;
        Ok(true)
    }
}

fn id_of(pdu: &VerifiedPdu) -> OwnedEventId {
    pdu.event().event_id().to_owned()
}

/// Goes on with less where another server did not hand everything over; one that cannot be reached
/// is not asked for more.
fn or_less(fetched: Result<(), RoomError>) -> Result<(), RoomError> {
    match fetched {
        Err(RoomError::Peer(PeerError::Refused { .. } | PeerError::Malformed { .. }))
        | Err(RoomError::Forbidden(_) | RoomError::Busy) => Ok(()),
        other => other,
    }
}
