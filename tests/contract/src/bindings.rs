//! What stands here for a recorded id, token or key: learnt from answers, put into later requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::exchange::Request;

/// Fields whose values are drawn by the server.
const DRAWN: [&str; 9] = [
    "id",
    "token",
    "key",
    "readToken",
    "alias",
    "accessId",
    "createdBy",
    "modifiedBy",
    "headId",
];

/// Recorded text → ours, in the order in which they are put in: longest first, so that a read token
/// goes before the access id that it begins with.
#[derive(Clone, Debug, Default)]
pub struct Bindings(Vec<(String, String)>);

impl Bindings {
    /// Binds one text. What is bound already stays bound.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        let taken = |(known, given): &(String, String)| known == recorded || given == ours;
        if recorded == ours || self.0.iter().any(taken) {
            return;
        }
        self.0.push((recorded.to_owned(), ours.to_owned()));
        self.0
            .sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
    }

    /// Walks a recorded body and ours in parallel and binds what was drawn. Lists of unequal lengths
    /// tell nothing: their items do not stand for each other.
    pub fn learn(&mut self, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded {
                    match (value, ours.get(name)) {
                        (Value::String(value), Some(Value::String(our)))
                            if DRAWN.contains(&name.as_str()) && is_drawn(value) =>
                        {
                            self.bind(value, our);
                        }
                        (Value::String(value), Some(Value::String(our))) => {
                            if let (Some(value), Some(our)) = (credential(value), credential(our)) {
                                self.bind(value, our);
                            }
                        }
                        (value, Some(our)) => self.learn(value, our),
                        (_, None) => {}
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
                for (value, our) in recorded.iter().zip(ours) {
                    self.learn(value, our);
                }
            }
            _ => {}
        }
    }

    /// The text with ours in the place of the recorded.
    #[must_use]
    pub fn translate(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (recorded, ours)| {
                text.replace(recorded, ours)
            })
    }

    /// The request with ours in the place of the recorded: path, query, headers, also those of basic
    /// authentication, and body.
    ///
    /// # Errors
    /// When a header of basic authentication or the body is malformed after that.
    pub fn translate_request(&self, request: &Request) -> anyhow::Result<Request> {
        let mut ours = request.clone();
        ours.path = self.translate(&request.path);
        for value in ours.headers.values_mut() {
            *value = match value.strip_prefix("Basic ") {
                Some(encoded) => {
                    let text = String::from_utf8(STANDARD.decode(encoded)?)?;
                    format!("Basic {}", STANDARD.encode(self.translate(&text)))
                }
                None => self.translate(value),
            };
        }
        ours.body = serde_json::from_str(&self.translate(&request.body.to_string()))?;
        Ok(ours)
    }
}

/// The token in an API endpoint, `https://token@host/`.
fn credential(text: &str) -> Option<&str> {
    let (token, _) = text.split_once("//")?.1.split_once('@')?;
    is_drawn(token).then_some(token)
}

/// Whether a text can have been drawn: ids and tokens (24 characters), also those of the audit store, keys
/// (16), read tokens, aliases; not words such as `system`, nor other names that begin with a colon.
fn is_drawn(text: &str) -> bool {
    let text = text.strip_prefix(":_audit:").unwrap_or(text);
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    match text.split_once('-') {
        Some(("r", rest)) => rest.len() == 8 && alphanumeric(rest),
        Some((access, _)) => access.len() == 24 && alphanumeric(access),
        None => matches!(text.len(), 16 | 24) && alphanumeric(text),
    }
}

#[cfg(test)]
mod tests;
