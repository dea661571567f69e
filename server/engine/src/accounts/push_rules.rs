//! Push rules: for now everyone has the server's defaults.
//!
//! spec: client-server v1.19 §Push Rules

use hearth_types::ruma::UserId;
use hearth_types::ruma::push::Ruleset;
use serde_json::{Value, json};

use super::{AccountError, Accounts};

/// The type under which they are account data.
pub(super) const KIND: &str = "m.push_rules";

/// The kinds of rules. Clients want each of them, also where there are no rules of the kind.
const KINDS: [&str; 5] = ["override", "content", "room", "sender", "underride"];

impl Accounts {
    /// A person's push rules: the content of `m.push_rules`.
    ///
    /// # Errors
    /// When the rules cannot be serialized, which is a bug.
    pub fn push_rules(&self, user_id: &UserId) -> Result<Value, AccountError> {
        let mut global = serde_json::to_value(Ruleset::server_default(user_id))
            .map_err(|error| AccountError::Fault(error.to_string()))?;
        if let Value::Object(rules) = &mut global {
            for kind in KINDS {
                rules.entry(kind).or_insert_with(|| json!([]));
            }
        }
        Ok(json!({ "global": global }))
    }

    /// One rule.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub fn push_rule(
        &self,
        user_id: &UserId,
        kind: &str,
        rule_id: &str,
    ) -> Result<Value, AccountError> {
        let mut rules = self.push_rules(user_id)?;
        let of_kind = rules
            .pointer_mut("/global")
            .and_then(|global| global.get_mut(kind));
        of_kind
            .and_then(Value::as_array_mut)
            .and_then(|rules| rules.iter_mut().find(|rule| rule["rule_id"] == rule_id))
            .map(Value::take)
            .ok_or(AccountError::NotFound("the push rule"))
    }
}
