//! Sliding sync over whole rooms, on both engines.

mod client;
mod ephemeral;
mod extensions;
mod histories;
mod lists;
mod order;
mod rooms;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::Session;
use crate::sync::SyncError;
use crate::sync::sliding::SlidingRequest;
use crate::sync::tests::people::House;

/// A request with a body.
fn request(session: &Arc<Session>, pos: Option<&str>, body: &Value) -> SlidingRequest {
    SlidingRequest {
        session: Arc::clone(session),
        pos: pos.map(str::to_owned),
        timeout: Duration::ZERO,
        body: serde_json::from_value(body.clone()).unwrap(),
    }
}

impl House {
    async fn try_slide(&self, request: &SlidingRequest) -> Result<Value, SyncError> {
        let json = self.sync.slide(request, std::future::pending()).await?;
        Ok(serde_json::from_slice(&json).unwrap())
    }

    /// Asks without waiting.
    pub(crate) async fn slide(
        &self,
        session: &Arc<Session>,
        pos: Option<&str>,
        body: &Value,
    ) -> Value {
        self.try_slide(&request(session, pos, body)).await.unwrap()
    }
}

/// The position to go on from.
fn pos(answer: &Value) -> Option<&str> {
    Some(answer["pos"].as_str().unwrap())
}

/// One list of all rooms within a window.
fn window(last: usize, limit: usize, required_state: &Value) -> Value {
    json!({
        "lists": {
            "all": {
                "ranges": [[0, last]],
                "timeline_limit": limit,
                "required_state": required_state,
            },
        },
    })
}

/// The rooms of an answer.
fn rooms_of(answer: &Value) -> Vec<&str> {
    answer["rooms"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
