//! What other servers answer about their people's keys. Whatever does not pass the schema is left
//! out: one broken key does not hide the others.

use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_storage::tables::device_lists::REMOTE_DEVICES_MAX;
use serde_json::Value;

use super::person::{Device, Person};
use super::schema::{self, Usage};

/// One device of a remote person.
pub(crate) fn device(
    user_id: &str,
    device_id: &str,
    keys: &Value,
    display_name: Option<&Value>,
) -> Option<Device> {
    if !schema::is_id(device_id) {
        return None;
    }
    let json = serde_json::to_vec(keys).ok()?;
    let keys = parse_object(&json, CanonicalJsonRules::STRICT).ok()?;
    let content = schema::device_keys(&keys, user_id, device_id).ok()?.content;
    Some(Device {
        content,
        display_name: display_name
            .and_then(Value::as_str)
            .and_then(schema::device_name),
    })
}

fn cross_signing(user_id: &str, usage: Usage, key: Option<&Value>) -> Option<(Usage, Vec<u8>)> {
    let json = serde_json::to_vec(key?).ok()?;
    let key = parse_object(&json, CanonicalJsonRules::STRICT).ok()?;
    let key = schema::cross_signing_key(&key, user_id, usage).ok()?;
    Some((usage, key.identity.content))
}

/// One person's keys in an answer to `POST user/keys/query`; none when it does not name them.
pub(crate) fn from_query(answer: &Value, user_id: &str) -> Option<Person> {
    let devices = answer.get("device_keys").and_then(|all| all.get(user_id));
    let keys = |field: &str, usage| {
        cross_signing(
            user_id,
            usage,
            answer.get(field).and_then(|all| all.get(user_id)),
        )
    };
    let cross_signing = [
        keys("master_keys", Usage::Master),
        keys("self_signing_keys", Usage::SelfSigning),
    ];
    if devices.is_none() && cross_signing.iter().all(Option::is_none) {
        return None;
    }
    let named = devices
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .take(REMOTE_DEVICES_MAX);
    let devices = named.filter_map(|(device_id, keys)| {
        let name = keys
            .get("unsigned")
            .and_then(|it| it.get("device_display_name"));
        Some((device_id.clone(), device(user_id, device_id, keys, name)?))
    });
    Some(Person {
        devices: devices.collect(),
        cross_signing: cross_signing.into_iter().flatten().collect(),
    })
}

/// The keys and the link of the chain in an answer to `GET user/devices`.
pub(crate) fn from_devices(answer: &Value, user_id: &str) -> Option<(Person, i64)> {
    if answer.get("user_id")?.as_str()? != user_id {
        return None;
    }
    let listed = answer
        .get("devices")?
        .as_array()?
        .iter()
        .take(REMOTE_DEVICES_MAX);
    let devices = listed.filter_map(|it| {
        let device_id = it.get("device_id")?.as_str()?;
        let device = device(
            user_id,
            device_id,
            it.get("keys")?,
            it.get("device_display_name"),
        )?;
        Some((device_id.to_owned(), device))
    });
    let keys = |usage: Usage| cross_signing(user_id, usage, answer.get(usage.field()));
    let cross_signing = [keys(Usage::Master), keys(Usage::SelfSigning)];
    let person = Person {
        devices: devices.collect(),
        cross_signing: cross_signing.into_iter().flatten().collect(),
    };
    Some((person, answer.get("stream_id")?.as_i64()?))
}
