//! Claiming one-time keys.

use std::collections::BTreeMap;

use hearth_protocol::canonical_json::{CanonicalJsonRules, Object, parse_object};
use hearth_storage::tables::one_time_keys::{IssuedKey, KeyWanted, KeysClaim};
use hearth_storage::{Commit, Guard, Outcome, StorageError};
use hearth_types::ruma::{OwnedServerName, OwnedUserId, ServerName};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::KeyError;
use super::{Failure, Keys, failure, person, schema, timeout, user_id};

/// Keys that one request may claim.
const CLAIM_MAX: usize = 2_000;

/// Keys that are issued in one commit, so that a large claim does not keep the writer to itself.
const CLAIM_CHUNK: usize = 100;

/// The largest key of a remote device that is passed on.
const REMOTE_KEY_MAX_BYTES: usize = 8 * 1024;

/// By person and device, the algorithm that is wanted.
type Wanted = BTreeMap<OwnedUserId, BTreeMap<String, String>>;

/// The answer to a claim, of a client or of another server.
#[derive(Debug, Default, Serialize)]
pub struct ClaimAnswer {
    one_time_keys: BTreeMap<String, BTreeMap<String, BTreeMap<String, Box<RawValue>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<BTreeMap<String, Failure>>,
}

impl ClaimAnswer {
    fn add(&mut self, user_id: &str, device_id: &str, name: String, key: Box<RawValue>) {
        let devices = self.one_time_keys.entry(user_id.to_owned()).or_default();
        devices.insert(device_id.to_owned(), BTreeMap::from([(name, key)]));
    }
}

impl Keys {
    /// `POST /_matrix/client/v3/keys/claim`
    ///
    /// # Errors
    /// When the body breaks a rule. A server that cannot be reached stands among the failures.
    pub async fn claim(&self, body: &[u8]) -> Result<ClaimAnswer, KeyError> {
        let body = schema::body(body)?;
        let timeout = timeout(&body)?;
        let (ours, theirs) = self.split(wanted(&body)?);
        let mut answer = ClaimAnswer::default();
        self.claim_here(&ours, &mut answer).await?;
        let answers = self
            .ask_servers(&theirs, timeout, |server, wanted| {
                self.context
                    .peers
                    .keys_claim(server, json!({ "one_time_keys": wanted }))
            })
            .await;
        let mut failures = BTreeMap::new();
        for (server, wanted, answered) in answers {
            match answered {
                Ok(answered) => take(&answered, wanted, &mut answer),
                Err(error) => drop(failures.insert(server.to_string(), failure(&error))),
            }
        }
        answer.failures = Some(failures);
        Ok(answer)
    }

    /// `POST /_matrix/federation/v1/user/keys/claim`: of our people, those whose keys the server
    /// may see.
    ///
    /// # Errors
    /// When the body breaks a rule.
    pub async fn claim_from(
        &self,
        origin: &ServerName,
        body: &[u8],
    ) -> Result<ClaimAnswer, KeyError> {
        let mut visible = Wanted::new();
        for (user, devices) in wanted(&schema::body(body)?)? {
            if self.lists.visible(origin, &user).await?.is_some() {
                visible.insert(user, devices);
            }
        }
        let mut answer = ClaimAnswer::default();
        self.claim_here(&visible, &mut answer).await?;
        Ok(answer)
    }

    fn split(&self, wanted: Wanted) -> (Wanted, BTreeMap<OwnedServerName, Wanted>) {
        let (mut ours, mut theirs) = (Wanted::new(), BTreeMap::<OwnedServerName, Wanted>::new());
        for (user, devices) in wanted {
            let server = user.server_name().to_owned();
            if self.context.is_ours(server.as_str()) {
                ours.insert(user, devices);
            } else {
                theirs.entry(server).or_default().insert(user, devices);
            }
        }
        (ours, theirs)
    }

    async fn claim_here(&self, wanted: &Wanted, answer: &mut ClaimAnswer) -> Result<(), KeyError> {
        let mut asked: Vec<(&str, KeyWanted)> = Vec::new();
        for (user, devices) in wanted {
            let Some(user_nid) = self.context.storage.user_find(user.as_str()).await? else {
                continue;
            };
            let keys = devices.iter().map(|(device_id, algorithm)| KeyWanted {
                user_nid,
                device_id: device_id.clone(),
                algorithm: algorithm.clone(),
            });
            asked.extend(keys.map(|key| (user.as_str(), key)));
        }
        for chunk in asked.chunks(CLAIM_CHUNK) {
            let keys = chunk.iter().map(|(_, key)| key.clone()).collect();
            for ((user_id, wanted), issued) in chunk.iter().zip(self.issue(keys).await?) {
                if let Some(key) = issued {
                    let name = format!("{}:{}", wanted.algorithm, key.key_id);
                    answer.add(user_id, &wanted.device_id, name, person::raw(&key.content)?);
                }
            }
        }
        Ok(())
    }

    async fn issue(&self, keys: Vec<KeyWanted>) -> Result<Vec<Option<IssuedKey>>, KeyError> {
        let owners: Vec<i64> = keys.iter().map(|key| key.user_nid).collect();
        let mut commit = Commit {
            guards: vec![Guard::KeysClaim(KeysClaim(keys))],
            ..Commit::default()
        };
        // The log moves on, so that a database from before this can be told by its head.
        commit.slot();
        let mut receipt = self.context.storage.writer().commit(commit).await?;
        let issued = receipt.outcomes.pop();
        drop(receipt);
        // Their devices are told how many keys are left.
        self.context.notifier.wake(owners);
        match issued {
            Some(Outcome::Keys(issued)) => Ok(issued),
            _ => Err(KeyError::Storage(StorageError::Corrupt {
                what: "one-time keys",
                why: "the claim gave none".to_owned(),
            })),
        }
    }
}

/// Takes from another server's answer what was asked for, and nothing else.
fn take(answered: &Value, wanted: &Wanted, answer: &mut ClaimAnswer) {
    let Some(keys) = answered.get("one_time_keys") else {
        return;
    };
    for (user, devices) in wanted {
        for (device_id, algorithm) in devices {
            let of_device = keys
                .get(user.as_str())
                .and_then(|of_user| of_user.get(device_id));
            let named = of_device
                .and_then(Value::as_object)
                .and_then(|keys| keys.iter().next());
            if let Some((name, key)) = named
                && name
                    .split_once(':')
                    .is_some_and(|(of, id)| of == algorithm && schema::is_id(id))
                && let Some(key) = passable(key)
            {
                answer.add(user.as_str(), device_id, name.clone(), key);
            }
        }
    }
}

/// A remote key of reasonable size that has a canonical form.
fn passable(key: &Value) -> Option<Box<RawValue>> {
    let json = serde_json::to_vec(key).ok()?;
    let key = parse_object(&json, CanonicalJsonRules::STRICT).ok()?;
    let content = key.to_canonical();
    (content.len() <= REMOTE_KEY_MAX_BYTES)
        .then(|| person::raw(&content).ok())
        .flatten()
}

fn wanted(body: &Object<'_>) -> Result<Wanted, KeyError> {
    let mut wanted = Wanted::new();
    let mut count = 0;
    for (user, devices) in body.object("one_time_keys")?.iter() {
        let field = || format!("one_time_keys.{user}");
        let Some(devices) = devices.as_object() else {
            return Err(KeyError::invalid(
                field(),
                "must map device ids to algorithms",
            ));
        };
        let mut algorithms = BTreeMap::new();
        for (device_id, algorithm) in devices.iter() {
            let named = algorithm
                .as_str()
                .filter(|name| schema::is_id(name) && schema::is_id(device_id));
            let algorithm = named
                .ok_or_else(|| KeyError::invalid(field(), "must map device ids to algorithms"))?;
            algorithms.insert(device_id.to_owned(), algorithm.to_owned());
        }
        count += algorithms.len();
        wanted.insert(user_id(user, "one_time_keys")?, algorithms);
    }
    if count > CLAIM_MAX {
        return Err(KeyError::TooLarge {
            field: "one_time_keys".to_owned(),
            limit: i64::try_from(CLAIM_MAX).unwrap_or(i64::MAX),
            unit: "devices",
        });
    }
    Ok(wanted)
}
