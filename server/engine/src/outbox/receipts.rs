//! Follows the log for receipts of our own people, and tells the other servers in their rooms.
//!
//! Where it stands is stored now and then: after a crash, what was told since is told again, which
//! does no harm.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hearth_storage::tables::receipts::{self as rows, OutboundReceipt, UNTHREADED};
use serde_json::json;

use super::Outbox;
use super::passing::Topic;
use crate::followed::Followed;
use crate::rooms::error::RoomError;

/// The follower's name.
const FOLLOWER: &str = "federation receipts";
/// Receipts read at a time.
const PAGE: i64 = 500;
impl Outbox {
    /// Tells of the receipts up to `head`. Returns where the follower stands.
    pub(super) async fn follow_receipts(
        &self,
        followed: Option<Followed>,
        head: i64,
    ) -> Result<Followed, RoomError> {
        let mut followed = match followed {
            Some(followed) => followed,
            None => Followed::read(&self.0.ctx.storage, FOLLOWER, head).await?,
        };
        let newest = self.0.rooms.receipts_told.load(Ordering::Acquire);
        while followed.position < head.min(newest) {
            let mut reader = self.0.ctx.storage.read().await?;
            let found =
                rows::receipts_outbound(reader.conn(), followed.position, head, PAGE).await?;
            drop(reader);
            let is_last = i64::try_from(found.len()).unwrap_or(PAGE) < PAGE;
            let last = found.last().map(|receipt| receipt.position);
            self.tell_receipts(found).await?;
            followed.position = match last {
                Some(last) if !is_last => last,
                _ => head,
            };
        }
        followed.pass(&self.0.ctx.storage, FOLLOWER, head).await
    }

    /// Puts receipts into the lines of the servers in their rooms.
    async fn tell_receipts(&self, found: Vec<OutboundReceipt>) -> Result<(), RoomError> {
        let mut rooms: BTreeMap<i64, Vec<OutboundReceipt>> = BTreeMap::new();
        for receipt in found {
            rooms.entry(receipt.room_nid).or_default().push(receipt);
        }
        for (room_nid, receipts) in rooms {
            let room = match self.0.rooms.room_by_nid(room_nid).await {
                Err(error) if error.is_lasting() => continue,
                room => room?,
            };
            let servers = self.0.destinations.of_room(&room).await?;
            for receipt in receipts {
                let topic = Topic::Receipt(room_nid, receipt.user_nid, receipt.thread.clone());
                let edu = edu(room.id.as_str(), &receipt);
                self.pass(servers.iter().copied(), &topic, &edu);
            }
        }
        Ok(())
    }
}

fn edu(room_id: &str, receipt: &OutboundReceipt) -> Bytes {
    let mut data = json!({ "ts": receipt.at_ms });
    if receipt.thread != UNTHREADED
        && let Some(data) = data.as_object_mut()
    {
        data.insert("thread_id".to_owned(), receipt.thread.clone().into());
    }
    let of_person = json!({ &receipt.user_id: { "event_ids": [&receipt.event_id], "data": data } });
    let content = json!({ room_id: { "m.read": of_person } });
    let edu = json!({ "edu_type": "m.receipt", "content": content });
    edu.to_string().into()
}
