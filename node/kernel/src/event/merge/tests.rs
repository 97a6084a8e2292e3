//! What a query costs: documents and bytes that the store hands out for it.

use std::cell::Cell;

use homecore_store::engine::Page;
use homecore_store::{Rev, Seq};
use serde_json::{Value, json};

use super::*;
use crate::event::read;
use crate::testing::Home;

/// A view that counts what is read through it.
struct Counting<'a> {
    inner: &'a dyn View,
    documents: Cell<usize>,
    bytes: Cell<usize>,
    scans: Cell<usize>,
}

impl Counting<'_> {
    fn count<'d>(&self, read: impl Iterator<Item = &'d Document>) {
        for document in read.filter(|document| document.kind == Kind::Event) {
            self.documents.set(self.documents.get() + 1);
            self.bytes.set(self.bytes.get() + document.body.len());
        }
    }
}

impl View for Counting<'_> {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        let found = self.inner.get(kind, id)?;
        self.count(found.iter());
        Ok(found)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        let found = self.inner.scan(scan)?;
        self.count(found.iter().map(|(_, document)| document));
        Ok(found)
    }

    fn scan_within(&self, scan: &Scan, bytes: usize) -> Result<Page, StoreError> {
        let found = self.inner.scan_within(scan, bytes)?;
        self.scans.set(self.scans.get() + 1);
        self.count(found.0.iter().map(|(_, document)| document));
        Ok(found)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let found = self.inner.list(kind, after, limit)?;
        self.count(found.iter());
        Ok(found)
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        let found = self.inner.changes(since, limit)?;
        self.count(found.iter());
        Ok(found)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.history(kind, id, after, limit)
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        self.inner.last_seq()
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.inner.check(each)
    }
}

/// Events found, documents read, bytes read.
fn cost(home: &Home, query: &Value) -> (usize, usize, usize) {
    let (found, documents, bytes, _) = looks(home, query);
    (found, documents, bytes)
}

/// The same, and how often a range was looked at.
fn looks(home: &Home, query: &Value) -> (usize, usize, usize, usize) {
    let me = home.person();
    home.look(|view| {
        let view = Counting {
            inner: view,
            documents: Cell::new(0),
            bytes: Cell::new(0),
            scans: Cell::new(0),
        };
        let mut trees = home.context.trees.for_reading(&home.owner.id);
        let reply = read::collect(&view, &home.context, &mut trees, &me, query).unwrap();
        let reply: Value = serde_json::from_slice(reply.as_bytes()).unwrap();
        let found = reply["events"].as_array().unwrap().len();
        let (documents, bytes) = (view.documents.get(), view.bytes.get());
        (found, documents, bytes, view.scans.get())
    })
}

fn event(home: &mut Home, stream: &str, time: usize, content: &Value) {
    let me = home.person();
    let new = json!({ "streamIds": [stream], "type": "a/b", "time": time, "content": content });
    home.create_event(&me, &new).unwrap();
}

#[test]
fn large_events_are_read_one_by_one() {
    let mut home = Home::new();
    home.stream("a", None);
    let large = Value::from("x".repeat(600 * 1024));
    for time in 0..20 {
        event(&mut home, "a", time, &large);
    }
    let ask = |limit: usize| {
        let (found, documents, _) = cost(&home, &json!({ "streams": ["a"], "limit": limit }));
        assert_eq!(found, limit);
        documents
    };
    assert_eq!(ask(1), 1);
    // A part ends at a megabyte: what it had read beyond is read again, one event at most.
    assert!(ask(4) <= 8 && ask(20) <= 40, "{} {}", ask(4), ask(20));
}

#[test]
fn a_short_look_at_large_events_ends_soon_and_misses_none() {
    let mut home = Home::new();
    let large = Value::from("x".repeat(600 * 1024));
    for stream in ["a", "b", "c", "d", "e", "f"] {
        home.stream(stream, None);
        for time in 0..4 {
            event(&mut home, stream, time, &large);
        }
    }
    let me = home.person();
    let everything = ["a", "b", "c", "d", "e", "f"];
    for (query, wanted) in [
        (json!({ "limit": 100 }), 24),
        (json!({ "streams": everything, "limit": 100 }), 24),
        (json!({ "types": ["rare/*"], "limit": 100 }), 0),
        (json!({ "streams": everything, "types": ["rare/one"] }), 0),
    ] {
        home.look(|view| {
            let view = Counting {
                inner: view,
                documents: Cell::new(0),
                bytes: Cell::new(0),
                scans: Cell::new(0),
            };
            let mut trees = home.context.trees.for_reading(&home.owner.id);
            let asked = read::EventsGet::parse(&query).unwrap();
            assert!(asked.is_short());
            let mut reading = read::open(&view, &home.context, &mut trees, &me, asked).unwrap();
            let mut part = reading.next_within(&view, Most::SHORT).unwrap();
            assert!(
                view.bytes.get() < 3 * 1024 * 1024,
                "{query}: {:?}",
                view.bytes
            );
            let mut found = Vec::new();
            while let Some(crate::EventsPart::Events(events)) = part {
                found.extend(events.into_iter().map(|event| event.json));
                part = reading.next(&view).unwrap();
            }
            let own = |json: &&bytes::Bytes| json.windows(5).any(|text| text == b"\"a/b\"");
            assert_eq!(found.iter().filter(own).count(), wanted, "{query}");
        });
    }
}

#[test]
fn the_latest_of_everything_take_one_look_unless_something_is_in_the_trash() {
    let mut home = Home::new();
    for stream in ["a", "b", "c"] {
        home.stream(stream, None);
        for time in 0..30 {
            event(&mut home, stream, time, &json!(time));
        }
    }
    let latest = json!({ "limit": 20 });
    let (found, documents, _, scans) = looks(&home, &latest);
    // Some of the twenty are account fields.
    assert_eq!((found, documents, scans), (20, 20, 1));
    let me = home.person();
    home.delete_stream(&me, "b", None).unwrap();
    let (found, documents, _, scans) = looks(&home, &latest);
    assert!(
        found == 20 && documents <= 60 && scans > 1,
        "{documents} {scans}"
    );
    // Asked for by name, each has a range.
    let (found, _, _, scans) = looks(&home, &json!({ "streams": ["a"], "limit": 20 }));
    assert_eq!((found, scans), (20, 1));
}

#[test]
fn large_events_behind_small_ones_are_read_one_by_one() {
    let mut home = Home::new();
    home.stream("a", None);
    let large = Value::from("x".repeat(600 * 1024));
    for time in 0..120 {
        let content = if time < 20 { large.clone() } else { json!(1) };
        event(&mut home, "a", time, &content);
    }
    let (found, _, bytes) = cost(&home, &json!({ "streams": ["a"], "limit": 101 }));
    assert_eq!(found, 101);
    assert!(bytes < 2 * 1024 * 1024, "{bytes}");
}

#[test]
fn a_small_limit_reads_little_of_small_events() {
    let mut home = Home::new();
    for stream in ["a", "b", "c"] {
        home.stream(stream, None);
        for time in 0..100 {
            event(&mut home, stream, time, &json!(1));
        }
    }
    for (query, most) in [
        (json!({ "streams": ["a"], "limit": 1 }), 1),
        (json!({ "streams": ["a", "b", "c"], "limit": 1 }), 3),
        (json!({ "streams": ["a"], "limit": 20 }), 40),
        (
            json!({ "streams": [{ "any": ["a"], "all": ["b"] }], "limit": 5 }),
            100,
        ),
        (json!({ "modifiedSince": 4_000_000_000_u64, "limit": 5 }), 0),
        (
            json!({ "streams": ["a"], "types": ["a/*"], "limit": 5 }),
            15,
        ),
        (
            json!({ "streams": [{ "any": ["a"], "not": ["b"] }], "limit": 5 }),
            15,
        ),
        (json!({ "streams": ["a"], "running": true }), 0),
        (json!({ "streams": ["a"], "state": "trashed" }), 0),
        (json!({ "streams": ["a"], "fromTime": 10, "toTime": 12 }), 4),
        (
            json!({ "streams": ["a"], "fromTime": 90, "limit": 3, "sortAscending": true }),
            15,
        ),
    ] {
        let (_, documents, _) = cost(&home, &query);
        assert!(documents <= most, "{documents} > {most}: {query}");
    }
}

#[test]
fn a_rare_type_is_found_among_many_events() {
    let mut home = Home::new();
    home.stream("a", None);
    for time in 0..100 {
        event(&mut home, "a", time, &json!(1));
    }
    let me = home.person();
    let rare = json!({ "streamIds": ["a"], "type": "rare/one", "time": 3, "content": 1 });
    home.create_event(&me, &rare).unwrap();
    for (query, expected) in [
        (json!({ "types": ["rare/one"] }), (1, 1)),
        (json!({ "types": ["rare/one", "none/at-all"] }), (1, 1)),
        (json!({ "types": ["none/at-all"], "state": "all" }), (0, 0)),
        // A class is no type, and a stream that was asked for has a range of its own.
        (json!({ "types": ["rare/*"] }), (1, 101)),
        (json!({ "types": ["rare/one"], "streams": ["a"] }), (1, 101)),
    ] {
        let (found, documents, _) = cost(&home, &query);
        assert_eq!((found, documents), expected, "{query}");
    }
}

#[test]
fn events_older_than_the_index_of_types_are_found() {
    let mut home = Home::new();
    home.stream("a", None);
    event(&mut home, "a", 1, &json!(1));
    let account = home.look(|view| crate::account::load(view).unwrap());
    let older = crate::account::Account {
        event_indexes: 0,
        ..account
    };
    home.attempt(|tx| crate::account::store(tx, &older, homecore_store::Base::Any))
        .unwrap();
    let me = home.person();
    let other = json!({ "streamIds": ["a"], "type": "rare/one", "time": 3, "content": 1 });
    home.create_event(&me, &other).unwrap();
    let (found, documents, _) = cost(&home, &json!({ "types": ["a/b"] }));
    assert_eq!((found, documents), (1, 2));
}

#[test]
fn conditions_read_no_more_than_the_range() {
    let mut home = Home::new();
    for stream in ["a", "b"] {
        home.stream(stream, None);
        for time in 0..50 {
            event(&mut home, stream, time, &json!(time));
        }
    }
    let large = json!([{ "path": "$", "gte": 47 }]);
    let (found, documents, _) = cost(&home, &json!({ "streams": ["a"], "content": large }));
    assert_eq!((found, documents), (3, 50));
    let one = json!({ "streams": ["a"], "content": large, "limit": 1 });
    assert_eq!(cost(&home, &one).0, 1);
}
