//! What is damaged ends an export, or is left out and named.

use std::collections::BTreeSet;

use homecore_store::{Document, Scan, Seq, StoreError, View};

use super::*;
use crate::account::AccountError;

/// A view in which some documents (version 0) and former versions are damaged.
struct Damaging<'a> {
    inner: &'a dyn View,
    damaged: &'a BTreeSet<(Kind, String, u64)>,
}

impl Damaging<'_> {
    fn whole(&self, found: Vec<Document>, is_former: bool) -> Result<Vec<Document>, StoreError> {
        let is_damaged = |document: &&Document| {
            let rev = if is_former { document.rev.0 } else { 0 };
            self.damaged
                .contains(&(document.kind, document.id.clone(), rev))
        };
        match found.iter().find(is_damaged) {
            None => Ok(found),
            Some(damaged) => Err(StoreError::Damaged {
                place: "here".to_owned(),
                kind: damaged.kind,
                id: damaged.id.clone(),
                rev: damaged.rev,
            }),
        }
    }
}

impl View for Damaging<'_> {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        let found = self.inner.get(kind, id)?.into_iter().collect();
        Ok(self.whole(found, false)?.pop())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        self.inner.scan(scan)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.whole(self.inner.list(kind, after, limit)?, false)
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        self.inner.changes(since, limit)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.whole(self.inner.history(kind, id, after, limit)?, true)
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        self.inner.last_seq()
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.inner.check(each)
    }
}

/// Whose records there are, and what was left out.
fn exported(
    home: &Home,
    damaged: &BTreeSet<(Kind, String, u64)>,
    from: Cursor,
) -> Result<(Vec<String>, Vec<String>), AccountError> {
    let (mut ids, mut left_out) = (Vec::new(), Vec::new());
    let mut next = Some(from);
    while let Some(cursor) = next {
        let read = home.look(|inner| page(&Damaging { inner, damaged }, cursor))?;
        let whose = |record: Map<String, Value>| {
            let id = record.get("headId").or_else(|| record.get("id"))?;
            Some(id.as_str()?.to_owned())
        };
        ids.extend(read.records.into_iter().filter_map(whose));
        left_out.extend(read.left_out);
        next = read.next;
    }
    Ok((ids, left_out))
}

#[test]
fn what_is_damaged_is_left_out_and_named_or_ends_the_export() {
    let mut home = Home::empty();
    let account = home_account();
    home.attempt(|tx| crate::account::store(tx, &account, homecore_store::Base::Absent))
        .unwrap();
    // More than are read at once.
    let names: Vec<String> = (0..120).map(|number| format!("event{number:03}")).collect();
    for name in &names {
        let record = map(
            json!({"id": name, "streamIds": ["a"], "type": "note/txt", "content": name,
            "time": 1, "created": 1, "createdBy": "x", "modified": 1, "modifiedBy": "x"}),
        );
        let EventRecord::Event(event) = event::read(record).unwrap().item else {
            panic!("no event");
        };
        let sealed = event.seal().unwrap();
        home.attempt(|tx| put(tx, Item::Event(sealed))).unwrap();
    }
    for order in 1..=10_u32 {
        let version = FormerVersion {
            kind: Kind::Event,
            id: names[7].clone(),
            order: f64::from(order),
            body: br#"{"content":"before"}"#.to_vec(),
        };
        home.attempt(|tx| put(tx, Item::Former(vec![version])))
            .unwrap();
    }
    let (whole, none) = exported(&home, &BTreeSet::new(), Cursor::default()).unwrap();
    assert!(none.is_empty());
    assert_eq!(
        whole.iter().filter(|id| id.starts_with("event")).count(),
        130
    );
    let versions: Vec<&String> = whole
        .iter()
        .filter(|id| id.starts_with("event007"))
        .collect();
    assert_eq!(versions.len(), 11);

    let event = |number: usize| (Kind::Event, names[number].clone(), 0);
    for damaged in [
        vec![event(0)],
        vec![event(119)],
        vec![event(7)],
        vec![event(49), event(50), event(51)],
        (0..120).map(event).collect(),
    ] {
        // Former versions cannot stand without their event: each is named.
        let mut left = Vec::new();
        for (_, id, _) in &damaged {
            left.push(format!("event {id}"));
            let versions = home.look(|view| view.history(Kind::Event, id, Rev(0), 20));
            let versions = versions.unwrap().into_iter();
            left.extend(versions.map(|it| format!("version {} of event {id}", it.rev.0)));
        }
        let ids: Vec<String> = damaged.iter().map(|(_, id, _)| id.clone()).collect();
        let damaged = damaged.into_iter().collect();
        let refused = exported(&home, &damaged, Cursor::default()).unwrap_err();
        let refused = crate::Error::from(refused);
        // The operator is told which; whoever calls the API is not: it may be an event that it cannot see.
        assert!(refused.is_damage(), "{refused}");
        assert!(refused.cause().to_string().contains(&ids[0]), "{refused}");
        assert!(!refused.message().contains(&ids[0]), "{refused}");
        let (rest, told) = exported(&home, &damaged, Cursor::leaving_out_damaged()).unwrap();
        let expected: Vec<&String> = whole.iter().filter(|id| !ids.contains(id)).collect();
        assert_eq!(rest.iter().collect::<Vec<_>>(), expected);
        assert_eq!(told, left);
    }

    // Of former versions, those alone.
    let versions = home
        .look(|view| view.history(Kind::Event, &names[7], Rev(0), 20))
        .unwrap();
    let revs = [0, 1, 9].map(|place: usize| versions[place].rev.0);
    let damaged = revs.map(|rev| (Kind::Event, names[7].clone(), rev));
    let damaged = damaged.into_iter().collect();
    assert!(exported(&home, &damaged, Cursor::default()).is_err());
    let (rest, told) = exported(&home, &damaged, Cursor::leaving_out_damaged()).unwrap();
    assert_eq!(rest.len(), whole.len() - 3);
    assert_eq!(
        told,
        revs.map(|rev| format!("version {rev} of event event007"))
    );

    // The account cannot be left out.
    let damaged = home.look(|view| view.list(Kind::Account, None, 1)).unwrap();
    let damaged = damaged.into_iter().map(|it| (it.kind, it.id, 0)).collect();
    let refused = exported(&home, &damaged, Cursor::leaving_out_damaged()).unwrap_err();
    let refused = crate::Error::from(refused);
    // Nobody is told what else is damaged.
    assert!(
        refused.is_damage() && !refused.message().contains('('),
        "{refused}"
    );
}

fn home_account() -> crate::account::Account {
    let record = golden("account.jsonl").pop().unwrap();
    account::read("samplebeta1", &record, &account::Names::default())
        .unwrap()
        .item
}
