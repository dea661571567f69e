//! When and from where devices were last seen: noted in memory, written now and then.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_storage::tables::devices::DeviceSeen;
use hearth_storage::{Commit, CommitError};

use super::sessions::Known;
use super::{AccountError, Accounts};

/// A device that is used all the time is noted this often.
const NOTED_EVERY_MS: i64 = 60 * 1_000;

/// Between two writes.
const WRITTEN_EVERY: Duration = Duration::from_secs(120);

/// Devices that wait to be written; those beyond are noted when there is room again.
const WAITING_MAX: usize = 100_000;

/// Devices that one commit writes.
const COMMIT_MAX: usize = 500;

/// When a token's device was last noted: what most requests look at, and no more.
#[derive(Debug, Default)]
pub(super) struct LastNoted(AtomicI64);

/// What is not written yet, by person and device.
#[derive(Default)]
pub(super) struct Seen(Mutex<BTreeMap<(i64, String), LastSeen>>);

/// When and from where a device was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSeen {
    /// When, to within a minute.
    pub at_ms: i64,
    /// The address.
    pub address: String,
}

impl Seen {
    pub(super) fn note(&self, known: &Known, address: IpAddr, now_ms: i64) {
        let noted = &known.noted.0;
        if now_ms - noted.load(Ordering::Relaxed) < NOTED_EVERY_MS {
            return;
        }
        noted.store(now_ms, Ordering::Relaxed);
        let session = &known.session;
        let seen = LastSeen {
            at_ms: now_ms,
            address: address.to_string(),
        };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.insert((session.user_nid, session.place().to_string()), seen);
        }
    }

    /// What is not written yet of one device.
    pub(super) fn of(&self, user_nid: i64, device_id: &str) -> Option<LastSeen> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(&(user_nid, device_id.to_owned())).cloned()
    }

    fn take(&self) -> BTreeMap<(i64, String), LastSeen> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Accounts {
    /// Writes now and then which devices were seen, until the process ends.
    pub async fn keep_seen(&self) {
        loop {
            tokio::time::sleep(WRITTEN_EVERY).await;
            if let Err(error) = self.write_seen().await {
                tracing::warn!(%error, "it was not written which devices were seen");
            }
        }
    }

    /// Writes which devices were seen since the last time.
    ///
    /// # Errors
    /// When the database fails; what was to be written is lost, and noted anew when the devices are
    /// seen again.
    pub async fn write_seen(&self) -> Result<(), AccountError> {
        let waiting = self.seen.take().into_iter();
        let rows: Vec<DeviceSeen> = waiting
            .map(|((user_nid, device_id), seen)| DeviceSeen {
                user_nid,
                device_id,
                at_ms: seen.at_ms,
                address: seen.address,
            })
            .collect();
        for rows in rows.chunks(COMMIT_MAX) {
            let mut commit = Commit::default();
            commit.rows.devices_seen = rows.to_vec();
            match self.context.storage.writer().commit(commit).await {
                Ok(_) => {}
                Err(CommitError::Storage(error)) => return Err(error.into()),
                Err(CommitError::Refused(refusal)) => {
                    return Err(AccountError::unexpected(&refusal));
                }
            }
        }
        Ok(())
    }
}
