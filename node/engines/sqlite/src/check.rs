//! Whether a user's database is as it was written, and the indexes anew where they are not.
//!
//! What guards a body is the checksum behind it. Nothing guards a key: one that was changed on the disk
//! hides a document, or shows it where it is not. Which keys there must be stands in each document's row, so
//! the two can be compared, and the keys made again.
//!
//! Nothing tells of a row that is missing but the indexes that lead to it: they are compared in that direction,
//! too, and are made anew only where nothing is lost by it, or where the operator accepts what is. A document
//! that is missing from the table and from every index is not noticed.
//!
//! A damaged document makes every list fail that it is in. If the operator accepts that, it is set aside with its
//! former versions, in a table that nothing else reads, and the rest can be read.

use std::collections::{BTreeMap, BTreeSet};

use homecore_store::{Entry, Kind, StoreError};
use rusqlite::{Connection, Row, Transaction};

use crate::schema;
use crate::view::{Fault, Rows, Unreadable, document, is_of_a_value, unsealed_entries};

mod set_aside;

use set_aside::{Found, set_aside};

/// Documents of a user that are lost, and are told one by one; what more there are, are counted.
const LOST_MAX: usize = 10_000;

/// What became of indexes that were to be made anew.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Whether they were. If not, everything is as it was.
    pub is_done: bool,
    /// What is, or would be, lost with them or set aside: documents and versions, in words.
    pub lost: Vec<String>,
    /// Documents whose kind and id were damaged and are what they were again, in words.
    pub restored: Vec<String>,
    /// Why it is not done, whatever is accepted.
    pub refused: Option<String>,
}

impl Rebuilt {
    const fn not(lost: Vec<String>, refused: Option<String>) -> Self {
        Self {
            is_done: false,
            lost,
            restored: Vec::new(),
            refused,
        }
    }
}

impl Rows<'_> {
    /// See [`homecore_store::View::check`].
    pub(crate) fn check_all(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let run = |each: &mut dyn FnMut(String)| -> Result<(), Unreadable> {
            self.check_pages(each)?;
            let entries = self.check_documents(each)?;
            self.check_history(each)?;
            for lost in lost_or_unknown(self.connection, self.what) {
                each(lost);
            }
            let strays = self.entries_but_of(&entries.unknown)?;
            let strays = strays.saturating_sub(entries.found);
            if strays > 0 {
                each(format!(
                    "{strays} entries of indexes lead to no document, or are under keys that their documents do not have"
                ));
            }
            Ok(())
        };
        run(each).map_err(|unreadable| unreadable.into_error(self.what))
    }

    /// What SQLite itself can tell of its pages, its own indexes and the types of columns.
    fn check_pages(&self, each: &mut dyn FnMut(String)) -> Result<(), Unreadable> {
        let mut statement = self.connection.prepare(schema::PAGES_CHECK)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                each(format!("SQLite: {line}"));
            }
        }
        Ok(())
    }

    /// How many entries there are of other documents than these.
    fn entries_but_of(&self, documents: &BTreeSet<i64>) -> Result<u64, Unreadable> {
        let mut statement = self.connection.prepare(schema::ENTRIES_OWNERS)?;
        let mut rows = statement.query([])?;
        let mut count = 0_u64;
        while let Some(row) = rows.next()? {
            count = count.saturating_add(u64::from(!documents.contains(&row.get(0)?)));
        }
        Ok(count)
    }

    fn check_documents(&self, each: &mut dyn FnMut(String)) -> Result<Entries, Unreadable> {
        let mut statement = self.connection.prepare(schema::DOCUMENTS_ALL)?;
        let mut rows = statement.query([])?;
        let mut all = Entries::default();
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(7)?;
            if let Some(fault) = fault(row)? {
                each(fault.to_string());
            }
            let Some((kind, id)) = named(row)? else {
                all.unknown.insert(number);
                continue;
            };
            // Those of another type are none that were written.
            let entries = row.get_ref(8)?.as_blob().unwrap_or_default();
            let entries = match unsealed_entries(kind, &id, entries) {
                Ok(entries) => entries,
                Err(fault) => {
                    each(fault.to_string());
                    all.unknown.insert(number);
                    continue;
                }
            };
            for entry in entries.into_iter().collect::<BTreeSet<Entry>>() {
                let mut look = self.connection.prepare_cached(schema::ENTRY_IS_THERE)?;
                if look.exists((entry.index.0, &entry.key, &id, number))? {
                    all.found = all.found.saturating_add(1);
                } else {
                    let index = entry.index.0;
                    each(format!("{} is not in index {index}", noun(kind, &id)));
                }
            }
        }
        Ok(all)
    }

    fn check_history(&self, each: &mut dyn FnMut(String)) -> Result<(), Unreadable> {
        let mut statement = self.connection.prepare(schema::HISTORY_ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(fault) = fault(row)? {
                each(former(row, &fault));
            }
        }
        Ok(())
    }
}

/// Entries that documents must have.
#[derive(Default)]
struct Entries {
    /// How many were found.
    found: u64,
    /// Documents of which it is not known.
    unknown: BTreeSet<i64>,
}

/// What is wrong with a row of documents or of former versions, if it cannot be read.
fn fault(row: &Row<'_>) -> Result<Option<Fault>, Unreadable> {
    let what = match document(row) {
        Ok(_whole) => return Ok(None),
        Err(Unreadable::Damaged(error @ StoreError::UnknownFormat { .. })) => {
            return Ok(Some(Fault::Newer(error.to_string())));
        }
        Err(Unreadable::Damaged(StoreError::Damaged { kind, id, .. })) => {
            format!("{kind:?} {id} is not what it was")
        }
        Err(Unreadable::Damaged(error)) => format!("a row: {error}"),
        Err(Unreadable::Sql(error)) if is_of_a_value(&error) => {
            format!("a row cannot be read: {error}")
        }
        Err(other) => return Err(other),
    };
    Ok(Some(Fault::Damaged(what)))
}

/// What is said of a former version.
fn former(row: &Row<'_>, fault: &Fault) -> String {
    match row.get::<_, i64>(2) {
        Ok(rev) => format!("a former version, {rev}: {fault}"),
        Err(_unreadable) => format!("a former version: {fault}"),
    }
}

/// The kind and the id that a row of documents says, if they can be read.
fn named(row: &Row<'_>) -> Result<Option<(u8, String)>, Unreadable> {
    let read = || -> rusqlite::Result<(u8, String)> { Ok((row.get(0)?, row.get(1)?)) };
    match read() {
        Ok(name) => Ok(Some(name)),
        Err(error) if is_of_a_value(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn noun(kind: u8, id: &str) -> String {
    Kind::try_from(kind).map_or_else(
        |_unknown| format!("a document of kind {kind}, {id},"),
        |kind| format!("{kind:?} {id}"),
    )
}

/// What is lost; where an index that may know cannot be read, that.
fn lost_or_unknown(connection: &Connection, what: &str) -> Vec<String> {
    lost(connection).unwrap_or_else(|unreadable| {
        let error = unreadable.into_error(what);
        vec![format!(
            "whether documents are lost cannot be told: {error}"
        )]
    })
}

/// Documents, and versions of some, that indexes know and the table does not.
fn lost(connection: &Connection) -> Result<Vec<String>, Unreadable> {
    // By number and id: where it is known the kind.
    let mut missing: BTreeMap<(i64, String), Option<u8>> = BTreeMap::new();
    let mut more = 0_usize;
    let mut statement = connection.prepare(schema::LOST_BY_ID)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if missing.len() < LOST_MAX {
            missing.insert((row.get(2)?, row.get(1)?), Some(row.get(0)?));
        } else {
            more = more.saturating_add(1);
        }
    }
    let mut statement = connection.prepare(schema::LOST_BY_ENTRY)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if missing.len() < LOST_MAX {
            missing.entry((row.get(1)?, row.get(0)?)).or_insert(None);
        }
    }
    let known: BTreeSet<i64> = missing.keys().map(|(number, _id)| *number).collect();
    keep_missing(connection, &mut missing)?;
    let mut lost: Vec<String> = missing
        .iter()
        .map(|((_number, id), kind)| {
            let noun = kind.map_or_else(|| format!("document {id}"), |kind| noun(kind, id));
            format!("{noun} is lost: only indexes know it")
        })
        .collect();
    let mut statement = connection.prepare(schema::LOST_BY_SEQ)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (seq, number): (i64, i64) = (row.get(0)?, row.get(1)?);
        let present: (Option<u8>, Option<String>) = (row.get(2)?, row.get(3)?);
        let line = match present {
            (Some(kind), Some(id)) => {
                format!(
                    "{} is older than its change {seq}, which is lost",
                    noun(kind, &id)
                )
            }
            _ if known.contains(&number) => continue,
            _ => format!("the document of change {seq} is lost: only an index knows it"),
        };
        if lost.len() < LOST_MAX {
            lost.push(line);
        } else {
            more = more.saturating_add(1);
        }
    }
    if more > 0 {
        lost.push(format!("{more} more are lost"));
    }
    Ok(lost)
}

/// Forgets those that are in the table under another number: only their index is damaged. By the table alone, for
/// an index would say what is to be found out.
fn keep_missing(
    connection: &Connection,
    missing: &mut BTreeMap<(i64, String), Option<u8>>,
) -> Result<(), Unreadable> {
    if missing.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<String> = missing.keys().map(|(_number, id)| id.clone()).collect();
    let mut present: BTreeSet<(u8, String)> = BTreeSet::new();
    let mut statement = connection.prepare(schema::DOCUMENTS_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        present.extend(named(row)?.filter(|(_kind, id)| ids.contains(id)));
    }
    missing.retain(|(_number, id), kind| {
        !present
            .iter()
            .any(|(of, name)| name == id && kind.is_none_or(|kind| kind == *of))
    });
    Ok(())
}

/// Makes all indexes anew from the documents, in one transaction, unless something would be lost by it
/// that nobody accepted. If it is accepted, damaged documents are set aside, too. Not where a newer release wrote
/// something, which is not to be judged here, nor where no account would be left.
pub(crate) fn rebuild(
    connection: &mut Connection,
    what: &str,
    accept_loss: bool,
) -> Result<Rebuilt, StoreError> {
    let mut run = || -> Result<Rebuilt, Unreadable> {
        let (mut lost, mut found) = {
            // In a transaction of its own: after an index that cannot be read SQLite writes nothing more in one.
            let reading = connection.transaction()?;
            (lost_or_unknown(&reading, what), Found::look(&reading)?)
        };
        // It is rolled back where it is not committed.
        let transaction = connection.transaction()?;
        transaction.execute_batch(schema::INDEXES_FORGET)?;
        let restored = found.restore(&transaction)?;
        if let Some(newer) = found.newer {
            return Ok(Rebuilt::not(Vec::new(), Some(newer)));
        }
        set_aside(&transaction, found.damaged, accept_loss, &mut lost)?;
        if lost.is_empty() || accept_loss {
            part(&transaction, accept_loss, &mut lost)?;
        }
        if let Some(why) = set_aside::no_account(&transaction)? {
            return Ok(Rebuilt::not(Vec::new(), Some(why)));
        }
        if !lost.is_empty() && !accept_loss {
            return Ok(Rebuilt::not(lost, None));
        }
        transaction.execute_batch(schema::REPAIR_INDEXES_DROP)?;
        transaction.execute_batch(schema::INDEXES_MAKE)?;
        fill(&transaction)?;
        if accept_loss {
            set_aside::headless(&transaction, &mut lost)?;
        }
        if let Some(fault) = fault_of_pages(&transaction)? {
            let why = format!(
                "the file itself is damaged beyond its indexes ({fault}): a backup is needed"
            );
            return Ok(Rebuilt::not(lost, Some(why)));
        }
        transaction.commit()?;
        if let Err(error) = connection.execute_batch(schema::VACUUM) {
            tracing::warn!(%error, "the repaired {what} keeps the pages of its former indexes");
        }
        Ok(Rebuilt {
            is_done: true,
            lost,
            restored,
            refused: None,
        })
    };
    run().map_err(|unreadable| unreadable.into_error(what))
}

/// Of a document that is there more than once (a damaged index hid the first one while the second was written), the
/// last stays. An earlier one becomes a former version if its version is free, and is set aside otherwise.
fn part(
    transaction: &Transaction<'_>,
    is_accepted: bool,
    lost: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let mut twice = Vec::new();
    {
        let mut statement = transaction.prepare(schema::DOCUMENTS_TWICE)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let document: (u8, String, i64, i64, i64) = (
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            );
            twice.push(document);
        }
    }
    if !twice.is_empty() {
        transaction.execute_batch(schema::REPAIR_INDEXES_MAKE)?;
    }
    let mut last: Option<(u8, String, i64)> = None;
    for (kind, id, rev, seq, number) in twice {
        let newest = match &last {
            Some((of, name, newest)) if (*of, name) == (kind, &id) => *newest,
            _ => {
                last = Some((kind, id, rev));
                continue;
            }
        };
        let mut kept = transaction.prepare_cached(schema::HISTORY_HAS)?;
        if rev < newest && !kept.exists((kind, &id, rev))? {
            transaction.execute(schema::HISTORY_KEEP, [number])?;
        } else {
            transaction.execute_batch(schema::SET_ASIDE_MAKE)?;
            transaction.execute(schema::SET_ASIDE_DOCUMENT, [number])?;
            if lost.len() <= LOST_MAX {
                let outcome = if is_accepted {
                    ": it was set aside"
                } else {
                    ""
                };
                lost.push(format!(
                    "{} is there twice: its version {rev} of change {seq} has no place beside the later one{outcome}",
                    noun(kind, &id)
                ));
            }
        }
        transaction.execute(schema::DOCUMENT_DELETE, [number])?;
    }
    Ok(())
}

/// Whether a page belongs to two things, or to what it cannot: what was freed or written meanwhile may then have been
/// something else's.
fn fault_of_pages(transaction: &Transaction<'_>) -> Result<Option<String>, Unreadable> {
    let mut statement = transaction.prepare(schema::PAGES_CHECK)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        let is_of_pages = |line: &&str| {
            let of = [
                "Tree ",
                "Freelist: ",
                "Page ",
                "2nd reference",
                "invalid page",
            ];
            // Those of the former indexes are nobody's.
            of.iter().any(|of| line.starts_with(of)) && !line.ends_with("never used")
        };
        if let Some(line) = text.lines().find(is_of_pages) {
            return Ok(Some(line.to_owned()));
        }
    }
    Ok(None)
}

/// Writes all entries.
fn fill(transaction: &Transaction<'_>) -> Result<(), Unreadable> {
    let mut documents = transaction.prepare(schema::DOCUMENTS_ALL)?;
    let mut insert = transaction.prepare(schema::ENTRY_INSERT)?;
    let mut rows = documents.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, id, number): (u8, String, i64) = (row.get(0)?, row.get(1)?, row.get(7)?);
        let entries = row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?;
        let entries =
            unsealed_entries(kind, &id, entries).map_err(|fault| StoreError::Corrupted {
                what: fault.to_string(),
            })?;
        for entry in entries {
            insert.execute((entry.index.0, &entry.key, &id, number))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
