//! Damaged documents and former versions go to a table of their own, as they are: nothing is thrown away,
//! and what is left can be read and changed again.
//!
//! The account is not set aside, even where its row says that it is something else: without it there is no user.

use homecore_store::Kind;
use rusqlite::Transaction;

use super::{LOST_MAX, damage, named};
use crate::schema;
use crate::view::{Unreadable, unsealed_entries, was_written_for};

/// The id of every user's account.
const ACCOUNT_ID: &str = "account";

/// A damaged document.
struct Damaged {
    number: i64,
    what: String,
    /// Whether the entries that it must have are not known: no index can be made anew with it.
    hides_entries: bool,
    is_account: bool,
}

/// Sets aside what is damaged if that is accepted, and says what; else says what stands in the way of making the
/// indexes anew.
pub(super) fn set_aside(
    transaction: &Transaction<'_>,
    is_accepted: bool,
    lost: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let mut told = Told { lost, more: 0 };
    let documents = documents(transaction)?;
    if !is_accepted {
        for damaged in documents.iter().filter(|damaged| damaged.hides_entries) {
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
    // First, while all of them are there to be told.
    for (number, what) in versions {
        transaction.execute(schema::SET_ASIDE_VERSION, [number])?;
        transaction.execute(schema::VERSION_DELETE, [number])?;
        told.line(format!("a former version: {what}: it was set aside"));
    }
    for damaged in documents {
        let Damaged { number, what, .. } = damaged;
        if damaged.is_account {
            told.line(format!("{what}: it stays, for without it there is no user"));
            continue;
        }
        transaction.execute(schema::SET_ASIDE_DOCUMENT, [number])?;
        // A name that another document has, too, may be that one's, and so its former versions.
        let same: i64 = transaction.query_row(schema::SAME_NAME, [number], |row| row.get(0))?;
        let mut former = 0;
        if same <= 1 {
            former = transaction.execute(schema::SET_ASIDE_HISTORY, [number])?;
            transaction.execute(schema::HISTORY_DROP_OF, [number])?;
        }
        transaction.execute(schema::DOCUMENT_DELETE, [number])?;
        told.line(format!(
            "{what}: it was set aside, and {former} former versions with it"
        ));
    }
    told.rest();
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

fn documents(transaction: &Transaction<'_>) -> Result<Vec<Damaged>, Unreadable> {
    let mut found = Vec::new();
    let mut statement = transaction.prepare(schema::DOCUMENTS_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name = named(row)?;
        let entries = row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?;
        let unknown = match &name {
            Some((kind, id)) => unsealed_entries(*kind, id, entries).err(),
            None => Some("a document has no name that can be read".to_owned()),
        };
        let hides_entries = unknown.is_some();
        // What is wrong with its name is said by the first.
        if let Some(what) = damage(row)?.or(unknown) {
            found.push(Damaged {
                number: row.get(7)?,
                what,
                hides_entries,
                is_account: name
                    .is_some_and(|(kind, id)| kind == u8::from(Kind::Account) && id == ACCOUNT_ID)
                    || was_written_for(row, Kind::Account, ACCOUNT_ID),
            });
        }
    }
    Ok(found)
}

fn versions(transaction: &Transaction<'_>) -> Result<Vec<(i64, String)>, Unreadable> {
    let mut found = Vec::new();
    let mut statement = transaction.prepare(schema::HISTORY_ALL)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(what) = damage(row)? {
            found.push((row.get(7)?, what));
        }
    }
    Ok(found)
}
