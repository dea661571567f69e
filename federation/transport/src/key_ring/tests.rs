use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::join_all;
use hearth_protocol::draft::PduDraft;
use hearth_protocol::key_document::{MAX_KEY_VALIDITY_MS, OldVerifyKey, ServerKeys};
use hearth_protocol::rules_for;
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::VerifyError;
use http::header::HOST;
use serde_json::json;

use super::*;
use crate::testing::{DAY_MS, NOW_MS, Reply, TestNet, TestPeer, TestServer, reply};

#[derive(Default)]
struct MemoryStore(Mutex<HashMap<OwnedServerName, KnownKeys>>);

impl KeyStore for MemoryStore {
    fn load<'a>(&'a self, server: &'a ServerName) -> BoxFuture<'a, Result<KnownKeys, StoreError>> {
        let keys = self.0.lock().unwrap().get(server).cloned();
        Box::pin(async move { Ok(keys.unwrap_or_default()) })
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        keys: &'a KnownKeys,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0
            .lock()
            .unwrap()
            .insert(server.to_owned(), keys.clone());
        Box::pin(async { Ok(()) })
    }
}

fn key(version: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(version, &[seed; 32]).unwrap()
}

/// A server whose key document is what `document` makes of its name.
async fn publisher(
    net: &TestNet,
    host: &str,
    document: impl Fn(OwnedServerName) -> Vec<u8> + Send + Sync + 'static,
) -> TestServer {
    let answer = move |seen: crate::testing::Seen| {
        let name = seen.headers[HOST].to_str().unwrap().try_into().unwrap();
        std::future::ready(reply(200, document(name)))
    };
    net.serve(&[host], answer).await
}

#[tokio::test]
async fn a_key_is_fetched_once_and_remembered() {
    let net = TestNet::new();
    let peer = net.peer("one.test", 1).await;
    let store = Arc::new(MemoryStore::default());
    let ring = net.key_ring_with(store.clone(), &[]);
    let look_up = || ring.current_key(&peer.name, peer.key.id());
    assert_eq!(look_up().await, Some(peer.key.verify_key()));
    assert!(
        join_all((0..10).map(|_| look_up()))
            .await
            .iter()
            .all(Option::is_some)
    );
    assert_eq!(peer.server.hits(), 1);
    assert_eq!(peer.server.seen()[0].uri, "/_matrix/key/v2/server");

    let restarted = net.key_ring_with(store, &[]);
    assert!(
        restarted
            .current_key(&peer.name, peer.key.id())
            .await
            .is_some()
    );
    assert_eq!(peer.server.hits(), 1);
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_one_request() {
    let net = TestNet::new();
    let peer = net.peer("one.test", 1).await;
    let ring = net.key_ring(&[]);
    let found = join_all((0..10).map(|_| ring.current_key(&peer.name, peer.key.id()))).await;
    assert!(found.iter().all(Option::is_some));
    assert_eq!(peer.server.hits(), 1);
}

#[tokio::test]
async fn a_server_is_not_asked_again_at_once_for_a_key_that_it_lacks() {
    let net = TestNet::new();
    let peer = net.peer("one.test", 1).await;
    let ring = net.key_ring(&[]);
    let unknown = key("x_9", 9);
    for _ in 0..3 {
        assert_eq!(ring.current_key(&peer.name, unknown.id()).await, None);
    }
    assert_eq!(peer.server.hits(), 1);
    net.clock.advance(ASKED_MS);
    assert_eq!(ring.current_key(&peer.name, unknown.id()).await, None);
    assert_eq!(peer.server.hits(), 2);

    let gone: OwnedServerName = "gone.test".try_into().unwrap();
    let dns_hits = || {
        net.dns
            .asked
            .lock()
            .unwrap()
            .iter()
            .filter(|host| *host == "gone.test")
            .count()
    };
    assert_eq!(ring.current_key(&gone, unknown.id()).await, None);
    let asked = dns_hits();
    assert_eq!(ring.current_key(&gone, unknown.id()).await, None);
    assert_eq!(dns_hits(), asked);
    net.clock.advance(FAILED_MS);
    ring.current_key(&gone, unknown.id()).await;
    assert!(dns_hits() > asked);
}

#[tokio::test]
async fn our_own_key_is_never_asked_for() {
    let net = TestNet::new();
    let ring = net.key_ring(&[]);
    let us: OwnedServerName = "own.test".try_into().unwrap();
    assert!(ring.current_key(&us, key("own", 99).id()).await.is_some());
    assert_eq!(ring.current_key(&us, key("other", 1).id()).await, None);
    assert!(net.dns.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_document_that_is_not_its_servers_own_is_refused() {
    let (ours, forger) = (key("a_1", 1), key("a_1", 2));
    type Document = Box<dyn Fn(OwnedServerName) -> Vec<u8> + Send + Sync>;
    let publish = |name: &ServerName, key: &SigningKey| {
        ServerKeys::publish(
            name,
            std::slice::from_ref(key),
            &BTreeMap::new(),
            NOW_MS + DAY_MS,
        )
    };
    let (good, other, forged, long) = (ours.clone(), ours.clone(), ours.clone(), ours.clone());
    let documents: Vec<(bool, Document)> = vec![
        (true, Box::new(move |name| publish(&name, &good))),
        (
            false,
            Box::new(move |_| publish(<&ServerName>::try_from("two.test").unwrap(), &other)),
        ),
        (
            false,
            Box::new(move |name| {
                // The key of one with the signature of another.
                let text = String::from_utf8(publish(&name, &forger)).unwrap();
                let (public, theirs) = (
                    forged.verify_key().to_base64(),
                    forger.verify_key().to_base64(),
                );
                text.replace(&theirs, &public).into_bytes()
            }),
        ),
        (
            false,
            Box::new(move |name| {
                let mut document = publish(&name, &long);
                document.resize(70_000, b' ');
                document
            }),
        ),
        (false, Box::new(|_| b"{}".to_vec())),
    ];
    for (index, (is_good, document)) in documents.into_iter().enumerate() {
        let net = TestNet::new();
        let server = publisher(&net, "one.test", document).await;
        let found = net
            .key_ring(&[])
            .current_key(&server.name("one.test"), ours.id())
            .await;
        assert_eq!(found.is_some(), is_good, "document {index}");
        assert_eq!(server.hits(), 1);
    }
}

#[tokio::test]
async fn a_key_counts_as_long_as_it_is_valid() {
    let net = TestNet::new();
    let (current, old) = (key("a_2", 2), key("a_1", 1));
    let retired = OldVerifyKey {
        key: old.verify_key(),
        expired_ts: NOW_MS - DAY_MS,
    };
    let old_keys = BTreeMap::from([(old.id().to_owned(), retired)]);
    let (signing, far) = (current.clone(), NOW_MS + 365 * DAY_MS);
    let server = publisher(&net, "one.test", move |name| {
        ServerKeys::publish(&name, std::slice::from_ref(&signing), &old_keys, far)
    })
    .await;
    let name = server.name("one.test");
    let ring = net.key_ring(&[]);
    let limit = NOW_MS + MAX_KEY_VALIDITY_MS;
    let cases = [
        (&current, NOW_MS - 1_000 * DAY_MS, true),
        (&current, limit, true),
        (&current, limit + 1, false),
        (&old, NOW_MS - DAY_MS, true),
        (&old, NOW_MS - DAY_MS + 1, false),
    ];
    for (key, at_ms, is_valid) in cases {
        assert_eq!(
            ring.key(&name, key.id(), at_ms).await.is_some(),
            is_valid,
            "{at_ms}"
        );
    }
    assert_eq!(
        ring.current_key(&name, old.id()).await,
        None,
        "not for requests"
    );
    let hits = server.hits();
    net.clock.advance(8 * DAY_MS);
    assert!(ring.current_key(&name, current.id()).await.is_some());
    assert_eq!(
        server.hits(),
        hits + 1,
        "asked again when the validity is over"
    );
}

/// A notary that answers with `documents`.
async fn notary(net: &TestNet, host: &str, documents: Arc<Mutex<Vec<Vec<u8>>>>) -> TestPeer {
    let key = key("n_1", 50);
    let signing = key.clone();
    let answer = move |seen: crate::testing::Seen| -> std::future::Ready<Reply> {
        let name: OwnedServerName = seen.headers[HOST].to_str().unwrap().try_into().unwrap();
        let own = ServerKeys::publish(
            &name,
            std::slice::from_ref(&signing),
            &BTreeMap::new(),
            NOW_MS + DAY_MS,
        );
        std::future::ready(if seen.uri == "/_matrix/key/v2/server" {
            reply(200, own)
        } else {
            let documents = documents.lock().unwrap().join(&b','.to_owned());
            reply(
                200,
                [&br#"{"server_keys":["#[..], &documents, b"]}"].concat(),
            )
        })
    };
    let server = net.serve(&[host], answer).await;
    TestPeer {
        name: server.name(host),
        key,
        server,
    }
}

#[tokio::test]
async fn a_notary_is_asked_last_and_must_sign() {
    use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
    use hearth_protocol::signing::sign_json;
    let net = TestNet::new();
    let documents = Arc::new(Mutex::new(Vec::new()));
    let notary = notary(&net, "notary.test", documents.clone()).await;
    let gone: OwnedServerName = "gone.test:1".try_into().unwrap();
    let theirs = key("a_1", 7);
    let document = ServerKeys::publish(
        &gone,
        std::slice::from_ref(&theirs),
        &BTreeMap::new(),
        NOW_MS + DAY_MS,
    );
    let signed_by = |key: &SigningKey| {
        let mut object = parse_object(&document, CanonicalJsonRules::STRICT).unwrap();
        sign_json(&mut object, &notary.name, key);
        object.to_canonical()
    };
    let look_up = async |served: Vec<u8>| {
        *documents.lock().unwrap() = vec![served];
        net.key_ring(&[&notary.name])
            .current_key(&gone, theirs.id())
            .await
    };
    assert_eq!(
        look_up(document.clone()).await,
        None,
        "not signed by the notary"
    );
    assert_eq!(
        look_up(signed_by(&key("n_1", 51))).await,
        None,
        "signed with another key"
    );
    assert_eq!(
        look_up(signed_by(&notary.key)).await,
        Some(theirs.verify_key())
    );
    let uri = &notary.server.seen()[0].uri;
    assert_eq!(uri, "/_matrix/key/v2/query/gone.test%3A1");

    let peer = net.peer("one.test", 1).await;
    let ring = net.key_ring(&[&notary.name]);
    let hits = notary.server.hits();
    assert!(ring.current_key(&peer.name, peer.key.id()).await.is_some());
    assert_eq!(
        notary.server.hits(),
        hits,
        "not asked where the server answers"
    );
}

fn event(peer: &TestPeer, body: &str) -> Bytes {
    let draft = PduDraft {
        room_id: Some("!room:one.test".try_into().unwrap()),
        sender: format!("@alice:{}", peer.name).try_into().unwrap(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: serde_json::value::to_raw_value(&json!({ "body": body })).unwrap(),
        prev_events: vec!["$aGVsbG8".try_into().unwrap()],
        auth_events: vec!["$aGVsbG8".try_into().unwrap()],
        depth: 5,
        origin_server_ts: NOW_MS,
        redacts: None,
    };
    let event = draft
        .sign(rules_for("11").unwrap(), &peer.name, &peer.key)
        .unwrap();
    event.json().clone()
}

fn replaced(pdu: &Bytes, from: &str, to: &str) -> Bytes {
    let text = std::str::from_utf8(pdu).unwrap();
    assert!(text.contains(from), "{text}");
    text.replace(from, to).into()
}

#[tokio::test]
async fn one_bad_event_does_not_fail_the_others() {
    let net = TestNet::new();
    let (one, two) = (net.peer("one.test", 1).await, net.peer("two.test", 2).await);
    let gone = TestPeer {
        name: "gone.test:1".try_into().unwrap(),
        key: key("a_1", 3),
        server: one.server.clone(),
    };
    let good = event(&one, "hello");
    let mut pdus = vec![
        good.clone(),
        Bytes::from_static(b"not an event"),
        event(&two, "hi"),
        replaced(&good, "@alice:one.test", "@alice:two.test"),
        replaced(&good, "\"depth\":5", "\"depth\":6"),
        event(&gone, "nobody knows my key"),
        replaced(&good, "hello", "hallo"),
    ];
    pdus.extend((0..40).map(|index| event(&one, &format!("message {index}"))));
    let verified = net
        .key_ring(&[])
        .verify_pdus(rules_for("11").unwrap(), &pdus)
        .await;
    assert_eq!(verified.len(), pdus.len());
    let outcome = |index: usize| match &verified[index] {
        Ok(pdu) if pdu.was_redacted() => "redacted",
        Ok(_) => "good",
        Err(PduError::Format(_)) => "format",
        Err(PduError::Verify(VerifyError::NoValidKey { .. })) => "no key",
        Err(PduError::Verify(VerifyError::BadSignature { .. })) => "bad signature",
    };
    let outcomes: Vec<_> = (0..7).map(outcome).collect();
    assert_eq!(
        outcomes,
        [
            "good",
            "format",
            "good",
            "no key",
            "bad signature",
            "no key",
            "redacted"
        ]
    );
    assert!((7..pdus.len()).all(|index| outcome(index) == "good"));
    assert_eq!(verified[0].as_ref().unwrap().json(), &good);
    assert_eq!((one.server.hits(), two.server.hits()), (1, 1));
}

#[test]
fn the_keys_of_one_server_are_bounded() {
    let published = |at_ms| PublishedKey {
        key: key("k", 1).verify_key(),
        valid_until_ts: at_ms,
    };
    let mut keys: KnownKeys = (0..300_i64)
        .map(|n| (format!("ed25519:k{n}").try_into().unwrap(), published(n)))
        .collect();
    forget_oldest(&mut keys);
    assert_eq!(keys.len(), KEYS_PER_SERVER_MAX);
    assert!(keys.values().all(|key| key.valid_until_ts >= 44));
}
