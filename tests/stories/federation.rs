//! Two organisations, two people, one conversation.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Authority, On, Server, on_both_engines};

on_both_engines! {
    async fn two_people_talk_across_servers_and_a_restart(on: On) {
        let authority = Authority::new();
        let mut one = Server::start(&authority, on).await;
        let mut two = Server::start(&authority, on).await;
        let (alice, bob) = (one.person("alice").await, two.person("bob").await);
        for version in ["12", "11"] {
            let room = alice.create_room(version, "private_chat").await;
            alice.invite(&room, &bob).await;
            bob.is_invited(&room).await;
            bob.join(&room, None).await;
            alice.sees_membership(&room, &bob.id, "join").await;
            alice.send(&room, "hello bob").await;
            bob.reads(&room, &["hello bob"]).await;
            bob.send(&room, "hello alice").await;
            alice.reads(&room, &["hello bob", "hello alice"]).await;

            // While his server is away, what she says waits; also when hers restarts meanwhile.
            assert!(two.stop().success());
            alice.send(&room, "are you there?").await;
            assert!(one.stop().success());
            one.start_again().await;
            alice.send(&room, "never mind").await;
            two.start_again().await;
            bob.reads(&room, &["hello alice", "are you there?", "never mind"]).await;
            bob.send(&room, "here I am").await;
            alice.reads(&room, &["never mind", "here I am"]).await;
            let texts = |messages: Vec<(String, String)>| -> Vec<String> {
                messages.into_iter().map(|(_, text)| text).collect()
            };
            assert_eq!(texts(alice.messages(&room).await).len(), 5, "each message once");
        }
    }
}

on_both_engines! {
    async fn who_goes_is_seen_to_go_on_the_other_server(on: On) {
        let authority = Authority::new();
        let one = Server::start(&authority, on).await;
        let two = Server::start(&authority, on).await;
        let (alice, bob) = (one.person("alice").await, two.person("bob").await);
        let carol = two.person("carol").await;
        let room = alice.create_room("12", "public_chat").await;
        for person in [&bob, &carol] {
            person.join(&room, Some(&one.name)).await;
            alice.sees_membership(&room, &person.id, "join").await;
        }
        bob.leave(&room).await;
        alice.sees_membership(&room, &bob.id, "leave").await;
        // The last person of a server is told too.
        alice.kick(&room, &carol).await;
        carol.sees_membership(&room, &carol.id, "leave").await;
    }
}

on_both_engines! {
    async fn a_long_absence_is_made_up_for(on: On) {
        let authority = Authority::new();
        let one = Server::start(&authority, on).await;
        let mut two = Server::start(&authority, on).await;
        let (alice, bob) = (one.person("alice").await, two.person("bob").await);
        let room = alice.create_room("12", "public_chat").await;
        bob.join(&room, Some(&one.name)).await;
        two.kill();
        // More than one transaction can carry.
        let texts: Vec<String> = (0..120).map(|number| format!("number {number}")).collect();
        for text in &texts {
            alice.send(&room, text).await;
        }
        two.start_again().await;
        alice.send(&room, "welcome back").await;
        bob.reads(&room, &["welcome back"]).await;
        let there: Vec<String> = bob.messages(&room).await.into_iter().map(|(_, it)| it).collect();
        assert_eq!(there[..120], texts);
    }
}

on_both_engines! {
    async fn three_servers_that_all_talk_at_once_end_up_with_the_same_room(on: On) {
        let authority = Authority::new();
        let servers = [
            Server::start(&authority, on).await,
            Server::start(&authority, on).await,
            Server::start(&authority, on).await,
        ];
        let mut people = Vec::new();
        for (server, name) in servers.iter().zip(["alice", "bob", "carol"]) {
            people.push(server.person(name).await);
        }
        let room = people[0]
            .create_room_of(&json!({
                "preset": "public_chat",
                "power_level_content_override": { "state_default": 0 },
            }))
            .await;
        people[1].join(&room, Some(&servers[0].name)).await;
        // Over a server that is not the room's first: the others hear of it from that one.
        people[2].join(&room, Some(&servers[1].name)).await;
        people[0].sees_membership(&room, &people[2].id, "join").await;
        let talk = people.iter().map(async |person| {
            for number in 0..20 {
                person.send(&room, &format!("{} {number}", person.id)).await;
                if number % 5 == 0 {
                    person.set_topic(&room, &format!("{}'s {number}", person.id)).await;
                }
            }
        });
        join_all(talk).await;
        let mut rooms = Vec::new();
        for _ in 0..300 {
            rooms.clear();
            for person in &people {
                let messages: BTreeSet<_> = person.messages(&room).await.into_iter().collect();
                rooms.push((messages, person.state(&room).await));
            }
            if rooms[0].0.len() == 60 && rooms.iter().all(|it| *it == rooms[0]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("they do not agree: {rooms:#?}");
    }
}

on_both_engines! {
    async fn an_invite_can_be_declined_also_when_nobody_answers(on: On) {
        let authority = Authority::new();
        let mut one = Server::start(&authority, on).await;
        let two = Server::start(&authority, on).await;
        let (alice, bob) = (one.person("alice").await, two.person("bob").await);
        let mut rooms = Vec::new();
        for _ in 0..2 {
            let room = alice.create_room("12", "private_chat").await;
            alice.invite(&room, &bob).await;
            bob.is_invited(&room).await;
            rooms.push(room);
        }
        bob.leave(&rooms[0]).await;
        alice.sees_membership(&rooms[0], &bob.id, "leave").await;
        one.kill();
        bob.leave(&rooms[1]).await;
        assert!(!bob.has_invite(&rooms[1]).await, "it is gone for good");
        // Asked anew, he may still come; unless she takes that back.
        one.start_again().await;
        let other = alice.create_room("12", "private_chat").await;
        alice.invite(&other, &bob).await;
        bob.is_invited(&other).await;
        alice.kick(&other, &bob).await;
        bob.is_no_longer_invited(&other).await;
        alice.invite(&rooms[0], &bob).await;
        bob.join(&rooms[0], None).await;
        bob.send(&rooms[0], "after all").await;
        alice.reads(&rooms[0], &["after all"]).await;
    }
}
