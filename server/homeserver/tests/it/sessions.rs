//! How one gets into an account and stays in it: tokens of every kind, and who registers how.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{PASSWORD, Town, says},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn proof() -> Value {
    json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": "alice" },
    })
}

#[tokio::test]
async fn a_client_that_refreshes_stays_signed_in() {
    let town = Town::start().await;
    let body = json!({
        "username": "alice", "password": PASSWORD, "refresh_token": true,
        "auth": { "type": "m.login.dummy" },
    });
    let made = done(&town.call("POST", "/register", &body).await);
    assert_eq!(made["expires_in_ms"], 60 * 60 * 1_000);
    let login = json!({
        "type": "m.login.password", "password": PASSWORD, "refresh_token": true,
        "identifier": { "type": "m.id.user", "user": "alice" },
    });
    for opened in [made, done(&town.call("POST", "/login", &login).await)] {
        let first = json!({ "refresh_token": opened["refresh_token"] });
        let renewed = done(&town.call("POST", "/refresh", &first).await);
        assert_eq!(renewed["expires_in_ms"], 60 * 60 * 1_000);
        let whoami = async |token: &Value| {
            let path = "/_matrix/client/v3/account/whoami";
            town.at("GET", path, token.as_str(), &Value::Null).await
        };
        done(&whoami(&opened["access_token"]).await);
        let who = done(&whoami(&renewed["access_token"]).await);
        assert_eq!(who["device_id"], opened["device_id"]);
        let replaced = whoami(&opened["access_token"]).await;
        refused(&replaced, 401, "M_UNKNOWN_TOKEN");
        assert_eq!(replaced.json()["soft_logout"], true, "its device is there");

        let replayed = town.call("POST", "/refresh", &first).await;
        refused(&replayed, 401, "M_UNKNOWN_TOKEN");
        assert_eq!(replayed.json()["soft_logout"], true);
        let over = whoami(&renewed["access_token"]).await;
        refused(&over, 401, "M_UNKNOWN_TOKEN");
        assert_eq!(
            over.json()["soft_logout"],
            true,
            "its client keeps its keys"
        );
    }
    let unknown = town
        .call("POST", "/refresh", &json!({ "refresh_token": "a.b" }))
        .await;
    refused(&unknown, 401, "M_UNKNOWN_TOKEN");
    assert_eq!(unknown.json()["soft_logout"], false);
    refused(
        &town.call("POST", "/refresh", &json!({})).await,
        400,
        "M_BAD_JSON",
    );
}

#[tokio::test]
async fn a_poll_outlives_its_token_but_not_its_session() {
    let town = Town::start().await;
    for (end, expected) in [
        (None, (200, String::new())),
        (Some("/logout"), (401, "M_UNKNOWN_TOKEN".to_owned())),
        (Some("lock"), (401, "M_USER_LOCKED".to_owned())),
    ] {
        let name = format!("alice{}", expected.1.to_lowercase());
        let body = json!({
            "username": name, "password": PASSWORD, "refresh_token": true,
            "auth": { "type": "m.login.dummy" },
        });
        let made = town.call("POST", "/register", &body).await;
        let before = town.person(&made);
        let since = done(&before.get("/sync").await)["next_batch"].clone();
        let poll = format!("/sync?timeout=1000&since={}", text(&since));
        let meanwhile = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let refresh = json!({ "refresh_token": made.json()["refresh_token"] });
            let token = text(&done(&town.call("POST", "/refresh", &refresh).await)["access_token"]);
            let at = async |method: &str, path: &str, body: &Value| {
                let path = format!("/_matrix/client/v3{path}");
                done(&town.at(method, &path, Some(&token), body).await)
            };
            at("GET", "/account/whoami", &Value::Null).await;
            match end {
                Some("lock") => {
                    let path = format!("/users/%40{name}%3Aone.test/moderation");
                    done(&town.admin("PUT", &path, &json!({ "locked": true })).await);
                }
                Some(path) => drop(at("POST", path, &json!({})).await),
                None => {}
            }
        };
        let (polled, ()) = tokio::join!(before.get(&poll), meanwhile);
        assert_eq!(says(&polled), expected, "{end:?}");
        let soft = before.get("/account/whoami").await.json()["soft_logout"].clone();
        assert_eq!(soft, end != Some("/logout"), "{end:?}");
    }
}

#[tokio::test]
async fn who_shows_a_registration_token_registers() {
    let town = Town::with(|settings| {
        settings.replace(
            "enabled = true\n[pass",
            "enabled = true\nrequire_token = true\n[pass",
        )
    })
    .await;
    let body = json!({ "token": "welcome", "uses_allowed": 1 });
    let made = town.admin("POST", "/registration-tokens", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let valid = async |token: &str| {
        let path = format!(
            "/_matrix/client/v1/register/m.login.registration_token/validity?token={token}"
        );
        done(&town.at("GET", &path, None, &Value::Null).await)["valid"]
            .as_bool()
            .unwrap()
    };
    assert!(valid("welcome").await && !valid("other").await);
    let register = async |auth: Value| {
        let body = json!({ "username": "alice", "password": PASSWORD, "auth": auth });
        town.call("POST", "/register", &body).await
    };
    let asked = town
        .call("POST", "/register", &json!({ "username": "alice" }))
        .await;
    assert_eq!(asked.status, 401);
    let stages = json!(["m.login.registration_token", "m.login.dummy"]);
    assert_eq!(asked.json()["flows"][0]["stages"], stages);
    let session = asked.json()["session"].clone();
    let skipped = register(json!({ "type": "m.login.dummy", "session": session })).await;
    refused(&skipped, 401, "M_FORBIDDEN");
    let wrong =
        json!({ "type": "m.login.registration_token", "token": "other", "session": session });
    refused(&register(wrong).await, 401, "M_FORBIDDEN");
    let right =
        json!({ "type": "m.login.registration_token", "token": "welcome", "session": session });
    let shown = register(right).await;
    assert_eq!(
        shown.json()["completed"],
        json!(["m.login.registration_token"])
    );
    let alice =
        town.person(&register(json!({ "type": "m.login.dummy", "session": session })).await);
    assert!(alice.is_signed_in().await);
    assert!(!valid("welcome").await);
    let listed = done(
        &town
            .admin("GET", "/registration-tokens", &Value::Null)
            .await,
    );
    assert_eq!(listed["tokens"][0]["completed"], 1);
}

#[tokio::test]
async fn closed_registration_says_so_of_tokens_too() {
    let town = Town::with(|settings| {
        settings.replace(
            "[registration]\nenabled = true",
            "[registration]\nenabled = false",
        )
    })
    .await;
    let path = "/_matrix/client/v1/register/m.login.registration_token/validity?token=x";
    refused(
        &town.at("GET", path, None, &Value::Null).await,
        403,
        "M_FORBIDDEN",
    );
    refused(
        &town.call("POST", "/register", &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    let secret = town
        .at("GET", "/_synapse/admin/v1/register", None, &Value::Null)
        .await;
    refused(&secret, 400, "M_UNKNOWN");
}

#[tokio::test]
async fn a_new_device_signs_in_with_a_token_of_another() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let flows = done(&town.call("GET", "/login", &Value::Null).await)["flows"].clone();
    assert_eq!(
        flows[1],
        json!({ "type": "m.login.token", "get_login_token": true })
    );
    let able = done(&alice.get("/capabilities").await);
    assert_eq!(able["capabilities"]["m.get_login_token"]["enabled"], true);
    let path = "/_matrix/client/v1/login/get_token";
    let asked = alice.at("POST", path, &json!({})).await;
    assert_eq!(asked.status, 401);
    let made = done(&alice.at("POST", path, &json!({ "auth": proof() })).await);
    assert_eq!(made["expires_in_ms"], 120_000);
    let login = json!({ "type": "m.login.token", "token": made["login_token"] });
    let other = town.person(&town.call("POST", "/login", &login).await);
    assert!(other.is_signed_in().await && other.device_id != alice.device_id);
    refused(
        &town.call("POST", "/login", &login).await,
        403,
        "M_FORBIDDEN",
    );
}

#[tokio::test]
async fn a_proof_that_lacks_something_is_answered_with_the_challenge() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let path = format!("/devices/{}", alice.device_id);
    let by = async |auth: Value| alice.call("DELETE", &path, &json!({ "auth": auth })).await;
    let asked = by(json!({})).await;
    assert_eq!(asked.status, 401, "{asked:?}");
    assert_eq!(asked.json()["flows"][0]["stages"][0], "m.login.password");
    assert_eq!(asked.json().get("errcode"), None, "there was no proof yet");
    let session = asked.json()["session"].clone();
    for lacking in [
        json!({ "type": "m.login.password", "session": session }),
        json!({ "type": "m.login.password", "user": "alice", "session": session }),
    ] {
        let again = by(lacking).await;
        refused(&again, 401, "M_FORBIDDEN");
        assert_eq!(again.json()["session"], session);
    }
    refused(&by(json!("text")).await, 400, "M_BAD_JSON");
    let older = json!({
        "type": "m.login.password", "user": "alice", "password": PASSWORD, "session": session,
    });
    done(&by(older).await);
    assert!(!alice.is_signed_in().await);
}

#[tokio::test]
async fn another_service_learns_who_showed_it_a_token() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let path = "/user/@alice:one.test/openid/request_token";
    let made = done(&alice.call("POST", path, &json!({})).await);
    assert_eq!(made["token_type"], "Bearer");
    assert_eq!(
        (&made["matrix_server_name"], &made["expires_in"]),
        (&json!("one.test"), &json!(3_600))
    );
    refused(
        &bob.call("POST", path, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    let ask = async |token: &str| {
        let path = format!("/_matrix/federation/v1/openid/userinfo?access_token={token}");
        town.at("GET", &path, None, &Value::Null).await
    };
    let token = text(&made["access_token"]);
    assert_eq!(
        done(&ask(&token).await),
        json!({ "sub": "@alice:one.test" })
    );
    refused(&ask("other").await, 401, "M_UNKNOWN_TOKEN");
    refused(&ask(&alice.token).await, 401, "M_UNKNOWN_TOKEN");
    let path = "/_matrix/client/v3/account/whoami";
    refused(
        &town.at("GET", path, Some(&token), &Value::Null).await,
        401,
        "M_UNKNOWN_TOKEN",
    );
}

#[tokio::test]
async fn tools_register_with_the_shared_secret() {
    let town = Town::with(|settings| {
        settings.replace(
            "[registration]\nenabled = true",
            "[registration]\nenabled = false\nshared_secret = \"secret\"",
        )
    })
    .await;
    let path = "/_synapse/admin/v1/register";
    let nonce = text(&done(&town.at("GET", path, None, &Value::Null).await)["nonce"]);
    let mut body = json!({
        "nonce": nonce, "username": "alice", "password": PASSWORD, "admin": false, "mac": "00",
    });
    refused(
        &town.at("POST", path, None, &body).await,
        403,
        "M_FORBIDDEN",
    );
    refused(&town.at("POST", path, None, &body).await, 400, "M_UNKNOWN");
    let nonce = text(&done(&town.at("GET", path, None, &Value::Null).await)["nonce"]);
    body["mac"] = mac(&nonce).into();
    body["nonce"] = nonce.into();
    let alice = town.person(&town.at("POST", path, None, &body).await);
    assert!(alice.is_signed_in().await);
    assert_eq!(town.login("alice", PASSWORD).await.status, 200);
}

/// Alice's request under the secret `secret`, as another implementation signs it.
fn mac(nonce: &str) -> String {
    let script = "import hashlib, hmac, sys; print(hmac.new(b'secret', \
                  '\\0'.join(sys.argv[1:] + ['notadmin']).encode(), hashlib.sha1).hexdigest())";
    let output = std::process::Command::new("python3")
        .args(["-c", script, nonce, "alice", PASSWORD])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_closed_account_is_gone_from_everywhere() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room = json!({ "preset": "public_chat" });
    let room_id = text(&done(&bob.call("POST", "/createRoom", &room).await)["room_id"]);
    done(
        &alice
            .call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    let nobody = town.call("POST", "/account/deactivate", &json!({})).await;
    refused(&nobody, 401, "M_MISSING_TOKEN");
    assert_eq!(
        alice
            .call("POST", "/account/deactivate", &json!({}))
            .await
            .status,
        401
    );
    let body = json!({ "auth": proof(), "erase": true });
    let closed = done(&alice.call("POST", "/account/deactivate", &body).await);
    assert_eq!(closed["id_server_unbind_result"], "success");
    assert!(!alice.is_signed_in().await);
    refused(&town.login("alice", PASSWORD).await, 403, "M_FORBIDDEN");
    assert_eq!(done(&bob.get("/profile/@alice:one.test").await), json!({}));
    let member = format!("/rooms/{room_id}/state/m.room.member/@alice:one.test");
    for attempt in 0.. {
        let membership = done(&bob.get(&member).await)["membership"].clone();
        if membership == "leave" {
            break;
        }
        assert!(attempt < 200, "{membership}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn people_and_administrators_see_where_a_device_was_used() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let root = town.administrator("root").await;
    done(&alice.get("/account/whoami").await);
    let device = done(&alice.get(&format!("/devices/{}", alice.device_id)).await);
    assert_eq!(device["last_seen_ip"], "127.0.0.1");
    assert!(device["last_seen_ts"].as_i64().unwrap() > 1_600_000_000_000);
    let path = "/admin/whois/@alice:one.test";
    refused(&bob.get(path).await, 403, "M_FORBIDDEN");
    for who in [&alice, &root] {
        let seen = done(&who.get(path).await);
        let connection = &seen["devices"][&alice.device_id]["sessions"][0]["connections"][0];
        assert_eq!(connection["ip"], "127.0.0.1");
        assert!(connection["last_seen"].is_i64(), "{connection}");
        assert_eq!(connection.get("user_agent"), None);
    }
    let fresh = town.register("carol").await;
    let seen = done(&root.get("/admin/whois/@carol:one.test").await);
    let connections = &seen["devices"][&fresh.device_id]["sessions"][0]["connections"];
    assert_eq!(connections, &json!([{}]), "what is not known is left out");
    refused(
        &root.get("/admin/whois/@nobody:one.test").await,
        404,
        "M_NOT_FOUND",
    );
}
