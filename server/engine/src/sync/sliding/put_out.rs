//! The rooms that somebody was put out of: they stay in the lists, so that their person learns of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::sliding;
use hearth_types::ruma::UserId;

use crate::rooms::Memberships;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::facts::{Created, Facts};

/// Rooms that a person was kicked or banned from, with what was known of them then.
pub(super) type PutOut = BTreeMap<i64, Facts>;

#[derive(Debug, Clone)]
struct Kept {
    /// Read of these memberships.
    memberships: Arc<Memberships>,
    rooms: Arc<PutOut>,
}

impl Size for Kept {
    fn size_bytes(&self) -> usize {
        // The memberships are those of another cache, or on their way out.
        size_of::<Self>() + self.rooms.size_bytes()
    }
}

/// The rooms that people were put out of.
#[derive(Debug)]
pub(super) struct PutOuts(Bounded<i64, Kept>);

impl PutOuts {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    /// The rooms that a person with these memberships was put out of, having been in them.
    pub(super) async fn of(
        &self,
        rooms: &Rooms,
        (user_nid, user_id): (i64, &UserId),
        memberships: &Arc<Memberships>,
    ) -> Result<Arc<PutOut>, RoomError> {
        if let Some(kept) = self.0.get(&user_nid)
            && Arc::ptr_eq(&kept.memberships, memberships)
        {
            return Ok(kept.rooms);
        }
        let storage = &rooms.ctx.storage;
        let candidates = sliding::rooms_put_out_of(storage.read().await?.conn(), user_nid).await?;
        let mut found = PutOut::new();
        for nid in candidates {
            let Some(member) = memberships.get(&nid) else {
                continue;
            };
            if !matches!(member.membership.as_str(), "leave" | "ban") {
                continue;
            }
            let viewpoint = match rooms.room_by_nid(nid).await {
                Ok(room) => rooms.viewpoint_in(room, member, user_id).await,
                Err(error) => Err(error),
            };
            let viewpoint = match viewpoint {
                Ok(viewpoint) => viewpoint,
                // Never seen from inside.
                Err(RoomError::NotFound(_) | RoomError::Forbidden(_)) => continue,
                Err(error) => return Err(error),
            };
            let held = async |kind| {
                let (room, state) = (&viewpoint.room, &viewpoint.state);
                rooms.state_event_in(room, state, kind, "").await
            };
            let created = held("m.room.create").await?;
            let created = created.and_then(|event| {
                let content: Created = serde_json::from_str(event.event.content()).ok()?;
                content.kind
            });
            let facts = Facts {
                is_encrypted: held("m.room.encryption").await?.is_some(),
                kind: created.map(Arc::from),
            };
            found.insert(nid, facts);
        }
        let kept = Kept {
            memberships: Arc::clone(memberships),
            rooms: Arc::new(found),
        };
        let rooms = Arc::clone(&kept.rooms);
        self.0.insert(user_nid, kept);
        Ok(rooms)
    }
}
