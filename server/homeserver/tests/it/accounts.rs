//! The routes of accounts: what one route did, another shows.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use hearth_engine::accounts::NewAccount;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    harness::{Reply, exchange, request, usual},
    people::{PASSWORD, Town, says, settings},
};

fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_new_account_is_signed_in_and_can_sign_in() {
    let town = Town::start().await;
    let available = "/register/available?username=alice";
    let reply = town.call("GET", available, &Value::Null).await;
    assert_eq!(done(&reply)["available"], true);

    let probe = town.call("POST", "/register", &json!({})).await;
    assert_eq!(probe.status, 401);
    let challenge = probe.json();
    assert_eq!(challenge["flows"][0]["stages"], json!(["m.login.dummy"]));
    assert!(challenge["params"].is_object());
    let body = json!({
        "username": "Alice",
        "password": PASSWORD,
        "device_id": "PHONE",
        "initial_device_display_name": "Alice's phone",
        "auth": { "type": "m.login.dummy", "session": challenge["session"] },
    });
    let alice = town.person(&town.call("POST", "/register", &body).await);
    let who = done(&alice.get("/account/whoami").await);
    assert_eq!(
        who,
        json!({ "user_id": "@alice:one.test", "device_id": "PHONE", "is_guest": false })
    );
    let shown = done(&alice.get("/profile/@alice:one.test").await);
    assert_eq!(shown["displayname"], "alice");

    let reply = town.call("GET", available, &Value::Null).await;
    refused(&reply, 400, "M_USER_IN_USE");
    let flows = done(&town.call("GET", "/login", &Value::Null).await);
    assert_eq!(flows["flows"][0]["type"], "m.login.password");
    for user in ["alice", "@alice:one.test"] {
        let again = town.person(&town.login(user, PASSWORD).await);
        assert!(again.is_signed_in().await);
    }
    let old = json!({ "type": "m.login.password", "user": "alice", "password": PASSWORD });
    assert!(
        town.person(&town.call("POST", "/login", &old).await)
            .is_signed_in()
            .await
    );
}

#[tokio::test]
async fn a_registration_without_login_has_no_token() {
    let town = Town::start().await;
    let body = json!({
        "username": "alice", "password": PASSWORD, "inhibit_login": true,
        "auth": { "type": "m.login.dummy" },
    });
    let made = done(&town.call("POST", "/register", &body).await);
    assert_eq!(made["user_id"], "@alice:one.test");
    assert!(made.get("access_token").is_none() && made.get("device_id").is_none());
    let alice = town.person(&town.login("alice", PASSWORD).await);
    assert_eq!(
        done(&alice.get("/devices").await)["devices"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_registration_is_refused_with_the_rule_it_breaks() {
    let town = Town::start().await;
    town.register("alice").await;
    let dummy = json!({ "type": "m.login.dummy" });
    for (body, status, errcode) in [
        (json!({ "username": "alice" }), 400, "M_USER_IN_USE"),
        (json!({ "username": "a b" }), 400, "M_INVALID_USERNAME"),
        (
            json!({ "username": "bob", "auth": dummy }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "username": "bob", "password": "", "auth": dummy }),
            400,
            "M_WEAK_PASSWORD",
        ),
        (
            json!({ "username": "bob", "device_id": "" }),
            400,
            "M_INVALID_PARAM",
        ),
        (json!({ "username": 5 }), 400, "M_BAD_JSON"),
        (json!([]), 400, "M_BAD_JSON"),
    ] {
        let reply = town.call("POST", "/register", &body).await;
        refused(&reply, status, errcode);
    }
    let guest = town.call("POST", "/register?kind=guest", &json!({})).await;
    refused(&guest, 403, "M_GUEST_ACCESS_FORBIDDEN");
    let odd = town
        .call("GET", "/register/available?username=%C3%A4", &Value::Null)
        .await;
    refused(&odd, 400, "M_INVALID_USERNAME");
    let free = town
        .call("GET", "/register/available?username=bob", &Value::Null)
        .await;
    assert_eq!(done(&free)["available"], true, "nothing was made");
}

#[tokio::test]
async fn a_login_is_refused_with_the_rule_it_breaks() {
    let town = Town::start().await;
    town.register("alice").await;
    for (user, password) in [
        ("alice", "wrong"),
        ("bob", PASSWORD),
        ("@alice:two.test", PASSWORD),
    ] {
        refused(&town.login(user, password).await, 403, "M_FORBIDDEN");
    }
    let kind = "m.login.password";
    let email = json!({ "type": "m.id.thirdparty", "medium": "email", "address": "a@b" });
    for (body, status, errcode) in [
        (json!({}), 400, "M_BAD_JSON"),
        (json!({ "type": 1 }), 400, "M_BAD_JSON"),
        (
            json!({ "type": "org.example.key", "token": "t" }),
            400,
            "M_UNKNOWN",
        ),
        (
            json!({ "type": "m.login.token", "token": "t" }),
            403,
            "M_FORBIDDEN",
        ),
        (json!({ "type": "m.login.token" }), 400, "M_MISSING_PARAM"),
        (
            json!({ "type": kind, "password": "p" }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "type": kind, "user": "alice" }),
            400,
            "M_MISSING_PARAM",
        ),
        (
            json!({ "type": kind, "identifier": email, "password": "p" }),
            400,
            "M_INVALID_PARAM",
        ),
    ] {
        refused(&town.call("POST", "/login", &body).await, status, errcode);
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_and_signing_out_everywhere_all_of_them() {
    let town = Town::start().await;
    let first = town.register("alice").await;
    let second = town.person(&town.login("alice", PASSWORD).await);
    let third = town.person(&town.login("alice", PASSWORD).await);
    assert!(first.is_signed_in().await && second.is_signed_in().await);
    done(&first.call("POST", "/logout", &json!({})).await);
    assert!(!first.is_signed_in().await && second.is_signed_in().await);
    done(&second.call("POST", "/logout/all", &Value::Null).await);
    assert!(!second.is_signed_in().await && !third.is_signed_in().await);
    let nobody = town.call("POST", "/logout", &json!({})).await;
    refused(&nobody, 401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn devices_are_listed_renamed_and_deleted() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let other = town.person(&town.login("alice", PASSWORD).await);
    let third = town.person(&town.login("alice", PASSWORD).await);
    let path = format!("/devices/{}", other.device_id);

    done(
        &alice
            .call("PUT", &path, &json!({ "display_name": "Laptop" }))
            .await,
    );
    let device = done(&alice.get(&path).await);
    assert_eq!(device["display_name"], "Laptop");
    for nothing in [json!({}), json!({ "display_name": null })] {
        done(&alice.call("PUT", &path, &nothing).await);
        let device = done(&alice.get(&path).await);
        assert_eq!(device["display_name"], "Laptop", "{nothing}");
    }
    let nowhere = alice.call("PUT", "/devices/NONE", &json!({})).await;
    refused(&nowhere, 404, "M_NOT_FOUND");
    assert_eq!(device["device_id"], other.device_id.as_str());
    refused(&alice.get("/devices/NONE").await, 404, "M_NOT_FOUND");
    let nothing = alice
        .call("PUT", "/devices/NONE", &json!({ "display_name": "x" }))
        .await;
    refused(&nothing, 404, "M_NOT_FOUND");

    let asked = alice.call("DELETE", &path, &Value::Null).await;
    assert_eq!(asked.status, 401);
    let asked = asked.json();
    assert_eq!(asked["flows"][0]["stages"], json!(["m.login.password"]));
    let proof = |password: &str| {
        json!({
            "type": "m.login.password", "session": asked["session"], "password": password,
            "identifier": { "type": "m.id.user", "user": "alice" },
        })
    };
    let wrong = alice
        .call("DELETE", &path, &json!({ "auth": proof("wrong") }))
        .await;
    refused(&wrong, 401, "M_FORBIDDEN");
    assert_eq!(
        wrong.json()["session"],
        asked["session"],
        "it may be tried again"
    );
    assert!(other.is_signed_in().await);
    done(
        &alice
            .call("DELETE", &path, &json!({ "auth": proof(PASSWORD) }))
            .await,
    );
    assert!(!other.is_signed_in().await);

    let mut proof = proof(PASSWORD);
    proof.as_object_mut().unwrap().remove("session");
    let body = json!({ "devices": [third.device_id], "auth": proof });
    done(&alice.call("POST", "/delete_devices", &body).await);
    assert!(!third.is_signed_in().await);
    let left = done(&alice.get("/devices").await);
    assert_eq!(left["devices"].as_array().unwrap().len(), 1);
    assert_eq!(left["devices"][0]["device_id"], alice.device_id.as_str());
}

#[tokio::test]
async fn a_changed_password_is_the_one_to_sign_in_with() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let other = town.person(&town.login("alice", PASSWORD).await);
    let body = json!({ "new_password": "another one" });
    let nobody = town.call("POST", "/account/password", &body).await;
    refused(&nobody, 401, "M_MISSING_TOKEN");
    let asked = alice.call("POST", "/account/password", &body).await.json();
    let body = json!({
        "new_password": "another one",
        "auth": {
            "type": "m.login.password", "session": asked["session"], "password": PASSWORD,
            "identifier": { "type": "m.id.user", "user": alice.user_id },
        },
    });
    done(&alice.call("POST", "/account/password", &body).await);
    refused(&town.login("alice", PASSWORD).await, 403, "M_FORBIDDEN");
    assert_eq!(town.login("alice", "another one").await.status, 200);
    assert!(alice.is_signed_in().await && !other.is_signed_in().await);
}

#[tokio::test]
async fn a_filter_is_read_back_as_it_was_put() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let filter = json!({ "room": { "timeline": { "limit": 7 } } });
    let path = "/user/@alice:one.test/filter";
    let made = done(&alice.call("POST", path, &filter).await);
    let one = format!("{path}/{}", made["filter_id"].as_str().unwrap());
    assert_eq!(done(&alice.get(&one).await), filter);
    assert_eq!(done(&alice.call("POST", path, &filter).await), made);
    // What is taken here, sync takes too.
    let odd = json!({ "event_format": "zz" });
    refused(&alice.call("POST", path, &odd).await, 400, "M_BAD_JSON");
    let nulls = json!({ "room": { "state": {
        "lazy_load_members": null, "include_redundant_members": null,
    } } });
    let kept = done(&alice.call("POST", path, &nulls).await);
    let kept = kept["filter_id"].as_str().unwrap();
    done(&alice.get(&format!("/sync?filter={kept}")).await);
    refused(
        &alice.get(&format!("{path}/none")).await,
        404,
        "M_NOT_FOUND",
    );
    refused(&bob.get(&one).await, 403, "M_FORBIDDEN");
    refused(&bob.call("POST", path, &filter).await, 403, "M_FORBIDDEN");
    let odd = alice
        .call("POST", path, &json!({ "room": { "rooms": ["x"] } }))
        .await;
    refused(&odd, 400, "M_BAD_JSON");
    refused(&alice.send("POST", path, "{").await, 400, "M_NOT_JSON");
}

#[tokio::test]
async fn account_data_is_read_back_by_its_owner_alone() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let path = "/user/@alice:one.test/account_data/org.x";
    refused(&alice.get(path).await, 404, "M_NOT_FOUND");
    done(
        &alice
            .send("PUT", path, r#"{"n": 12345678901234567890123}"#)
            .await,
    );
    assert_eq!(
        alice.get(path).await.body,
        r#"{"n": 12345678901234567890123}"#
    );
    refused(&bob.get(path).await, 403, "M_FORBIDDEN");
    refused(&bob.call("PUT", path, &json!({})).await, 403, "M_FORBIDDEN");
    refused(
        &alice.call("PUT", path, &json!([])).await,
        400,
        "M_BAD_JSON",
    );
    refused(&alice.send("PUT", path, "{").await, 400, "M_NOT_JSON");
    for managed in ["m.push_rules", "m.fully_read"] {
        let path = format!("/user/@alice:one.test/account_data/{managed}");
        refused(
            &alice.call("PUT", &path, &json!({})).await,
            405,
            "M_BAD_JSON",
        );
    }
    let room = "/user/@alice:one.test/rooms/!none:one.test/account_data/org.x";
    refused(
        &alice.call("PUT", room, &json!({})).await,
        404,
        "M_NOT_FOUND",
    );
    refused(&alice.get(room).await, 404, "M_NOT_FOUND");
    let odd = "/user/@alice:one.test/rooms/none/account_data/org.x";
    refused(&alice.get(odd).await, 400, "M_INVALID_PARAM");
    let rules = done(
        &alice
            .get("/user/@alice:one.test/account_data/m.push_rules")
            .await,
    );
    assert_eq!(rules, done(&alice.get("/pushrules/").await));
}

#[tokio::test]
async fn a_profile_is_set_by_its_owner_and_read_by_everyone() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let path = "/profile/@alice:one.test";
    let (name, face) = (format!("{path}/displayname"), format!("{path}/avatar_url"));
    let url = "mxc://one.test/face";
    done(
        &alice
            .call("PUT", &name, &json!({ "displayname": "Alice Ä" }))
            .await,
    );
    done(
        &alice
            .call("PUT", &face, &json!({ "avatar_url": url }))
            .await,
    );
    let whole = json!({ "displayname": "Alice Ä", "avatar_url": url });
    assert_eq!(done(&town.call("GET", path, &Value::Null).await), whole);
    let one = town.call("GET", &name, &Value::Null).await;
    assert_eq!(done(&one), json!({ "displayname": "Alice Ä" }));

    done(
        &alice
            .call("PUT", &face, &json!({ "avatar_url": null }))
            .await,
    );
    refused(&bob.get(&face).await, 404, "M_NOT_FOUND");
    refused(
        &bob.call("PUT", &name, &json!({ "displayname": "x" })).await,
        403,
        "M_FORBIDDEN",
    );
    refused(
        &alice.call("PUT", &name, &json!({})).await,
        400,
        "M_MISSING_PARAM",
    );
    refused(
        &alice.call("PUT", &name, &json!({ "displayname": 1 })).await,
        400,
        "M_BAD_JSON",
    );
    let long = json!({ "displayname": "x".repeat(600) });
    refused(
        &alice.call("PUT", &name, &long).await,
        400,
        "M_INVALID_PARAM",
    );
    let custom = alice
        .call("PUT", &format!("{path}/org.x"), &json!({ "org.x": 1 }))
        .await;
    assert_eq!(done(&custom), json!({}));
    refused(
        &bob.get("/profile/@nobody:one.test").await,
        404,
        "M_NOT_FOUND",
    );
    refused(&bob.get("/profile/nobody").await, 400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn push_rules_are_found_with_and_without_the_slash() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let all = done(&alice.get("/pushrules/").await);
    for kind in ["override", "content", "room", "sender", "underride"] {
        assert!(all["global"][kind].is_array(), "{kind}");
    }
    assert_eq!(done(&alice.get("/pushrules").await), all);
    assert_eq!(done(&alice.get("/pushrules/global/").await), all["global"]);
    assert_eq!(done(&alice.get("/pushrules/global").await), all["global"]);
    let rule = done(&alice.get("/pushrules/global/override/.m.rule.master").await);
    assert_eq!(rule["rule_id"], ".m.rule.master");
    let path = "/pushrules/global/underride/.m.rule.message";
    assert_eq!(
        done(&alice.get(&format!("{path}/enabled")).await),
        json!({ "enabled": true })
    );
    let actions = done(&alice.get(&format!("{path}/actions")).await);
    assert_eq!(actions["actions"][0], "notify");
    for nothing in [
        "/pushrules/global/override/mine",
        "/pushrules/global/x/.m.rule.master",
    ] {
        refused(&alice.get(nothing).await, 404, "M_NOT_FOUND");
    }
}

#[tokio::test]
async fn the_owner_makes_lists_and_rescues_accounts() {
    let town = Town::start().await;
    let body = json!({ "localpart": "root", "password": PASSWORD, "admin": true });
    let made = town.admin("POST", "/users", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let root = made.json();
    assert_eq!(root["user_id"], "@root:one.test");
    refused(
        &town.admin("POST", "/users", &body).await,
        409,
        "M_USER_IN_USE",
    );
    let odd = json!({ "localpart": "a b", "password": PASSWORD });
    refused(
        &town.admin("POST", "/users", &odd).await,
        400,
        "M_INVALID_USERNAME",
    );
    let odd = json!({ "localpart": "a", "password": PASSWORD, "amdin": true });
    refused(&town.admin("POST", "/users", &odd).await, 400, "M_BAD_JSON");
    let person = town.person(&town.login("root", PASSWORD).await);

    town.register("alice").await;
    let first = done(&town.admin("GET", "/users?limit=1", &Value::Null).await);
    assert_eq!(first["users"][0]["user_id"], "@alice:one.test");
    let next = first["next"].as_str().unwrap().replace('@', "%40");
    let rest = done(
        &town
            .admin("GET", &format!("/users?after={next}"), &Value::Null)
            .await,
    );
    assert_eq!(rest["users"], json!([root]));
    assert!(rest.get("next").is_none());
    refused(
        &town.admin("GET", "/users?limit=0", &Value::Null).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(
        &town.admin("GET", "/users?x=0", &Value::Null).await,
        400,
        "M_INVALID_PARAM",
    );

    let path = "/users/%40root%3Aone.test/password";
    let body = json!({ "password": "rescued", "log_out": true });
    done(&town.admin("PUT", path, &body).await);
    assert!(!person.is_signed_in().await);
    assert_eq!(town.login("root", "rescued").await.status, 200);
    let nobody = town
        .admin("PUT", "/users/%40x%3Aone.test/password", &body)
        .await;
    refused(&nobody, 404, "M_NOT_FOUND");
}

#[tokio::test]
async fn other_servers_learn_our_peoples_profiles() {
    let server = usual().await;
    let new = NewAccount {
        localpart: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        display_name: Some("Alice".to_owned()),
        admin: false,
    };
    server.accounts.create_account(new).await.unwrap();
    let ask = async |query: &str| {
        let path = format!("/_matrix/federation/v1/query/profile?user_id={query}");
        server
            .send("GET", &path, &["authorization: X-Matrix two"], "")
            .await
    };
    assert_eq!(
        done(&ask("@alice:one.test").await),
        json!({ "displayname": "Alice" })
    );
    let one = ask("@alice:one.test&field=displayname").await;
    assert_eq!(done(&one), json!({ "displayname": "Alice" }));
    assert_eq!(
        done(&ask("@alice:one.test&field=avatar_url").await),
        json!({})
    );
    refused(&ask("@bob:one.test").await, 404, "M_NOT_FOUND");
    refused(&ask("@bob:three.test").await, 400, "M_INVALID_PARAM");
    let unsigned = "/_matrix/federation/v1/query/profile?user_id=@alice:one.test";
    assert_eq!(server.get(unsigned).await.status, 401);
}

/// The canary: what must stay secret is neither logged, at any level, nor stored.
#[tokio::test]
async fn no_password_and_no_token_is_in_the_log_or_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (config, log) = (folder.path().join("hearth.toml"), folder.path().join("log"));
    fs::write(&config, settings(&data) + "[log]\nlevel = \"trace\"\n").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_hearth"))
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let address = loop {
        let text = fs::read_to_string(&log).unwrap();
        if let Some((_, rest)) = text.split_once("addresses=[") {
            break rest.split(']').next().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let send = async |method: &str, path: &str, token: &str, body: Value| {
        let bearer = format!("authorization: Bearer {token}");
        let bytes = request(method, path, &[&bearer], &body.to_string());
        exchange(TcpStream::connect(&address).await.unwrap(), &bytes).await
    };
    let (first, second, wrong) = (
        "canary-password-1",
        "canary-password-2",
        "canary-password-3",
    );
    let dummy = json!({ "type": "m.login.dummy" });
    let body = json!({ "username": "alice", "password": first, "auth": dummy });
    let made = done(&send("POST", "/_matrix/client/v3/register", "canary-token", body).await);
    let token = made["access_token"].as_str().unwrap();
    let login = json!({ "type": "m.login.password", "user": "alice", "password": wrong });
    let reply = send("POST", "/_matrix/client/v3/login", "", login).await;
    assert_eq!(reply.status, 403);
    let broken = json!({ "type": "m.login.password", "user": 1, "password": wrong });
    assert_eq!(
        send("POST", "/_matrix/client/v3/login", "", broken)
            .await
            .status,
        400
    );
    let query = format!("/_matrix/client/v3/account/whoami?access_token={token}");
    assert_eq!(send("GET", &query, "", json!({})).await.status, 200);
    let proof = json!({
        "type": "m.login.password", "password": first,
        "identifier": { "type": "m.id.user", "user": "alice" },
    });
    let body = json!({ "new_password": second, "auth": proof });
    let changed = send("POST", "/_matrix/client/v3/account/password", token, body).await;
    assert_eq!(changed.status, 200, "{changed:?}");

    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut kept = fs::read(&log).unwrap();
    assert!(
        String::from_utf8_lossy(&kept).contains("answered a request"),
        "it was logged"
    );
    for entry in fs::read_dir(&data).unwrap() {
        kept.extend(fs::read(entry.unwrap().path()).unwrap_or_default());
    }
    let kept = String::from_utf8_lossy(&kept);
    assert!(
        kept.contains("@alice:one.test") && kept.contains("$argon2id$"),
        "it was stored"
    );
    for secret in [first, second, wrong, "canary-token", token] {
        assert!(!kept.contains(secret), "{secret} was found");
    }
}
