//! Answers that carry events: their bytes are spliced in as they are stored.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::http::{
    body::Body,
    error::{RouteError, json_bytes},
};

/// A JSON object in the making.
pub(super) struct Spliced(BytesMut);

impl Spliced {
    pub(super) fn new() -> Self {
        Self(BytesMut::from(&b"{"[..]))
    }

    /// A field of a value that is written now.
    pub(super) fn value(
        mut self,
        name: &'static str,
        value: &impl Serialize,
    ) -> Result<Self, RouteError> {
        let json = serde_json::to_vec(value).map_err(RouteError::fault)?;
        self.name(name);
        self.0.extend_from_slice(&json);
        Ok(self)
    }

    /// A field of one event.
    pub(super) fn event(mut self, name: &'static str, json: &Bytes) -> Self {
        self.name(name);
        self.0.extend_from_slice(json);
        self
    }

    /// A field of a list of events.
    pub(super) fn events(mut self, name: &'static str, jsons: &[Bytes]) -> Self {
        self.name(name);
        self.0
            .reserve(jsons.iter().map(|json| json.len() + 1).sum());
        self.0.put_u8(b'[');
        for (index, json) in jsons.iter().enumerate() {
            if index > 0 {
                self.0.put_u8(b',');
            }
            self.0.extend_from_slice(json);
        }
        self.0.put_u8(b']');
        self
    }

    pub(super) fn answer(mut self) -> Response<Body> {
        self.0.put_u8(b'}');
        json_bytes(StatusCode::OK, self.0.freeze())
    }

    /// Names of our own, which need no escapes.
    fn name(&mut self, name: &'static str) {
        if self.0.len() > 1 {
            self.0.put_u8(b',');
        }
        for part in ["\"", name, "\":"] {
            self.0.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn events_are_spliced_into_valid_json() {
        let event = Bytes::from(r#"{"a":1}"#);
        let answer = Spliced::new()
            .event("event", &event)
            .events("none", &[])
            .events("two", &[event.clone(), event.clone()])
            .value("origin", &"one.test")
            .unwrap()
            .answer();
        let body = answer
            .into_body()
            .collect()
            .now_or_never()
            .unwrap()
            .unwrap()
            .to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let event = json!({ "a": 1 });
        assert_eq!(
            body,
            json!({ "event": event, "none": [], "two": [event, event], "origin": "one.test" })
        );
    }
}
