//! Events: time-stamped records in one or several streams.
//!
//! An event is stored as the JSON that clients get (adr/0001); what the kernel asks of it (streams,
//! time, type) is read from that text.

pub mod account;
pub mod check;
pub mod conditions;
pub mod create;
pub mod delete;
pub mod filter;
pub mod merge;
pub mod pages;
pub mod query;
pub mod read;
pub mod select;
mod shell;
pub mod stored;
pub mod tombstone;
pub mod types;
pub mod update;
pub mod value;

/// What an event type looks like.
pub const TYPE_PATTERN: &str = "^(series:)?[a-z0-9-]+/[a-z0-9-]+$";

/// Most streams of one event: each costs an index entry. The contract names no bound.
pub const EVENT_STREAMS_MAX: usize = 1_000;

/// Whether a text is an event type, `class/format` with `series:` before it perhaps.
#[must_use]
pub fn is_type(text: &str) -> bool {
    class_and_format(text).is_some_and(|(class, format)| is_word(class) && is_word(format))
}

/// Whether a text is a type to ask for: a type, or `class/*`.
#[must_use]
pub fn is_type_query(text: &str) -> bool {
    class_and_format(text)
        .is_some_and(|(class, format)| is_word(class) && (format == "*" || is_word(format)))
}

fn class_and_format(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix("series:").unwrap_or(text).split_once('/')
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod lifecycle;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_a_class_and_a_format() {
        for good in ["mass/kg", "series:mass/kg", "note/txt", "a-1/b-2"] {
            assert!(is_type(good) && is_type_query(good), "{good}");
        }
        for bad in [
            "nope", "mass/", "/kg", "Mass/kg", "a/b/c", "series:", "a/b ", "",
        ] {
            assert!(!is_type(bad) && !is_type_query(bad), "{bad}");
        }
        assert!(is_type_query("mass/*") && !is_type("mass/*"));
        assert!(!is_type_query("*/kg") && !is_type_query("*"));
    }
}
