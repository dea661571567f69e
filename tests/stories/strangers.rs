//! What servers of other people's making may and may not do here.

use reqwest::Method;
use serde_json::{Value, json};

use hearth_federation::x_matrix::SignedRequest;
use hearth_types::ruma::ServerName;

use crate::harness::{Authority, On, Server, Stranger, raw};

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["errcode"].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_must_be_signed_for_this_server_by_its_sender() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let (stranger, other) = (
        Stranger::new(&authority).await,
        Stranger::new(&authority).await,
    );
    let uri = "/_matrix/federation/v1/send/1";
    let (ours, elsewhere) = (ServerName::parse(&*one.name).unwrap(), &other.name);
    let body = json!({ "origin": stranger.name, "origin_server_ts": 1, "pdus": [] }).to_string();
    let signed = |origin, destination, content: &str, key| {
        let (method, content) = ("PUT", content.as_bytes());
        let request = SignedRequest {
            method,
            uri,
            origin,
            destination,
            content,
        };
        request
            .authorization(key)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let good = signed(&stranger.name, &ours, &body, &stranger.key);
    let answer = stranger
        .ask_as(&one, Method::PUT, uri, Some(&good), body.clone())
        .await;
    assert_eq!(answer.0, 200, "{answer:?}");
    for (what, header) in [
        ("no header", None),
        (
            "another destination",
            Some(signed(&stranger.name, elsewhere, &body, &stranger.key)),
        ),
        (
            "another body",
            Some(signed(&stranger.name, &ours, "{}", &stranger.key)),
        ),
        (
            "another's name",
            Some(signed(&other.name, &ours, &body, &stranger.key)),
        ),
        (
            "our own name",
            Some(signed(&ours, &ours, &body, &stranger.key)),
        ),
        (
            "no signature",
            Some(format!(r#"X-Matrix origin="{}""#, stranger.name)),
        ),
    ] {
        let header = header.as_deref();
        let answer = stranger
            .ask_as(&one, Method::PUT, uri, header, body.clone())
            .await;
        assert_eq!(code(&answer), (401, "M_UNAUTHORIZED"), "{what}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_must_be_the_join_that_the_path_names() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let alice = one.person("alice").await;
    let (stranger, other) = (
        Stranger::new(&authority).await,
        Stranger::new(&authority).await,
    );
    let room = alice.create_room("12", "public_chat").await;
    let elsewhere = alice.create_room("12", "public_chat").await;
    let bob = stranger.user("bob");

    let path = format!("/v1/make_join/{room}/{bob}?ver=1&ver=11");
    let answer = stranger.ask(&one, Method::GET, &path, None).await;
    assert_eq!(
        code(&answer),
        (400, "M_INCOMPATIBLE_ROOM_VERSION"),
        "{answer:?}"
    );
    assert_eq!(answer.1["room_version"], "12");
    let path = format!("/v1/make_join/{room}/{}?ver=12", other.user("eve"));
    let answer = stranger.ask(&one, Method::GET, &path, None).await;
    assert_eq!(code(&answer), (403, "M_FORBIDDEN"), "{answer:?}");

    let join = stranger.proposed(&one, &room, &bob, "join").await;
    let mut wrong = Vec::new();
    let mut leave = join.clone();
    leave.content = raw(&json!({ "membership": "leave" }));
    wrong.push(("a leave", stranger.sign(&leave)));
    let mut message = join.clone();
    (message.kind, message.state_key) = ("m.room.message".to_owned(), None);
    wrong.push(("a message", stranger.sign(&message)));
    let mut of_another = join.clone();
    of_another.state_key = Some(stranger.user("carol"));
    wrong.push(("somebody else's", stranger.sign(&of_another)));
    let mut ours = join.clone();
    ours.sender = alice.id.as_str().try_into().unwrap();
    ours.state_key = Some(alice.id.clone());
    wrong.push(("one of ours", stranger.sign(&ours)));
    let mut elsewhere_join = join.clone();
    elsewhere_join.room_id = Some(elsewhere.as_str().try_into().unwrap());
    wrong.push(("another room's", stranger.sign(&elsewhere_join)));
    let (id, mut unsigned) = stranger.sign(&join);
    unsigned["signatures"] = json!({});
    wrong.push(("unsigned", (id.clone(), unsigned)));
    let mut by_another = join.clone();
    by_another.origin_server_ts += 1;
    wrong.push(("signed by another", other.sign(&by_another)));
    wrong.push((
        "named otherwise",
        ("$other".to_owned(), stranger.sign(&join).1),
    ));
    for (what, (id, event)) in wrong {
        let answer = stranger.send_join(&one, &room, &id, &event).await;
        assert!((400..500).contains(&answer.0), "{what}: {answer:?}");
    }
    let (id, event) = stranger.sign(&join);
    let answer = other.send_join(&one, &room, &id, &event).await;
    assert!(
        (400..500).contains(&answer.0),
        "handed in by another server: {answer:?}"
    );

    let (status, joined) = stranger.send_join(&one, &room, &id, &event).await;
    assert_eq!(status, 200, "{joined}");
    assert_eq!(joined["event"], event);
    assert!(
        joined["state"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["type"] == "m.room.create")
    );
    alice.sees_membership(&room, &bob, "join").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_event_harms_no_other() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let alice = one.person("alice").await;
    let (stranger, other) = (
        Stranger::new(&authority).await,
        Stranger::new(&authority).await,
    );
    let room = alice.create_room("12", "public_chat").await;
    let bob = stranger.user("bob");
    let mut message = stranger.join(&one, &room, &bob).await;
    let mut says = |text: &str, who: &Stranger| {
        message.content = raw(&json!({ "msgtype": "m.text", "body": text }));
        message.origin_server_ts += 1;
        who.sign(&message)
    };
    let (first, last) = (says("first", &stranger), says("last", &stranger));
    let beside = says("beside", &stranger);
    let mut unsigned = says("unsigned", &stranger);
    unsigned.1["signatures"] = json!({});
    let foreign = says("signed by another", &other);
    let mut changed = says("changed", &stranger);
    changed.1["depth"] = json!(7_777);
    let mut nowhere = first.1.clone();
    nowhere["room_id"] = json!("!nowhere");
    let overlong = |field: &str, count: usize| {
        let mut event = first.1.clone();
        event[field] = vec![event[field][0].clone(); count].into();
        event
    };
    let mut deep = first.1.clone();
    deep["content"] = (0..126).fold(json!({}), |deep, _| json!({ "n": deep }));
    let mut beyond = first.1.clone();
    beyond["content"]["n"] = json!(9_007_199_254_740_992_i64);
    let pdus = [
        first.1.clone(),
        json!({}),
        json!("text"),
        unsigned.1.clone(),
        foreign.1.clone(),
        changed.1.clone(),
        nowhere,
        overlong("prev_events", 21),
        overlong("auth_events", 11),
        deep,
        beyond,
        last.1.clone(),
    ];
    let (status, body) = stranger.transact(&one, "mixed", &pdus).await;
    assert_eq!(status, 200, "{body}");
    for (id, _) in [&first, &last] {
        assert_eq!(body["pdus"][id], json!({}), "{body}");
    }
    for (id, _) in [&unsigned, &foreign] {
        assert!(body["pdus"][id]["error"].is_string(), "{body}");
    }
    alice.reads(&room, &["first", "last"]).await;
    // Again: nothing happens twice.
    assert_eq!(stranger.transact(&one, "mixed", &pdus).await.0, 200);
    let texts: Vec<String> = alice
        .messages(&room)
        .await
        .into_iter()
        .map(|(_, it)| it)
        .collect();
    assert_eq!(texts, ["first", "last"]);

    // What has no canonical form at all.
    let plain = first.1.to_string();
    let twins = plain.replacen("\"msgtype\":", "\"msgtype\":1,\"msgtype\":", 1);
    let lone = plain.replacen("\"first\"", "\"\\ud800\"", 1);
    assert!(twins != plain && lone != plain);
    let pdus = [twins, lone, beside.1.to_string()];
    let (status, body) = stranger.transact_as_is(&one, "odd", &pdus).await;
    assert_eq!(
        (status, &body["pdus"][&beside.0]),
        (200, &json!({})),
        "{body}"
    );
    alice.reads(&room, &["first", "last", "beside"]).await;

    // Where one event is all that was asked about, the answer names the rule.
    let carol = stranger.user("carol");
    let join = stranger.proposed(&one, &room, &carol, "join").await;
    let (id, mut event) = stranger.sign(&join);
    event["prev_events"] = vec![event["prev_events"][0].clone(); 21].into();
    let (status, body) = stranger.send_join(&one, &room, &id, &event).await;
    assert_eq!(
        (status, &body["errcode"]),
        (400, &json!("M_INVALID_PARAM")),
        "{body}"
    );
    let rule = "field `prev_events` must not have more than 20 entries";
    assert!(body["error"].as_str().unwrap().contains(rule), "{body}");

    let too_many = vec![json!({}); 51];
    assert_eq!(stranger.transact(&one, "many", &too_many).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_invite_of_ours_is_signed() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let alice = one.person("alice").await;
    let (stranger, other) = (
        Stranger::new(&authority).await,
        Stranger::new(&authority).await,
    );
    let public = alice.create_room("12", "public_chat").await;
    // A room of the stranger's that this server knows nothing of.
    let mut invite = stranger
        .proposed(&one, &public, &stranger.user("bob"), "join")
        .await;
    let room = "!gbkxVJXmyGQK7xTyyYMrJgFs5YXcJ5FJgMoVG6s5qMM";
    invite.room_id = Some(room.try_into().unwrap());
    invite.state_key = Some(alice.id.clone());
    invite.content = raw(&json!({ "membership": "invite" }));
    let hand_in = async |who: &Stranger, (id, event): (String, Value)| {
        let body = json!({ "room_version": "12", "event": event, "invite_room_state": [] });
        who.ask(
            &one,
            Method::PUT,
            &format!("/v2/invite/{room}/{id}"),
            Some(&body),
        )
        .await
    };
    let mut wrong = Vec::new();
    let mut message = invite.clone();
    (message.kind, message.state_key) = ("m.room.message".to_owned(), None);
    wrong.push(("a message", stranger.sign(&message)));
    let mut levels = invite.clone();
    levels.kind = "m.room.power_levels".to_owned();
    wrong.push(("another type", stranger.sign(&levels)));
    let mut join = invite.clone();
    join.content = raw(&json!({ "membership": "join" }));
    wrong.push(("a join", stranger.sign(&join)));
    let mut theirs = invite.clone();
    theirs.state_key = Some(other.user("eve"));
    wrong.push(("for another server", stranger.sign(&theirs)));
    let mut nobody = invite.clone();
    nobody.state_key = Some(format!("@nobody:{}", one.name));
    wrong.push(("for nobody", stranger.sign(&nobody)));
    let mut foreign = invite.clone();
    foreign.sender = other.user("eve").as_str().try_into().unwrap();
    wrong.push(("sent by another server's", other.sign(&foreign)));
    wrong.push(("signed by another", other.sign(&invite)));
    for (what, event) in wrong {
        let answer = hand_in(&stranger, event).await;
        assert!((400..500).contains(&answer.0), "{what}: {answer:?}");
        assert!(answer.1.get("event").is_none(), "{what}: nothing is signed");
    }
    let answer = hand_in(&stranger, stranger.sign(&invite)).await;
    assert_eq!(answer.0, 200, "{answer:?}");
    assert!(
        answer.1["event"]["signatures"][&one.name].is_object(),
        "{answer:?}"
    );
    alice.is_invited(room).await;

    // Only the server that it came from takes it back.
    let mut end = invite.clone();
    end.content = raw(&json!({ "membership": "leave" }));
    let mut by_another = end.clone();
    by_another.sender = other.user("eve").as_str().try_into().unwrap();
    let (id, event) = other.sign(&by_another);
    let (status, body) = other.transact(&one, "1", &[event]).await;
    assert!(
        status == 200 && body["pdus"][&id]["error"].is_string(),
        "{body}"
    );
    assert!(alice.has_invite(room).await);
    let (id, event) = stranger.sign(&end);
    let (status, body) = stranger.transact(&one, "1", &[event]).await;
    assert!(status == 200 && body["pdus"][&id] == json!({}), "{body}");
    alice.is_no_longer_invited(room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_shown_to_the_servers_in_it_alone() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let alice = one.person("alice").await;
    let (stranger, other) = (
        Stranger::new(&authority).await,
        Stranger::new(&authority).await,
    );
    let room = alice.create_room("12", "public_chat").await;
    let message = stranger.join(&one, &room, &stranger.user("bob")).await;
    let join_id = &message.prev_events[0];
    let event_id = alice.send(&room, "secret").await;
    let reads = [
        format!("/v1/event/{event_id}"),
        format!("/v1/event/{join_id}"),
        format!("/v1/state/{room}?event_id={event_id}"),
        format!("/v1/state_ids/{room}?event_id={event_id}"),
        format!("/v1/event_auth/{room}/{event_id}"),
        format!("/v1/backfill/{room}?v={event_id}&limit=10"),
    ];
    let missing = json!({ "earliest_events": [], "latest_events": [event_id], "limit": 10 });
    let gap = format!("/v1/get_missing_events/{room}");
    for path in &reads {
        let answer = stranger.ask(&one, Method::GET, path, None).await;
        assert_eq!(answer.0, 200, "{path}: {answer:?}");
        let answer = other.ask(&one, Method::GET, path, None).await;
        assert!(matches!(answer.0, 403 | 404), "{path}: {answer:?}");
        assert!(!answer.1.to_string().contains("secret"), "{path}");
    }
    let answer = stranger.ask(&one, Method::POST, &gap, Some(&missing)).await;
    assert_eq!(answer.0, 200, "{answer:?}");
    assert!(!answer.1["events"].as_array().unwrap().is_empty());
    let answer = other.ask(&one, Method::POST, &gap, Some(&missing)).await;
    assert!(matches!(answer.0, 403 | 404), "{answer:?}");
    // What is said in the room is sent there by itself.
    for _ in 0..200 {
        if stranger
            .pdus
            .lock()
            .unwrap()
            .iter()
            .any(|it| it["content"]["body"] == "secret")
        {
            assert!(other.pdus.lock().unwrap().is_empty());
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the message was not sent");
}
