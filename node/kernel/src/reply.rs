//! Answers as text: a complete, compact JSON object, made once and sent as it is.
//!
//! Stored events are wire JSON already (adr/0001), so an answer is put together from texts instead
//! of being parsed into values and written again.

use bytes::Bytes;
use serde_json::Value;

/// A JSON object as compact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Bytes);

impl Reply {
    /// `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// An object given as a value.
    #[must_use]
    pub fn from_map(map: serde_json::Map<String, Value>) -> Self {
        Self(Bytes::from(Value::Object(map).to_string()))
    }

    /// An object of one member, given as JSON text.
    #[must_use]
    pub fn of(name: &str, json: &[u8]) -> Self {
        let mut writer = ObjectWriter::new();
        writer.member(name, json);
        writer.finish()
    }

    /// The text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Writes an object member by member.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    text: Vec<u8>,
}

impl ObjectWriter {
    pub(crate) fn new() -> Self {
        Self { text: vec![b'{'] }
    }

    /// Adds a member whose value is JSON text.
    pub(crate) fn member(&mut self, name: &str, json: &[u8]) {
        self.comma();
        push_name(&mut self.text, name);
        self.text.extend_from_slice(json);
    }

    /// Adds a member that is an array of JSON texts.
    pub(crate) fn array<'a>(&mut self, name: &str, items: impl Iterator<Item = &'a [u8]>) {
        self.comma();
        push_name(&mut self.text, name);
        self.text.push(b'[');
        for (i, item) in items.enumerate() {
            if i > 0 {
                self.text.push(b',');
            }
            self.text.extend_from_slice(item);
        }
        self.text.push(b']');
    }

    pub(crate) fn finish(mut self) -> Reply {
        self.text.push(b'}');
        Reply(Bytes::from(self.text))
    }

    fn comma(&mut self) {
        if self.text.len() > 1 {
            self.text.push(b',');
        }
    }
}

/// Appends `"name":`. Names are ours and hold nothing that must be escaped.
fn push_name(text: &mut Vec<u8>, name: &str) {
    text.push(b'"');
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b"\":");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_by_commas() {
        let one = Reply::of("event", b"{\"id\":\"x\"}");
        assert_eq!(one.as_bytes(), "{\"event\":{\"id\":\"x\"}}");
        let mut writer = ObjectWriter::new();
        writer.array("events", [b"1".as_slice(), b"2".as_slice()].into_iter());
        writer.array("eventDeletions", std::iter::empty());
        assert_eq!(
            writer.finish().as_bytes(),
            &"{\"events\":[1,2],\"eventDeletions\":[]}"
        );
    }
}
