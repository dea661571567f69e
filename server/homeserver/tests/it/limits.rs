//! How much somebody may ask for, and what they are told who ask for more.

use serde_json::{Value, json};

use crate::people::{PASSWORD, Town, says};

/// With limits of rate, behind a proxy that says where requests come from.
async fn limited() -> Town {
    Town::with(|settings| {
        let bind = "bind = \"127.0.0.1:0\"\n";
        let proxied = format!("{bind}trusted_proxies = [\"127.0.0.0/8\"]\n");
        let settings = settings.replace(bind, &proxied);
        settings.replace(
            "[rate_limit]\nenabled = false",
            "[rate_limit]\nenabled = true",
        )
    })
    .await
}

#[tokio::test]
async fn an_account_that_is_attacked_from_everywhere_is_closed_to_strangers_alone() {
    let town = limited().await;
    let alice = town.register("alice").await;
    let limit = (429, "M_LIMIT_EXCEEDED".to_owned());
    for user in ["alice", "nobody"] {
        let mut refused = Vec::new();
        for n in 0..25 {
            let address = format!("192.0.2.{n}");
            refused.push(says(&town.login_from(&address, user, "guess").await));
        }
        assert!(
            refused[..20].iter().all(|it| it.1 == "M_FORBIDDEN"),
            "{refused:?}"
        );
        assert!(refused[21..].iter().all(|it| *it == limit), "{refused:?}");
    }
    let elsewhere = town.login_from("198.51.100.1", "alice", PASSWORD).await;
    assert_eq!(says(&elsewhere), limit);
    assert!(
        alice.is_signed_in().await,
        "her device is seen at 127.0.0.1"
    );
    town.person(&town.login("@alice:one.test", PASSWORD).await);
}

#[tokio::test]
async fn right_passwords_count_for_nothing() {
    let town = limited().await;
    town.register("alice").await;
    for n in 0..25 {
        let address = format!("192.0.2.{n}");
        assert_eq!(
            town.login_from(&address, "alice", PASSWORD).await.status,
            200
        );
    }
}

#[tokio::test]
async fn who_reaches_a_limit_of_their_account_is_led_to_the_page_about_it() {
    let page = "https://one.test/about/limits";
    let town = Town::with(|settings| {
        settings.replace(
            "[[listener]]",
            &format!("limits_url = {page:?}\n[[listener]]"),
        )
    })
    .await;
    let alice = town.register("alice").await;
    let room = json!({ "preset": "private_chat" });
    let room = alice.call("POST", "/createRoom", &room).await.json();
    let room_id = room["room_id"].as_str().unwrap();
    let tag = |n: usize| format!("/user/{}/rooms/{room_id}/tags/u.{n}", alice.user_id);
    let mut reply = alice.call("PUT", &tag(0), &json!({})).await;
    for n in 1..1_000 {
        if reply.status != 200 {
            break;
        }
        reply = alice.call("PUT", &tag(n), &json!({})).await;
    }
    assert_eq!(says(&reply), (403, "M_USER_LIMIT_EXCEEDED".to_owned()));
    assert_eq!(reply.json()["info_uri"], page);
}

#[tokio::test]
async fn where_registration_is_closed_no_name_is_available() {
    let town = Town::with(|settings| settings.replace("enabled = true", "enabled = false")).await;
    let path = "/register/available?username=bob";
    let reply = town.call("GET", path, &Value::Null).await;
    assert_eq!(says(&reply), (403, "M_FORBIDDEN".to_owned()));
}
