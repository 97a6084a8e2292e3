//! Recorded exchanges: one JSON object a line. `{"$multipart":…}` and `{"$base64":…}` stand for
//! bodies that are not JSON, `"<N bytes>"` for a request too long to keep.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// A request and what was answered.
#[derive(Clone, Debug, Deserialize)]
pub struct Exchange {
    /// What it shows.
    pub name: String,
    /// The request.
    pub request: Request,
    /// The answer.
    pub response: Message,
    /// Of a step that was not recorded: the number of the recorded one that needs it.
    #[serde(default)]
    pub before: Option<usize>,
}

/// What was asked.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// GET and so on.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Body; null: none.
    pub body: Value,
}

/// An answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Message {
    /// Status.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// JSON, a text, `{"$base64":…}` or null for none.
    pub body: Value,
}

/// Reads a file of exchanges.
///
/// # Errors
/// Names the first line that is none.
pub fn read_exchanges(text: &str) -> anyhow::Result<Vec<Exchange>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).with_context(|| format!("exchange {}", index + 1))
        })
        .collect()
}

impl Message {
    /// An answer as it came, in the form of the recorded ones.
    #[must_use]
    pub fn received(status: u16, headers: BTreeMap<String, String>, body: &[u8]) -> Self {
        let kind = headers.get("content-type").map_or("", String::as_str);
        let body = match std::str::from_utf8(body) {
            _ if body.is_empty() => Value::Null,
            Ok(text) if kind.starts_with("application/json") => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
            }
            Ok(text) if kind.starts_with("text/") => Value::from(text),
            _ => serde_json::json!({ "$base64": STANDARD.encode(body), "$length": body.len() }),
        };
        Self {
            status,
            headers,
            body,
        }
    }
}

impl Request {
    /// The body's bytes.
    ///
    /// # Errors
    /// When a body that stands for another cannot be read.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => match length_of(text) {
                Some(length) => long_event(length),
                None => text.clone().into_bytes(),
            },
            Value::Object(body) if body.contains_key("$multipart") => self.multipart()?,
            body => body.to_string().into_bytes(),
        })
    }

    fn multipart(&self) -> anyhow::Result<Vec<u8>> {
        let boundary = self
            .headers
            .get("Content-Type")
            .and_then(|kind| kind.split_once("boundary="))
            .context("a form without a boundary")?
            .1;
        let parts = self.body.pointer("/$multipart").and_then(Value::as_array);
        let mut bytes = Vec::new();
        for part in parts.context("a form without parts")? {
            let text = |name: &str| part.get(name).and_then(Value::as_str);
            let name = text("name").context("a part without a name")?;
            let mut head =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
            if let Some(file) = text("filename") {
                head.push_str(&format!("; filename=\"{file}\""));
            }
            if let Some(kind) = text("type") {
                head.push_str(&format!("\r\nContent-Type: {kind}"));
            }
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(b"\r\n\r\n");
            match (text("data"), part.pointer("/data/$base64")) {
                (Some(data), _) => bytes.extend_from_slice(data.as_bytes()),
                (None, Some(Value::String(data))) => bytes.extend(STANDARD.decode(data)?),
                _ => bail!("the part {name} has no data"),
            }
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok(bytes)
    }
}

/// The length that a `<N bytes>` tells.
fn length_of(text: &str) -> Option<usize> {
    text.strip_prefix('<')?
        .strip_suffix(" bytes>")?
        .parse()
        .ok()
}

/// An event of this length, or a little shorter than asked if that is too short for one.
fn long_event(length: usize) -> Vec<u8> {
    let (start, end) = (
        br#"{"streamIds":["health"],"type":"note/txt","content":""#,
        br#""}"#,
    );
    let mut bytes = start.to_vec();
    bytes.resize(length.saturating_sub(end.len()).max(start.len()), b'a');
    bytes.extend_from_slice(end);
    bytes
}

#[cfg(test)]
mod tests;
