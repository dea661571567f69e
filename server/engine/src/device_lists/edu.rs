//! What other servers are told about our people's devices and keys.
//!
//! spec: server-server v1.19 §Device Management (m.device_list_update, m.signing_key_update).

use hearth_protocol::canonical_json::write_string;
use hearth_storage::Commit;
use hearth_storage::tables::device_keys::DeviceForgotten;
use hearth_storage::tables::device_lists::{DeviceListChange, ListEdu};

use crate::keys::person::{Device, Person};
use crate::keys::schema::Usage;

/// Adds to a commit that one of our people's devices is gone: nothing of its keys and of what waits
/// for it stays, and everyone who tracks the person learns of it. Call
/// [`announce`](super::announce) when the commit is done.
pub fn device_removed(commit: &mut Commit, user_nid: i64, user_id: &str, device_id: &str) {
    commit.rows.devices_forgotten.push(DeviceForgotten {
        user_nid,
        device_id: device_id.to_owned(),
    });
    device_deleted(commit, user_nid, user_id, device_id);
}

/// Adds the news alone that a device is gone.
pub(crate) fn device_deleted(commit: &mut Commit, user_nid: i64, user_id: &str, device_id: &str) {
    push(commit, user_nid, Some(update(user_id, device_id, None)));
}

/// Adds to a commit that a device is new, or has other keys or another name.
pub(crate) fn device_changed(
    commit: &mut Commit,
    user_nid: i64,
    user_id: &str,
    device: (&str, &Device),
) {
    push(
        commit,
        user_nid,
        Some(update(user_id, device.0, Some(device.1))),
    );
}

/// Adds to a commit that a person's master or self-signing key is new.
pub(crate) fn signing_keys_changed(
    commit: &mut Commit,
    user_nid: i64,
    user_id: &str,
    person: &Person,
) {
    let mut edu = br#"{"content":{"#.to_vec();
    for usage in [Usage::Master, Usage::SelfSigning] {
        if let Some(key) = person.cross_signing.get(&usage) {
            member(&mut edu, usage.field(), key);
        }
    }
    member_text(&mut edu, "user_id", user_id);
    edu.pop();
    edu.extend_from_slice(br#"},"edu_type":"m.signing_key_update"}"#);
    push(commit, user_nid, Some(ListEdu::Whole(edu)));
}

/// Adds a change that only our own people learn of.
pub(crate) fn changed_here(commit: &mut Commit, user_nid: i64) {
    push(commit, user_nid, None);
}

fn push(commit: &mut Commit, user_nid: i64, edu: Option<ListEdu>) {
    let slot = commit.slot();
    commit.rows.device_list_changes.push(DeviceListChange {
        user_nid,
        slot,
        edu,
    });
}

/// The news of one device; without one, that it is deleted.
pub(super) fn update(user_id: &str, device_id: &str, device: Option<&Device>) -> ListEdu {
    let mut head = br#"{"content":{"#.to_vec();
    match device {
        None => member(&mut head, "deleted", b"true"),
        Some(device) => {
            member(&mut head, "keys", &device.content);
            if let Some(name) = &device.display_name {
                member_text(&mut head, "device_display_name", name);
            }
        }
    }
    member_text(&mut head, "device_id", device_id);
    member_text(&mut head, "user_id", user_id);
    ListEdu::Chained {
        head,
        tail: br#"},"edu_type":"m.device_list_update"}"#.to_vec(),
    }
}

fn member(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    write_string(name, out);
    out.push(b':');
    out.extend_from_slice(json);
    out.push(b',');
}

fn member_text(out: &mut Vec<u8>, name: &str, text: &str) {
    let mut json = Vec::new();
    write_string(text, &mut json);
    member(out, name, &json);
}
