//! What two servers tell each other about their people's devices.

use hearth_storage::both_engines;
use hearth_types::ruma::UserId;
use serde_json::{Value, json};

use super::device_removed;
use crate::keys::world::{Pair, Server, World, cross_signing, identity_of};
use crate::sync::token::{SyncToken, generation_mark};

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

async fn publish(server: &Server, user: &UserId, device: &str, seed: u8) {
    let keys = identity_of(user.as_str(), device, &Pair::new(seed));
    server
        .upload(user, device, json!({ "device_keys": keys }))
        .await;
}

/// Alice with two devices and Bob, who has asked for her keys once.
async fn met(
    world: &World,
) -> (
    hearth_types::ruma::OwnedUserId,
    hearth_types::ruma::OwnedUserId,
) {
    let alice = world
        .one
        .person(ALICE, &["PHONE", "LAPTOP", "TABLET"])
        .await;
    let bob = world.two.person(BOB, &["B"]).await;
    world.share_room(1, &[ALICE, BOB]).await;
    publish(&world.one, &alice, "PHONE", 1).await;
    world.deliver().await;
    assert_eq!(devices(&world.two, &bob).await, ["PHONE"]);
    world.wire.asked.lock().unwrap().clear();
    (alice, bob)
}

async fn devices(server: &Server, asker: &UserId) -> Vec<String> {
    let found = server.query(asker, &[ALICE]).await;
    let devices = found["device_keys"][ALICE].as_object().unwrap();
    devices.keys().cloned().collect()
}

/// Waits for the refresh that runs on a task of its own.
async fn asked(world: &World, question: &'static str) {
    for _ in 0..500 {
        let done = world.two.lists.refreshing.lock().unwrap().is_empty();
        if done && world.wire.asked.lock().unwrap().contains(&question) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody asked: {question}");
}

fn nothing_asked(world: &World) {
    assert_eq!(*world.wire.asked.lock().unwrap(), [""; 0]);
}

both_engines! {
    async fn a_change_reaches_those_who_share_a_room(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        // The first copy does not say which link it includes, so the next link asks for it.
        publish(&world.one, &alice, "LAPTOP", 2).await;
        assert_eq!(world.deliver().await, 1);
        asked(&world, "user_devices").await;
        assert_eq!(devices(&world.two, &bob).await, ["LAPTOP", "PHONE"]);
        world.wire.asked.lock().unwrap().clear();

        let bob_nid = world.two.nid(BOB).await;
        let waiting = world.two.context.notifier.watch(bob_nid);
        let woken = waiting.woken();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let since = world.two.position();
        publish(&world.one, &alice, "TABLET", 3).await;
        world.deliver().await;
        woken.await;
        let changes = world.two.lists.changes(bob_nid, since, world.two.position()).await.unwrap();
        assert_eq!((changes.changed, changes.left), (vec![ALICE.to_owned()], Vec::new()));
        assert_eq!(devices(&world.two, &bob).await, ["LAPTOP", "PHONE", "TABLET"]);
        nothing_asked(&world);
    }
}

both_engines! {
    async fn a_missing_link_is_noticed_and_the_list_asked_for_afresh(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        publish(&world.one, &alice, "PHONE", 4).await;
        world.deliver().await;
        asked(&world, "user_devices").await;
        world.wire.asked.lock().unwrap().clear();
        publish(&world.one, &alice, "LAPTOP", 2).await;
        assert_eq!(world.one.queued(&world.two.name).await.len(), 1, "and it is lost");
        publish(&world.one, &alice, "TABLET", 3).await;
        world.deliver().await;
        asked(&world, "user_devices").await;
        world.wire.asked.lock().unwrap().clear();
        assert_eq!(devices(&world.two, &bob).await, ["LAPTOP", "PHONE", "TABLET"]);
        nothing_asked(&world);
        publish(&world.one, &alice, "TABLET", 5).await;
        world.deliver().await;
        let found = world.two.query(&bob, &[ALICE]).await;
        let key = &found["device_keys"][ALICE]["TABLET"]["keys"]["ed25519:TABLET"];
        assert_eq!(*key, Pair::new(5).public());
        nothing_asked(&world);
    }
}

both_engines! {
    async fn a_removed_device_is_gone_everywhere(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        publish(&world.one, &alice, "LAPTOP", 2).await;
        world.deliver().await;
        asked(&world, "user_devices").await;
        world.wire.asked.lock().unwrap().clear();
        let nid = world.one.nid(ALICE).await;
        world.one.commit(|commit| device_removed(commit, nid, ALICE, "PHONE")).await;
        let told = world.one.queued(&world.two.name).await;
        assert_eq!(told[0]["content"]["deleted"], true);
        world.two.receive(&world.one.name, &told[0]).await.unwrap();
        assert_eq!(devices(&world.two, &bob).await, ["LAPTOP"]);
        assert_eq!(devices(&world.one, &alice).await, ["LAPTOP"]);
        nothing_asked(&world);
    }
}

both_engines! {
    async fn a_device_whose_keys_are_malformed_counts_as_without_keys(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        publish(&world.one, &alice, "LAPTOP", 2).await;
        world.deliver().await;
        asked(&world, "user_devices").await;
        publish(&world.one, &alice, "PHONE", 3).await;
        let mut told = world.one.queued(&world.two.name).await;
        told[0]["content"]["keys"]["device_id"] = json!("OTHER");
        world.two.receive(&world.one.name, &told[0]).await.unwrap();
        assert_eq!(devices(&world.two, &bob).await, ["LAPTOP"]);
    }
}

both_engines! {
    async fn nobody_speaks_for_another_server(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        publish(&world.one, &alice, "LAPTOP", 2).await;
        let told: Vec<Value> = world.one.queued(&world.two.name).await;
        let since = world.two.position();
        let forged = world.two.receive(&world.two.name, &told[0]).await;
        assert!(forged.is_err());
        let stranger = json!({ "edu_type": "m.signing_key_update", "content": { "user_id": "@x:one.test" } });
        world.two.receive(&world.one.name, &stranger).await.unwrap();
        assert_eq!(world.two.position(), since);
        assert_eq!(devices(&world.two, &bob).await, ["PHONE"]);
        nothing_asked(&world);
    }
}

both_engines! {
    async fn new_signing_keys_are_asked_for_in_one_piece(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, bob) = met(&world).await;
        let master = Pair::new(10);
        let key = cross_signing(ALICE, "master", &master, &master);
        let body = serde_json::to_vec(&json!({ "master_key": key })).unwrap();
        let plan = world.one.keys.cross_signing_plan(&alice, &body).await.unwrap();
        world.one.keys.cross_signing_upload(plan).await.unwrap();
        assert_eq!(world.deliver().await, 1);
        asked(&world, "user_devices").await;
        world.wire.asked.lock().unwrap().clear();
        let found = world.two.query(&bob, &[ALICE]).await;
        assert_eq!(found["master_keys"][ALICE], key);
        nothing_asked(&world);
    }
}

both_engines! {
    async fn changes_are_told_between_two_tokens(scratch: Scratch) {
        let world = World::new(scratch).await;
        let (alice, _bob) = met(&world).await;
        let (lists, nid) = (&world.one.lists, world.one.nid(ALICE).await);
        let token = |generation: &str| {
            let token = SyncToken {
                generation: generation_mark(generation),
                position: world.one.position(),
                others: world.one.position(),
                issued_ms: 0,
                epoch: 0,
                typing: false,
            };
            token.encode()
        };
        let generation = &world.one.context.storage.identity().generation;
        let (before, foreign) = (token(generation), token("another"));
        publish(&world.one, &alice, "LAPTOP", 2).await;
        let after = token(generation);
        let changed = async |from: &str| {
            let changes = lists.changes_between(nid, from, &after).await.unwrap();
            changes.changed
        };
        assert_eq!(changed(&before).await, [ALICE]);
        assert_eq!(changed(&after).await, [""; 0]);
        assert_eq!(changed(&foreign).await, [ALICE, BOB]);
        let refused = lists.changes_between(nid, "s1", &after).await.unwrap_err();
        assert_eq!(refused.to_string(), "`from` must be a token of /sync");
    }
}

both_engines! {
    async fn servers_met_by_a_join_learn_of_the_devices_once(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE", "LAPTOP"]).await;
        publish(&world.one, &alice, "PHONE", 1).await;
        publish(&world.one, &alice, "LAPTOP", 2).await;
        assert_eq!(world.deliver().await, 0, "nobody there shares a room with her");
        for (room_nid, told) in [(7, 2), (8, 0)] {
            world.one.member(room_nid, BOB, "join").await;
            world.one.member(room_nid, ALICE, "join").await;
            crate::device_lists::joined(&world.one.context, &alice, room_nid).await.unwrap();
            assert_eq!(world.deliver().await, told, "room {room_nid}");
        }
    }
}
