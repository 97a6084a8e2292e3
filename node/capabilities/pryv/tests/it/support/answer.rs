//! What a test gets to its requests.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn error(&self) -> (u16, String) {
        let id = self.json()["error"]["id"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (self.status, id)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A shorthand for [`Answer::error`] in comparisons.
pub(crate) fn error(status: u16, id: &str) -> (u16, String) {
    (status, id.to_owned())
}
