//! JSON answers that are written while they are read: `{"events":[…],"meta":{…}}`.
//!
//! Client libraries parse such answers incrementally and look for literal texts, so the form is
//! exact: compact, lists first, `meta` last (spec/pryv-api §1.10). Once the first byte is sent an
//! error can only be told by cutting the connection.
//!
//! Where another list follows, a piece ends with the list before it: the incremental parsers stop
//! at the end of the first list and look for the second one only when they are given more.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::context::Context;
use crate::error::ApiError;

/// A piece is sent when it has grown to this many bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// Writes an object of lists, piece by piece.
#[derive(Debug)]
pub struct ListWriter {
    buffer: BytesMut,
    /// How much of the buffer is a piece whatever its size, for a list ends there and another follows.
    ended: usize,
    keys: usize,
    items: usize,
    open: bool,
}

impl Default for ListWriter {
    fn default() -> Self {
        let mut buffer = BytesMut::with_capacity(PIECE_BYTES + 1024);
        buffer.put_u8(b'{');
        Self {
            buffer,
            ended: 0,
            keys: 0,
            items: 0,
            open: false,
        }
    }
}

impl ListWriter {
    /// Begins a list; ends the one before, and a piece with it.
    pub fn list(&mut self, key: &str) {
        if self.open {
            self.end_list();
            self.ended = self.buffer.len();
        }
        self.key(key);
        self.buffer.put_u8(b'[');
        self.open = true;
        self.items = 0;
    }

    /// Adds an item to the list.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn item(&mut self, item: &impl Serialize) -> Result<(), serde_json::Error> {
        self.separate();
        serde_json::to_writer((&mut self.buffer).writer(), item)
    }

    /// Adds an item that is compact JSON text already.
    pub fn text(&mut self, json: &[u8]) {
        self.separate();
        self.buffer.put_slice(json);
    }

    /// Adds a member that is no list, given as compact JSON text; ends the list before.
    pub fn member(&mut self, key: &str, json: &[u8]) {
        self.end_list();
        self.key(key);
        self.buffer.put_slice(json);
    }

    /// What has been written, once it is worth sending. Before the end is written, what this gives is
    /// to be taken.
    pub fn piece(&mut self) -> Option<Bytes> {
        let ended = std::mem::take(&mut self.ended);
        if ended > 0 {
            return Some(self.buffer.split_to(ended).freeze());
        }
        (self.buffer.len() >= PIECE_BYTES).then(|| self.take())
    }

    /// What has been written since the last piece, in one.
    pub fn take(&mut self) -> Bytes {
        self.ended = 0;
        self.buffer.split().freeze()
    }

    /// The end without `meta`, for routes that have none.
    #[must_use]
    pub fn finish_plain(mut self) -> Bytes {
        self.end_list();
        self.buffer.put_u8(b'}');
        self.buffer.freeze()
    }

    /// The end: `meta` and the closing brace.
    ///
    /// # Errors
    /// When `meta` cannot be serialised.
    pub fn finish(mut self, context: &Context) -> Result<Bytes, serde_json::Error> {
        self.end_list();
        self.key("meta");
        serde_json::to_writer((&mut self.buffer).writer(), &context.meta())?;
        self.buffer.put_u8(b'}');
        Ok(self.buffer.freeze())
    }

    fn separate(&mut self) {
        if self.items > 0 {
            self.buffer.put_u8(b',');
        }
        self.items += 1;
    }

    fn key(&mut self, key: &str) {
        if self.keys > 0 {
            self.buffer.put_u8(b',');
        }
        self.keys += 1;
        self.buffer.put_u8(b'"');
        self.buffer.put_slice(key.as_bytes());
        self.buffer.put_slice(b"\":");
    }

    fn end_list(&mut self) {
        if self.open {
            self.buffer.put_u8(b']');
            self.open = false;
        }
    }
}

/// A JSON response whose body comes in pieces. An error ends the connection.
#[must_use]
pub fn streamed<S, E>(pieces: S) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<axum::BoxError> + fmt::Debug + 'static,
{
    json(Body::from_stream(pieces))
}

/// A JSON response like [`streamed`] makes, of an answer that was short enough to be there as a whole.
#[must_use]
pub fn whole(answer: Bytes) -> Response {
    json(Body::from(answer))
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What a stream is cut with.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer was cut off: {0}")]
pub struct Cut(pub String);

impl From<ApiError> for Cut {
    fn from(error: ApiError) -> Self {
        Self(error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literals_that_parsers_look_for() {
        let mut writer = ListWriter::default();
        writer.list("events");
        writer.item(&serde_json::json!({ "id": 1 })).unwrap();
        writer.text(br#"{"id":2}"#);
        writer.list("eventDeletions");
        writer.end_list();
        assert_eq!(
            writer.buffer,
            r#"{"events":[{"id":1},{"id":2}],"eventDeletions":[]"#.as_bytes()
        );
    }

    #[test]
    fn a_piece_ends_with_a_list_that_another_follows() {
        let mut writer = ListWriter::default();
        writer.list("events");
        writer.text(b"1");
        assert_eq!(writer.piece(), None);
        writer.list("eventDeletions");
        writer.text(b"2");
        assert_eq!(writer.piece().unwrap(), r#"{"events":[1]"#);
        assert_eq!(writer.piece(), None);
        assert_eq!(writer.finish_plain(), r#","eventDeletions":[2]}"#);
    }

    #[test]
    fn pieces_come_when_they_are_large() {
        let mut writer = ListWriter::default();
        writer.list("events");
        assert_eq!(writer.piece(), None);
        writer.item(&"x".repeat(PIECE_BYTES)).unwrap();
        assert!(
            writer
                .piece()
                .is_some_and(|piece| piece.len() > PIECE_BYTES)
        );
        assert_eq!(writer.piece(), None);
    }
}
