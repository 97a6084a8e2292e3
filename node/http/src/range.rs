//! Conditions and ranges of a download (RFC 9110 §13, §14): what of a file a request wants.

use http::HeaderMap;
use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// What of a file is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From one byte up to, but without, another.
    Part {
        /// First.
        from: u64,
        /// After the last.
        to: u64,
    },
    /// Nothing: the client has it.
    NotModified,
    /// Nothing: the file is shorter.
    Unsatisfiable,
}

/// Reads what a request wants of a file with a strong entity tag. A range that cannot be read, or
/// more than one, is not looked at, as the RFC allows.
#[must_use]
pub fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    if headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| names(value, etag))
    {
        return Wanted::NotModified;
    }
    // Dates are never sent, so none can match; a weak tag must not.
    let unchanged = headers
        .get(IF_RANGE)
        .is_none_or(|value| value.as_bytes() == etag.as_bytes());
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    match range.filter(|_| unchanged).and_then(parse) {
        Some(range) => range.of(size),
        None => Wanted::Whole,
    }
}

/// Whether a list of entity tags names one; weak ones count here.
fn names(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == etag)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

fn parse(text: &str) -> Option<Range> {
    let (unit, range) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => number(last).map(Range::Last),
        (first, "") => number(first).map(Range::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Range::Between(first, last))
        }
    }
}

impl Range {
    fn of(self, size: u64) -> Wanted {
        let (from, to) = match self {
            Self::From(from) => (from, size),
            Self::Between(from, last) => (from, last.saturating_add(1).min(size)),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        if from < to {
            Wanted::Part { from, to }
        } else {
            Wanted::Unsatisfiable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, value: &str, range: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        if !name.is_empty() {
            headers.insert(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        if !range.is_empty() {
            headers.insert(RANGE, range.parse().unwrap());
        }
        wanted(&headers, "\"abc\"", 16)
    }

    #[test]
    fn ranges() {
        let part = |from, to| Wanted::Part { from, to };
        for (range, wanted) in [
            ("", Wanted::Whole),
            ("bytes=0-4", part(0, 5)),
            ("bytes=5-", part(5, 16)),
            ("bytes=-3", part(13, 16)),
            ("bytes=-99", part(0, 16)),
            ("bytes=15-99", part(15, 16)),
            ("Bytes = 0-0", part(0, 1)),
            ("bytes=16-", Wanted::Unsatisfiable),
            ("bytes=16-20", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("lines=0-4", Wanted::Whole),
        ] {
            assert_eq!(ask("", "", range), wanted, "{range}");
        }
        assert_eq!(parse("bytes=0-").unwrap().of(0), Wanted::Unsatisfiable);
    }

    #[test]
    fn conditions() {
        let part = Wanted::Part { from: 0, to: 5 };
        for (name, value, wanted) in [
            ("if-none-match", "\"abc\"", Wanted::NotModified),
            ("if-none-match", "\"x\", W/\"abc\"", Wanted::NotModified),
            ("if-none-match", "*", Wanted::NotModified),
            ("if-none-match", "\"abcd\"", part),
            ("if-range", "\"abc\"", part),
            ("if-range", "W/\"abc\"", Wanted::Whole),
            ("if-range", "\"x\"", Wanted::Whole),
            ("if-range", "Sun, 22 Nov 2026 17:48:33 GMT", Wanted::Whole),
        ] {
            assert_eq!(ask(name, value, "bytes=0-4"), wanted, "{name}: {value}");
        }
    }
}
