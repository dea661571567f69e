//! Names of rooms, and the directory of public ones.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town, says},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

async fn create(person: &Person<'_>, body: Value) -> String {
    let made = done(&person.call("POST", "/createRoom", &body).await);
    made["room_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_room_is_found_by_its_names() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let ask = json!({ "preset": "public_chat", "room_alias_name": "fire" });
    let room_id = create(&alice, ask.clone()).await;
    refused(
        &bob.call("POST", "/createRoom", &ask).await,
        400,
        "M_ROOM_IN_USE",
    );
    let shown = format!("/rooms/{room_id}/state/m.room.canonical_alias");
    assert_eq!(
        done(&alice.get(&shown).await),
        json!({ "alias": "#fire:one.test" })
    );
    let found = done(
        &town
            .call("GET", "/directory/room/%23fire:one.test", &Value::Null)
            .await,
    );
    assert_eq!(
        found,
        json!({ "room_id": room_id, "servers": ["one.test"] })
    );
    let other = "/directory/room/%23hearth:one.test";
    let body = json!({ "room_id": room_id });
    refused(&bob.call("PUT", other, &body).await, 403, "M_FORBIDDEN");
    let joined = bob.call("POST", "/join/%23fire:one.test", &json!({})).await;
    assert_eq!(done(&joined)["room_id"], room_id);
    done(&bob.call("PUT", other, &body).await);
    refused(&alice.call("PUT", other, &body).await, 409, "M_UNKNOWN");
    let aliases = format!("/rooms/{room_id}/aliases");
    assert_eq!(
        done(&alice.get(&aliases).await),
        json!({ "aliases": ["#fire:one.test", "#hearth:one.test"] })
    );
    for bad in ["%23fire:two.test", "%23:one.test", "fire"] {
        let path = format!("/directory/room/{bad}");
        refused(
            &alice.call("PUT", &path, &body).await,
            400,
            "M_INVALID_PARAM",
        );
    }
    let first = "/directory/room/%23fire:one.test";
    refused(
        &bob.call("DELETE", first, &Value::Null).await,
        403,
        "M_FORBIDDEN",
    );
    done(&alice.call("DELETE", other, &Value::Null).await);
    refused(
        &alice.call("GET", other, &Value::Null).await,
        404,
        "M_NOT_FOUND",
    );
    done(&alice.call("DELETE", first, &Value::Null).await);
    assert_eq!(
        done(&alice.get(&shown).await),
        json!({}),
        "it is not shown any more"
    );
    refused(
        &bob.call("POST", "/join/%23fire:one.test", &json!({})).await,
        404,
        "M_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_room_shows_only_names_that_lead_to_it() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let ask = json!({ "preset": "public_chat", "room_alias_name": "one" });
    let room_id = create(&alice, ask).await;
    let ask = json!({ "preset": "public_chat", "room_alias_name": "two" });
    create(&alice, ask).await;
    let path = format!("/rooms/{room_id}/state/m.room.canonical_alias");
    let set = async |content: Value| alice.call("PUT", &path, &content).await;
    refused(
        &set(json!({ "alias": "#two:one.test" })).await,
        400,
        "M_BAD_ALIAS",
    );
    refused(
        &set(json!({ "alias": "#no:one.test" })).await,
        400,
        "M_BAD_ALIAS",
    );
    refused(
        &set(json!({ "alias": "none" })).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(
        &set(json!({ "alt_aliases": [1] })).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(
        &set(json!({ "alias": "#one:one.test", "alt_aliases": ["#no:one.test"] })).await,
        400,
        "M_BAD_ALIAS",
    );
    done(&set(json!({ "alt_aliases": ["#one:one.test"] })).await);
    let other = "/directory/room/%23other:one.test";
    done(
        &alice
            .call("PUT", other, &json!({ "room_id": room_id }))
            .await,
    );
    done(&set(json!({ "alias": "#other:one.test", "alt_aliases": ["#one:one.test"] })).await);
    done(&alice.call("DELETE", other, &Value::Null).await);
    assert_eq!(
        done(&alice.get(&path).await),
        json!({ "alt_aliases": ["#one:one.test"] })
    );
}

fn names(page: &Value) -> Vec<&str> {
    let chunk = page["chunk"].as_array().unwrap();
    chunk
        .iter()
        .map(|room| room["name"].as_str().unwrap_or_default())
        .collect()
}

#[tokio::test]
async fn public_rooms_are_listed_searched_and_paged() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let mut ids = Vec::new();
    for (name, kind) in [("Fire", None), ("Ice", Some("m.space")), ("Sea fire", None)] {
        let ask = json!({
            "preset": "public_chat", "visibility": "public", "name": name, "topic": "Warm",
            "creation_content": kind.map_or(json!({}), |kind| json!({ "type": kind })),
        });
        ids.push(create(&alice, ask).await);
    }
    create(&alice, json!({ "preset": "public_chat", "name": "Hidden" })).await;
    done(
        &bob.call("POST", &format!("/join/{}", ids[2]), &json!({}))
            .await,
    );
    let page = done(&town.call("GET", "/publicRooms", &Value::Null).await);
    assert_eq!(names(&page), ["Sea fire", "Fire", "Ice"]);
    assert_eq!(page["total_room_count_estimate"], 3);
    assert_eq!(
        page["chunk"][0],
        json!({
            "room_id": ids[2], "name": "Sea fire", "topic": "Warm", "num_joined_members": 2,
            "join_rule": "public", "world_readable": false, "guest_can_join": false,
        })
    );
    assert!(page.get("next_batch").is_none(), "{page}");
    let search = async |filter: Value| {
        let body = json!({ "filter": filter });
        done(&bob.call("POST", "/publicRooms", &body).await)
    };
    assert_eq!(
        names(&search(json!({ "generic_search_term": "FIRE" })).await),
        ["Sea fire", "Fire"]
    );
    assert_eq!(
        names(&search(json!({ "generic_search_term": "%" })).await),
        [""; 0]
    );
    assert_eq!(
        names(&search(json!({ "room_types": ["m.space"] })).await),
        ["Ice"]
    );
    assert_eq!(
        names(&search(json!({ "room_types": [null] })).await),
        ["Sea fire", "Fire"]
    );
    let first = done(&bob.get("/publicRooms?limit=1").await);
    let next = first["next_batch"].as_str().unwrap();
    let second = done(&bob.get(&format!("/publicRooms?limit=1&since={next}")).await);
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["Sea fire"], vec!["Fire"])
    );
    let back = second["prev_batch"].as_str().unwrap();
    let back = done(&bob.get(&format!("/publicRooms?limit=1&since={back}")).await);
    assert_eq!(names(&back), ["Sea fire"]);
    refused(
        &bob.get("/publicRooms?since=x").await,
        400,
        "M_INVALID_PARAM",
    );
}

#[tokio::test]
async fn an_entry_of_the_directory_follows_its_room() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat", "name": "One" })).await;
    done(
        &bob.call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    let path = format!("/directory/list/room/{room_id}");
    assert_eq!(
        done(&bob.get(&path).await),
        json!({ "visibility": "private" })
    );
    refused(
        &bob.call("PUT", &path, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    done(&alice.call("PUT", &path, &json!({})).await);
    assert_eq!(
        done(&bob.get(&path).await),
        json!({ "visibility": "public" })
    );
    let name = format!("/rooms/{room_id}/state/m.room.name");
    done(&alice.call("PUT", &name, &json!({ "name": "Two" })).await);
    done(
        &bob.call("POST", &format!("/rooms/{room_id}/leave"), &json!({}))
            .await,
    );
    let page = done(&bob.get("/publicRooms").await);
    assert_eq!(names(&page), ["Two"]);
    assert_eq!(page["chunk"][0]["num_joined_members"], 1);
    let named = done(&alice.call("PUT", &name, &json!({ "name": "Secret" })).await);
    let named = named["event_id"].as_str().unwrap();
    let redact = format!("/rooms/{room_id}/redact/{named}/1");
    done(&alice.call("PUT", &redact, &json!({})).await);
    let page = done(&bob.get("/publicRooms").await);
    assert!(page["chunk"][0].get("name").is_none(), "{page}");
    done(
        &alice
            .call("PUT", &path, &json!({ "visibility": "private" }))
            .await,
    );
    assert_eq!(names(&done(&bob.get("/publicRooms").await)), [""; 0]);
    refused(
        &bob.get("/directory/list/room/!none:one.test").await,
        404,
        "M_NOT_FOUND",
    );
}

#[tokio::test]
async fn a_room_is_summarized_for_who_may_join_it() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let open = create(
        &alice,
        json!({ "preset": "public_chat", "name": "Open", "room_alias_name": "open" }),
    )
    .await;
    let path = |room: &str| format!("/_matrix/client/v1/room_summary/{room}");
    let told = done(&bob.get(&path("%23open:one.test")).await);
    assert_eq!(
        (&told["room_id"], &told["name"]),
        (&json!(open), &json!("Open"))
    );
    assert_eq!(told["num_joined_members"], 1);
    assert_eq!(
        (&told["membership"], &told["room_version"]),
        (&json!("leave"), &json!("12"))
    );
    let anybody = done(&town.call("GET", &path(&open), &Value::Null).await);
    assert!(anybody.get("membership").is_none(), "{anybody}");
    let closed = create(&alice, json!({ "preset": "private_chat" })).await;
    refused(&bob.get(&path(&closed)).await, 404, "M_NOT_FOUND");
    refused(&bob.get(&path("!none:one.test")).await, 404, "M_NOT_FOUND");
    let allow = json!([{ "type": "m.room_membership", "room_id": open }]);
    let rule = json!({ "join_rule": "restricted", "allow": allow });
    let rules = format!("/rooms/{closed}/state/m.room.join_rules");
    done(&alice.call("PUT", &rules, &rule).await);
    refused(&bob.get(&path(&closed)).await, 404, "M_NOT_FOUND");
    done(&bob.call("POST", &format!("/join/{open}"), &json!({})).await);
    let told = done(&bob.get(&path(&closed)).await);
    assert_eq!(told["allowed_room_ids"], json!([open]));
}

#[tokio::test]
async fn a_space_is_walked_in_order_and_in_pages() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let space = async |name: &str| {
        let kind = json!({ "type": "m.space" });
        let ask = json!({ "preset": "public_chat", "name": name, "creation_content": kind });
        create(&alice, ask).await
    };
    let root = space("Root").await;
    let below = space("Below").await;
    let room = create(&alice, json!({ "preset": "public_chat", "name": "Room" })).await;
    let hidden = create(
        &alice,
        json!({ "preset": "private_chat", "name": "Hidden" }),
    )
    .await;
    let put = async |parent: &str, child: &str, content: Value| {
        let path = format!("/rooms/{parent}/state/m.space.child/{child}");
        done(&alice.call("PUT", &path, &content).await);
    };
    let via = json!(["one.test"]);
    put(&root, &hidden, json!({ "via": via, "order": "a" })).await;
    put(
        &root,
        &room,
        json!({ "via": via, "order": "c", "suggested": true }),
    )
    .await;
    put(&root, &below, json!({ "via": via, "order": "b" })).await;
    put(&below, &root, json!({ "via": via })).await;
    put(&below, &room, json!({ "via": [] })).await;
    let path = format!("/_matrix/client/v1/rooms/{root}/hierarchy");
    let of = |answer: &Value| {
        let rooms = answer["rooms"].as_array().unwrap();
        let names = rooms
            .iter()
            .map(|room| room["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let all = done(&bob.get(&path).await);
    assert_eq!(of(&all), ["Root", "Below", "Room"]);
    let children = all["rooms"][0]["children_state"].as_array().unwrap();
    let keys: Vec<&Value> = children.iter().map(|child| &child["state_key"]).collect();
    assert_eq!(keys, [&json!(hidden), &json!(below), &json!(room)]);
    assert!(children[0]["origin_server_ts"].is_number());
    let page = done(&bob.get(&format!("{path}?limit=2")).await);
    assert_eq!(of(&page), ["Root", "Below"]);
    let next = page["next_batch"].as_str().unwrap();
    let page = done(&bob.get(&format!("{path}?limit=2&from={next}")).await);
    assert_eq!(of(&page), ["Room"]);
    assert!(page.get("next_batch").is_none());
    for changed in ["max_depth=1", "suggested_only=true"] {
        let other = bob.get(&format!("{path}?from={next}&{changed}")).await;
        refused(&other, 400, "M_INVALID_PARAM");
    }
    let suggested = done(&bob.get(&format!("{path}?suggested_only=true")).await);
    assert_eq!(of(&suggested), ["Root", "Room"]);
    let shallow = done(&bob.get(&format!("{path}?max_depth=0")).await);
    assert_eq!(of(&shallow), ["Root"]);
    let foreign = format!("/_matrix/client/v1/rooms/{hidden}/hierarchy");
    refused(&bob.get(&foreign).await, 403, "M_FORBIDDEN");
}
