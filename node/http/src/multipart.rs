//! `multipart/form-data` (RFC 7578), without IO: bytes in, events out.
//!
//! Nothing is held but what may still be part of a delimiter, and a part's headers, which are
//! bounded; each byte is looked at a constant number of times however small the pieces are in
//! which it comes (node/adr/0004 says why no library does).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Longest boundary (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Bytes before the first part.
const PREAMBLE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a part's headers.
const HEADERS_BYTES_MAX: usize = 8 * 1024;
/// Blanks between a delimiter and the end of its line.
const PADDING_BYTES_MAX: usize = 128;

/// Why a body is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MultipartError {
    /// The content type names no usable boundary.
    #[error("the Content-Type has no boundary")]
    Boundary,
    /// There is too much before the first part.
    #[error("no part begins within the first {PREAMBLE_BYTES_MAX} bytes")]
    Preamble,
    /// A delimiter is followed by something that is neither the end of the line nor of the form.
    #[error("a boundary is followed by something else than a line break")]
    Delimiter,
    /// A part's headers are too long.
    #[error("the headers of a part are longer than {HEADERS_BYTES_MAX} bytes")]
    Headers,
    /// The body ends before the form does.
    #[error("the form is cut off")]
    CutOff,
}

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    /// The file name, without folders; none: no file.
    pub file_name: Option<String>,
    /// The media type as sent.
    pub content_type: Option<String>,
}

/// What comes next in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Begin(PartHead),
    /// More of it.
    Data(Bytes),
    /// It ends.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preamble {
        passed: usize,
    },
    AfterDelimiter,
    Headers {
        scanned: usize,
    },
    Data,
    /// The delimiter was found and removed.
    DataEnded,
    Ended,
}

/// Reads a form piece by piece.
#[derive(Debug)]
pub struct Parser {
    delimiter: memmem::Finder<'static>,
    buffer: BytesMut,
    state: State,
}

impl Parser {
    /// A parser for a content type.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`].
    pub fn new(content_type: &str) -> Result<Self, MultipartError> {
        let boundary = parameters(content_type.as_bytes())
            .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
            .map(|(_, value)| value)
            .filter(|value| (1..=BOUNDARY_BYTES_MAX).contains(&value.len()))
            .ok_or(MultipartError::Boundary)?;
        let mut delimiter = b"\r\n--".to_vec();
        delimiter.extend_from_slice(&boundary);
        Ok(Self {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            // As if a line ended before: the first delimiter needs none.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble { passed: 0 },
        })
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        // What follows the form says nothing.
        if self.state != State::Ended {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// What can be said now; none: more bytes are needed, or the form has ended.
    ///
    /// # Errors
    /// If it is no form.
    pub fn advance(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::Ended => return Ok(None),
                State::Preamble { passed } => {
                    let (skipped, found) = self.take_to_delimiter();
                    let passed = passed.saturating_add(skipped.len());
                    if passed > PREAMBLE_BYTES_MAX {
                        return Err(MultipartError::Preamble);
                    }
                    if !found {
                        self.state = State::Preamble { passed };
                        return Ok(None);
                    }
                    self.state = State::AfterDelimiter;
                }
                State::AfterDelimiter => {
                    if !self.after_delimiter()? {
                        return Ok(None);
                    }
                }
                State::Headers { scanned } => return Ok(self.headers(scanned)?.map(Event::Begin)),
                State::Data => {
                    let (data, found) = self.take_to_delimiter();
                    if found {
                        self.state = State::DataEnded;
                    }
                    if !data.is_empty() {
                        return Ok(Some(Event::Data(data)));
                    }
                    if !found {
                        return Ok(None);
                    }
                }
                State::DataEnded => {
                    self.state = State::AfterDelimiter;
                    return Ok(Some(Event::End));
                }
            }
        }
    }

    /// To be called at the end of the body.
    ///
    /// # Errors
    /// [`MultipartError::CutOff`].
    pub fn finish(&self) -> Result<(), MultipartError> {
        if self.state == State::Ended {
            Ok(())
        } else {
            Err(MultipartError::CutOff)
        }
    }

    /// Bytes up to the next delimiter, which is removed; or all that cannot be part of one.
    fn take_to_delimiter(&mut self) -> (Bytes, bool) {
        let length = self.delimiter.needle().len();
        if let Some(place) = self.delimiter.find(&self.buffer) {
            let before = self.buffer.split_to(place).freeze();
            self.buffer.advance(length);
            return (before, true);
        }
        let certain = self.buffer.len().saturating_sub(length - 1);
        (self.buffer.split_to(certain).freeze(), false)
    }

    /// The rest of a delimiter's line; whether it is there.
    fn after_delimiter(&mut self) -> Result<bool, MultipartError> {
        if self.buffer.starts_with(b"--") {
            self.state = State::Ended;
            self.buffer = BytesMut::new();
            return Ok(true);
        }
        let blanks = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        // Before anything else, so that it does not depend on where the pieces of a body end.
        if blanks > PADDING_BYTES_MAX {
            return Err(MultipartError::Delimiter);
        }
        let rest = self.buffer.get(blanks..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            // The line break stays: headers that are none end with it.
            self.buffer.advance(blanks);
            self.state = State::Headers { scanned: 0 };
            return Ok(true);
        }
        let may_go_on = matches!(rest, [] | [b'\r']) || (blanks == 0 && rest == b"-");
        if may_go_on {
            Ok(false)
        } else {
            Err(MultipartError::Delimiter)
        }
    }

    fn headers(&mut self, scanned: usize) -> Result<Option<PartHead>, MultipartError> {
        let end = b"\r\n\r\n";
        let from = scanned.min(self.buffer.len());
        let unseen = self.buffer.get(from..).unwrap_or_default();
        let Some(place) = memmem::find(unseen, end) else {
            // The blank line may have begun within the bound.
            if self.buffer.len() >= HEADERS_BYTES_MAX + end.len() {
                return Err(MultipartError::Headers);
            }
            let scanned = self.buffer.len().saturating_sub(end.len() - 1);
            self.state = State::Headers { scanned };
            return Ok(None);
        };
        if from + place > HEADERS_BYTES_MAX {
            return Err(MultipartError::Headers);
        }
        let text = self.buffer.split_to(from + place);
        self.buffer.advance(end.len());
        self.state = State::Data;
        Ok(Some(read_head(&text)))
    }
}

/// Reads a part's headers. What cannot be read is left out: a part without a name is no file.
fn read_head(text: &[u8]) -> PartHead {
    let mut head = PartHead::default();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.trim_ascii().eq_ignore_ascii_case(b"content-type") {
            head.content_type =
                Some(String::from_utf8_lossy(value).into_owned()).filter(|kind| !kind.is_empty());
        } else if name
            .trim_ascii()
            .eq_ignore_ascii_case(b"content-disposition")
        {
            head.file_name = file_name(value);
        }
    }
    head
}

/// The file name of a `Content-Disposition`: `filename*` before `filename`, without folders.
fn file_name(value: &[u8]) -> Option<String> {
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(value) {
        if name.eq_ignore_ascii_case("filename") {
            plain = plain.or_else(|| Some(String::from_utf8_lossy(&value).into_owned()));
        } else if name.eq_ignore_ascii_case("filename*") {
            extended = extended.or_else(|| read_extended(&value));
        }
    }
    let name = extended.or(plain)?;
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    Some(last.to_owned())
}

/// `UTF-8''percent%20encoded` (RFC 8187).
fn read_extended(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let decoded = percent_decode_str(encoded).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// The parameters of a header: `; name=value` or `; name="value"`, what is before the first `;`
/// left out. A backslash escapes a quotation mark or itself; before anything else it is one, for
/// old browsers send whole paths.
fn parameters(value: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut rest = value
        .iter()
        .position(|byte| *byte == b';')
        .and_then(|place| value.get(place + 1..))
        .unwrap_or_default();
    std::iter::from_fn(move || {
        let equals = rest.iter().position(|byte| *byte == b'=')?;
        let (name, after) = rest.split_at(equals);
        let start = name
            .iter()
            .rposition(|byte| *byte == b';')
            .map_or(0, |place| place + 1);
        let name = String::from_utf8_lossy(name.get(start..)?.trim_ascii()).into_owned();
        let after = after.get(1..)?.trim_ascii_start();
        let (value, after) = match after.strip_prefix(b"\"") {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = after.iter().position(|byte| *byte == b';');
                let (value, after) = after.split_at(end.unwrap_or(after.len()));
                (value.trim_ascii_end().to_vec(), after)
            }
        };
        rest = after;
        Some((name, value))
    })
}

/// A quoted value, and what follows it.
fn quoted_value(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut value = Vec::new();
    let mut rest = quoted;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.split_first()) {
            (b'"', _) => break,
            (b'\\', Some((escaped @ (b'"' | b'\\'), after))) => {
                value.push(*escaped);
                rest = after;
            }
            _ => value.push(*byte),
        }
    }
    (value, rest)
}

#[cfg(test)]
mod tests;
