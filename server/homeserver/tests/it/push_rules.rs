//! Push rules over HTTP: what is changed is seen through the other routes and in `/sync`.

use serde_json::{Value, json};

use crate::people::{Person, Town, says};

fn done(reply: &crate::harness::Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn put(person: &Person<'_>, path: &str, body: Value) -> (u16, String) {
    let path = format!("/pushrules/global/{path}");
    let reply = person.call("PUT", &path, &body).await;
    match reply.status {
        200 => (200, String::new()),
        _ => says(&reply),
    }
}

fn refusal(status: u16, errcode: &str) -> (u16, String) {
    (status, errcode.to_owned())
}

fn ok() -> (u16, String) {
    refusal(200, "")
}

/// The ids of the rules of a kind, in order.
async fn ids(person: &Person<'_>, kind: &str) -> Vec<String> {
    let rules = done(&person.get("/pushrules/").await);
    let of_kind = rules["global"][kind].as_array().unwrap();
    let ids = of_kind.iter().map(|rule| rule["rule_id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn rules_stand_where_they_were_put() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let word = |pattern: &str| json!({ "pattern": pattern, "actions": ["notify"] });
    for (path, pattern) in [
        ("content/tea", "tea"),
        ("content/cake", "cake*"),
        ("content/milk?after=cake", "milk"),
        ("content/salt?before=tea", "salt"),
    ] {
        assert_eq!(put(&alice, path, word(pattern)).await, ok(), "{path}");
    }
    assert_eq!(
        ids(&alice, "content").await,
        ["cake", "milk", "salt", "tea"]
    );
    let rule = done(&alice.get("/pushrules/global/content/cake").await);
    let expected = json!({
        "rule_id": "cake", "pattern": "cake*", "actions": ["notify"], "enabled": true, "default": false,
    });
    assert_eq!(rule, expected);
    assert_eq!(
        put(&alice, "content/tea?before=milk", word("green tea")).await,
        ok()
    );
    assert_eq!(
        ids(&alice, "content").await,
        ["cake", "tea", "milk", "salt"]
    );
    done(
        &alice
            .call("DELETE", "/pushrules/global/content/milk", &Value::Null)
            .await,
    );
    assert_eq!(ids(&alice, "content").await, ["cake", "tea", "salt"]);
    let gone = alice
        .call("DELETE", "/pushrules/global/content/milk", &Value::Null)
        .await;
    assert_eq!(says(&gone), refusal(404, "M_NOT_FOUND"));

    let mine = json!({ "conditions": [{ "kind": "org.new", "x": 1 }], "actions": ["notify"] });
    assert_eq!(put(&alice, "override/mine", mine.clone()).await, ok());
    let overrides = ids(&alice, "override").await;
    assert_eq!(
        overrides[..3],
        [".m.rule.master", "mine", ".m.rule.suppress_notices"]
    );
    let kept = done(&alice.get("/pushrules/global/override/mine").await);
    assert_eq!(kept["conditions"], mine["conditions"]);
    let simple = json!({ "actions": ["dont_notify", { "set_tweak": "highlight" }] });
    assert_eq!(put(&alice, "room/!r:one.test", simple.clone()).await, ok());
    assert_eq!(put(&alice, "sender/@bob:one.test", simple).await, ok());
    let kept = done(
        &alice
            .get("/pushrules/global/sender/@bob:one.test/actions")
            .await,
    );
    assert_eq!(kept["actions"], json!([{ "set_tweak": "highlight" }]));
}

#[tokio::test]
async fn rules_of_the_server_are_changed_and_never_removed() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let master = "/pushrules/global/override/.m.rule.master";
    let before = done(&alice.get("/sync").await);
    let events = before["account_data"]["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event["type"] == "m.push_rules"));
    assert_eq!(
        put(
            &alice,
            "override/.m.rule.master/enabled",
            json!({ "enabled": true })
        )
        .await,
        ok()
    );
    let message = "underride/.m.rule.message/actions";
    assert_eq!(put(&alice, message, json!({ "actions": [] })).await, ok());
    assert_eq!(done(&alice.get(master).await)["enabled"], true);
    let refused = alice.call("DELETE", master, &Value::Null).await;
    assert_eq!(says(&refused), refusal(400, "M_INVALID_PARAM"));

    // Other devices hear of it.
    let since = before["next_batch"].as_str().unwrap();
    let after = done(&alice.get(&format!("/sync?since={since}")).await);
    let events = after["account_data"]["events"].as_array().unwrap();
    let rules: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "m.push_rules")
        .collect();
    assert_eq!(rules.len(), 1, "{after}");
    assert_eq!(rules[0]["content"], done(&alice.get("/pushrules/").await));
    let since = after["next_batch"].as_str().unwrap();
    let quiet = done(&alice.get(&format!("/sync?since={since}")).await);
    assert_eq!(quiet["account_data"]["events"], json!([]));

    // Back to the default: nothing of it differs any more.
    assert_eq!(
        put(&alice, message, json!({ "actions": ["notify"] })).await,
        ok()
    );
    let rule = done(
        &alice
            .get("/pushrules/global/underride/.m.rule.message")
            .await,
    );
    assert_eq!(rule["actions"], json!(["notify"]));
    let bob = town.register("bob").await;
    assert_eq!(done(&bob.get(master).await)["enabled"], false);
}

#[tokio::test]
async fn what_is_no_rule_is_refused_and_changes_nothing() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let before = done(&alice.get("/pushrules/").await);
    let silent = || json!({ "actions": [] });
    let long = "x".repeat(256);
    let bad = refusal(400, "M_INVALID_PARAM");
    for (path, body, expected) in [
        ("override/.mine".to_owned(), silent(), bad.clone()),
        ("override/a%2Fb".to_owned(), silent(), bad.clone()),
        ("override/a%5Cb".to_owned(), silent(), bad.clone()),
        (format!("override/{long}"), silent(), bad.clone()),
        ("device/mine".to_owned(), silent(), bad.clone()),
        ("room/nowhere".to_owned(), silent(), bad.clone()),
        ("sender/nobody".to_owned(), silent(), bad.clone()),
        ("override/a?before=b".to_owned(), silent(), bad.clone()),
        (
            "override/a?after=.m.rule.master".to_owned(),
            silent(),
            bad.clone(),
        ),
        (
            "override/a".to_owned(),
            json!({ "actions": ["shout"] }),
            bad.clone(),
        ),
        (
            "content/a".to_owned(),
            json!({ "actions": [], "pattern": long }),
            bad,
        ),
        (
            "content/a".to_owned(),
            silent(),
            refusal(400, "M_MISSING_PARAM"),
        ),
        (
            "override/a".to_owned(),
            json!({ "actions": 1 }),
            refusal(400, "M_BAD_JSON"),
        ),
        (
            "override/a".to_owned(),
            json!({}),
            refusal(400, "M_BAD_JSON"),
        ),
        (
            "override/a/enabled".to_owned(),
            json!({ "enabled": true }),
            refusal(404, "M_NOT_FOUND"),
        ),
        (
            "override/a/enabled".to_owned(),
            json!({ "enabled": "yes" }),
            refusal(400, "M_BAD_JSON"),
        ),
        (
            "override/a/actions".to_owned(),
            silent(),
            refusal(404, "M_NOT_FOUND"),
        ),
    ] {
        assert_eq!(put(&alice, &path, body).await, expected, "{path}");
    }
    assert_eq!(done(&alice.get("/pushrules/").await), before);
}
