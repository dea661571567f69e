//! Writing an answer piece by piece: most of it is JSON already, and is only copied.

use serde::Serialize;

/// JSON in the making. The caller opens and closes; commas come by themselves.
#[derive(Debug, Default)]
pub struct Json(Vec<u8>);

impl Json {
    /// Makes room for so many bytes more, about.
    pub fn expect(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Opens an object as the next value.
    pub fn open(&mut self) {
        self.comma();
        self.0.push(b'{');
    }

    /// Closes an object.
    pub fn close(&mut self) {
        self.0.push(b'}');
    }

    /// Writes the key of the next value.
    pub fn key(&mut self, key: &str) {
        self.value(&key);
        self.0.push(b':');
    }

    /// Opens an object under a key.
    pub fn open_at(&mut self, key: &str) {
        self.key(key);
        self.open();
    }

    /// Writes a value.
    pub fn value(&mut self, value: &impl Serialize) {
        self.comma();
        // What is written are numbers, strings and maps of strings, which cannot fail.
        drop(serde_json::to_writer(&mut self.0, value));
    }

    /// Writes a field.
    pub fn field(&mut self, key: &str, value: &impl Serialize) {
        self.key(key);
        self.value(value);
    }

    /// Writes a value that is JSON already.
    pub fn raw(&mut self, json: &[u8]) {
        self.comma();
        self.0.extend_from_slice(json);
    }

    /// Opens a list as the next value.
    pub fn open_list(&mut self) {
        self.comma();
        self.0.push(b'[');
    }

    /// Opens a list under a key.
    pub fn open_list_at(&mut self, key: &str) {
        self.key(key);
        self.open_list();
    }

    /// Closes a list.
    pub fn close_list(&mut self) {
        self.0.push(b']');
    }

    /// Has a value written that is JSON already.
    pub fn raw_by(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.comma();
        write(&mut self.0);
    }

    /// Writes values that are JSON already as `{"events": […]}` under a key.
    pub fn events_at<'j>(&mut self, key: &str, events: impl Iterator<Item = &'j [u8]>) {
        self.open_at(key);
        self.list_at("events", events);
        self.close();
    }

    /// Writes values that are JSON already as a list under a key.
    pub fn list_at<'j>(&mut self, key: &str, items: impl Iterator<Item = &'j [u8]>) {
        self.open_list_at(key);
        for item in items {
            self.raw(item);
        }
        self.close_list();
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A value follows another one unless it is the first of its kind.
    fn comma(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[' | b':')) {
            self.0.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_stand_between_values_and_nowhere_else() {
        let mut json = Json::default();
        json.open();
        json.field("a", &1);
        json.open_at("b");
        json.close();
        json.events_at("c", [&b"{}"[..], b"[1]"].into_iter());
        json.list_at("d", std::iter::empty());
        json.close();
        let text = String::from_utf8(json.into_bytes()).unwrap();
        assert_eq!(text, r#"{"a":1,"b":{},"c":{"events":[{},[1]]},"d":[]}"#);
    }
}
