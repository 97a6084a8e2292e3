//! Whether a user's database is as it was written, and the indexes anew where they are not.
//!
//! What guards a body is the checksum behind it. Nothing guards a key: one that was changed on the disk
//! hides a document, or shows it where it is not. Which keys there must be stands in each document's row, so
//! the two can be compared, and the keys made again.

use std::collections::BTreeSet;

use homecore_store::{Entry, Kind, StoreError};
use rusqlite::Connection;

use crate::schema;
use crate::view::{Rows, Unreadable, document, unsealed_entries};

impl Rows<'_> {
    /// See [`homecore_store::View::check`].
    pub(crate) fn check_all(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let run = |each: &mut dyn FnMut(String)| -> Result<(), Unreadable> {
            self.check_pages(each)?;
            let entries = self.check_documents(each)?;
            self.check_history(each)?;
            let present: i64 = self
                .connection
                .query_row(schema::ENTRIES_COUNT, [], |row| row.get(0))?;
            let strays = present.saturating_sub(entries);
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

    /// How many entries were found that must be there.
    fn check_documents(&self, each: &mut dyn FnMut(String)) -> Result<i64, Unreadable> {
        let mut statement = self.connection.prepare(schema::DOCUMENTS_ALL)?;
        let mut rows = statement.query([])?;
        let mut found = 0_i64;
        while let Some(row) = rows.next()? {
            told(document(row).map(|_whole| ()), each)?;
            let (kind, id): (u8, String) = (row.get(0)?, row.get(1)?);
            let (number, entries): (i64, Vec<u8>) = (row.get(7)?, row.get(8)?);
            let entries = match unsealed_entries(kind, &id, &entries) {
                Ok(entries) => entries,
                Err(damage) => {
                    each(damage);
                    continue;
                }
            };
            for entry in entries.into_iter().collect::<BTreeSet<Entry>>() {
                let mut look = self.connection.prepare_cached(schema::ENTRY_IS_THERE)?;
                if look.exists((entry.index.0, &entry.key, &id, number))? {
                    found = found.saturating_add(1);
                } else {
                    let index = entry.index.0;
                    each(format!("{} is not in index {index}", noun(kind, &id)));
                }
            }
        }
        Ok(found)
    }

    fn check_history(&self, each: &mut dyn FnMut(String)) -> Result<(), Unreadable> {
        let mut statement = self.connection.prepare(schema::HISTORY_ALL)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            told(document(row).map(|_whole| ()), each)?;
        }
        Ok(())
    }
}

/// Damage is told, and the next is looked at; anything else ends the check.
fn told(outcome: Result<(), Unreadable>, each: &mut dyn FnMut(String)) -> Result<(), Unreadable> {
    match outcome {
        Err(Unreadable::Damaged(StoreError::Corrupted { what })) => {
            each(what);
            Ok(())
        }
        other => other,
    }
}

fn noun(kind: u8, id: &str) -> String {
    Kind::try_from(kind).map_or_else(
        |_unknown| format!("a document of kind {kind}, {id},"),
        |kind| format!("{kind:?} {id}"),
    )
}

/// Makes all indexes anew from the documents, in one transaction.
pub(crate) fn rebuild(connection: &mut Connection, what: &str) -> Result<(), StoreError> {
    let mut run = || -> Result<(), Unreadable> {
        let transaction = connection.transaction()?;
        transaction.execute_batch(schema::INDEXES_EMPTY)?;
        {
            let mut documents = transaction.prepare(schema::DOCUMENTS_ALL)?;
            let mut insert = transaction.prepare(schema::ENTRY_INSERT)?;
            let mut rows = documents.query([])?;
            while let Some(row) = rows.next()? {
                let (kind, id, number): (u8, String, i64) = (row.get(0)?, row.get(1)?, row.get(7)?);
                let entries = row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?;
                let entries = unsealed_entries(kind, &id, entries)
                    .map_err(|what| StoreError::Corrupted { what })?;
                for entry in entries {
                    insert.execute((entry.index.0, &entry.key, &id, number))?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    };
    run().map_err(|unreadable| unreadable.into_error(what))
}

#[cfg(test)]
mod tests;
