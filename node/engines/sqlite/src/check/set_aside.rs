//! Damaged documents and former versions go to a table of their own, as they are: nothing is thrown away,
//! and what is left can be read and changed again.
//!
//! A document of which only the name is damaged gets it back where the index by id still knows it. Nothing is done
//! to a user where a newer release wrote something, or where no account would be left: without it there is no user.

use std::collections::BTreeMap;

use homecore_store::Kind;
use rusqlite::{Row, Transaction};

use super::{LOST_MAX, fault, former, named, noun};
use crate::schema;
use crate::view::{Fault, Unreadable, columns, is_of_a_value, unsealed_entries};

/// A damaged document.
pub(super) struct Damaged {
    what: String,
    /// Whether the entries that it must have are not known: no index can be made anew with it.
    hides_entries: bool,
}

/// What cannot be read.
#[derive(Default)]
pub(super) struct Found {
    /// Documents by number.
    pub(super) damaged: BTreeMap<i64, Damaged>,
    /// What a newer release wrote, if anything.
    pub(super) newer: Option<String>,
    /// Names of damaged documents with which they are what was written, by number.
    names: BTreeMap<i64, (u8, String)>,
}

impl Found {
    /// Looks at all documents, and at what the index by id says of those that are damaged: while it is there.
    pub(super) fn look(transaction: &Transaction<'_>) -> Result<Self, Unreadable> {
        let mut found = Self::default();
        let mut statement = transaction.prepare(schema::DOCUMENTS_ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.note(row)?;
        }
        let mut statement = transaction.prepare(schema::HISTORY_ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(Fault::Newer(what)) = fault(row)? {
                found.newer = Some(what);
            }
        }
        if !found.damaged.is_empty() {
            // An index that cannot be read knows no names.
            found.names = found.names(transaction).unwrap_or_default();
        }
        Ok(found)
    }

    fn note(&mut self, row: &Row<'_>) -> Result<(), Unreadable> {
        let name = named(row)?;
        let entries = row.get_ref(8)?.as_blob().unwrap_or_default();
        let unknown = match &name {
            Some((kind, id)) => match unsealed_entries(*kind, id, entries) {
                // They are of this name: nothing made the kind what it is but a release that knows it.
                Ok(_entries) if Kind::try_from(*kind).is_err() => {
                    let noun = noun(*kind, id);
                    Some(Fault::Newer(format!(
                        "{noun} was written by a newer release"
                    )))
                }
                entries => entries.err(),
            },
            None => Some(Fault::Damaged(
                "a document has no name that can be read".to_owned(),
            )),
        };
        let hides_entries = unknown.is_some();
        let body = fault(row)?;
        for fault in [&body, &unknown].into_iter().flatten() {
            if let Fault::Newer(what) = fault {
                self.newer = Some(what.clone());
            }
        }
        // What is wrong with its name is said by the first.
        if let Some(fault) = body.or(unknown) {
            let parent = match &name {
                Some((kind, _id)) if *kind == u8::from(Kind::Stream) => {
                    parent(row.get_ref(6)?.as_blob().unwrap_or_default())
                }
                _ => String::new(),
            };
            let damaged = Damaged {
                what: format!("{fault}{parent}"),
                hides_entries,
            };
            self.damaged.insert(row.get(7)?, damaged);
        }
        Ok(())
    }

    fn names(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<BTreeMap<i64, (u8, String)>, Unreadable> {
        let mut names = BTreeMap::new();
        let mut numbered = transaction.prepare(schema::DOCUMENT_NUMBERED)?;
        let mut statement = transaction.prepare(schema::NAMES_BY_INDEX)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            if !self.damaged.contains_key(&number) {
                continue;
            }
            let (Ok(kind), Ok(id)) = (row.get::<_, u8>(1), row.get::<_, String>(2)) else {
                continue;
            };
            let mut document = numbered.query([number])?;
            if let Some(document) = document.next()?
                && is_sealed_as(document, kind, &id)?
            {
                names.insert(number, (kind, id));
            }
        }
        Ok(names)
    }

    /// Gives documents their names back, and looks at them again. What was done, in words.
    pub(super) fn restore(
        &mut self,
        transaction: &Transaction<'_>,
    ) -> Result<Vec<String>, Unreadable> {
        let mut restored = Vec::new();
        for (number, (kind, id)) in std::mem::take(&mut self.names) {
            let Some(former) = self.damaged.remove(&number) else {
                continue;
            };
            transaction.execute(schema::DOCUMENT_RENAME, (number, kind, &id))?;
            let mut statement = transaction.prepare_cached(schema::DOCUMENT_NUMBERED)?;
            let mut rows = statement.query([number])?;
            if let Some(row) = rows.next()? {
                self.note(row)?;
            }
            if !self.damaged.contains_key(&number) && restored.len() < LOST_MAX {
                restored.push(format!("{}: it is {} again", former.what, noun(kind, &id)));
            }
        }
        Ok(restored)
    }
}

/// Whether a row is what was written under this name, which is not the one that it has.
fn is_sealed_as(row: &Row<'_>, kind: u8, id: &str) -> Result<bool, Unreadable> {
    if named(row)?.is_some_and(|(of, name)| (of, name.as_str()) == (kind, id)) {
        return Ok(false);
    }
    match columns(row, kind, id) {
        Ok((place, body)) => Ok(place.unsealed(body).is_some()),
        Err(error) if is_of_a_value(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Under what a damaged stream was, as far as that can be read: it is needed to make it again.
fn parent(body: &[u8]) -> String {
    const FIELD: &[u8] = br#""parentId":"#;
    const ID_BYTES_MAX: usize = 255;
    let place = body.windows(FIELD.len()).position(|window| window == FIELD);
    let said = place.and_then(|place| body.get(place.saturating_add(FIELD.len())..));
    match said {
        Some([b'n', ..]) => return " (it says that it has no parent)".to_owned(),
        Some([b'"', rest @ ..]) => {
            let mut id = rest.iter().take(ID_BYTES_MAX.saturating_add(1));
            let id = id.position(|byte| *byte == b'"');
            let id = id.and_then(|end| std::str::from_utf8(rest.get(..end)?).ok());
            if let Some(id) = id {
                return format!(" (it says that its parent is {id:?})");
            }
        }
        _ => {}
    }
    " (its parent cannot be read)".to_owned()
}

/// Why there is no user without what is damaged: no account can be read.
pub(super) fn no_account(transaction: &Transaction<'_>) -> Result<Option<String>, Unreadable> {
    let mut statement = transaction.prepare(schema::DOCUMENTS_OF)?;
    let mut rows = statement.query([u8::from(Kind::Account)])?;
    let mut why = "its account is not there".to_owned();
    while let Some(row) = rows.next()? {
        let mut account = Found::default();
        account.note(row)?;
        match account.damaged.pop_first() {
            None => return Ok(None),
            Some((_number, damaged)) => why = damaged.what,
        }
    }
    Ok(Some(format!(
        "{why}; without an account that can be read there is no user: take it from a backup"
    )))
}

/// Sets aside what is damaged if that is accepted, and says what; else says what stands in the way of making the
/// indexes anew.
pub(super) fn set_aside(
    transaction: &Transaction<'_>,
    documents: BTreeMap<i64, Damaged>,
    is_accepted: bool,
    lost: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let mut told = Told { lost, more: 0 };
    if !is_accepted {
        for damaged in documents.values().filter(|damaged| damaged.hides_entries) {
            told.line(format!("{}: it would be set aside", damaged.what));
        }
        told.rest();
        return Ok(());
    }
    let versions = versions(transaction)?;
    if documents.is_empty() && versions.is_empty() {
        return Ok(());
    }
    transaction.execute_batch(schema::SET_ASIDE_MAKE)?;
    transaction.execute_batch(schema::REPAIR_INDEXES_MAKE)?;
    let run = |sql, number: i64| transaction.prepare_cached(sql)?.execute([number]);
    // First, while all of them are there to be told.
    for (number, what) in versions {
        run(schema::SET_ASIDE_VERSION, number)?;
        run(schema::VERSION_DELETE, number)?;
        told.line(format!("{what}: it was set aside"));
    }
    for (number, Damaged { what, .. }) in documents {
        run(schema::SET_ASIDE_DOCUMENT, number)?;
        let former = run(schema::SET_ASIDE_HISTORY, number)?;
        run(schema::HISTORY_DROP_OF, number)?;
        run(schema::DOCUMENT_DELETE, number)?;
        told.line(format!(
            "{what}: it was set aside, and {former} former versions with it"
        ));
    }
    told.rest();
    Ok(())
}

/// Former versions without a document, or not older than it: what is written under their name from now on would take
/// their places, or be taken for what followed them. Indexes are there again.
pub(super) fn headless(
    transaction: &Transaction<'_>,
    lost: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let count: i64 = transaction.query_row(schema::HEADLESS_COUNT, [], |row| row.get(0))?;
    if count > 0 {
        transaction.execute_batch(schema::SET_ASIDE_MAKE)?;
        transaction.execute(schema::HEADLESS_SET_ASIDE, [])?;
        transaction.execute(schema::HEADLESS_DROP, [])?;
        lost.push(format!(
            "{count} former versions have no document any more, or an older one: they were set aside"
        ));
    }
    Ok(())
}

/// Lines, and how many more there would be.
struct Told<'a> {
    lost: &'a mut Vec<String>,
    more: usize,
}

impl Told<'_> {
    fn line(&mut self, line: String) {
        if self.lost.len() < LOST_MAX {
            self.lost.push(line);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn rest(self) {
        if self.more > 0 {
            self.lost.push(format!("{} more are damaged", self.more));
        }
    }
}

fn versions(transaction: &Transaction<'_>) -> Result<Vec<(i64, String)>, Unreadable> {
    let mut found = Vec::new();
    let mut statement = transaction.prepare(schema::HISTORY_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(fault) = fault(row)? {
            found.push((row.get(7)?, former(row, &fault)));
        }
    }
    Ok(found)
}
