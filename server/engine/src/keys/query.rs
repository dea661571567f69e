//! Asking for people's devices and keys.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::canonical_json::Object;
use hearth_storage::StorageError;
use hearth_storage::tables::{intern, sharing};
use hearth_types::ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::KeyError;
use super::person::{self, Person, Reader};
use super::schema::{self, Usage};
use super::{Failure, Keys, failure, remote, timeout, user_id};
use crate::device_lists::Asked;

/// People that one request may ask about.
const PEOPLE_MAX: usize = 5_000;

/// Whose devices are wanted; an empty list means all.
type Wanted = BTreeMap<OwnedUserId, BTreeSet<String>>;

/// Keys by the ids of their owners.
type ByOwner<T> = BTreeMap<String, T>;

/// The answer to a key query, of a client or of another server.
#[derive(Debug, Default, Serialize)]
pub struct QueryAnswer {
    device_keys: ByOwner<BTreeMap<String, Box<RawValue>>>,
    master_keys: ByOwner<Box<RawValue>>,
    self_signing_keys: ByOwner<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_signing_keys: Option<ByOwner<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<BTreeMap<String, Failure>>,
}

impl Keys {
    /// `POST /_matrix/client/v3/keys/query`
    ///
    /// # Errors
    /// When the body breaks a rule. A server that cannot be reached is no error: its people are
    /// missing, and it stands among the failures.
    pub async fn query(&self, asker: &UserId, body: &[u8]) -> Result<QueryAnswer, KeyError> {
        let body = schema::body(body)?;
        let timeout = timeout(&body)?;
        let wanted = wanted(&body)?;
        let user_nid = self.nid(asker).await?;
        let reader = Reader {
            user_nid,
            user_id: asker.as_str(),
        };
        let mut answer = QueryAnswer {
            user_signing_keys: Some(BTreeMap::new()),
            ..QueryAnswer::default()
        };
        let (mut people, missing) = self.people_here(&wanted).await?;
        let mut failures = BTreeMap::new();
        let (fetched, strangers) = self.fetch(missing, timeout, &mut failures).await?;
        people.extend(self.people_stored(&fetched).await?);
        people.extend(strangers);
        self.add_signatures(reader, &mut people).await?;
        for (user_id, person) in &people {
            answer.add(user_id.as_str(), person, wanted.get(user_id))?;
        }
        if let Some(own) = people.get(asker)
            && let Some(key) = own.cross_signing.get(&Usage::UserSigning)
            && let Some(keys) = &mut answer.user_signing_keys
        {
            keys.insert(asker.to_string(), person::raw(key)?);
        }
        answer.failures = Some(failures);
        Ok(answer)
    }

    /// `POST /_matrix/federation/v1/user/keys/query`: of our people, those whose keys the server
    /// may see.
    ///
    /// # Errors
    /// When the body breaks a rule.
    pub async fn query_from(
        &self,
        origin: &ServerName,
        body: &[u8],
    ) -> Result<QueryAnswer, KeyError> {
        let wanted = wanted(&schema::body(body)?)?;
        let mut visible: BTreeMap<i64, &OwnedUserId> = BTreeMap::new();
        for user_id in wanted.keys() {
            if let Some(nid) = self.lists.visible(origin, user_id).await? {
                visible.insert(nid, user_id);
            }
        }
        let storage = &self.context.storage;
        let nids: Vec<i64> = visible.keys().copied().collect();
        let mut people = person::stored(storage, &nids).await?;
        person::signatures_add(storage, None, &mut people).await?;
        let mut answer = QueryAnswer::default();
        for (nid, user_id) in visible {
            let person = people.remove(&nid).unwrap_or_default();
            answer.add(user_id.as_str(), &person, wanted.get(user_id))?;
        }
        Ok(answer)
    }

    /// Those whose keys are here, and by server those that have to be asked for.
    async fn people_here(
        &self,
        wanted: &Wanted,
    ) -> Result<
        (
            BTreeMap<OwnedUserId, Person>,
            BTreeMap<OwnedServerName, Vec<OwnedUserId>>,
        ),
        StorageError,
    > {
        let is_ours = |user: &&OwnedUserId| self.context.is_ours(user.server_name().as_str());
        let (ours, theirs): (Vec<_>, Vec<_>) = wanted.keys().partition(is_ours);
        let theirs_text: Vec<String> = theirs.iter().map(ToString::to_string).collect();
        let fresh = self.lists.fresh(&theirs_text).await?;
        let fresh: BTreeSet<String> = fresh.into_iter().map(|(user_id, _)| user_id).collect();
        let (copied, missing): (Vec<_>, Vec<_>) = theirs
            .into_iter()
            .partition(|user| fresh.contains(user.as_str()));
        let here: Vec<OwnedUserId> = ours.into_iter().chain(copied).cloned().collect();
        let mut by_server: BTreeMap<OwnedServerName, Vec<OwnedUserId>> = BTreeMap::new();
        for user in missing {
            by_server
                .entry(user.server_name().to_owned())
                .or_default()
                .push(user.clone());
        }
        Ok((self.people_stored(&here).await?, by_server))
    }

    async fn people_stored(
        &self,
        users: &[OwnedUserId],
    ) -> Result<BTreeMap<OwnedUserId, Person>, StorageError> {
        let names: Vec<String> = users.iter().map(ToString::to_string).collect();
        let mut reader = self.context.storage.read().await?;
        let known = intern::user_nids(reader.conn(), &names).await?;
        drop(reader);
        let nids: Vec<i64> = known.iter().map(|(_, nid)| *nid).collect();
        let mut stored = person::stored(&self.context.storage, &nids).await?;
        let known: BTreeMap<String, i64> = known.into_iter().collect();
        let person = |user: &OwnedUserId| {
            let nid = known.get(user.as_str())?;
            Some((user.clone(), stored.remove(nid).unwrap_or_default()))
        };
        Ok(users.iter().filter_map(person).collect())
    }

    /// Asks other servers. Returns those whose keys are copied now, and the keys of those that are
    /// not, since no room is shared with them.
    async fn fetch(
        &self,
        missing: BTreeMap<OwnedServerName, Vec<OwnedUserId>>,
        timeout: std::time::Duration,
        failures: &mut BTreeMap<String, Failure>,
    ) -> Result<(Vec<OwnedUserId>, BTreeMap<OwnedUserId, Person>), StorageError> {
        let mut asked: BTreeMap<OwnedUserId, Asked> = BTreeMap::new();
        for user in missing.values().flatten() {
            if let Some(known) = Asked::now(&self.context.storage, user).await? {
                asked.insert(user.clone(), known);
            }
        }
        let answers = self
            .ask_servers(&missing, timeout, |server, users| {
                let all: BTreeMap<&str, [&str; 0]> =
                    users.iter().map(|user| (user.as_str(), [])).collect();
                self.context
                    .peers
                    .keys_query(server, json!({ "device_keys": all }))
            })
            .await;
        let (mut copied, mut strangers) = (Vec::new(), BTreeMap::new());
        for (server, users, answer) in answers {
            match answer {
                Ok(answer) => {
                    for user in users {
                        let asked = asked.get(user).copied();
                        match self.take(user, asked, &answer).await? {
                            Taken::Copied => copied.push(user.clone()),
                            Taken::Stranger(person) => drop(strangers.insert(user.clone(), person)),
                            Taken::Unknown => {}
                        }
                    }
                }
                Err(error) => drop(failures.insert(server.to_string(), failure(&error))),
            }
        }
        Ok((copied, strangers))
    }

    /// Takes one person's keys out of an answer; they are copied while a room is shared.
    async fn take(
        &self,
        user: &OwnedUserId,
        asked: Option<Asked>,
        answer: &Value,
    ) -> Result<Taken, StorageError> {
        let Some(person) = remote::from_query(answer, user.as_str()) else {
            return Ok(Taken::Unknown);
        };
        let Some(asked) = asked else {
            return Ok(Taken::Stranger(person));
        };
        let storage = &self.context.storage;
        let ours = storage
            .server_intern(self.context.server_name.as_str())
            .await?;
        let shared =
            sharing::server_shares_room(storage.read().await?.conn(), ours, asked.user_nid).await?;
        if shared && self.lists.keep(asked, &person, 0).await? {
            return Ok(Taken::Copied);
        }
        Ok(Taken::Stranger(person))
    }

    async fn add_signatures(
        &self,
        reader: Reader<'_>,
        people: &mut BTreeMap<OwnedUserId, Person>,
    ) -> Result<(), StorageError> {
        let names: Vec<String> = people.keys().map(ToString::to_string).collect();
        let known = intern::user_nids(self.context.storage.read().await?.conn(), &names).await?;
        let known: BTreeMap<String, i64> = known.into_iter().collect();
        let mut by_nid = BTreeMap::new();
        for (user, person) in people.iter_mut() {
            if let Some(nid) = known.get(user.as_str()) {
                by_nid.insert(*nid, std::mem::take(person));
            }
        }
        person::signatures_add(&self.context.storage, Some(reader), &mut by_nid).await?;
        for (user, person) in people.iter_mut() {
            if let Some(signed) = known.get(user.as_str()).and_then(|nid| by_nid.remove(nid)) {
                *person = signed;
            }
        }
        Ok(())
    }

    /// One person's keys, asked for where they are not here.
    pub(super) async fn person(
        &self,
        reader: Reader<'_>,
        user: &OwnedUserId,
    ) -> Result<Option<Person>, KeyError> {
        let wanted = BTreeMap::from([(user.clone(), BTreeSet::new())]);
        let (mut people, missing) = self.people_here(&wanted).await?;
        let timeout = std::time::Duration::from_millis(super::TIMEOUT_MS);
        let (fetched, strangers) = self.fetch(missing, timeout, &mut BTreeMap::new()).await?;
        people.extend(self.people_stored(&fetched).await?);
        people.extend(strangers);
        self.add_signatures(reader, &mut people).await?;
        Ok(people.remove(user))
    }
}

enum Taken {
    Copied,
    Stranger(Person),
    Unknown,
}

impl QueryAnswer {
    fn add(
        &mut self,
        user_id: &str,
        person: &Person,
        wanted: Option<&BTreeSet<String>>,
    ) -> Result<(), StorageError> {
        let mut devices = BTreeMap::new();
        for (device_id, device) in &person.devices {
            if wanted.is_none_or(|some| some.is_empty() || some.contains(device_id)) {
                devices.insert(device_id.clone(), person::raw_device(device)?);
            }
        }
        self.device_keys.insert(user_id.to_owned(), devices);
        let fields = [
            (Usage::Master, &mut self.master_keys),
            (Usage::SelfSigning, &mut self.self_signing_keys),
        ];
        for (usage, keys) in fields {
            if let Some(key) = person.cross_signing.get(&usage) {
                keys.insert(user_id.to_owned(), person::raw(key)?);
            }
        }
        Ok(())
    }
}

fn wanted(body: &Object<'_>) -> Result<Wanted, KeyError> {
    let asked = body.object("device_keys")?;
    if asked.len() > PEOPLE_MAX {
        return Err(KeyError::TooLarge {
            field: "device_keys".to_owned(),
            limit: i64::try_from(PEOPLE_MAX).unwrap_or(i64::MAX),
            unit: "people",
        });
    }
    let mut wanted = BTreeMap::new();
    for (user, devices) in asked.iter() {
        let devices: Option<BTreeSet<String>> = devices.as_array().and_then(|all| {
            let ids = all.iter().map(|id| id.as_str().map(str::to_owned));
            ids.collect()
        });
        let devices = devices.ok_or_else(|| KeyError::NotDeviceIds(user.to_owned()))?;
        wanted.insert(user_id(user, "device_keys")?, devices);
    }
    Ok(wanted)
}
