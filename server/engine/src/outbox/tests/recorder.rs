//! Other servers that take transactions as they are told to, and remember them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hearth_types::ruma::ServerName;

use crate::peers::{Answer, PeerError, Peers, unreachable};

/// What a server does with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conduct {
    /// It answers 200.
    Takes,
    /// It cannot be reached.
    IsAway,
    /// It refuses with this status whatever holds the word.
    Refuses(u16, &'static str),
    /// It never answers.
    Hangs,
}

/// A transaction as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) to: String,
    pub(super) txn_id: String,
    pub(super) content: Vec<Bytes>,
    pub(super) delivered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Recorder {
    sent: Mutex<Vec<Sent>>,
    conduct: Mutex<BTreeMap<String, Conduct>>,
    hanging: AtomicUsize,
}

impl Recorder {
    pub(super) fn conduct(&self, server: &str, conduct: Conduct) {
        self.conduct
            .lock()
            .unwrap()
            .insert(server.to_owned(), conduct);
    }

    /// Everything that was sent to a server.
    pub(super) fn sent_to(&self, server: &str) -> Vec<Sent> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .filter(|sent| sent.to == server)
            .cloned()
            .collect()
    }

    /// What a server has taken, in order.
    pub(super) fn taken_by(&self, server: &str) -> Vec<Bytes> {
        let sent = self.sent_to(server).into_iter();
        sent.filter(|sent| sent.delivered)
            .flat_map(|sent| sent.content)
            .collect()
    }

    /// Transactions that wait for an answer.
    pub(super) fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }

    async fn deliver(
        &self,
        server: &ServerName,
        txn_id: &str,
        content: Vec<Bytes>,
    ) -> Result<(), PeerError> {
        let conduct = self.conduct.lock().unwrap().get(server.as_str()).copied();
        let conduct = conduct.unwrap_or(Conduct::Takes);
        let holds = |word: &str| {
            content
                .iter()
                .any(|piece| String::from_utf8_lossy(piece).contains(word))
        };
        let answer = match conduct {
            Conduct::IsAway => unreachable(server).await,
            Conduct::Refuses(status, word) if holds(word) => Err(PeerError::Refused {
                server: server.to_string(),
                status,
                errcode: "M_BAD_JSON".to_owned(),
                message: "no".to_owned(),
            }),
            _ => Ok(()),
        };
        self.sent.lock().unwrap().push(Sent {
            to: server.to_string(),
            txn_id: txn_id.to_owned(),
            content,
            delivered: answer.is_ok() && conduct != Conduct::Hangs,
        });
        if conduct == Conduct::Hangs {
            self.hanging.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        answer
    }
}

impl Peers for Recorder {
    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        txn_id: &'a str,
        pdus: Vec<Bytes>,
        edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        let content = pdus.into_iter().chain(edus).collect();
        Box::pin(self.deliver(server, txn_id, content))
    }
}
