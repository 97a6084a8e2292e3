//! An event as it is stored: wire JSON, and the few facts that the kernel reads from it.

use bytes::Bytes;
use homecore_store::{Document, Entry, StoreError};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attachment::{self, AttachedBlob};
use crate::indexes::{EventKeys, State, blob_entry};
use crate::integrity;

/// An event (or its deletion) as compact JSON, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The text.
    pub json: Bytes,
}

impl StoredEvent {
    /// An event with the hash of what it is now.
    #[must_use]
    pub fn sealed(mut event: Map<String, Value>) -> Self {
        event.shift_remove("integrity");
        let integrity = integrity::of_event(&event);
        event.insert("integrity".to_owned(), Value::from(integrity));
        Self {
            json: Value::Object(event).to_string().into(),
        }
    }
}

/// What of an event decides whether it is asked for, and under which keys it is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Its streams.
    #[serde(rename = "streamIds")]
    pub streams: Vec<String>,
    /// Its time in seconds, as the client gave it.
    pub time: f64,
    /// Absent: no duration. Null: running.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub duration: Option<Option<f64>>,
    /// `class/format`.
    #[serde(rename = "type")]
    pub kind: String,
    /// In the trash.
    #[serde(default)]
    pub trashed: bool,
    /// When it was last changed, in seconds.
    pub modified: f64,
    /// Its files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachedBlob>,
}

/// Reads the body of an event, or of its deletion.
///
/// # Errors
/// If the body is damaged.
pub(crate) fn decode<'a, T: Deserialize<'a>>(document: &'a Document) -> Result<T, StoreError> {
    serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
        what: format!("event {}: {error}", document.id),
    })
}

/// Tells a field that is null from one that is absent.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::<f64>::deserialize(from).map(Some)
}

impl Head {
    /// Reads the head of a live event.
    ///
    /// # Errors
    /// If the body is damaged.
    pub fn decode(document: &Document) -> Result<Self, StoreError> {
        decode(document)
    }

    /// How long it lasts; none while it runs.
    #[must_use]
    pub fn duration(&self) -> Option<f64> {
        self.duration.unwrap_or(Some(0.0))
    }

    /// When it ends; none while it runs.
    #[must_use]
    pub fn end(&self) -> Option<f64> {
        self.duration().map(|duration| self.time + duration)
    }

    /// In the trash or not.
    #[must_use]
    pub fn state(&self) -> State {
        if self.trashed {
            State::Trashed
        } else {
            State::Live
        }
    }

    /// The keys under which it is found.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = EventKeys {
            streams: &self.streams,
            kind: &self.kind,
            state: self.state(),
            time: self.time,
            duration: self.duration(),
            modified: self.modified,
        }
        .entries();
        entries.extend(attachment::blobs(&self.attachments).iter().map(blob_entry));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(json: &str) -> Head {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn null_and_absent_durations_differ() {
        let text = |duration: &str| {
            format!(
                "{{\"streamIds\":[\"a\"],\"time\":10,\"type\":\"a/b\",\"modified\":1{duration}}}"
            )
        };
        assert_eq!(head(&text("")).end(), Some(10.0));
        assert_eq!(head(&text(",\"duration\":2.5")).end(), Some(12.5));
        assert_eq!(head(&text(",\"duration\":null")).end(), None);
        assert_eq!(head(&text(",\"content\":{\"time\":1}")).time, 10.0);
    }

    #[test]
    fn an_event_is_found_under_time_type_streams_change_and_span() {
        let lasting =
            head(r#"{"streamIds":["a","b"],"time":10,"type":"a/b","modified":1,"duration":60}"#);
        assert_eq!(lasting.entries().len(), 6);
        let instant = head(r#"{"streamIds":["a"],"time":10,"type":"a/b","modified":1}"#);
        assert_eq!(instant.entries().len(), 4);
        let running =
            head(r#"{"streamIds":["a"],"time":10,"type":"a/b","modified":1,"duration":null}"#);
        assert_eq!(running.entries().len(), 5);
    }
}
