//! JSON texts as JavaScript reads them, which is what clients were tried with: after a byte order mark,
//! and with escapes of lone surrogates, which no Rust string can hold.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use serde_json::Value;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of an escape, `\uXXXX`.
const ESCAPE_BYTES: usize = 6;

/// Reads a text; blanks are none. Only one that cannot be read is looked at twice.
pub(crate) fn parse(mut text: Bytes) -> Result<Option<Value>, serde_json::Error> {
    if text.starts_with(BYTE_ORDER_MARK) {
        text.advance(BYTE_ORDER_MARK.len());
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let value = serde_json::from_slice(&text).or_else(|error| {
        let mut text = BytesMut::from(text);
        if replace_lone_surrogates(&mut text) {
            serde_json::from_slice(&text)
        } else {
            Err(error)
        }
    })?;
    Ok(Some(value))
}

/// Makes each escape of a lone surrogate one of U+FFFD; whether there was any.
fn replace_lone_surrogates(text: &mut [u8]) -> bool {
    let (mut at, mut replaced) = (0, false);
    while let Some(found) = text.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        at += found;
        at += match unit_at(text, at) {
            None => 2,
            Some(0xd800..=0xdbff)
                if matches!(unit_at(text, at + ESCAPE_BYTES), Some(0xdc00..=0xdfff)) =>
            {
                2 * ESCAPE_BYTES
            }
            Some(0xd800..=0xdfff) => {
                if let Some(digits) = text.get_mut(at + 2..at + ESCAPE_BYTES) {
                    digits.copy_from_slice(b"fffd");
                    replaced = true;
                }
                ESCAPE_BYTES
            }
            Some(_) => ESCAPE_BYTES,
        };
    }
    replaced
}

/// The UTF-16 code unit of an escape that begins here.
fn unit_at(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Value> {
        let parsed = parse(Bytes::copy_from_slice(text.as_bytes()));
        parsed.ok().map(Option::unwrap_or_default)
    }

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_are_not() {
        for (text, expected) in [
            (r#""x\ud83d""#, "x\u{fffd}"),
            (r#""\uDE00x""#, "\u{fffd}x"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}\u{1f600}\u{fffd}"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\n\\ud83d""#, "\u{fffd}\n\\ud83d"),
            (r#""\\ud83d""#, "\\ud83d"),
        ] {
            assert_eq!(read(text), Some(Value::from(expected)), "{text}");
        }
        assert_eq!(read(r#"{"\ud83d":1}"#).unwrap()["\u{fffd}"], 1);
        for text in [
            r#""\ud83d"#,
            r#""\ud83"#,
            r#""\ud83x""#,
            "\\ud83d",
            r#""\ud83d",""#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        assert_eq!(read("\u{feff}[1]"), Some(serde_json::json!([1])));
        assert_eq!(read("\u{feff}"), Some(Value::Null));
        assert_eq!(read("\u{feff}\u{feff}1"), None);
    }
}
