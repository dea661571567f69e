//! A power cut under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Authority, On, Server, on_both_engines};

/// How many write at once, and how often the power is cut.
const WRITERS: usize = 16;
const CUTS: usize = 3;

on_both_engines! {
    async fn what_was_acknowledged_survives_a_kill(on: On) {
        let authority = Authority::new();
        let mut server = Server::start(&authority, on).await;
        let alice = Arc::new(server.person("alice").await);
        let room = Arc::new(alice.create_room("12", "private_chat").await);
        let mut acknowledged = BTreeMap::new();
        let mut attempted = BTreeSet::new();
        for cut in 0..CUTS {
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..WRITERS {
                let (alice, room) = (Arc::clone(&alice), Arc::clone(&room));
                writers.spawn(async move {
                    let mut sent = Vec::new();
                    for number in 0.. {
                        let text = format!("{cut} {writer} {number}");
                        let event_id = alice.try_send(&room, &text).await;
                        let answered = event_id.is_some();
                        sent.push((text, event_id));
                        if !answered {
                            break;
                        }
                    }
                    sent
                });
            }
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            server.kill();
            for (text, event_id) in writers.join_all().await.into_iter().flatten() {
                if let Some(event_id) = event_id {
                    acknowledged.insert(text.clone(), event_id);
                }
                attempted.insert(text);
            }
            server.start_again().await;
        }
        assert!(acknowledged.len() > CUTS * WRITERS, "too little was written to prove anything");

        let messages = alice.messages(&room).await;
        let there: BTreeMap<String, String> =
            messages.iter().map(|(id, text)| (text.clone(), id.clone())).collect();
        assert_eq!(there.len(), messages.len(), "every message once");
        for (text, event_id) in &acknowledged {
            assert_eq!(there.get(text), Some(event_id), "{text} was acknowledged");
        }
        for text in there.keys() {
            assert!(attempted.contains(text), "{text} was never sent");
        }
        // What was half-way: sending it again has it there once, whether it was written or not.
        for text in attempted.iter().filter(|text| !acknowledged.contains_key(*text)) {
            let event_id = alice.send(&room, text).await;
            assert_eq!(there.get(text).unwrap_or(&event_id), &event_id, "{text}");
        }
        let messages = alice.messages(&room).await;
        let texts: BTreeSet<&String> = messages.iter().map(|(_, text)| text).collect();
        assert_eq!((texts.len(), messages.len()), (attempted.len(), attempted.len()));
    }
}
