//! One engine's way to the others: each call goes to the other's entry points as the routes of
//! `homeserver` would hand it over, and what comes back passes the verifier.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hearth::app::Parts;
use hearth_engine::keys::KeyError;
use hearth_engine::peers::{
    Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template,
};
use hearth_engine::rooms::error::RoomError;
use hearth_federation::inbound::InboundTransaction;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::{ROOM_VERSIONS, RoomVersionRules};
use hearth_protocol::verify::{UnverifiedPdu, VerifiedPdu};
use hearth_types::ruma::{EventId, OwnedRoomId, OwnedServerName, RoomId, ServerName, UserId};
use serde_json::{Value, json};

use crate::hosts::{Keys, verified};
use crate::network::{Handed, Network, Weather, corrupt};

/// The way of one engine to the others.
pub(crate) struct Link {
    me: OwnedServerName,
    network: Arc<Network>,
}

fn refused(error: &RoomError) -> PeerError {
    let (status, errcode) = match error {
        RoomError::Storage(_) => (500, "M_UNKNOWN"),
        RoomError::Busy => (429, "M_LIMIT_EXCEEDED"),
        RoomError::NotFound(_) => (404, "M_NOT_FOUND"),
        _ => (403, "M_FORBIDDEN"),
    };
    PeerError::Refused {
        server: String::new(),
        status,
        errcode: errcode.to_owned(),
        message: error.to_string(),
    }
}

fn refused_key(error: &KeyError) -> PeerError {
    PeerError::Refused {
        server: String::new(),
        status: 403,
        errcode: "M_FORBIDDEN".to_owned(),
        message: error.to_string(),
    }
}

fn malformed(why: &str) -> PeerError {
    PeerError::Malformed {
        server: String::new(),
        why: why.to_owned(),
    }
}

/// The event of a request, as the route verifies it.
fn one_verified(rules: &RoomVersionRules, json: &Bytes) -> Result<VerifiedPdu, PeerError> {
    let one = verified(rules, std::slice::from_ref(json)).pop();
    one.ok_or_else(|| {
        refused(&RoomError::Forbidden(
            "the event is not signed as it must be".to_owned(),
        ))
    })
}

async fn known_rules(
    parts: &Parts,
    room_id: &RoomId,
) -> Result<&'static RoomVersionRules, PeerError> {
    let rules = parts.federation.room_rules(room_id).await;
    let rules = rules.map_err(|error| refused(&error))?;
    rules.ok_or_else(|| refused(&RoomError::NotFound("the room")))
}

impl Link {
    pub(crate) fn new(me: &ServerName, network: &Arc<Network>) -> Self {
        Self {
            me: me.to_owned(),
            network: Arc::clone(network),
        }
    }

    async fn ask<T, S>(
        &self,
        server: &ServerName,
        kind: &'static str,
        serve: S,
    ) -> Result<(T, Weather), PeerError>
    where
        T: Send + 'static,
        S: Fn(Arc<Parts>, OwnedServerName) -> BoxFuture<'static, Result<T, PeerError>>
            + Send
            + Sync
            + 'static,
    {
        let weather = self.network.weather(&self.me, server, kind);
        self.ask_in(weather, server, kind, serve).await
    }

    async fn ask_in<T, S>(
        &self,
        weather: Weather,
        server: &ServerName,
        kind: &'static str,
        serve: S,
    ) -> Result<(T, Weather), PeerError>
    where
        T: Send + 'static,
        S: Fn(Arc<Parts>, OwnedServerName) -> BoxFuture<'static, Result<T, PeerError>>
            + Send
            + Sync
            + 'static,
    {
        let me = self.me.clone();
        let serve = move |parts| serve(parts, me.clone());
        let answer = self
            .network
            .call((&self.me, server), kind, &weather, serve)
            .await?;
        Ok((answer, weather))
    }

    /// Events of a room that came as an answer.
    fn taken(
        &self,
        (from, how): (&ServerName, &'static str),
        (rules, room_id): (&'static RoomVersionRules, &RoomId),
        (mut pdus, mut weather): (Vec<Bytes>, Weather),
    ) -> Vec<VerifiedPdu> {
        for json in &pdus {
            self.network.hand(Handed {
                from: from.to_owned(),
                to: self.me.clone(),
                how,
                json: json.clone(),
            });
        }
        if weather.corrupts {
            self.network.note("corrupted");
            corrupt(&mut weather.random, &mut pdus);
        }
        let mut verified = verified(rules, &pdus);
        verified.retain(|pdu| pdu.event().room_id() == room_id);
        verified
    }
}

/// What `PUT /send` does with the body of a transaction.
///
/// See `homeserver/src/server/transactions.rs`.
pub(crate) async fn transaction(
    parts: Arc<Parts>,
    origin: OwnedServerName,
    body: Bytes,
) -> Result<(), PeerError> {
    let transaction =
        InboundTransaction::parse(&body).map_err(|error| malformed(&error.to_string()))?;
    for pdu in transaction.pdus {
        let Some(rules) = addressed(&parts, &pdu).await? else {
            continue;
        };
        let Ok(parsed) = UnverifiedPdu::parse(rules, &pdu) else {
            continue;
        };
        let verified = parts.context.peers.verify(vec![parsed]).await;
        for (_, result) in parts.federation.receive(&origin, verified).await {
            if let Err(error @ RoomError::Storage(_)) = result {
                return Err(refused(&error));
            }
        }
    }
    for edu in &transaction.edus {
        let taken = match edu.edu_type.as_str() {
            "m.device_list_update" => {
                parts
                    .device_lists
                    .receive_update(&origin, &edu.content)
                    .await
            }
            "m.signing_key_update" => {
                let lists = &parts.device_lists;
                lists.receive_signing_keys(&origin, &edu.content).await
            }
            "m.direct_to_device" => parts.to_device.receive(&origin, &edu.content).await,
            _ => Ok(()),
        };
        if let Err(error @ KeyError::Storage(_)) = taken {
            return Err(refused_key(&error));
        }
    }
    Ok(())
}

/// The rules of the room that an event says it belongs to, where that is known.
async fn addressed(
    parts: &Parts,
    pdu: &[u8],
) -> Result<Option<&'static RoomVersionRules>, PeerError> {
    let room_id = serde_json::from_slice::<Value>(pdu)
        .ok()
        .and_then(|pdu| OwnedRoomId::try_from(pdu["room_id"].as_str()?).ok());
    let Some(room_id) = room_id else {
        return Ok(None);
    };
    let rules = parts.federation.room_rules(&room_id).await;
    rules.map_err(|error| refused(&error))
}

/// The body of a transaction.
pub(crate) fn body(origin: &ServerName, pdus: &[Bytes], edus: &[Bytes]) -> Bytes {
    let joined = |parts: &[Bytes]| {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        parts.join(",")
    };
    let (pdus, edus) = (joined(pdus), joined(edus));
    format!(r#"{{"origin":"{origin}","origin_server_ts":1,"pdus":[{pdus}],"edus":[{edus}]}}"#)
        .into()
}

impl Peers for Link {
    fn verify(&self, pdus: Vec<UnverifiedPdu>) -> BoxFuture<'_, Vec<VerifiedPdu>> {
        let verified = pdus.into_iter().filter_map(|pdu| pdu.verify(&Keys).ok());
        std::future::ready(verified.collect()).boxed()
    }

    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, user_id) = (room_id.clone(), user_id.clone());
            async move {
                let versions: Vec<String> = ROOM_VERSIONS
                    .iter()
                    .map(|rules| rules.id.to_owned())
                    .collect();
                let made = parts
                    .federation
                    .make_join(&me, &room_id, &user_id, &versions);
                made.await.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "make_join", serve).await?.0) }.boxed()
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        let (room_id, json) = (event.room_id().to_owned(), event.json().clone());
        let room = room_id.clone();
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, json) = (room_id.clone(), json.clone());
            async move {
                let pdu = one_verified(known_rules(&parts, &room_id).await?, &json)?;
                let joined = parts.federation.send_join(&me, &room_id, pdu).await;
                joined.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            let (answer, weather) = self.ask(server, "send_join", serve).await?;
            let own = verified(rules, &[answer.event]).pop();
            if own.as_ref().map(|own| own.event().event_id()) != Some(event.event_id()) {
                return Err(malformed("the event is another one"));
            }
            let calm = weather.without_corruption();
            let of = (rules, &*room);
            Ok(JoinedState {
                state: self.taken((server, "send_join"), of, (answer.state, weather)),
                auth_chain: self.taken((server, "send_join"), of, (answer.auth_chain, calm)),
                event: own,
            })
        }
        .boxed()
    }

    fn make_leave<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        let (room_id, user_id) = (room_id.to_owned(), user_id.to_owned());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, user_id) = (room_id.clone(), user_id.clone());
            async move {
                let made = parts.federation.make_leave(&me, &room_id, &user_id).await;
                made.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "make_leave", serve).await?.0) }.boxed()
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Answer<'a, ()> {
        let (room_id, json) = (event.room_id().to_owned(), event.json().clone());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, json) = (room_id.clone(), json.clone());
            async move {
                let pdu = one_verified(known_rules(&parts, &room_id).await?, &json)?;
                let left = parts.federation.send_leave(&me, &room_id, pdu).await;
                left.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            self.ask(server, "send_leave", serve).await?;
            Ok(())
        }
        .boxed()
    }

    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
        stripped_state: Vec<Value>,
    ) -> Answer<'a, VerifiedPdu> {
        let json = event.json().clone();
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (json, stripped) = (json.clone(), stripped_state.clone());
            async move {
                let pdu = one_verified(rules, &json)?;
                let federation = &parts.federation;
                let signed = federation.receive_invite(&me, rules, &pdu, &stripped).await;
                signed.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            let (signed, _) = self.ask(server, "invite", serve).await?;
            one_verified(rules, &signed)
        }
        .boxed()
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        let room_id = range.room_id.to_owned();
        let (earliest, latest) = (range.earliest.to_vec(), range.latest.to_vec());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, earliest, latest) = (room_id.clone(), earliest.clone(), latest.clone());
            async move {
                let range = MissingEvents {
                    room_id: &room_id,
                    earliest: &earliest,
                    latest: &latest,
                    limit: range.limit,
                };
                let missing = parts.federation.missing_events(&me, range, 0).await;
                missing.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            let kind = "missing_events";
            let answer = self.ask(server, kind, serve).await?;
            Ok(self.taken((server, kind), (rules, range.room_id), answer))
        }
        .boxed()
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        let (room_id, event_id) = (room_id.to_owned(), event_id.to_owned());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, event_id) = (room_id.clone(), event_id.clone());
            async move {
                let ids = parts.federation.state_ids(&me, &room_id, &event_id).await;
                ids.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "state_ids", serve).await?.0) }.boxed()
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        let (room, event_id) = (room_id.to_owned(), event_id.to_owned());
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let (room_id, event_id) = (room.clone(), event_id.clone());
            async move {
                let state = parts.federation.state(&me, &room_id, &event_id).await;
                state.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            let ((state, chain), weather) = self.ask(server, "state", serve).await?;
            let calm = weather.without_corruption();
            Ok(JoinedState {
                state: self.taken((server, "state"), (rules, room_id), (state, weather)),
                auth_chain: self.taken((server, "state"), (rules, room_id), (chain, calm)),
                event: None,
            })
        }
        .boxed()
    }

    fn event<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event_id: &'a EventId,
    ) -> Answer<'a, VerifiedPdu> {
        let id = event_id.to_owned();
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let id = id.clone();
            async move {
                let event = parts.federation.event(&me, &id).await;
                event.map_err(|error| refused(&error))
            }
            .boxed()
        };
        async move {
            let (json, weather) = self.ask(server, "event", serve).await?;
            self.network.hand(Handed {
                from: server.to_owned(),
                to: self.me.clone(),
                how: "event",
                json: json.clone(),
            });
            let mut pdus = [json];
            let mut weather = weather;
            if weather.corrupts {
                self.network.note("corrupted");
                corrupt(&mut weather.random, &mut pdus);
            }
            let pdu = verified(rules, &pdus).pop();
            let pdu = pdu.filter(|pdu| pdu.event().event_id() == event_id);
            pdu.ok_or_else(|| malformed("the event is another one, or does not verify"))
        }
        .boxed()
    }

    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        _txn_id: &'a str,
        mut pdus: Vec<Bytes>,
        edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        async move {
            let mut weather = self.network.weather(&self.me, server, "send");
            self.network.pushed(&self.me, server, &pdus);
            if weather.shuffles && pdus.len() > 1 {
                self.network.note("reordered");
                weather.random.shuffle(&mut pdus);
            }
            if weather.corrupts && !pdus.is_empty() {
                self.network.note("corrupted");
                let whole = pdus.clone();
                corrupt(&mut weather.random, &mut pdus);
                let spoiled = whole.iter().zip(&pdus).find(|(one, two)| one != two);
                self.network.spoil(server, spoiled.map(|(whole, _)| whole));
                // What is not even JSON never gets past the signature over the request.
                pdus.retain(|pdu| serde_json::from_slice::<Value>(pdu).is_ok());
            }
            let body = body(&self.me, &pdus, &edus);
            let serve = move |parts, me| transaction(parts, me, body.clone()).boxed();
            self.ask_in(weather, server, "send", serve).await?;
            Ok(())
        }
        .boxed()
    }

    fn keys_query<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let body = body.to_string();
            async move {
                let keys = parts.keys.query_from(&me, body.as_bytes()).await;
                keys.map(|keys| json!(keys))
                    .map_err(|error| refused_key(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "keys_query", serve).await?.0) }.boxed()
    }

    fn keys_claim<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let body = body.to_string();
            async move {
                let keys = parts.keys.claim_from(&me, body.as_bytes()).await;
                keys.map(|keys| json!(keys))
                    .map_err(|error| refused_key(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "keys_claim", serve).await?.0) }.boxed()
    }

    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        let user_id = user_id.to_owned();
        let serve = move |parts: Arc<Parts>, me: OwnedServerName| {
            let user_id = user_id.clone();
            async move {
                let devices = parts.device_lists.devices_for(&me, &user_id).await;
                devices
                    .map(|devices| json!(devices))
                    .map_err(|error| refused_key(&error))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "user_devices", serve).await?.0) }.boxed()
    }

    fn profile<'a>(&'a self, server: &'a ServerName, user_id: &'a UserId) -> Answer<'a, Value> {
        let user_id = user_id.to_owned();
        let serve = move |parts: Arc<Parts>, _: OwnedServerName| {
            let user_id = user_id.clone();
            async move {
                let fields = parts.accounts.own_profile(&user_id).await;
                fields
                    .map(Value::Object)
                    .map_err(|error| malformed(&error.to_string()))
            }
            .boxed()
        };
        async move { Ok(self.ask(server, "profile", serve).await?.0) }.boxed()
    }
}
