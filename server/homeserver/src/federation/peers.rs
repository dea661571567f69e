//! What the engine needs of other servers, over the federation client.
//!
//! Events pass the one verifier here: nothing that another server sent reaches the engine as
//! anything but a [`VerifiedPdu`]. What does not verify is left out; what is not what was asked for
//! makes the answer malformed.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth_engine::peers::{
    Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template,
};
use hearth_engine::rooms::aliases::RoomWay;
use hearth_federation::{
    backoff::Backoff,
    client::{self, PeerClient, events, membership::Invite, transaction::OutgoingTransaction},
    key_ring::KeyRing,
};
use hearth_protocol::{
    ambient::Clock,
    event::Event,
    room_version::{ROOM_VERSIONS, RoomVersionRules},
    verify::{UnverifiedPdu, VerifiedPdu},
};
use hearth_types::ruma::{EventId, RoomAliasId, RoomId, ServerName, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The way to other servers.
pub(crate) struct Network {
    pub(super) client: PeerClient,
    /// Verifies what they sign.
    pub(crate) keys: KeyRing,
    /// Whom not to ask for now.
    pub(crate) backoff: Arc<Backoff>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Network {
    /// The one event that `event_id` names.
    async fn verified(
        &self,
        server: &ServerName,
        rules: &'static RoomVersionRules,
        event_id: &EventId,
        pdu: Bytes,
    ) -> Result<VerifiedPdu, PeerError> {
        let verified = self.keys.verify_pdus(rules, &[pdu]).await.pop();
        let pdu = match verified {
            Some(Ok(pdu)) => pdu,
            Some(Err(error)) => return Err(malformed(server, &error.to_string())),
            None => return Err(malformed(server, "it holds no event")),
        };
        if pdu.event().event_id() != event_id {
            return Err(malformed(server, "the event is another one"));
        }
        Ok(pdu)
    }

    /// Those events of a room that verify.
    async fn verified_of(
        &self,
        rules: &'static RoomVersionRules,
        room_id: &RoomId,
        pdus: Vec<Bytes>,
    ) -> Vec<VerifiedPdu> {
        let mut verified = good(self.keys.verify_pdus(rules, &pdus).await);
        verified.retain(|pdu| pdu.event().room_id() == room_id);
        verified
    }
}

/// The events that are good.
fn good<E: Display>(pdus: Vec<Result<VerifiedPdu, E>>) -> Vec<VerifiedPdu> {
    let left_out = |error: &E| tracing::debug!(%error, "an event was left out");
    let good = pdus.into_iter();
    good.filter_map(|pdu| pdu.inspect_err(left_out).ok())
        .collect()
}

impl Peers for Network {
    fn verify(&self, pdus: Vec<UnverifiedPdu>) -> BoxFuture<'_, Vec<VerifiedPdu>> {
        async move { good(self.keys.verify(pdus).await) }.boxed()
    }

    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        async move {
            let versions = known_versions();
            let asked = self.client.make_join(server, room_id, user_id, &versions);
            template(server, asked.await)
        }
        .boxed()
    }

    fn make_knock<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        async move {
            let versions = known_versions();
            let asked = self.client.make_knock(server, room_id, user_id, &versions);
            template(server, asked.await)
        }
        .boxed()
    }

    fn send_knock<'a>(
        &'a self,
        server: &'a ServerName,
        event: &'a Event,
    ) -> Answer<'a, Vec<Value>> {
        async move {
            let (room_id, event_id) = (event.room_id(), event.event_id());
            let json = event.json().clone();
            let asked = self.client.send_knock(server, room_id, event_id, json);
            let shown = asked.await.map_err(|error| failure(server, error))?;
            let read = |event: &Bytes| serde_json::from_slice(event).ok();
            Ok(shown.iter().filter_map(read).collect())
        }
        .boxed()
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        async move {
            let (room_id, event_id) = (event.room_id(), event.event_id());
            let json = event.json().clone();
            let asked = self.client.send_join(server, room_id, event_id, json);
            let answer = asked.await.map_err(|error| failure(server, error))?;
            let event = match answer.event {
                Some(event) => Some(self.verified(server, rules, event_id, event).await?),
                None => None,
            };
            Ok(JoinedState {
                state: self.verified_of(rules, room_id, answer.state).await,
                auth_chain: self.verified_of(rules, room_id, answer.auth_chain).await,
                event,
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
        async move {
            let asked = self.client.make_leave(server, room_id, user_id);
            template(server, asked.await)
        }
        .boxed()
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Answer<'a, ()> {
        async move {
            let (room_id, event_id) = (event.room_id(), event.event_id());
            let json = event.json().clone();
            let asked = self.client.send_leave(server, room_id, event_id, json);
            asked.await.map_err(|error| failure(server, error))
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
        async move {
            let shown: Vec<Bytes> = stripped_state
                .iter()
                .map(|event| event.to_string().into())
                .collect();
            let invite = Invite {
                room_id: event.room_id(),
                event_id: event.event_id(),
                room_version: rules.id,
                event: event.json(),
                invite_room_state: &shown,
            };
            let asked = self.client.invite(server, invite).await;
            let signed = asked.map_err(|error| failure(server, error))?;
            self.verified(server, rules, event.event_id(), signed).await
        }
        .boxed()
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        async move {
            let missing = events::MissingEvents {
                earliest_events: range.earliest.to_vec(),
                latest_events: range.latest.to_vec(),
                limit: range.limit,
                min_depth: 0,
            };
            let asked = self
                .client
                .get_missing_events(server, range.room_id, &missing);
            let mut pdus = asked.await.map_err(|error| failure(server, error))?;
            pdus.truncate(usize::try_from(range.limit).unwrap_or(usize::MAX));
            Ok(self.verified_of(rules, range.room_id, pdus).await)
        }
        .boxed()
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        async move {
            let asked = self.client.state_ids(server, room_id, event_id).await;
            let ids = asked.map_err(|error| failure(server, error))?;
            Ok(StateIds {
                state: ids.pdu_ids,
                auth_chain: ids.auth_chain_ids,
            })
        }
        .boxed()
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        async move {
            let asked = self.client.state(server, room_id, event_id).await;
            let answer = asked.map_err(|error| failure(server, error))?;
            Ok(JoinedState {
                state: self.verified_of(rules, room_id, answer.pdus).await,
                auth_chain: self.verified_of(rules, room_id, answer.auth_chain).await,
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
        async move {
            let asked = self.client.event(server, event_id).await;
            let pdu = asked.map_err(|error| failure(server, error))?;
            self.verified(server, rules, event_id, pdu).await
        }
        .boxed()
    }

    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        pdus: Vec<Bytes>,
        edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        async move {
            let transaction = OutgoingTransaction {
                txn_id,
                origin_server_ts: self.clock.now_ms(),
                pdus: &pdus,
                edus: &edus,
            };
            let sent = self.client.send_transaction(server, transaction).await;
            let objections = sent.map_err(|error| failure(server, error))?;
            for (event_id, objection) in objections {
                tracing::info!(%server, %event_id, objection, "an event of ours was refused");
            }
            Ok(())
        }
        .boxed()
    }

    fn keys_query<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        async move {
            let devices = part(server, &body, "device_keys")?;
            let asked = self.client.keys_query(server, &devices).await;
            let keys = asked.map_err(|error| failure(server, error))?;
            Ok(json!({
                "device_keys": keys.device_keys,
                "master_keys": keys.master_keys,
                "self_signing_keys": keys.self_signing_keys,
            }))
        }
        .boxed()
    }

    fn keys_claim<'a>(&'a self, server: &'a ServerName, body: Value) -> Answer<'a, Value> {
        async move {
            let algorithms = part(server, &body, "one_time_keys")?;
            let asked = self.client.keys_claim(server, &algorithms).await;
            let keys = asked.map_err(|error| failure(server, error))?;
            Ok(json!({ "one_time_keys": keys }))
        }
        .boxed()
    }

    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        async move {
            let asked = self.client.user_devices(server, user_id).await;
            let list = asked.map_err(|error| failure(server, error))?;
            let devices: Vec<Value> = list
                .devices
                .iter()
                .map(|device| {
                    present(&[
                        ("device_id", json!(device.device_id)),
                        ("keys", json!(device.keys)),
                        ("device_display_name", json!(device.device_display_name)),
                    ])
                })
                .collect();
            Ok(present(&[
                ("user_id", json!(list.user_id)),
                ("stream_id", json!(list.stream_id)),
                ("devices", json!(devices)),
                ("master_key", json!(list.master_key)),
                ("self_signing_key", json!(list.self_signing_key)),
            ]))
        }
        .boxed()
    }

    fn directory<'a>(
        &'a self,
        server: &'a ServerName,
        alias: &'a RoomAliasId,
    ) -> Answer<'a, RoomWay> {
        async move {
            let asked = self.client.query_directory(server, alias).await;
            let target = asked.map_err(|error| failure(server, error))?;
            Ok(RoomWay {
                room_id: target.room_id,
                servers: target.servers,
            })
        }
        .boxed()
    }

    fn profile<'a>(&'a self, server: &'a ServerName, user_id: &'a UserId) -> Answer<'a, Value> {
        async move {
            let asked = self.client.query_profile(server, user_id, None).await;
            asked
                .map(Value::Object)
                .map_err(|error| failure(server, error))
        }
        .boxed()
    }
}

fn known_versions() -> Vec<&'static str> {
    ROOM_VERSIONS.iter().map(|rules| rules.id).collect()
}

fn template(
    server: &ServerName,
    asked: Result<client::membership::Template, client::PeerError>,
) -> Result<Template, PeerError> {
    let template = asked.map_err(|error| failure(server, error))?;
    let event = serde_json::from_slice(&template.event)
        .map_err(|error| malformed(server, &error.to_string()))?;
    Ok(Template {
        // spec: server-server v1.19 §make_join: absent in answers of servers that know no other.
        room_version: template.room_version.unwrap_or_else(|| "1".to_owned()),
        event,
    })
}

/// An object of those fields that hold something.
fn present(fields: &[(&str, Value)]) -> Value {
    let fields = fields.iter().filter(|(_, value)| !value.is_null());
    let fields: Map<String, Value> = fields
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    fields.into()
}

/// The one field of a body that the engine made.
fn part<T: DeserializeOwned>(
    server: &ServerName,
    body: &Value,
    field: &str,
) -> Result<T, PeerError> {
    T::deserialize(&body[field]).map_err(|error| unsendable(server, &error.to_string()))
}

fn malformed(server: &ServerName, why: &str) -> PeerError {
    PeerError::Malformed {
        server: server.to_string(),
        why: why.to_owned(),
    }
}

/// What no server could take: as good as refused by this one.
fn unsendable(server: &ServerName, why: &str) -> PeerError {
    PeerError::Refused {
        server: server.to_string(),
        status: 400,
        errcode: "M_BAD_JSON".to_owned(),
        message: format!("not sent: {why}"),
    }
}

fn failure(server: &ServerName, error: client::PeerError) -> PeerError {
    use client::PeerError as E;
    match error {
        E::Unreachable(_) | E::BackingOff { .. } => PeerError::Unreachable {
            server: server.to_string(),
            why: error.to_string(),
        },
        E::Refused {
            status,
            errcode,
            message,
            ..
        } => PeerError::Refused {
            server: server.to_string(),
            status: status.as_u16(),
            errcode,
            message,
        },
        E::Malformed { .. } => malformed(server, &error.to_string()),
        E::Unwritable(_) | E::Unsignable(_) => unsendable(server, &error.to_string()),
    }
}
