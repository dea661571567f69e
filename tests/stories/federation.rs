//! Two organisations, two people, one conversation.

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
