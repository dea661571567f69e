//! The routes of typing and presence.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town, says},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn sync(person: &Person<'_>, query: &str) -> Value {
    done(&person.get(&format!("/sync?timeout=0&{query}")).await)
}

async fn room_of(alice: &Person<'_>, bob: &Person<'_>) -> String {
    let body = json!({ "preset": "public_chat" });
    let made = done(&alice.call("POST", "/createRoom", &body).await);
    let room_id = made["room_id"].as_str().unwrap().to_owned();
    done(
        &bob.call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    room_id
}

#[tokio::test]
async fn people_see_each_other_type() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = room_of(&alice, &bob).await;
    let path = format!("/rooms/{room_id}/typing/{}", alice.user_id);
    let typing = json!({ "typing": true, "timeout": 30_000 });
    done(&alice.call("PUT", &path, &typing).await);
    let seen = sync(&bob, "set_presence=offline").await;
    let event = json!({ "type": "m.typing", "content": { "user_ids": [alice.user_id] } });
    let events = &seen["rooms"]["join"][&room_id]["ephemeral"]["events"];
    assert_eq!(events, &json!([event]));
    done(&alice.call("PUT", &path, &json!({ "typing": false })).await);
    let since = format!("since={}", seen["next_batch"].as_str().unwrap());
    let seen = sync(&bob, &since).await;
    let events = &seen["rooms"]["join"][&room_id]["ephemeral"]["events"];
    assert_eq!(events[0]["content"], json!({ "user_ids": [] }));
    let other = bob.call("PUT", &path, &typing).await;
    assert_eq!(says(&other), (403, "M_FORBIDDEN".to_owned()));
    let carol = town.register("carol").await;
    let path = format!("/rooms/{room_id}/typing/{}", carol.user_id);
    let outside = carol.call("PUT", &path, &typing).await;
    assert_eq!(says(&outside), (403, "M_FORBIDDEN".to_owned()));
    let malformed = carol.call("PUT", &path, &json!({ "typing": "yes" })).await;
    assert_eq!(says(&malformed), (400, "M_BAD_JSON".to_owned()));
}

#[tokio::test]
async fn people_see_who_is_online() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    room_of(&alice, &bob).await;
    let path = format!("/presence/{}/status", alice.user_id);
    let gone = done(&bob.get(&path).await);
    assert_eq!(gone["presence"], "offline");
    let body = json!({ "presence": "online", "status_msg": "at the fire" });
    done(&alice.call("PUT", &path, &body).await);
    let seen = done(&bob.get(&path).await);
    assert_eq!(seen["presence"], "online");
    assert_eq!(seen["status_msg"], "at the fire");
    assert_eq!(seen["currently_active"], true);
    assert!(seen["last_active_ago"].is_i64());
    // Polling is being online, unless it says otherwise.
    let own = format!("/presence/{}/status", bob.user_id);
    sync(&bob, "set_presence=offline").await;
    assert_eq!(done(&alice.get(&own).await)["presence"], "offline");
    sync(&bob, "set_presence=unavailable").await;
    assert_eq!(done(&alice.get(&own).await)["presence"], "unavailable");
    sync(&bob, "").await;
    assert_eq!(done(&alice.get(&own).await)["presence"], "online");
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    assert_eq!(says(&bob.call("PUT", &path, &body).await), forbidden);
    let carol = town.register("carol").await;
    assert_eq!(says(&carol.get(&path).await), forbidden);
    let unknown = json!({ "presence": "asleep" });
    let refused = alice.call("PUT", &path, &unknown).await;
    assert_eq!(says(&refused), (400, "M_BAD_JSON".to_owned()));
    let refused = alice.get("/sync?set_presence=asleep").await;
    assert_eq!(says(&refused), (400, "M_INVALID_PARAM".to_owned()));
}

#[tokio::test]
async fn nobody_is_online_where_presence_is_switched_off() {
    let off = |settings| settings + "[presence]\nenabled = false\n";
    let town = Town::with(off).await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    room_of(&alice, &bob).await;
    let path = format!("/presence/{}/status", alice.user_id);
    let body = json!({ "presence": "online", "status_msg": "at the fire" });
    // Clients set it without asking whether anybody looks.
    done(&alice.call("PUT", &path, &body).await);
    sync(&alice, "set_presence=online").await;
    for who in [&alice, &bob] {
        assert_eq!(
            done(&who.get(&path).await),
            json!({ "presence": "offline" })
        );
        let seen = sync(who, "set_presence=online").await;
        assert_eq!(seen["presence"], json!({ "events": [] }));
    }
    // What is wrong is wrong all the same.
    let unknown = json!({ "presence": "asleep" });
    let refused = alice.call("PUT", &path, &unknown).await;
    assert_eq!(says(&refused), (400, "M_BAD_JSON".to_owned()));
    let forbidden = (403, "M_FORBIDDEN".to_owned());
    assert_eq!(says(&bob.call("PUT", &path, &body).await), forbidden);
}
