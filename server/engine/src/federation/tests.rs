//! Two servers and a room between them, through everything but the wire: joins, invites, gaps,
//! forks, and what each must refuse the other.

mod bad_input;
mod departed;
mod edus;
mod ends;
mod graph;
mod hostile;
mod lane;
mod names;
mod pair;
mod stated_ids;
mod synced;
mod unseen;
mod versions;

use hearth_storage::both_engines;
use hearth_storage::tables::events::Fate;
use hearth_types::ruma::{OwnedRoomId, UserId};

use self::pair::Pair;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;

both_engines! {
    async fn people_of_two_servers_talk(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in ["11", "12"] {
            let room = pair.one.create("@alice:one.test", Preset::PrivateChat, version).await;
            pair.one.invite(&room, "@alice:one.test", "@bob:two.test").await.unwrap();
            let shown = pair.two.shown(&room, "@bob:two.test").await;
            assert!(shown.contains(&"m.room.create".to_owned()), "{shown:?}");
            pair.two.join(&room, "@bob:two.test").await.unwrap();
            pair.two.send(&room, "@bob:two.test", "hello from two").await.unwrap();
            pair.deliver().await;
            pair.one.send(&room, "@alice:one.test", "hello from one").await.unwrap();
            pair.deliver().await;
            let said = ["hello from two", "hello from one"];
            assert_eq!(pair.one.read(&room, "@alice:one.test").await, said);
            assert_eq!(pair.two.read(&room, "@bob:two.test").await, said);
            pair.assert_same_state(&room).await;
        }
    }
}

both_engines! {
    async fn a_second_person_of_a_server_joins_without_the_other(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.cut(true);
        pair.two.join(&room, "@carol:two.test").await.unwrap();
        pair.cut(false);
        pair.deliver().await;
        pair.assert_same_state(&room).await;
    }
}

both_engines! {
    async fn people_who_join_at_once_are_all_in_the_room(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for _ in 0..6 {
            let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
            let people = ["@a:two.test", "@b:two.test", "@c:two.test", "@d:two.test"];
            let joins = people.map(|user| pair.two.join_over(&room, user, "one.test"));
            for joined in futures_util::future::join_all(joins).await {
                joined.unwrap();
            }
            for user in people {
                assert_eq!(pair.two.membership(&room, user).await, "join", "{user}");
            }
            pair.deliver().await;
            // Who joined twice has one join that only the other server knows: its next event names it.
            pair.one.send(&room, "@alice:one.test", "welcome").await.unwrap();
            pair.deliver().await;
            pair.two.settle().await;
            for user in people {
                assert_eq!(pair.one.membership(&room, user).await, "join", "{user}");
                assert_eq!(pair.two.membership(&room, user).await, "join", "{user}");
            }
        }
    }
}

both_engines! {
    async fn an_invite_is_declined_over_the_inviter_or_here_alone(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for gone in [false, true] {
            let room = pair.one.create("@alice:one.test", Preset::PrivateChat, "12").await;
            pair.one.invite(&room, "@alice:one.test", "@bob:two.test").await.unwrap();
            pair.cut(gone);
            pair.two.leave(&room, "@bob:two.test").await.unwrap();
            pair.cut(false);
            assert_eq!(pair.two.membership(&room, "@bob:two.test").await, "leave");
            let there = if gone { "invite" } else { "leave" };
            assert_eq!(pair.one.membership(&room, "@bob:two.test").await, there);
        }
    }
}

both_engines! {
    async fn a_gap_is_filled_without_what_was_before_our_join(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        let mut before = Vec::new();
        for _ in 0..60 {
            before.push(pair.one.send(&room, "@alice:one.test", "before").await.unwrap());
        }
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.two.send(&room, "@bob:two.test", "an end that one does not have").await.unwrap();
        pair.one.send(&room, "@alice:one.test", "lost").await.unwrap();
        pair.lose().await;
        pair.one.send(&room, "@alice:one.test", "last").await.unwrap();
        pair.deliver().await;
        pair.two.settle().await;
        let said = ["an end that one does not have", "lost", "last"];
        assert_eq!(pair.two.read(&room, "@bob:two.test").await, said);
        assert_eq!(pair.two.extremities(&room).await, 2);
        for event in before {
            assert_eq!(pair.two.fate(&room, &event).await, None);
        }
    }
}

both_engines! {
    async fn a_gap_is_filled_from_the_sender(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        for number in 0..10 {
            pair.one.send(&room, "@alice:one.test", &number.to_string()).await.unwrap();
        }
        pair.lose().await;
        pair.one.send(&room, "@alice:one.test", "last").await.unwrap();
        pair.deliver().await;
        pair.two.settle().await;
        let mut said: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        said.push("last".to_owned());
        assert_eq!(pair.two.read(&room, "@bob:two.test").await, said);
        pair.assert_same_state(&room).await;
    }
}

both_engines! {
    async fn a_gap_too_large_to_fill_is_bridged_by_the_state(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.one.join(&room, "@dora:one.test").await.unwrap();
        for number in 0..150 {
            pair.one.send(&room, "@alice:one.test", &number.to_string()).await.unwrap();
        }
        pair.lose().await;
        pair.one.send(&room, "@dora:one.test", "last").await.unwrap();
        pair.deliver().await;
        pair.two.settle().await;
        let said = pair.two.read(&room, "@bob:two.test").await;
        assert_eq!(said.last().map(String::as_str), Some("last"));
        assert!(said.len() > 40, "{} messages", said.len());
        pair.assert_same_state(&room).await;
    }
}

both_engines! {
    async fn forks_of_two_servers_resolve_to_one_state(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in ["11", "12"] {
            let room = pair.one.create("@alice:one.test", Preset::PublicChat, version).await;
            pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
            pair.deliver().await;
            for round in 0..3 {
                // Both write state at once, apart from each other.
                pair.one.rename(&room, "@alice:one.test", &format!("one {round}")).await.unwrap();
                pair.one.join(&room, &format!("@x{round}:one.test")).await.unwrap();
                pair.two.join(&room, &format!("@y{round}:two.test")).await.unwrap();
                pair.two.send(&room, "@bob:two.test", &format!("fork {round}")).await.unwrap();
                pair.deliver().await;
                pair.assert_same_state(&room).await;
            }
            pair.one.send(&room, "@alice:one.test", "joined again").await.unwrap();
            pair.deliver().await;
            assert_eq!(pair.two.extremities(&room).await, 1);
        }
    }
}

both_engines! {
    async fn who_was_banned_apart_cannot_speak(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.deliver().await;
        // The ban and the message do not know of each other.
        pair.one.ban(&room, "@alice:one.test", "@bob:two.test").await.unwrap();
        let said = pair.two.send(&room, "@bob:two.test", "spam").await.unwrap();
        pair.deliver().await;
        assert!(pair.one.read(&room, "@alice:one.test").await.is_empty());
        assert_eq!(pair.one.fate(&room, &said).await, Some(Fate::SoftFailed));
        let refused = pair.two.send(&room, "@bob:two.test", "more").await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        pair.assert_same_state(&room).await;
    }
}

both_engines! {
    async fn a_server_outside_the_room_is_given_nothing(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room: OwnedRoomId = pair.one.create("@alice:one.test", Preset::PrivateChat, "12").await;
        let said = pair.one.send(&room, "@alice:one.test", "secret").await.unwrap();
        let two = pair.two.name();
        let federation = &pair.one.federation;
        assert!(federation.event(two, &said).await.is_err());
        assert!(federation.state(two, &room, &said).await.is_err());
        assert!(federation.event_auth(two, &room, &said).await.is_err());
        let from = std::slice::from_ref(&said);
        assert!(federation.backfill(two, &room, from, 10).await.is_err());
        let bob = UserId::parse("@bob:two.test").unwrap();
        let versions = ["12".to_owned()];
        assert!(federation.make_join(two, &room, &bob, &versions).await.is_err());
        let alice = UserId::parse("@alice:one.test").unwrap();
        let another = federation.make_leave(two, &room, &alice).await;
        assert!(matches!(another, Err(RoomError::Forbidden(_))), "{another:?}");
    }
}

both_engines! {
    async fn a_server_that_came_later_is_given_nothing_that_an_erased_person_said(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let (alice, erin) = ("@alice:one.test", "@erin:one.test");
        let room = pair.one.create(alice, Preset::PublicChat, "12").await;
        pair.one.join(&room, erin).await.unwrap();
        let before = pair.one.send(&room, erin, "before").await.unwrap();
        pair.one.send(&room, alice, "of another").await.unwrap();
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        let after = pair.one.send(&room, erin, "after").await.unwrap();
        let (federation, two) = (&pair.one.federation, pair.two.name());
        let given = async || {
            let from = std::slice::from_ref(&after);
            let mut given = federation.backfill(two, &room, from, 10).await.unwrap();
            given.push(federation.event(two, &before).await.unwrap());
            String::from_utf8(given.concat()).unwrap()
        };
        let whole = given().await;
        assert!(whole.contains(r#""before""#) && whole.contains(r#""after""#), "{whole}");
        pair.one.ctx.erased.note(&self::pair::id(erin)).await.unwrap();
        let given = given().await;
        assert!(!given.contains(r#""before""#), "{given}");
        assert!(given.contains(r#""after""#) && given.contains(r#""of another""#), "{given}");
    }
}

both_engines! {
    async fn nothing_but_an_invite_of_theirs_to_one_of_ours_is_signed(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.person("@bob:two.test").await;
        let rules = hearth_protocol::rules_for("12").unwrap();
        for (kind, state_key, content) in [
            ("m.room.message", None, r#"{"body":"hi"}"#),
            ("m.room.member", Some("@bob:two.test"), r#"{"membership":"join"}"#),
            ("m.room.member", Some("@bob:two.test"), r#"{"membership":"ban"}"#),
            ("m.room.member", Some("@bob:three.test"), r#"{"membership":"invite"}"#),
            ("m.room.member", Some("@nobody:two.test"), r#"{"membership":"invite"}"#),
            ("m.room.power_levels", Some(""), r#"{"membership":"invite"}"#),
        ] {
            let pdu = pair.one.forged(&room, "@alice:one.test", kind, state_key, content).await;
            let answer = pair.two.federation.receive_invite(pair.one.name(), rules, &pdu, &[]).await;
            assert!(answer.is_err(), "{kind} {state_key:?} {content} was signed");
        }
        let invite = pair
            .one
            .forged(&room, "@alice:one.test", "m.room.member", Some("@bob:two.test"),
                r#"{"membership":"invite"}"#)
            .await;
        let three = hearth_types::ruma::ServerName::parse("three.test").unwrap();
        assert!(pair.two.federation.receive_invite(&three, rules, &invite, &[]).await.is_err());
        // A room of the older version cannot have this id: a join would never fit what was believed.
        let older = hearth_protocol::rules_for("11").unwrap();
        let one = pair.one.name();
        assert!(pair.two.federation.receive_invite(one, older, &invite, &[]).await.is_err());
        pair.two.federation.receive_invite(one, rules, &invite, &[]).await.unwrap();
        assert_eq!(pair.two.membership(&room, "@bob:two.test").await, "invite");
    }
}
