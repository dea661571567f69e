//! Entering a room (and knocking at it, and declining it) by way of a server that is in it: the
//! `make_join` and `send_join` family, as one exchange that succeeds or fails.

use hearth_protocol::PduDraft;
use hearth_protocol::VerifiedPdu;
use hearth_protocol::draft::DraftError;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::verify::{KeyLookup, UnverifiedPdu};
use ruma::{EventId, ServerName, ServerSigningKeyId, UserId};
use serde_json::{Value, json};

use super::World;
use super::network::with_auth_chain;
use crate::people::{self, Act};
use crate::redaction::keeps_its_meaning;
use crate::referee::fault;
use crate::room::{Fate, Received, Room};
use crate::server::{At, Server, Store};

/// The key ring that every server has.
struct Keys<'w>(&'w [Server]);

impl KeyLookup for Keys<'_> {
    fn published_key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        let server = self.0.iter().find(|known| known.name == server)?;
        (server.key.id() == key_id).then(|| PublishedKey {
            key: server.key.verify_key(),
            valid_until_ts: i64::MAX,
        })
    }
}

impl World {
    /// Signs a draft as one of the servers; where another has to vouch for it, that one signs too and
    /// the whole is verified.
    pub(crate) fn sign(&self, at: At, draft: &PduDraft) -> Option<VerifiedPdu> {
        let (rules, server) = (self.scenario.rules, &self.servers[at]);
        let hash = |id: &EventId| Some(self.referee.reference_hash(id));
        match draft.sign_verified_referencing(rules, &server.name, &server.key, hash) {
            Ok(pdu) => Some(pdu),
            Err(DraftError::NeedsSignatureOf(other)) => {
                let event = draft
                    .sign_referencing(rules, &server.name, &server.key, hash)
                    .unwrap();
                let voucher = &self.servers[self.at(&other)?];
                let event = event.with_signature(rules, &other, &voucher.key).unwrap();
                self.referee.note(|seen| seen.vouched_joins += 1);
                Some(self.verified(event.json()))
            }
            Err(_) => None,
        }
    }

    /// Reads an event as it travels, and verifies it.
    pub(crate) fn verified(&self, json: &[u8]) -> VerifiedPdu {
        let pdu = UnverifiedPdu::parse(self.scenario.rules, json).unwrap();
        let keys = Keys(&self.servers);
        pdu.verify(&keys)
            .unwrap_or_else(|why| fault("what is signed verifies", &why.to_string()))
    }

    /// An event as it arrives: now and then read from its bytes, which must give the same; in most
    /// cases as it is, since every verification costs as much as all the rest.
    pub(super) fn arrived(&self, pdu: VerifiedPdu) -> VerifiedPdu {
        if !self.network.reads_wire() {
            return pdu;
        }
        self.referee.note(|seen| seen.read_from_wire += 1);
        let read = self.verified(pdu.event().json());
        if read.event() != pdu.event() {
            fault("what is sent arrives", &format!("{:?}", pdu.event()));
        }
        read
    }

    /// What is left of events of which a careless server kept no more.
    pub(super) fn withered(&self, at: At, pdus: Vec<VerifiedPdu>) -> Vec<VerifiedPdu> {
        if self.servers[at].honest {
            return pdus;
        }
        let rules = self.scenario.rules;
        let wither = |pdu: VerifiedPdu| {
            if !keeps_its_meaning(rules, pdu.event()) || !self.people.one_in(3) {
                return pdu;
            }
            self.referee.note(|seen| seen.redacted_copies += 1);
            self.verified(pdu.event().redacted(rules).unwrap().json())
        };
        pdus.into_iter().map(wither).collect()
    }

    /// A user whose server is not in the room sets their own membership through a server that is.
    pub(crate) fn handshake(&mut self, at: At, user: &UserId, membership: &str) -> bool {
        let residents: Vec<At> = (0..self.servers.len())
            .filter(|other| *other != at && self.servers[*other].resident().is_some())
            .collect();
        let Some(via) = self.people.pick(&residents).copied() else {
            return false;
        };
        if !self.network.reaches(at, via) {
            return false;
        }
        let Some(pdu) = self.made_through(at, via, user, membership) else {
            return false;
        };
        self.referee.note(|seen| seen.handshakes += 1);
        self.tell(|_| {
            format!(
                "s{at}: {user} {membership} through s{via}: {}",
                pdu.event().event_id()
            )
        });
        let Some(store) = &mut self.servers[via].memory else {
            return false;
        };
        if store.room.receive(&pdu) != Received::Judged(Fate::Accepted) {
            return false;
        }
        self.queue(via, &pdu, &[at]);
        if !self.flush_now(via) || !self.network.reaches(at, via) {
            // It counts all the same; who asked does not know.
            return false;
        }
        if membership == "join" {
            self.enter(at, via, &pdu);
        }
        self.flush_now(at)
    }

    fn made_through(
        &self,
        at: At,
        via: At,
        user: &UserId,
        membership: &str,
    ) -> Option<VerifiedPdu> {
        let store = self.servers[via].resident()?;
        if store.denies(&self.servers[at].name) {
            return None;
        }
        let mut contents: Vec<Value> = vec![json!({"membership": membership})];
        let rule = store
            .room
            .content(&store.room.current, "m.room.join_rules", "");
        let restricted = rule["join_rule"]
            .as_str()
            .is_some_and(|rule| rule.contains("restricted"));
        if membership == "join" && restricted {
            // Any of the server's own people may be the one who may invite.
            contents.extend(self.servers[via].users.iter().map(|voucher| {
                json!({"membership": "join", "join_authorised_via_users_server": voucher})
            }));
        }
        contents.into_iter().find_map(|content| {
            let act = Act::state("m.room.member", user.as_str(), content);
            let draft = people::draft(&store.room, user, &act, self.stamp());
            let pdu = self.sign(at, &draft)?;
            people::is_allowed(&store.room, &pdu, &self.referee).then_some(pdu)
        })
    }

    /// Takes over the room as the other server has it: the state before the join, what authorizes
    /// it, and the join.
    fn enter(&mut self, at: At, via: At, pdu: &VerifiedPdu) {
        let Some(host) = &self.servers[via].memory else {
            return;
        };
        let Some(held) = host.room.held(pdu.event().event_id()) else {
            return;
        };
        let Some(place) = &held.place else { return };
        let id_of = |id: &usize| host.room.event(*id).event_id().to_owned();
        let state: Vec<_> = place.before.values().map(id_of).collect();
        let mut all = state.clone();
        all.extend(held.auth.iter().map(id_of));
        let events = with_auth_chain(&host.room, &all);
        let room_id = host.room.id.clone();
        let mut store = match self.servers[at].memory.take() {
            Some(store) => store,
            None => Store::new(Room::new(
                self.scenario.rules,
                room_id,
                self.referee.clone(),
            )),
        };
        for foreign in &self.foreign {
            store.room.hold_foreign(foreign);
        }
        store.room.forget_present();
        store.room.add_outliers(&events);
        store.room.anchor(pdu, &state);
        store.retry();
        self.servers[at].memory = Some(store);
    }
}
