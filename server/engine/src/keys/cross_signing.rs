//! Publishing cross-signing keys.
//!
//! spec: client-server v1.19 §Cross-signing, `POST /keys/device_signing/upload`.

use std::collections::BTreeMap;

use hearth_protocol::signing::{VerifyKey, verify_json};
use hearth_storage::tables::cross_signing::{self as table, CrossSigningUpload};
use hearth_storage::tables::devices;
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::UserId;

use super::Keys;
use super::error::KeyError;
use super::person::Person;
use super::schema::{self, CrossSigning, Usage};
use crate::device_lists::{announce, changed_here, signing_keys_changed};

/// A checked upload of cross-signing keys: ask for authorization if it is needed, then have it done.
#[derive(Debug)]
pub struct CrossSigningPlan {
    user_nid: i64,
    user_id: String,
    upload: CrossSigningUpload,
    /// The keys as they will stand.
    person: Person,
    replaces_any: bool,
    public_changes: bool,
}

impl CrossSigningPlan {
    /// Whether the person has to prove afresh who they are: the keys differ from those that stand
    /// there. Neither the first upload nor a repeated one needs it.
    #[must_use]
    pub fn needs_authorization(&self) -> bool {
        self.replaces_any
    }

    /// What the authorization is for: one that was given for some keys does not serve for others.
    #[must_use]
    pub fn subject(&self) -> String {
        let public = self
            .person
            .cross_signing
            .keys()
            .filter_map(|usage| self.person.public_key(*usage));
        public.collect::<Vec<_>>().join(" ")
    }
}

impl Keys {
    /// Checks the body of `POST /_matrix/client/v3/keys/device_signing/upload`.
    ///
    /// # Errors
    /// When it breaks a rule, a key is not signed by the master key, or there is none.
    pub async fn cross_signing_plan(
        &self,
        user_id: &UserId,
        body: &[u8],
    ) -> Result<CrossSigningPlan, KeyError> {
        let body = schema::body(body)?;
        let user_nid = self.nid(user_id).await?;
        let mut reader = self.context.storage.read().await?;
        let expected = table::cross_signing_keys(reader.conn(), &[user_nid]).await?;
        let devices = devices::device_list(reader.conn(), user_nid).await?;
        drop(reader);
        let stored = stored_keys(&expected, user_id.as_str());
        let mut standing = stored.clone();
        let mut new = Vec::new();
        for usage in Usage::ALL {
            let Some(key) = body.optional_object(usage.field())? else {
                continue;
            };
            let checked = schema::cross_signing_key(key, user_id.as_str(), usage)?;
            schema::own_signatures_only(key, usage.field(), user_id.as_str())?;
            if devices
                .iter()
                .any(|device| device.device_id == checked.public)
            {
                return Err(KeyError::KeyIdInUse(usage.field()));
            }
            if usage != Usage::Master {
                let master = standing.get(&Usage::Master).ok_or(KeyError::NoMasterKey)?;
                signed_by_master(key, user_id, usage, &master.public)?;
            }
            let same = |old: &CrossSigning| old.identity.signed == checked.identity.signed;
            if !stored.get(&usage).is_some_and(same) {
                new.push(usage);
            }
            standing.insert(usage, checked);
        }
        let replaced = new
            .iter()
            .filter_map(|usage| Some(stored.get(usage)?.public.clone()));
        let replaced: Vec<String> = replaced.collect();
        let mut person = Person::default();
        for (usage, key) in &standing {
            person
                .cross_signing
                .insert(*usage, key.identity.content.clone());
        }
        let mut keys = person.cross_signing_rows(user_nid);
        keys.retain(|key| new.iter().any(|usage| usage.name() == key.usage));
        Ok(CrossSigningPlan {
            user_nid,
            user_id: user_id.to_string(),
            replaces_any: stored.contains_key(&Usage::Master) && !new.is_empty(),
            public_changes: new.iter().any(|usage| *usage != Usage::UserSigning),
            upload: CrossSigningUpload {
                user_nid,
                expected,
                keys,
                replaced,
            },
            person,
        })
    }

    /// Does what was planned. The same keys again change nothing.
    ///
    /// # Errors
    /// [`KeyError::Changed`] when other keys came in between.
    pub async fn cross_signing_upload(&self, plan: CrossSigningPlan) -> Result<(), KeyError> {
        if plan.upload.keys.is_empty() {
            return Ok(());
        }
        let mut commit = Commit::default();
        commit.guards.push(Guard::CrossSigningUpload(plan.upload));
        if plan.public_changes {
            signing_keys_changed(&mut commit, plan.user_nid, &plan.user_id, &plan.person);
        } else {
            changed_here(&mut commit, plan.user_nid);
        }
        drop(self.context.storage.writer().commit(commit).await?);
        Ok(announce(&self.context, plan.user_nid).await?)
    }
}

fn stored_keys(rows: &[table::CrossSigningKey], user_id: &str) -> BTreeMap<Usage, CrossSigning> {
    let key = |row: &table::CrossSigningKey| {
        let usage = Usage::ALL
            .into_iter()
            .find(|usage| usage.name() == row.usage)?;
        let object = schema::body(&row.content).ok()?;
        Some((
            usage,
            schema::cross_signing_key(&object, user_id, usage).ok()?,
        ))
    };
    rows.iter().filter_map(key).collect()
}

fn signed_by_master(
    key: &hearth_protocol::canonical_json::Object<'_>,
    user_id: &UserId,
    usage: Usage,
    master: &str,
) -> Result<(), KeyError> {
    let wrong = || KeyError::Signature(usage.field().to_owned());
    let verify_key = VerifyKey::from_base64(master).ok_or_else(wrong)?;
    let key_id = format!("ed25519:{master}");
    verify_json(key, user_id.as_str(), &key_id, &verify_key).map_err(|_| wrong())
}
