//! Push rules: whom the server tells of what.
//!
//! They are kept as what differs from the server's defaults: the rules that a person made, and the
//! defaults whose actions or state they changed. So the defaults of later versions reach everybody. To
//! clients they are the account data `m.push_rules`.
//!
//! spec: client-server v1.19 §Push Rules

use hearth_protocol::push_rules::PushClass;
use hearth_storage::tables::account_data::{self, AccountDataIs, AccountDataRow, GLOBAL};
use hearth_storage::tables::counts::{EVERYWHERE, PushClassRow};
use hearth_storage::tables::rooms;
use hearth_storage::{Commit, CommitError, Guard, Refusal, StorageError};
use hearth_types::ruma::UserId;
use hearth_types::ruma::push::{
    Action, InsertPushRuleError, RemovePushRuleError, RuleKind, RuleNotFoundError, Ruleset,
};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{AccountError, Accounts, Session};
use crate::push::classes::Classes;
use crate::push::stored::stored_class;

mod change;

pub use change::RuleChange;

/// The type under which they are account data.
pub(crate) const KIND: &str = "m.push_rules";

/// How often a change is made anew when another one of the same person came first.
const ATTEMPTS_MAX: usize = 5;

impl Accounts {
    /// A person's push rules: the content of `m.push_rules`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn push_rules(&self, session: &Session) -> Result<Value, AccountError> {
        let stored = self.push_rules_stored(session.user_nid).await?;
        let rules = rule_set(stored.as_deref(), &session.user_id)?;
        serde_json::to_value(Rendered(&rules)).map_err(fault)
    }

    /// One rule.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn push_rule(
        &self,
        session: &Session,
        kind: &str,
        rule_id: &str,
    ) -> Result<Value, AccountError> {
        let mut rules = self.push_rules(session).await?;
        let of_kind = rules
            .pointer_mut("/global")
            .and_then(|global| global.get_mut(kind));
        of_kind
            .and_then(Value::as_array_mut)
            .and_then(|rules| rules.iter_mut().find(|rule| rule["rule_id"] == rule_id))
            .map(Value::take)
            .ok_or(AccountError::NotFound("the push rule"))
    }

    /// Changes a person's push rules.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] where the rule to be changed is not there,
    /// [`AccountError::Invalid`] where the change breaks a rule, [`AccountError::TooMany`].
    pub async fn change_push_rules(
        &self,
        session: &Session,
        change: &RuleChange,
    ) -> Result<(), AccountError> {
        let _turn = self.turns.of(session.user_nid).await;
        for _ in 0..ATTEMPTS_MAX {
            let stored = self.push_rules_stored(session.user_nid).await?;
            let before = rule_set(stored.as_deref(), &session.user_id)?;
            let mut rules = before.clone();
            change.apply(&mut rules)?;
            let classes = self
                .classes_changed(&before, &rules, &session.user_id)
                .await?;
            let content = change::kept(rules, &session.user_id)?;
            if stored.as_deref() == Some(&content) {
                return Ok(());
            }
            let contents = (stored, content);
            if self.replace_push_rules(session, contents, classes).await? {
                return Ok(());
            }
        }
        Err(AccountError::Busy)
    }

    /// Whether nobody else changed them meanwhile.
    async fn replace_push_rules(
        &self,
        session: &Session,
        (expected, content): (Option<Vec<u8>>, Vec<u8>),
        classes: Vec<(i64, Option<PushClass>)>,
    ) -> Result<bool, AccountError> {
        let user_nid = session.user_nid;
        let mut commit = Commit::default();
        let slot = commit.slot();
        commit.guards.push(Guard::AccountDataIs(AccountDataIs {
            user_nid,
            room_nid: GLOBAL,
            kind: KIND.to_owned(),
            content: expected,
        }));
        commit.rows.account_data.push(AccountDataRow {
            user_nid,
            room_nid: GLOBAL,
            kind: KIND.to_owned(),
            content,
            slot,
        });
        for (room_nid, class) in &classes {
            commit.rows.push_classes.push(PushClassRow {
                user_nid,
                room_nid: *room_nid,
                slot,
                class: stored_class(*class),
            });
        }
        match self.context.storage.writer().commit(commit).await {
            Ok(receipt) => {
                let push = &self.context.push;
                push.rules.changed(user_nid);
                push.counts.reclassify(user_nid, &classes, receipt.at(slot));
            }
            Err(CommitError::Refused(Refusal::Changed)) => return Ok(false),
            Err(CommitError::Refused(refusal)) => return Err(AccountError::unexpected(&refusal)),
            Err(CommitError::Storage(error)) => return Err(error.into()),
        }
        self.context.notifier.wake([user_nid]);
        Ok(true)
    }

    /// The classes that a change puts a person into, by room or everywhere.
    async fn classes_changed(
        &self,
        before: &Ruleset,
        now: &Ruleset,
        user_id: &UserId,
    ) -> Result<Vec<(i64, Option<PushClass>)>, StorageError> {
        let before = Classes::new(before, user_id);
        let now = Classes::new(now, user_id);
        let (everywhere, rooms) = now.since(&before);
        let mut changed: Vec<_> = everywhere
            .map(|class| (EVERYWHERE, Some(class)))
            .into_iter()
            .collect();
        for (room_id, class) in rooms {
            let mut reader = self.context.storage.read().await?;
            let room = rooms::room_by_id(reader.conn(), room_id.as_str()).await?;
            changed.extend(room.map(|room| (room.room_nid, class)));
        }
        Ok(changed)
    }

    async fn push_rules_stored(&self, user_nid: i64) -> Result<Option<Vec<u8>>, StorageError> {
        let mut reader = self.context.storage.read().await?;
        account_data::account_data(reader.conn(), user_nid, GLOBAL, KIND).await
    }
}

/// All rules of a person, of what is stored of them.
pub(crate) fn rule_set(stored: Option<&[u8]>, user_id: &UserId) -> Result<Ruleset, AccountError> {
    let defaults = Ruleset::server_default(user_id);
    let Some(stored) = stored else {
        return Ok(defaults);
    };
    let mut rules: Ruleset = serde_json::from_slice(stored)
        .map_err(|error| AccountError::Fault(format!("stored push rules: {error}")))?;
    rules.update_with_server_default(defaults);
    Ok(rules)
}

/// Rules as clients see them: the content of `m.push_rules`, with every kind of rule, also where there is
/// none of it.
pub(super) struct Rendered<'a>(pub(super) &'a Ruleset);

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut content = serializer.serialize_map(Some(1))?;
        content.serialize_entry("global", &Global(self.0))?;
        content.end()
    }
}

struct Global<'a>(&'a Ruleset);

impl Serialize for Global<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(rules) = self;
        let mut kinds = serializer.serialize_map(Some(5))?;
        kinds.serialize_entry("override", &rules.override_)?;
        kinds.serialize_entry("content", &rules.content)?;
        kinds.serialize_entry("room", &rules.room)?;
        kinds.serialize_entry("sender", &rules.sender)?;
        kinds.serialize_entry("underride", &rules.underride)?;
        kinds.end()
    }
}

fn fault(error: impl std::fmt::Display) -> AccountError {
    AccountError::Fault(error.to_string())
}
