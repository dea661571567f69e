use std::collections::BTreeMap;
use std::sync::Mutex;

use futures_util::future::join_all;
use hearth_types::ruma::{EventId, RoomId, UserId};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};

use super::*;
use crate::client::events::MissingEvents;
use crate::client::membership::Invite;
use crate::client::transaction::OutgoingTransaction;
use crate::inbound::{InboundRequest, authenticate};
use crate::testing::{Seen, TestNet, TestPeer, TestServer, reply};

/// A pair of servers: one asks, two answers whatever the test wants.
struct Pair {
    net: TestNet,
    one: TestPeer,
    two: OwnedServerName,
    server: TestServer,
    answer: Arc<Mutex<(u16, String)>>,
}

async fn pair() -> Pair {
    let net = TestNet::new();
    let one = net.peer("one.test", 1).await;
    let answer = Arc::new(Mutex::new((200, "{}".to_owned())));
    let given = answer.clone();
    let server = net
        .serve(&["two.test"], move |_| {
            let (status, body) = given.lock().unwrap().clone();
            std::future::ready(reply(status, body))
        })
        .await;
    Pair {
        two: server.name("two.test"),
        net,
        one,
        server,
        answer,
    }
}

impl Pair {
    fn client(&self) -> PeerClient {
        self.net.peer_client(&self.one)
    }

    fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn last(&self) -> Seen {
        self.server.seen().pop().unwrap()
    }

    fn last_line(&self) -> String {
        let Seen {
            method, uri, body, ..
        } = self.last();
        let body = String::from_utf8(body.to_vec()).unwrap();
        format!("{method} {uri} {body}").trim_end().to_owned()
    }
}

fn room() -> &'static RoomId {
    <&RoomId>::try_from("!r/:one.test").unwrap()
}

fn event_id() -> &'static EventId {
    <&EventId>::try_from("$e_v-1").unwrap()
}

fn bob() -> &'static UserId {
    <&UserId>::try_from("@bob:two.test").unwrap()
}

fn text(pieces: &[Bytes]) -> Vec<&str> {
    pieces
        .iter()
        .map(|piece| std::str::from_utf8(piece).unwrap())
        .collect()
}

#[tokio::test]
async fn the_other_side_knows_who_asks() {
    let pair = pair().await;
    let client = pair.client();
    let request = client.version(&pair.two);
    fn may_be_spawned(_: &impl Send) {}
    may_be_spawned(&request);
    request.await.unwrap();
    let missing = MissingEvents {
        earliest_events: vec![],
        latest_events: vec![event_id().to_owned()],
        limit: 5,
        min_depth: 0,
    };
    pair.answers(200, r#"{"events":[]}"#);
    client
        .get_missing_events(&pair.two, room(), &missing)
        .await
        .unwrap();
    pair.answers(200, r#"{"pdus":[{}]}"#);
    client
        .event(&pair.two, <&EventId>::try_from("$a%/?#ü'..").unwrap())
        .await
        .unwrap();
    let keys = pair.net.key_ring(&[]);
    assert_eq!(pair.server.hits(), 3);
    for seen in pair.server.seen() {
        let request = InboundRequest {
            method: seen.method.as_str(),
            uri: &seen.uri,
            headers: &seen.headers,
            body: &seen.body,
        };
        let sender = authenticate(&keys, &pair.two, request).await;
        assert_eq!(sender.as_ref(), Ok(&pair.one.name), "{seen:?}");
        assert_eq!(seen.headers[HOST], pair.two.as_str());
        assert_eq!(seen.sni.as_deref(), Some("two.test"));
        let is_json = seen
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/json");
        assert_eq!(is_json, !seen.body.is_empty());
    }
}

#[tokio::test]
async fn membership_requests_have_the_shapes_of_the_specification() {
    let pair = pair().await;
    let (client, two) = (pair.client(), &pair.two);
    pair.answers(200, r#"{"room_version":"12","event":{"a": 1.0,"a":2}}"#);
    let template = client
        .make_join(two, room(), bob(), &["11", "12"])
        .await
        .unwrap();
    assert_eq!(template.room_version.as_deref(), Some("12"));
    assert_eq!(template.event, r#"{"a": 1.0,"a":2}"#, "as received");
    let path = "%21r%2F%3Aone.test/%40bob%3Atwo.test";
    assert_eq!(
        pair.last_line(),
        format!("GET /_matrix/federation/v1/make_join/{path}?ver=11&ver=12")
    );
    client.make_knock(two, room(), bob(), &["7"]).await.unwrap();
    assert_eq!(
        pair.last_line(),
        format!("GET /_matrix/federation/v1/make_knock/{path}?ver=7")
    );
    client.make_leave(two, room(), bob()).await.unwrap();
    assert_eq!(
        pair.last_line(),
        format!("GET /_matrix/federation/v1/make_leave/{path}")
    );

    let path = "%21r%2F%3Aone.test/%24e_v-1";
    pair.answers(200, r#"{"origin":"x","event":{"e":1},"state":[{"s": 1},{}],"auth_chain":[],"servers_in_room":["a.test"]}"#);
    let pdu = Bytes::from_static(br#"{"type":"m.room.member"}"#);
    let joined = client
        .send_join(two, room(), event_id(), pdu.clone())
        .await
        .unwrap();
    assert_eq!(joined.event.as_deref(), Some(&br#"{"e":1}"#[..]));
    assert_eq!(text(&joined.state), [r#"{"s": 1}"#, "{}"]);
    assert_eq!(
        (joined.members_omitted, joined.servers_in_room.len()),
        (false, 1)
    );
    assert_eq!(
        pair.last_line(),
        format!(
            r#"PUT /_matrix/federation/v2/send_join/{path}?omit_members=false {{"type":"m.room.member"}}"#
        )
    );
    pair.answers(200, r#"{"knock_room_state":[{"k": 1}]}"#);
    let shown = client.send_knock(two, room(), event_id(), pdu.clone());
    assert_eq!(text(&shown.await.unwrap()), [r#"{"k": 1}"#]);
    assert_eq!(
        pair.last_line(),
        format!(r#"PUT /_matrix/federation/v1/send_knock/{path} {{"type":"m.room.member"}}"#)
    );
    pair.answers(200, "{}");
    client
        .send_leave(two, room(), event_id(), pdu)
        .await
        .unwrap();
    assert_eq!(
        pair.last_line(),
        format!(r#"PUT /_matrix/federation/v2/send_leave/{path} {{"type":"m.room.member"}}"#)
    );

    pair.answers(200, r#"{"event": {"signed": true}}"#);
    let invite_room_state = [Bytes::from_static(b"{\"b\":1}"), Bytes::from_static(b"{}")];
    let invite = Invite {
        room_id: room(),
        event_id: event_id(),
        room_version: "11",
        event: br#"{"c":2}"#,
        invite_room_state: &invite_room_state,
    };
    assert_eq!(
        client.invite(two, invite).await.unwrap(),
        r#"{"signed": true}"#
    );
    let body = r#"{"room_version":"11","event":{"c":2},"invite_room_state":[{"b":1},{}]}"#;
    assert_eq!(
        pair.last_line(),
        format!("PUT /_matrix/federation/v2/invite/{path} {body}")
    );
    let broken = client
        .invite(
            two,
            Invite {
                event: b"{",
                ..invite
            },
        )
        .await;
    assert!(matches!(broken, Err(PeerError::Unwritable(_))));
}

#[tokio::test]
async fn events_are_fetched_as_they_were_written() {
    let pair = pair().await;
    let (client, two) = (pair.client(), &pair.two);
    let base = "/_matrix/federation/v1";
    let room_path = "%21r%2F%3Aone.test";
    pair.answers(200, r#"{"pdu_ids":["$a"],"auth_chain_ids":["$b","$c"]}"#);
    let ids = client.state_ids(two, room(), event_id()).await.unwrap();
    assert_eq!((ids.pdu_ids.len(), ids.auth_chain_ids.len()), (1, 2));
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/state_ids/{room_path}?event_id=%24e_v-1")
    );

    pair.answers(200, r#"{"pdus":[{"x": 1}],"auth_chain":[ {"y":2} ]}"#);
    let state = client.state(two, room(), event_id()).await.unwrap();
    assert_eq!(
        (text(&state.pdus), text(&state.auth_chain)),
        (vec![r#"{"x": 1}"#], vec![r#"{"y":2}"#])
    );
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/state/{room_path}?event_id=%24e_v-1")
    );
    assert_eq!(client.event(two, event_id()).await.unwrap(), r#"{"x": 1}"#);
    assert_eq!(pair.last_line(), format!("GET {base}/event/%24e_v-1"));
    assert_eq!(
        text(&client.event_auth(two, room(), event_id()).await.unwrap()),
        [r#"{"y":2}"#]
    );
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/event_auth/{room_path}/%24e_v-1")
    );
    let from = [event_id().to_owned(), "$f".try_into().unwrap()];
    assert_eq!(
        client.backfill(two, room(), &from, 7).await.unwrap().len(),
        1
    );
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/backfill/{room_path}?limit=7&v=%24e_v-1&v=%24f")
    );

    let missing = MissingEvents {
        earliest_events: vec!["$a".try_into().unwrap()],
        latest_events: vec!["$b".try_into().unwrap()],
        limit: 10,
        min_depth: 3,
    };
    pair.answers(200, r#"{"events":[{"z":3},5]}"#);
    let events = client
        .get_missing_events(two, room(), &missing)
        .await
        .unwrap();
    assert_eq!(text(&events), [r#"{"z":3}"#, "5"]);
    let body = r#"{"earliest_events":["$a"],"latest_events":["$b"],"limit":10,"min_depth":3}"#;
    assert_eq!(
        pair.last_line(),
        format!("POST {base}/get_missing_events/{room_path} {body}")
    );
}

#[tokio::test]
async fn a_transaction_is_delivered_unchanged() {
    let pair = pair().await;
    let transaction = OutgoingTransaction {
        txn_id: "t/1",
        origin_server_ts: 17,
        pdus: &[Bytes::from_static(br#"{"b":1,"a":2}"#)],
        edus: &[Bytes::from_static(
            br#"{"edu_type":"m.typing","content":{}}"#,
        )],
    };
    pair.answers(200, r#"{"pdus":{"$a":{},"$b":{"error":"not allowed"}}}"#);
    let objections = pair
        .client()
        .send_transaction(&pair.two, transaction)
        .await
        .unwrap();
    assert_eq!(
        objections,
        BTreeMap::from([("$b".try_into().unwrap(), "not allowed".to_owned())])
    );
    let body = format!(
        r#"{{"edus":[{{"edu_type":"m.typing","content":{{}}}}],"origin":"{}","origin_server_ts":17,"pdus":[{{"b":1,"a":2}}]}}"#,
        pair.one.name
    );
    assert_eq!(
        pair.last_line(),
        format!("PUT /_matrix/federation/v1/send/t%2F1 {body}")
    );
    for delivered in ["{}", r#"{"pdus":7}"#, "no json"] {
        pair.answers(200, delivered);
        let outcome = pair.client().send_transaction(&pair.two, transaction).await;
        assert!(outcome.unwrap().is_empty(), "a 200 has delivered it");
    }
}

#[tokio::test]
async fn people_rooms_and_keys_are_asked_after() {
    let pair = pair().await;
    let (client, two) = (pair.client(), &pair.two);
    let base = "/_matrix/federation/v1";
    pair.answers(200, r#"{"displayname":"Bob","avatar_url":null}"#);
    let profile = client.query_profile(two, bob(), None).await.unwrap();
    assert_eq!(profile["displayname"], "Bob");
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/query/profile?user_id=%40bob%3Atwo.test")
    );
    client
        .query_profile(two, bob(), Some("displayname"))
        .await
        .unwrap();
    assert!(pair.last_line().ends_with("&field=displayname"));

    pair.answers(200, r##"{"room_id":"!r:two.test","servers":["two.test"]}"##);
    let alias = client
        .query_directory(two, "#a:two.test".try_into().unwrap())
        .await
        .unwrap();
    assert_eq!(
        (alias.room_id.as_str(), alias.servers.len()),
        ("!r:two.test", 1)
    );
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/query/directory?room_alias=%23a%3Atwo.test")
    );

    pair.answers(200, r#"{"device_keys":{"@bob:two.test":{"D":{"k": 1}}},"master_keys":{"@bob:two.test":{"m":2}}}"#);
    let wanted = BTreeMap::from([(bob().to_owned(), vec![])]);
    let keys = client.keys_query(two, &wanted).await.unwrap();
    assert_eq!(
        keys.device_keys[bob()].values().next().unwrap().get(),
        r#"{"k": 1}"#
    );
    assert_eq!(
        (keys.master_keys.len(), keys.self_signing_keys.len()),
        (1, 0)
    );
    let body = r#"{"device_keys":{"@bob:two.test":[]}}"#;
    assert_eq!(
        pair.last_line(),
        format!("POST {base}/user/keys/query {body}")
    );

    pair.answers(
        200,
        r#"{"one_time_keys":{"@bob:two.test":{"D":{"signed_curve25519:A":{"key":"x"}}}}}"#,
    );
    let algorithm = BTreeMap::from([("D".into(), "signed_curve25519".to_owned())]);
    let claimed = client
        .keys_claim(two, &BTreeMap::from([(bob().to_owned(), algorithm)]))
        .await;
    assert_eq!(claimed.unwrap()[bob()].len(), 1);
    let body = r#"{"one_time_keys":{"@bob:two.test":{"D":"signed_curve25519"}}}"#;
    assert_eq!(
        pair.last_line(),
        format!("POST {base}/user/keys/claim {body}")
    );

    pair.answers(
        200,
        r#"{"user_id":"@bob:two.test","stream_id":5,"devices":[{"device_id":"D","keys":{"a":1}}]}"#,
    );
    let devices = client.user_devices(two, bob()).await.unwrap();
    assert_eq!((devices.stream_id, devices.devices.len()), (5, 1));
    assert_eq!(
        pair.last_line(),
        format!("GET {base}/user/devices/%40bob%3Atwo.test")
    );
    pair.answers(200, r#"{"server":{"name":"Hearth","version":"1"}}"#);
    assert_eq!(
        client.version(two).await.unwrap().name.as_deref(),
        Some("Hearth")
    );
}

#[tokio::test]
async fn errors_say_what_happened() {
    let pair = pair().await;
    let (client, two) = (pair.client(), &pair.two);
    pair.answers(403, r#"{"errcode":"M_FORBIDDEN","error":"no"}"#);
    let error = client.state(two, room(), event_id()).await.unwrap_err();
    assert_eq!(error.errcode(), Some("M_FORBIDDEN"));
    assert_eq!(
        error.to_string(),
        "the server refused with 403 Forbidden M_FORBIDDEN: no"
    );
    pair.answers(404, "<html>");
    assert_eq!(
        client.version(two).await.unwrap_err().errcode(),
        Some("M_UNKNOWN")
    );

    let malformed = [
        ("[]", "must be a JSON object"),
        ("{}", "missing field `pdus`"),
        (r#"{"pdus":5,"auth_chain":[]}"#, "field `pdus`"),
        (r#"{"pdus":[],"auth_chain":[]} x"#, "trailing"),
    ];
    for (body, reason) in malformed {
        pair.answers(200, body);
        let error = client
            .state(two, room(), event_id())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("answer to state") && error.contains(reason),
            "{error}"
        );
    }
    pair.answers(200, r#"{"pdus":[]}"#);
    let error = client.event(two, event_id()).await.unwrap_err().to_string();
    assert!(error.contains("`pdus`"), "{error}");
}

#[tokio::test]
async fn a_server_that_fails_is_left_alone_unless_somebody_waits() {
    let pair = pair().await;
    let (client, two) = (pair.client(), &pair.two);
    pair.answers(502, "");
    let fetch = || client.event(two, event_id());
    assert!(matches!(fetch().await, Err(PeerError::Refused { .. })));
    assert!(matches!(fetch().await, Err(PeerError::BackingOff { .. })));
    assert_eq!(pair.server.hits(), 1);
    pair.net.clock.advance(100);
    assert!(matches!(fetch().await, Err(PeerError::Refused { .. })));
    assert!(matches!(fetch().await, Err(PeerError::BackingOff { .. })));

    pair.answers(200, r#"{"pdus":[{}]}"#);
    assert!(
        client.query_profile(two, bob(), None).await.is_ok(),
        "somebody waits"
    );
    assert!(fetch().await.is_ok(), "and it was heard from");
    pair.answers(404, "{}");
    assert!(matches!(fetch().await, Err(PeerError::Refused { .. })));
    assert!(
        matches!(fetch().await, Err(PeerError::Refused { .. })),
        "a refusal is a sign of life"
    );
}

#[tokio::test]
async fn a_dead_server_delays_nobody_else() {
    let pair = pair().await;
    let client = pair.client();
    let silent = pair
        .net
        .serve(&["silent.test"], |_| std::future::pending())
        .await;
    let dead: OwnedServerName = "127.0.0.1:1".try_into().unwrap();
    assert!(matches!(
        client.event(&dead, event_id()).await,
        Err(PeerError::Unreachable(_))
    ));
    assert!(matches!(
        client.event(&dead, event_id()).await,
        Err(PeerError::BackingOff { .. })
    ));
    pair.answers(200, r#"{"pdus":[{}]}"#);
    let silent = silent.name("silent.test");
    let waiting = client.event(&silent, event_id());
    let others = join_all((0..5).map(|_| client.event(&pair.two, event_id())));
    tokio::select! {
        _ = waiting => panic!("a silent server has answered"),
        answers = others => assert!(answers.iter().all(Result::is_ok)),
    }
}

#[tokio::test]
async fn services_are_tried_in_their_order() {
    let net = TestNet::new();
    let one = net.peer("one.test", 1).await;
    let server = net
        .serve(&["srv.test", "machine.test"], |_| async {
            reply(200, "{}")
        })
        .await;
    net.dns.host("srv.test", &["10.0.0.1"]);
    net.dns.service(
        "_matrix-fed._tcp.srv.test",
        &[
            ("missing.test", 9),
            ("machine.test", 1),
            ("machine.test", server.port()),
        ],
    );
    let name: OwnedServerName = "srv.test".try_into().unwrap();
    net.peer_client(&one).version(&name).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.headers[HOST], "srv.test");
    assert_eq!(seen.sni.as_deref(), Some("srv.test"));
    let authorization = seen.headers[AUTHORIZATION].to_str().unwrap();
    assert!(authorization.contains(r#"destination="srv.test""#));
}
