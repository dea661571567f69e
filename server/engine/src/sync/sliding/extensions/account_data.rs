//! What a person keeps: globally, and with the rooms of an answer.

use std::collections::{BTreeMap, BTreeSet};

use hearth_types::ruma::OwnedRoomId;

use super::super::super::SyncError;
use super::super::super::look::write_data;
use super::super::look::Look;
use super::super::told::{Changed, Told};
use super::Extras;
use crate::accounts::AccountData;
use crate::json::Json;

/// Account data of the rooms of an answer.
#[derive(Debug, Default)]
pub(super) struct RoomsData {
    by_room: BTreeMap<OwnedRoomId, Vec<AccountData>>,
    /// Rooms that the client has it of from now on.
    told: BTreeSet<i64>,
    /// Rooms that it has not all of any more.
    missed: BTreeSet<i64>,
}

impl RoomsData {
    /// Whether there is nothing new in it.
    pub(super) fn is_empty(&self) -> bool {
        self.by_room.is_empty()
    }

    /// Writes it after what belongs to no room.
    pub(super) fn write(&self, global: &[AccountData], json: &mut Json) {
        json.open_at("account_data");
        write_data(json, "global", global.iter());
        json.open_at("rooms");
        for (room_id, data) in &self.by_room {
            write_data(json, room_id.as_str(), data.iter());
        }
        json.close();
        json.close();
    }

    /// Notes of which rooms the client has it.
    pub(super) fn take_note(&self, before: &Told, told: &mut Changed) {
        for nid in &self.told {
            told.set(*nid, before, |room| room.has_data = true);
        }
        for nid in &self.missed {
            told.set(*nid, before, |room| room.has_data = false);
        }
    }
}

impl Look<'_> {
    /// Account data that changed; all that belongs to no room where the client has none.
    pub(super) async fn changed_data(&self) -> Result<Vec<AccountData>, SyncError> {
        let (accounts, session) = (&self.sync.accounts, &self.request.session);
        Ok(match self.point.data {
            0 => accounts.global_account_data(session, self.until).await?,
            since => {
                accounts
                    .account_data_since(session, since, self.until)
                    .await?
            }
        })
    }

    /// The account data of those of `rooms` of which the client has none, and what changed of it in
    /// the others. What belongs to no room stays with the rest.
    pub(super) async fn data_of(
        &self,
        rooms: &BTreeSet<i64>,
        extras: &mut Extras,
    ) -> Result<RoomsData, SyncError> {
        let has_data = |nid: &i64| self.told.get(nid).is_some_and(|told| told.has_data);
        let (known, new): (BTreeSet<i64>, BTreeSet<i64>) =
            rooms.iter().copied().partition(has_data);
        let (changed, global): (Vec<AccountData>, Vec<AccountData>) =
            std::mem::take(&mut extras.data)
                .into_iter()
                .partition(|data| data.room_nid.is_some());
        extras.data = global;
        let missed = changed.iter().filter_map(|data| data.room_nid);
        let mut found = RoomsData {
            missed: missed
                .filter(|nid| has_data(nid) && !known.contains(nid))
                .collect(),
            ..RoomsData::default()
        };
        let mut all: Vec<AccountData> = changed
            .into_iter()
            .filter(|data| data.room_nid.is_some_and(|nid| known.contains(&nid)))
            .collect();
        if !new.is_empty() {
            let (accounts, session) = (&self.sync.accounts, &self.request.session);
            let rooms: Vec<i64> = new.iter().copied().collect();
            let kept = accounts.account_data_of_rooms(session, &rooms, self.until);
            all.extend(kept.await?);
            found.told = new;
        }
        for data in all {
            let Some(nid) = data.room_nid else { continue };
            let room_id = self.sync.rooms.room_id(nid).await?;
            found.by_room.entry(room_id).or_default().push(data);
        }
        Ok(found)
    }
}
