//! What is known beside an event that this server made, as long as the event is in memory: what most pages
//! would ask the database for each of their events, and find nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_storage::cache::Size;

use crate::rooms::plan::ClientTxn;

/// What all copies of an event share that was made since the process began. Nothing could name it before, so
/// that whatever relates to it came by a commit that told it here.
#[derive(Debug, Default)]
pub struct Beside {
    txn: OnceLock<ClientTxn>,
    is_related: AtomicBool,
}

impl Beside {
    /// A device sent it with this transaction id.
    pub(super) fn sent_with(&self, txn: &ClientTxn) {
        self.txn.get_or_init(|| txn.clone());
    }

    /// The transaction id with which a device of ours sent it.
    #[must_use]
    pub fn txn(&self) -> Option<&ClientTxn> {
        self.txn.get()
    }

    /// Others relate to it, or did.
    pub(super) fn relate(&self) {
        self.is_related.store(true, Ordering::Release);
    }

    /// Whether others relate to it, or did.
    #[must_use]
    pub fn is_related(&self) -> bool {
        self.is_related.load(Ordering::Acquire)
    }
}

impl Size for Beside {
    fn size_bytes(&self) -> usize {
        let texts = self.txn().map_or(0, |txn| {
            txn.device_id.capacity() + txn.endpoint.capacity() + txn.txn_id.capacity()
        });
        size_of::<Self>() + texts
    }
}
