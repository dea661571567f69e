//! What the process tells of itself.

use serde_json::{Value, json};

use crate::{
    harness::{Setting, listen, usual},
    people::{Town, says},
};

/// The value of a sample.
fn sample(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let whoami =
        "hearth_requests_total{api=\"client\",route=\"whoami\",method=\"GET\",status=\"2xx\"}";
    let before = town.on_socket("/metrics").await.body;
    assert_eq!(
        sample(&before, whoami),
        None,
        "what nobody asked for is left out"
    );
    for _ in 0..3 {
        assert!(alice.is_signed_in().await);
    }
    let commits = sample(&before, "hearth_commits_total").unwrap();
    let made = alice.call("POST", "/createRoom", &json!({})).await;
    let room_id = made.json()["room_id"].as_str().unwrap().to_owned();
    let path = format!("/rooms/{room_id}/send/m.room.message/1");
    assert_eq!(alice.call("PUT", &path, &json!({})).await.status, 200);
    town.call("GET", "/account/whoami", &Value::Null).await;
    town.call("GET", "/nowhere", &Value::Null).await;

    let reply = town.on_socket("/metrics").await;
    assert_eq!(reply.status, 200);
    let kind = reply.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let page = reply.body;
    assert_eq!(sample(&page, whoami), Some(3.0));
    let refused =
        "hearth_requests_total{api=\"client\",route=\"whoami\",method=\"GET\",status=\"4xx\"}";
    assert_eq!(sample(&page, refused), Some(1.0));
    let unknown = "hearth_requests_total{api=\"-\",route=\"-\",method=\"-\",status=\"4xx\"}";
    assert_eq!(sample(&page, unknown), Some(1.0));
    let count =
        "hearth_request_duration_seconds_count{api=\"client\",route=\"whoami\",method=\"GET\"}";
    assert_eq!(sample(&page, count), Some(4.0));
    assert!(sample(&page, "hearth_commits_total").unwrap() > commits);
    assert!(sample(&page, "hearth_mailboxes").unwrap() >= 1.0);
    assert!(sample(&page, "hearth_cache_bytes{cache=\"rooms\"}").unwrap() > 0.0);
    let hits = "hearth_cache_lookups_total{cache=\"sessions\",outcome=\"hit\"}";
    assert!(sample(&page, hits).unwrap() >= 3.0);
    for name in [
        "hearth_requests_under_way{class=\"sync\"}",
        "hearth_federation_queue",
        "hearth_password_hashes",
        "hearth_commits_waiting",
        "hearth_database_trouble",
    ] {
        assert_eq!(sample(&page, name), Some(0.0), "{name}");
    }
    for name in [
        "process_resident_memory_bytes",
        "process_open_fds",
        "hearth_log_position",
    ] {
        assert!(sample(&page, name).unwrap() > 0.0, "{name}");
    }
    // Nothing that people chose is a label.
    assert!(!page.contains("alice") && !page.contains("nowhere"));
    assert!(page.lines().count() < 10_000);
}

#[tokio::test]
async fn metrics_are_served_where_a_listener_names_them_and_nowhere_else() {
    use hearth::routes::Resource;

    let all = usual().await;
    assert_eq!(all.get("/metrics").await.status, 200);
    let public = listen(Setting {
        resources: vec![Resource::Client, Resource::Web],
        ..Setting::default()
    })
    .await;
    let reply = public.get("/metrics").await;
    assert_eq!(says(&reply), (404, "M_UNRECOGNIZED".to_owned()));
    let town = Town::start().await;
    let reply = town.call("GET", "/../../../metrics", &Value::Null).await;
    assert_eq!(says(&reply), (404, "M_UNRECOGNIZED".to_owned()));
}
