//! Reading a user's database through any connection to it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use homecore_store::engine::Page;
use homecore_store::{Document, Entry, Kind, Rev, Scan, Seq, StoreError, View};
use homecore_types::{Millis, seal};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use crate::{fault, schema};

/// What a connection sees.
#[derive(Debug)]
pub(crate) struct Rows<'c> {
    pub(crate) connection: &'c Connection,
    /// Whose database, for errors.
    pub(crate) what: &'c str,
}

impl Rows<'_> {
    /// Runs a statement and makes something of each row.
    fn all<T>(
        &self,
        sql: &str,
        parameters: &[&dyn ToSql],
        make: impl Fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, StoreError> {
        self.some(sql, parameters, |row| {
            Ok((make(row)?, ControlFlow::Continue(())))
        })
    }

    /// Runs a statement and makes something of each row, until told that it is enough.
    fn some<T>(
        &self,
        sql: &str,
        parameters: &[&dyn ToSql],
        mut make: impl FnMut(&Row<'_>) -> Result<(T, ControlFlow<()>), Unreadable>,
    ) -> Result<Vec<T>, StoreError> {
        let mut run = || -> Result<Vec<T>, Unreadable> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(parameters)?;
            let mut made = Vec::new();
            while let Some(row) = rows.next()? {
                let (one, go_on) = make(row)?;
                made.push(one);
                if go_on.is_break() {
                    break;
                }
            }
            Ok(made)
        };
        run().map_err(|unreadable| unreadable.into_error(self.what))
    }

    /// Whether anything ever was set aside.
    fn has_set_aside(&self) -> rusqlite::Result<bool> {
        self.connection
            .prepare_cached(schema::SET_ASIDE_IS_THERE)?
            .exists([])
    }

    /// The applied position and the last change, as stored.
    pub(crate) fn state(&self) -> Result<(u64, Seq), StoreError> {
        let (applied, seq): (i64, i64) = self
            .connection
            .prepare_cached(schema::STATE_SELECT)
            .and_then(|mut statement| statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(|error| fault::sql(&format!("reading the state of {}", self.what))(error))?;
        Ok((
            fault::number(applied, "a position")?,
            Seq(fault::number(seq, "a change")?),
        ))
    }
}

impl View for Rows<'_> {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        let run = || -> Result<Option<Document>, Unreadable> {
            let mut statement = self.connection.prepare_cached(schema::DOCUMENT)?;
            let mut rows = statement.query((u8::from(kind), id))?;
            rows.next()?.map(document).transpose()
        };
        run().map_err(|unreadable| unreadable.into_error(self.what))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        Ok(self.scan_within(scan, usize::MAX)?.0)
    }

    fn scan_within(&self, scan: &Scan, bytes: usize) -> Result<Page, StoreError> {
        let (place, limit) = (scan.index.0, limit(scan.limit));
        let Scan { from, to, .. } = scan;
        // Of two bounds on one side the narrower one is used alone.
        let after = scan.after.as_ref().filter(|(key, _)| {
            if scan.descending {
                to.as_ref().is_none_or(|to| key < to)
            } else {
                key >= from
            }
        });
        let (sql, bounds): (&str, Vec<&dyn ToSql>) = match (scan.descending, after, to) {
            (false, None, None) => (schema::SCAN_UP, vec![from]),
            (false, None, Some(to)) => (schema::SCAN_UP_TO, vec![from, to]),
            (false, Some((key, id)), None) => (schema::SCAN_UP_AFTER, vec![key, id]),
            (false, Some((key, id)), Some(to)) => (schema::SCAN_UP_AFTER_TO, vec![key, id, to]),
            (true, None, None) => (schema::SCAN_DOWN, vec![from]),
            (true, None, Some(to)) => (schema::SCAN_DOWN_TO, vec![from, to]),
            (true, Some((key, id)), _) => (schema::SCAN_DOWN_AFTER, vec![from, key, id]),
        };
        let mut parameters: Vec<&dyn ToSql> = vec![&place, &limit];
        parameters.extend(bounds);
        let mut left = bytes;
        let found = self.some(sql, &parameters, |row| {
            let key = row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?;
            let document = document(row)?;
            left = left.saturating_sub(document.body.len());
            let go_on = if left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
            Ok(((key.to_vec(), document), go_on))
        })?;
        let more = left == 0 || found.len() == scan.limit;
        Ok((found, more))
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (kind, most) = (u8::from(kind), limit(most));
        match after {
            Some(after) => self.all(schema::LIST_AFTER, &[&kind, &most, &after], document),
            None => self.all(schema::LIST, &[&kind, &most], document),
        }
    }

    fn changes(&self, since: Seq, most: usize) -> Result<Vec<Document>, StoreError> {
        let since = i64::try_from(since.0).unwrap_or(i64::MAX);
        self.all(schema::CHANGES, &[&since, &limit(most)], document)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        most: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let (kind, after) = (u8::from(kind), i64::try_from(after.0).unwrap_or(i64::MAX));
        self.all(
            schema::HISTORY,
            &[&kind, &id, &after, &limit(most)],
            document,
        )
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        Ok(self.state()?.1)
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.check_all(each)
    }

    fn named_by_set_aside(
        &self,
        texts: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let run = || -> rusqlite::Result<BTreeSet<Vec<u8>>> {
            let mut found = BTreeSet::new();
            if texts.is_empty() || !self.has_set_aside()? {
                return Ok(found);
            }
            let lengths: BTreeSet<usize> =
                texts.iter().map(Vec::len).filter(|it| *it > 0).collect();
            let mut statement = self.connection.prepare(schema::SET_ASIDE_ALL)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for column in [0, 1] {
                    // What is damaged may be of any type.
                    let bytes = row.get_ref(column)?.as_bytes_or_null();
                    let bytes = bytes.ok().flatten().unwrap_or_default();
                    let parts = lengths.iter().flat_map(|length| bytes.windows(*length));
                    found.extend(parts.filter_map(|part| texts.get(part)).cloned());
                }
            }
            Ok(found)
        };
        run().map_err(|error| fault::sql(&format!("reading {}", self.what))(error))
    }

    fn count_set_aside(&self) -> Result<u64, StoreError> {
        let run = || -> rusqlite::Result<i64> {
            if !self.has_set_aside()? {
                return Ok(0);
            }
            let mut statement = self.connection.prepare(schema::SET_ASIDE_COUNT)?;
            statement.query_row([], |row| row.get(0))
        };
        let count = run().map_err(|error| fault::sql(&format!("reading {}", self.what))(error))?;
        fault::number(count, "a count")
    }
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Why a row could not be read.
pub(crate) enum Unreadable {
    Sql(rusqlite::Error),
    Damaged(StoreError),
}

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        Self::Damaged(error)
    }
}

impl Unreadable {
    pub(crate) fn into_error(self, what: &str) -> StoreError {
        match self {
            Self::Sql(error) => fault::sql(&format!("reading {what}"))(error),
            Self::Damaged(StoreError::Corrupted { what: detail }) => StoreError::Corrupted {
                what: format!("{what}: {detail}"),
            },
            Self::Damaged(StoreError::Damaged { kind, id, rev, .. }) => StoreError::Damaged {
                place: what.to_owned(),
                kind,
                id,
                rev,
            },
            Self::Damaged(StoreError::UnknownFormat {
                what: detail,
                found,
                known,
            }) => StoreError::UnknownFormat {
                what: format!("{what}: {detail}"),
                found,
                known,
            },
            Self::Damaged(error) => error,
        }
    }
}

/// What a document's row says beside its body.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) kind: u8,
    pub(crate) id: &'a str,
    pub(crate) rev: i64,
    pub(crate) seq: i64,
    pub(crate) at: i64,
    pub(crate) deleted: bool,
}

impl Place<'_> {
    /// A body as it is stored.
    pub(crate) fn sealed(&self, body: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(body.len() + 4);
        sealed.extend_from_slice(body);
        self.with(|place| seal::seal(&mut sealed, place));
        sealed
    }

    pub(crate) fn unsealed<'b>(&self, body: &'b [u8]) -> Option<&'b [u8]> {
        self.with(|place| seal::unsealed(body, place))
    }

    fn with<T>(&self, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        then(&[
            &[self.kind, u8::from(self.deleted)],
            self.id.as_bytes(),
            &self.rev.to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.at.to_be_bytes(),
        ])
    }
}

/// The first seven columns: kind, id, rev, seq, the rest as in [`schema::DOCUMENT`]. Where the name can be read and
/// another value cannot, it is that document that is damaged.
pub(crate) fn document(row: &Row<'_>) -> Result<Document, Unreadable> {
    let number: u8 = row.get(0)?;
    let id: String = row.get(1)?;
    let (place, body) = match (columns(row, number, &id), Kind::try_from(number)) {
        (Ok(read), _) => read,
        (Err(error), Ok(kind)) if is_of_a_value(&error) => {
            let rev: i64 = row.get(2).unwrap_or_default();
            return Err(damaged(kind, id, rev));
        }
        (Err(error), _) => return Err(error.into()),
    };
    let unsealed = place.unsealed(body);
    let kind = Kind::try_from(number).map_err(|unknown| match unsealed {
        // It is what was written, by another release.
        Some(_whole) => newer(number, &id),
        None => StoreError::Corrupted {
            what: unknown.to_string(),
        },
    })?;
    let Some(body) = unsealed else {
        let rev = place.rev;
        return Err(damaged(kind, id, rev));
    };
    Ok(Document {
        kind,
        rev: Rev(fault::number(place.rev, "a revision")?),
        seq: Seq(fault::number(place.seq, "a change")?),
        written_at: Millis(place.at),
        deleted: place.deleted,
        body: Bytes::copy_from_slice(body),
        id,
    })
}

/// What a row says of its document, but for the name, and the body as it is stored.
pub(crate) fn columns<'a>(
    row: &'a Row<'_>,
    kind: u8,
    id: &'a str,
) -> rusqlite::Result<(Place<'a>, &'a [u8])> {
    let place = Place {
        kind,
        id,
        rev: row.get(2)?,
        seq: row.get(3)?,
        at: row.get(4)?,
        deleted: row.get(5)?,
    };
    Ok((place, row.get_ref(6)?.as_blob()?))
}

/// Whether it is that one value cannot be what was written: the next row may be read.
pub(crate) fn is_of_a_value(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

fn damaged(kind: Kind, id: String, rev: i64) -> Unreadable {
    Unreadable::Damaged(StoreError::Damaged {
        place: String::new(),
        kind,
        rev: Rev(u64::try_from(rev).unwrap_or_default()),
        id,
    })
}

/// Of a kind that this release does not know.
fn newer(kind: u8, id: &str) -> StoreError {
    let known = Kind::ALL.iter().map(|kind| u8::from(*kind)).max();
    StoreError::UnknownFormat {
        what: format!("document {id}, by its kind, was written by a newer release: it"),
        found: kind.into(),
        known: known.unwrap_or_default().into(),
    }
}

/// Why entries, or a row, cannot be used, in words.
#[derive(Debug)]
pub(crate) enum Fault {
    /// They are not what was written.
    Damaged(String),
    /// They are, by a newer release.
    Newer(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Damaged(what) | Self::Newer(what)) = self;
        f.write_str(what)
    }
}

/// A document's entries as they are stored: with a checksum, for the index is made from them where it is
/// damaged.
pub(crate) fn sealed_entries(kind: u8, id: &str, entries: &[Entry]) -> Result<Vec<u8>, StoreError> {
    let mut sealed = rmp_serde::to_vec(entries)
        .map_err(|error| StoreError::engine("encoding entries", error))?;
    seal::seal(&mut sealed, &[&[kind], id.as_bytes()]);
    Ok(sealed)
}

/// Reads them again; what is wrong where they are not what they were, or are not known here.
pub(crate) fn unsealed_entries(kind: u8, id: &str, stored: &[u8]) -> Result<Vec<Entry>, Fault> {
    let name = || {
        let kind = Kind::try_from(kind).map(|kind| format!("{kind:?}"));
        let kind = kind.unwrap_or_else(|unknown| unknown.to_string());
        format!("{kind} {id}")
    };
    let entries = seal::unsealed(stored, &[&[kind], id.as_bytes()]).ok_or_else(|| {
        let what = format!("{}: its entries are not what they were", name());
        Fault::Damaged(what)
    })?;
    rmp_serde::from_slice(entries).map_err(|_unknown| {
        let what = format!("{}: its entries were written by a newer release", name());
        Fault::Newer(what)
    })
}

/// A document's number and entries, as stored.
pub(crate) fn entries_of(
    connection: &Connection,
    kind: Kind,
    id: &str,
) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    connection
        .prepare_cached(schema::DOCUMENT_ENTRIES)?
        .query_row((u8::from(kind), id), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
