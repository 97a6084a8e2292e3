//! Every index of the kernel: number, key, and what it is read for. Numbers and keys are on disk:
//! never change or re-use one; add at the end.

use homecore_store::index::key::{end_of_prefix, push_f64, push_text};
use homecore_store::{BlobHash, Entry, Index, Scan};

/// Accesses by token: `text(token)`. Deleted ones have no entry.
pub const ACCESS_BY_TOKEN: Index = Index(1);
/// Events by time: `state · f64(time)`.
pub const EVENT_BY_TIME: Index = Index(2);
/// Events by stream and time: `text(stream) · state · f64(time)`, one entry a stream.
pub const EVENT_BY_STREAM: Index = Index(3);
/// Events by the time of their last change: `f64(modified)`.
pub const EVENT_BY_MODIFIED: Index = Index(4);
/// Running events by time: `state · f64(time)`.
pub const EVENT_RUNNING: Index = Index(5);
/// Events that last, by how long about, and time: `state · u8(span) · f64(time)`. Finds those that
/// began before a moment and had not ended by then (see [`span_of`]).
pub const EVENT_LASTING: Index = Index(6);
/// Deleted events by the time of their deletion: `f64(deleted)`.
pub const EVENT_DELETED: Index = Index(7);
/// Deleted streams by the time of their deletion: `f64(deleted)`.
pub const STREAM_DELETED: Index = Index(8);
/// Accesses by type and name: `text(type) · text(name)`. Deleted ones have no entry.
pub const ACCESS_BY_NAME: Index = Index(9);

/// Events by the blobs of their attachments: the 32 bytes of the hash, one entry a blob.
pub const EVENT_BY_BLOB: Index = Index(10);
/// App and shared accesses by the access that created them: `text(access)`. Deleted ones have none.
pub const ACCESS_BY_CREATOR: Index = Index(11);
/// Deleted accesses by the time of their deletion: `f64(deleted)`.
pub const ACCESS_DELETED: Index = Index(12);
/// Deleted accesses by their creator and the time: `text(access) · f64(deleted)`.
pub const ACCESS_DELETED_BY_CREATOR: Index = Index(13);
/// Events by type and time: `text(type) · state · f64(time)`. Those of users that are older than this
/// index have none ([`EVENTS_BY_TYPE`]).
pub const EVENT_BY_TYPE: Index = Index(14);
/// Pages of the audit log: `text(stream) · f64(last time)`; the empty stream stands for all.
pub const AUDIT_BY_STREAM: Index = Index(20);
/// Shared secrets that wait, by when their time is over: `f64(expires)`.
pub const SECRET_BY_END: Index = Index(21);

/// The set of indexes in which every event of a user is that was made by this build: an account remembers
/// which its events are in. With this one they are in [`EVENT_BY_TYPE`].
pub const EVENTS_BY_TYPE: u8 = 1;

/// Whether an event is in the trash: the first part of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is not.
    Live,
    /// It is.
    Trashed,
}

impl State {
    const fn byte(self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Trashed => 1,
        }
    }
}

/// Most bytes of a key that the store takes.
const KEY_BYTES_MAX: usize = 1_024;

/// Spans of [`EVENT_LASTING`]: an event of span `n` lasts at most 4ⁿ seconds, the last span is for
/// those without a bound. A handful of short scans replaces a look at every earlier event.
pub const SPANS: u8 = 22;

/// The span of a duration in seconds.
#[must_use]
pub fn span_of(duration: f64) -> u8 {
    (0..SPANS - 1)
        .find(|span| duration <= span_bound(*span))
        .unwrap_or(SPANS - 1)
}

/// The longest duration of a span; infinite for the last one.
#[must_use]
pub fn span_bound(span: u8) -> f64 {
    if span >= SPANS - 1 {
        f64::INFINITY
    } else {
        4_f64.powi(i32::from(span))
    }
}

/// What of an event its keys are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct EventKeys<'a> {
    /// Its streams.
    pub streams: &'a [String],
    /// Its type.
    pub kind: &'a str,
    /// In the trash or not.
    pub state: State,
    /// Its time.
    pub time: f64,
    /// How long it lasts; none while it runs.
    pub duration: Option<f64>,
    /// When it was last changed, in seconds.
    pub modified: f64,
}

impl EventKeys<'_> {
    /// All entries of the event.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![
            entry(EVENT_BY_TIME, timed(prefix_of_state(self.state), self.time)),
            entry(EVENT_BY_MODIFIED, timed(Vec::new(), self.modified)),
            entry(
                EVENT_BY_TYPE,
                timed(prefix_of_type(self.kind, self.state), self.time),
            ),
        ];
        for stream in self.streams {
            let prefix = prefix_of_stream(stream, self.state);
            entries.push(entry(EVENT_BY_STREAM, timed(prefix, self.time)));
        }
        match self.duration {
            None => entries.push(entry(
                EVENT_RUNNING,
                timed(prefix_of_state(self.state), self.time),
            )),
            Some(duration) if duration > 0.0 => {
                let prefix = prefix_of_span(self.state, span_of(duration));
                entries.push(entry(EVENT_LASTING, timed(prefix, self.time)));
            }
            Some(_) => {}
        }
        entries
    }
}

/// The entry of a deleted event.
#[must_use]
pub fn event_deleted_entry(deleted: f64) -> Entry {
    entry(EVENT_DELETED, timed(Vec::new(), deleted))
}

/// The entry of a deleted stream.
#[must_use]
pub fn stream_deleted_entry(deleted: f64) -> Entry {
    entry(STREAM_DELETED, timed(Vec::new(), deleted))
}

/// The entry of an access's token.
#[must_use]
pub fn token_entry(token: &str) -> Entry {
    entry(ACCESS_BY_TOKEN, token_key(token))
}

/// The entry of an access's type and name.
#[must_use]
pub fn name_entry(kind: &str, name: &str) -> Entry {
    entry(ACCESS_BY_NAME, name_key(kind, name))
}

/// An entry of a page of the audit log.
#[must_use]
pub fn audit_entry(stream: &str, last: f64) -> Entry {
    entry(AUDIT_BY_STREAM, timed(audit_prefix(stream), last))
}

/// The entry of a shared secret that waits.
#[must_use]
pub fn secret_entry(expires: f64) -> Entry {
    entry(SECRET_BY_END, timed(Vec::new(), expires))
}

/// The start of keys of [`AUDIT_BY_STREAM`]. Long names share keys.
#[must_use]
pub fn audit_prefix(stream: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(stream.len() + 10);
    push_text(&mut key, stream);
    key.truncate(KEY_BYTES_MAX - 8);
    key
}

/// The entry of an access under the one that created it.
#[must_use]
pub fn creator_entry(creator: &str) -> Entry {
    entry(ACCESS_BY_CREATOR, creator_key(creator))
}

/// The key of an access as a creator.
#[must_use]
pub fn creator_key(creator: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(creator.len() + 10);
    push_text(&mut key, creator);
    key.truncate(KEY_BYTES_MAX - 8);
    key
}

/// The entries of a deleted access.
#[must_use]
pub fn access_deleted_entries(creator: &str, deleted: f64) -> Vec<Entry> {
    vec![
        entry(ACCESS_DELETED, timed(Vec::new(), deleted)),
        entry(
            ACCESS_DELETED_BY_CREATOR,
            timed(creator_key(creator), deleted),
        ),
    ]
}

/// The key of an access's type and name. Names of any length are found; long ones share keys.
#[must_use]
pub fn name_key(kind: &str, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(kind.len() + name.len() + 4);
    push_text(&mut key, kind);
    push_text(&mut key, name);
    key.truncate(KEY_BYTES_MAX);
    key
}

/// Exactly one key of an index.
#[must_use]
pub fn exactly(index: Index, key: Vec<u8>, limit: usize) -> Scan {
    let mut end = key.clone();
    end.push(0);
    Scan {
        index,
        from: key,
        to: Some(end),
        descending: false,
        limit,
        after: None,
    }
}

/// The key of an access's token.
#[must_use]
pub fn token_key(token: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(token.len() + 2);
    push_text(&mut key, token);
    key
}

/// The key of a blob.
#[must_use]
pub fn blob_key(hash: &BlobHash) -> Vec<u8> {
    hash.as_bytes().to_vec()
}

/// The entry of a blob that an event refers to.
#[must_use]
pub fn blob_entry(hash: &BlobHash) -> Entry {
    entry(EVENT_BY_BLOB, blob_key(hash))
}

/// The start of keys of [`EVENT_BY_TIME`] and [`EVENT_RUNNING`].
#[must_use]
pub fn prefix_of_state(state: State) -> Vec<u8> {
    vec![state.byte()]
}

/// The start of keys of [`EVENT_BY_STREAM`].
#[must_use]
pub fn prefix_of_stream(stream: &str, state: State) -> Vec<u8> {
    let mut key = Vec::with_capacity(stream.len() + 11);
    push_text(&mut key, stream);
    key.push(state.byte());
    key
}

/// The start of keys of [`EVENT_BY_TYPE`]. Long types share keys.
#[must_use]
pub fn prefix_of_type(kind: &str, state: State) -> Vec<u8> {
    let mut key = Vec::with_capacity(kind.len() + 11);
    push_text(&mut key, kind);
    key.truncate(KEY_BYTES_MAX - 9);
    key.push(state.byte());
    key
}

/// The start of keys of [`EVENT_LASTING`].
#[must_use]
pub fn prefix_of_span(state: State, span: u8) -> Vec<u8> {
    vec![state.byte(), span]
}

/// A key: prefix, then a number.
#[must_use]
pub fn timed(mut prefix: Vec<u8>, number: f64) -> Vec<u8> {
    push_f64(&mut prefix, number);
    prefix
}

/// Keys with a prefix and a number between two bounds, both inclusive.
#[must_use]
pub fn range(index: Index, prefix: &[u8], from: f64, to: f64, descending: bool) -> Scan {
    let last = timed(prefix.to_vec(), to);
    Scan {
        index,
        from: timed(prefix.to_vec(), from),
        to: end_of_prefix(&last),
        descending,
        limit: 0,
        after: None,
    }
}

fn entry(index: Index, key: Vec<u8>) -> Entry {
    Entry { index, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_what_they_promise() {
        for duration in [0.001, 1.0, 1.5, 4.0, 3600.0, 1e9, 1e13, f64::MAX] {
            let span = span_of(duration);
            assert!(duration <= span_bound(span), "{duration}");
            assert!(span == 0 || duration > span_bound(span - 1), "{duration}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        let scan = range(
            EVENT_BY_TIME,
            &prefix_of_state(State::Live),
            1.0,
            2.0,
            false,
        );
        let inside = |time: f64| {
            let key = timed(prefix_of_state(State::Live), time);
            key >= scan.from && scan.to.as_ref().is_none_or(|to| key < *to)
        };
        assert!(inside(1.0) && inside(1.5) && inside(2.0));
        assert!(!inside(0.999_999) && !inside(2.000_001));
    }
}
