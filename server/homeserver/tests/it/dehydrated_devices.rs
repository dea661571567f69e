//! The routes of dehydrated devices (MSC3814).

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    keys::{base64_of, device_keys_of, done, refused, signed_by},
    people::{PASSWORD, Person, Town},
};

const DEVICE: &str = "q+9/slept";

fn upload(person: &Person<'_>, device_id: &str) -> Value {
    let key = |n: u8| signed_by(json!({ "key": base64_of(32), "n": n }), person, device_id);
    let mut keys = device_keys_of(person, device_id);
    keys["dehydrated"] = json!(true);
    json!({
        "device_id": device_id,
        "device_data": { "algorithm": "m.dehydration.v2", "device_pickle": "p", "nonce": "n" },
        "initial_device_display_name": "Asleep",
        "device_keys": signed_by(keys, person, device_id),
        "one_time_keys": { "signed_curve25519:A": key(1) },
        "fallback_keys": { "signed_curve25519:F": key(2) },
    })
}

/// A request to the dehydrated device.
async fn ask(person: &Person<'_>, method: &str, rest: &str, body: &Value) -> Reply {
    let path = format!("/unstable/org.matrix.msc3814.v1/dehydrated_device{rest}");
    person.call_at(method, &path, body).await
}

pub(crate) async fn put(person: &Person<'_>, device_id: &str) -> Reply {
    ask(person, "PUT", "", &upload(person, device_id)).await
}

async fn send(from: &Person<'_>, to: &Person<'_>, device_id: &str, numbers: std::ops::Range<i64>) {
    for n in numbers {
        let body = json!({ "messages": { &to.user_id: { device_id: { "n": n } } } });
        let path = format!("/sendToDevice/m.test/{n}");
        done(&from.call("PUT", &path, &body).await);
    }
}

fn numbers(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| {
            assert_eq!(event["type"], "m.test");
            event["content"]["n"].as_i64().unwrap()
        })
        .collect()
}

async fn claim(asker: &Person<'_>, owner: &Person<'_>, device_id: &str) -> Value {
    let wanted = json!({
        "one_time_keys": { &owner.user_id: { device_id: "signed_curve25519" } },
    });
    let issued = done(&asker.call("POST", "/keys/claim", &wanted).await);
    issued["one_time_keys"][&owner.user_id][device_id].clone()
}

#[tokio::test]
async fn a_dehydrated_device_is_found_with_its_keys_and_goes_with_them() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let none = Value::Null;
    refused(&ask(&alice, "GET", "", &none).await, 404, "M_NOT_FOUND");
    refused(
        &ask(&alice, "DELETE", "", &json!({})).await,
        404,
        "M_NOT_FOUND",
    );
    assert_eq!(
        done(&put(&alice, DEVICE).await),
        json!({ "device_id": DEVICE })
    );
    let found = done(&ask(&alice, "GET", "", &none).await);
    let data = upload(&alice, DEVICE)["device_data"].clone();
    assert_eq!(found, json!({ "device_id": DEVICE, "device_data": data }));
    let shown = done(&alice.get("/devices").await);
    assert_eq!(shown["devices"].as_array().unwrap().len(), 2);

    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let queried = done(&bob.call("POST", "/keys/query", &wanted).await);
    let keys = &queried["device_keys"][&alice.user_id][DEVICE];
    assert_eq!(keys["dehydrated"], true);
    assert_eq!(keys["unsigned"]["device_display_name"], "Asleep");
    for key_id in ["A", "F", "F"] {
        let issued = claim(&bob, &alice, DEVICE).await;
        assert!(
            issued[format!("signed_curve25519:{key_id}")].is_object(),
            "{issued}"
        );
    }

    assert_eq!(
        done(&put(&alice, "second").await),
        json!({ "device_id": "second" })
    );
    assert_eq!(claim(&bob, &alice, DEVICE).await, Value::Null);
    let deleted = done(&ask(&alice, "DELETE", "", &json!({})).await);
    assert_eq!(deleted, json!({ "device_id": "second" }));
    refused(&ask(&alice, "GET", "", &none).await, 404, "M_NOT_FOUND");
    let queried = done(&bob.call("POST", "/keys/query", &wanted).await);
    assert_eq!(queried["device_keys"][&alice.user_id], json!({}));
    assert_eq!(claim(&bob, &alice, "second").await, Value::Null);
}

#[tokio::test]
async fn its_messages_are_handed_over_in_pages_and_stay() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    done(&put(&alice, DEVICE).await);
    let events = "/q%2B9%2Fslept/events";
    let empty = done(&ask(&alice, "POST", events, &json!({})).await);
    assert!(numbers(&empty).is_empty());
    send(&bob, &alice, DEVICE, 0..130).await;
    for _ in 0..2 {
        // The older form goes on until a page is empty.
        let (mut all, mut from) = (Vec::new(), json!({}));
        loop {
            let page = done(&ask(&alice, "POST", events, &from).await);
            let got = numbers(&page);
            assert!(got.len() <= 100);
            if got.is_empty() {
                break;
            }
            all.extend(got);
            from = json!({ "next_batch": page["next_batch"].as_str().unwrap() });
        }
        assert_eq!(all, (0..130).collect::<Vec<_>>());
    }
    // The newer one until no next page is named.
    let page = done(&ask(&alice, "GET", events, &Value::Null).await);
    let next = page["next_batch"].as_str().unwrap();
    for parameter in ["from", "next_batch"] {
        let rest = format!("{events}?{parameter}={next}");
        let last = done(&ask(&alice, "GET", &rest, &Value::Null).await);
        assert_eq!(numbers(&last), (100..130).collect::<Vec<_>>());
        assert_eq!(last.get("next_batch"), None);
    }

    let other = ask(
        &alice,
        "POST",
        &format!("/{}/events", alice.device_id),
        &json!({}),
    )
    .await;
    refused(&other, 403, "M_FORBIDDEN");
    refused(
        &ask(&bob, "POST", events, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    let bad = ask(&alice, "POST", events, &json!({ "next_batch": "x" })).await;
    refused(&bad, 400, "M_INVALID_PARAM");
    // What is put in its place has messages of its own.
    done(&put(&alice, DEVICE).await);
    let anew = done(&ask(&alice, "POST", events, &json!({})).await);
    assert!(numbers(&anew).is_empty());
}

#[tokio::test]
async fn it_takes_no_session_and_goes_with_all_devices() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    done(&put(&alice, DEVICE).await);
    let login = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
        "device_id": DEVICE,
    });
    refused(
        &town.call("POST", "/login", &login).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(
        &put(&alice, &alice.device_id.clone()).await,
        400,
        "M_INVALID_PARAM",
    );
    let every_device = put(&alice, "*").await;
    refused(&every_device, 400, "M_INVALID_PARAM");
    assert_eq!(
        done(&ask(&alice, "GET", "", &Value::Null).await)["device_id"],
        DEVICE
    );
    done(&alice.call("POST", "/logout/all", &json!({})).await);
    let again = town.person(&town.login("alice", PASSWORD).await);
    refused(
        &ask(&again, "GET", "", &Value::Null).await,
        404,
        "M_NOT_FOUND",
    );
}

#[tokio::test]
async fn an_upload_that_breaks_a_rule_leaves_what_was() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    done(&put(&alice, DEVICE).await);
    let with = |field: &str, value: Value| {
        let mut body = upload(&alice, "new");
        body[field] = value;
        body
    };
    for (body, status, errcode) in [
        (json!({}), 400, "M_BAD_JSON"),
        (with("device_id", json!("other")), 400, "M_INVALID_PARAM"),
        (with("device_data", json!("pickle")), 400, "M_BAD_JSON"),
        (with("device_data", json!({})), 400, "M_BAD_JSON"),
        (
            with(
                "device_data",
                json!({ "algorithm": "x", "p": "y".repeat(70_000) }),
            ),
            413,
            "M_TOO_LARGE",
        ),
        (with("device_keys", Value::Null), 400, "M_BAD_JSON"),
        (
            with("device_keys", upload(&alice, DEVICE)["device_keys"].clone()),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with("one_time_keys", json!({ "signed_curve25519:A": {} })),
            400,
            "M_BAD_JSON",
        ),
        (
            with("fallback_keys", json!({ "x": {} })),
            400,
            "M_INVALID_PARAM",
        ),
        (
            with("initial_device_display_name", json!("n".repeat(256))),
            400,
            "M_INVALID_PARAM",
        ),
    ] {
        refused(&ask(&alice, "PUT", "", &body).await, status, errcode);
    }
    assert_eq!(
        done(&ask(&alice, "GET", "", &Value::Null).await)["device_id"],
        DEVICE
    );
}

#[tokio::test]
async fn clients_are_told_that_it_is_here() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let versions = done(&alice.call_at("GET", "/versions", &Value::Null).await);
    assert_eq!(versions["unstable_features"]["org.matrix.msc3814"], true);
}
