//! The connection to PostgreSQL is cut, once or for a while, in the middle of commits too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Load, Random, rounds};
use crate::harness::{Authority, On, Server, Settings, postgres_behind};

/// A way to PostgreSQL that can be cut, or go silent.
struct Proxy {
    cut: watch::Sender<u64>,
    silenced: watch::Sender<u64>,
    closed: Arc<AtomicBool>,
    port: u16,
    _serving: JoinSet<()>,
}

impl Proxy {
    async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, cuts) = watch::channel(0);
        let (silenced, silences) = watch::channel(0);
        let closed = Arc::new(AtomicBool::new(false));
        let refuses = Arc::clone(&closed);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if refuses.load(Ordering::SeqCst) {
                    let _gone = client.shutdown().await;
                    continue;
                }
                let Ok(mut server) = TcpStream::connect(&address).await else {
                    continue;
                };
                let (mut cuts, mut silences) = (cuts.clone(), silences.clone());
                cuts.mark_unchanged();
                silences.mark_unchanged();
                ways.spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                        _ = cuts.changed() => return,
                        _ = silences.changed() => {}
                    }
                    drop(server);
                    // What the client says is taken, as by its kernel, and nobody answers.
                    let (mut said, mut sink) = (client, tokio::io::sink());
                    drop(tokio::io::copy(&mut said, &mut sink).await);
                });
            }
        });
        Self {
            cut,
            silenced,
            closed,
            port,
            _serving: serving,
        }
    }

    /// Cuts every connection; new ones are taken.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Takes PostgreSQL away from every connection without a word to the client, as when its machine
    /// loses its power; new ones are taken, as when it is there again.
    fn silence(&self) {
        self.silenced.send_modify(|silences| *silences += 1);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.cut();
    }

    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

async fn behind_a_proxy(authority: &Authority) -> (Proxy, Server) {
    let (database, address) = On::Postgres.create_with_address().await;
    let proxy = Proxy::to(address).await;
    let settings = Settings {
        database: Some(postgres_behind(&database, proxy.port)),
        ..Settings::default()
    };
    let server = Server::with(authority, On::Postgres, settings).await;
    (proxy, server)
}

/// Cuts at random moments under load: whoever is answered at all is answered the truth, and what the
/// server shows is what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing_and_leave_nothing_half_done() {
    let authority = Authority::new();
    for seed in rounds() {
        let mut random = Random::new(seed);
        let (proxy, mut server) = behind_a_proxy(&authority).await;
        let mut load = Load::new(&server).await;
        let written = load.written();
        load.through(async || {
            for _ in 0..8 {
                let moment = Duration::from_micros(50_000 + random.below(500_000));
                tokio::time::sleep(moment).await;
                proxy.cut();
            }
            proxy.close();
            tokio::time::sleep(Duration::from_millis(700)).await;
            proxy.open();
            eventually(&server).await;
            written.reaches(20).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        })
        .await;
        eventually(&server).await;
        nothing_is_lost(&mut server, &load, &format!("seed {seed}")).await;
    }
}

/// While the database is away, requests are refused at once and the log says so once; then all goes on
/// by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_absent_database_is_told_once_and_comes_back() {
    let authority = Authority::new();
    let (proxy, server) = behind_a_proxy(&authority).await;
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    alice.send(&room, "before").await;
    proxy.close();
    for number in 0..20 {
        let path = format!("/rooms/{room}/send/m.room.message/away{number}");
        let body = serde_json::json!({ "msgtype": "m.text", "body": "away" });
        let asked = alice.ask(reqwest::Method::PUT, &path, Some(&body));
        let answer = tokio::time::timeout(Duration::from_secs(8), asked).await;
        let (status, answer) = answer.expect("an answer in time").unwrap();
        assert_eq!(
            (status, answer["errcode"].as_str()),
            (503, Some("M_UNKNOWN")),
            "{answer}"
        );
    }
    let log = server.log_text();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(
        errors[0].contains("the database does not answer"),
        "{errors:#?}"
    );
    proxy.open();
    eventually(&server).await;
    alice.send(&room, "after").await;
    alice.reads(&room, &["before", "after"]).await;
    assert!(server.log_text().contains("the database works again"));
}

/// Nobody is told that the machine of the database has lost its power: its connections are silent. They are
/// given up in time, and all goes on with new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_silent_is_given_up_and_found_again() {
    let authority = Authority::new();
    let (proxy, mut server) = behind_a_proxy(&authority).await;
    let mut load = Load::new(&server).await;
    let written = load.written();
    load.through(async || {
        written.reaches(20).await;
        proxy.silence();
        // Nobody is answered before the server gave up waiting.
        written.further(20).await;
    })
    .await;
    nothing_is_lost(&mut server, &load, "after silence").await;
}

/// What was acknowledged is there and what was not is there once; memory held what the database holds.
async fn nothing_is_lost(server: &mut Server, load: &Load, when: &str) {
    load.holds().await;
    load.retries_count_once().await;
    let shown = load.texts().await;
    server.stop();
    server.is_sound().await;
    server.start_again().await;
    assert_eq!(load.texts().await, shown, "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_the_start_is_refused_with_a_sentence() {
    let authority = Authority::new();
    let (proxy, mut server) = behind_a_proxy(&authority).await;
    server.stop();
    proxy.close();
    let refusal = server.try_start().await.unwrap_err();
    assert!(refusal.contains("PostgreSQL at 127.0.0.1:"), "{refusal}");
    assert!(refusal.contains("does not answer"), "{refusal}");
    proxy.open();
    server.start_again().await;
}

/// Two servers on one database would not see each other's writes: the second is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_database_is_refused() {
    let authority = Authority::new();
    let mut server = Server::start(&authority, On::Postgres).await;
    let refusal = server.try_start_beside().await.unwrap_err();
    assert!(
        refusal.contains("another running Hearth uses this PostgreSQL database"),
        "{refusal}"
    );
    let alice = server.person("alice").await;
    let room = alice.create_room("12", "private_chat").await;
    alice.send(&room, "still here").await;
    // A killed server does not stand in the way of the next one.
    server.kill();
    server.start_again().await;
    assert_eq!(alice.messages(&room).await.len(), 1);
}

/// Waits until the server says that it can serve.
async fn eventually(server: &Server) {
    let began = tokio::time::Instant::now();
    while !server.is_ready().await {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it does not recover"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
