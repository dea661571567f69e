//! Which member events a device was told, where members are sent lazily.
//!
//! A member event is redundant only for a client that has it, and whether an answer arrived is known
//! when its token comes back. So what was told is kept with the token of the answer that told it; who
//! comes with a token that is not known here was told nothing.
//!
//! spec: client-server v1.19 §Lazy-loading room members.

use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};

use super::token::SyncToken;
use crate::accounts::Session;
use crate::state::StateMap;

/// Answers of one device that may still come back.
const ANSWERS_MAX: usize = 4;

/// Who was told of more member events is told anew.
const MEMBERS_MAX: usize = 20_000;

/// The member events that a client has. They share what they have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told(StateMap);

impl Told {
    /// Whether a member event is among them.
    pub(super) fn has(&self, event_nid: i64) -> bool {
        self.0.get(event_nid).is_some()
    }

    /// These and others.
    pub(super) fn with(&self, event_nids: &[i64]) -> Self {
        let mut told = match self.0.len() + event_nids.len() > MEMBERS_MAX {
            true => StateMap::default(),
            false => self.0.clone(),
        };
        for &nid in event_nids {
            told.set(nid, Some(nid));
        }
        Self(told)
    }
}

/// What a device has when it comes with one of these tokens.
#[derive(Debug, Clone, Default)]
struct Answers(Vec<(SyncToken, Told)>);

impl Size for Answers {
    fn size_bytes(&self) -> usize {
        // Each is made of the one before it.
        let largest = self.0.iter().map(|(_, told)| told.0.size_bytes()).max();
        size_of::<Self>() + self.0.len() * size_of::<(SyncToken, Told)>() + largest.unwrap_or(0)
    }
}

/// What devices were told.
#[derive(Debug)]
pub(super) struct ToldMembers(Bounded<(i64, String), Arc<Answers>>);

impl ToldMembers {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// What a device has that comes with a token.
    pub(super) fn of(&self, session: &Session, since: Option<SyncToken>) -> Told {
        let Some((answers, since)) = self.0.get(&key(session)).zip(since) else {
            return Told::default();
        };
        let known = answers.0.iter().find(|(token, _)| *token == since);
        known.map(|(_, told)| told.clone()).unwrap_or_default()
    }

    /// Remembers what a device will have when it comes with the token of its answer. What it came
    /// with stays known: the answer may be lost.
    pub(super) fn answered(&self, session: &Session, token: SyncToken, told: Told) {
        let key = key(session);
        let mut answers = self
            .0
            .get(&key)
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default();
        let same = answers.0.iter().position(|(other, _)| *other == token);
        match same.map(|at| answers.0.remove(at)) {
            // Two answers cannot be told apart: which of them arrived will not be known.
            Some((_, other)) if other != told => {}
            _ => answers.0.push((token, told)),
        }
        let excess = answers.0.len().saturating_sub(ANSWERS_MAX);
        answers.0.drain(..excess);
        self.0.insert(key, Arc::new(answers));
    }
}

fn key(session: &Session) -> (i64, String) {
    (session.user_nid, session.place().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Standing;

    fn session() -> Session {
        Session {
            user_nid: 1,
            user_id: "@a:x".try_into().unwrap(),
            device_id: Some("D".into()),
            admin: false,
            guest: false,
            standing: Standing::Good,
            appservice: None,
        }
    }

    fn token(position: i64) -> SyncToken {
        SyncToken {
            generation: [0; 8],
            position,
            others: position,
            issued_ms: position,
            epoch: 0,
            typing: false,
        }
    }

    #[test]
    fn only_what_an_answer_told_that_came_back_is_known() {
        let (members, session) = (ToldMembers::new(1 << 20), session());
        assert!(!members.of(&session, None).has(7));
        let first = members.of(&session, None).with(&[7]);
        members.answered(&session, token(1), first.clone());
        members.answered(&session, token(2), first.with(&[8]));
        assert!(members.of(&session, Some(token(1))).has(7));
        assert!(
            !members.of(&session, Some(token(1))).has(8),
            "the answer was lost"
        );
        assert!(members.of(&session, Some(token(2))).has(8));
        assert!(
            !members.of(&session, Some(token(3))).has(7),
            "of no answer known here"
        );
        assert!(
            !members.of(&session, None).has(7),
            "who begins anew has nothing"
        );
    }

    #[test]
    fn two_answers_with_one_token_are_not_relied_upon() {
        let (members, session) = (ToldMembers::new(1 << 20), session());
        let (one, two) = (Told::default().with(&[1]), Told::default().with(&[2]));
        members.answered(&session, token(1), one.clone());
        members.answered(&session, token(1), one);
        assert!(
            members.of(&session, Some(token(1))).has(1),
            "they told the same"
        );
        members.answered(&session, token(1), two);
        let told = members.of(&session, Some(token(1)));
        assert!(!told.has(1) && !told.has(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (members, session) = (ToldMembers::new(1 << 30), session());
        let mut told = Told::default();
        for number in 0..10 {
            let some: Vec<i64> = (number * 5_000..(number + 1) * 5_000).collect();
            told = told.with(&some);
            members.answered(&session, token(number), told.clone());
            assert!(told.0.len() <= MEMBERS_MAX);
        }
        assert_eq!(members.0.get(&key(&session)).unwrap().0.len(), ANSWERS_MAX);
    }
}
