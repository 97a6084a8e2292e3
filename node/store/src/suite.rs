//! What every engine and every journal must do, as tests. An engine's crate calls
//! [`engine_suite`], [`journal_suite`] and [`blob_suite`] with its own.
//!
//! Everything here panics on a broken promise and returns what the engine itself reports.

use std::sync::Arc;

use bytes::Bytes;
use homecore_types::{Millis, UserId};

use crate::document::{Document, Kind, Rev, Seq};
use crate::engine::{Engine, UserDatabase, View};
use crate::error::StoreError;
use crate::index::{Entry, Index, Scan};
use crate::journal::{Journal, Position};
use crate::mutation::{Commit, Mutation};

mod blobs;
mod engines;
mod journals;

pub use blobs::blob_suite;
pub use engines::engine_suite;
pub use journals::journal_suite;

/// A user id for tests.
///
/// # Panics
/// Never: the id has the right form.
#[must_use]
#[expect(clippy::expect_used, reason = "the form is right by construction")]
pub fn user(number: u64) -> UserId {
    UserId::parse(format!("u{number:023}")).expect("24 characters, a letter first")
}

/// The key that [`event`] puts a number under.
#[must_use]
pub fn key(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The index of [`event`].
pub const BY_NUMBER: Index = Index(1);

/// The first version of an event that is found under its number.
#[must_use]
pub fn event(number: u64, seq: u64) -> Mutation {
    Mutation {
        kind: Kind::Event,
        id: format!("e{number}"),
        rev: Rev(1),
        seq: Seq(seq),
        deleted: false,
        body: Bytes::from(format!("{{\"n\":{number}}}")),
        entries: vec![Entry {
            index: BY_NUMBER,
            key: key(number),
        }],
        keep_previous: false,
        drop_history: false,
    }
}

/// A commit of a user.
#[must_use]
pub fn commit(user: &UserId, mutations: Vec<Mutation>) -> Commit {
    Commit {
        user: user.clone(),
        at: Millis(1_000),
        mutations,
    }
}

/// Writes event `number` as change `number`, in a transaction of its own.
///
/// # Errors
/// Of the engine.
pub fn write(
    database: &mut dyn UserDatabase,
    user: &UserId,
    number: u64,
    applied: Position,
) -> Result<(), StoreError> {
    put(database, user, vec![event(number, number)], applied)
}

/// Applies mutations in a transaction of their own.
///
/// # Errors
/// Of the engine.
pub fn put(
    database: &mut dyn UserDatabase,
    user: &UserId,
    mutations: Vec<Mutation>,
    applied: Position,
) -> Result<(), StoreError> {
    database.begin()?;
    database.apply(&commit(user, mutations))?;
    database.commit(applied)
}

/// All of an index, or what is left of it.
#[must_use]
pub fn everything(index: Index) -> Scan {
    Scan {
        index,
        from: Vec::new(),
        to: None,
        descending: false,
        limit: 10_000,
        after: None,
    }
}

/// Everything that can be read of a user, for comparing two engines or two moments.
///
/// # Errors
/// Of the engine.
pub fn dump(view: &dyn View) -> Result<Dump, StoreError> {
    let mut dump = Dump {
        last: view.last_seq()?,
        ..Dump::default()
    };
    let mut faults = Vec::new();
    view.check(&mut |fault| faults.push(fault))?;
    if !faults.is_empty() {
        return Err(StoreError::Corrupted {
            what: faults.join("; "),
        });
    }
    dump.changes = view.changes(Seq(0), usize::MAX >> 1)?;
    for kind in Kind::ALL {
        for document in view.list(*kind, None, usize::MAX >> 1)? {
            let history = view.history(*kind, &document.id, Rev(0), usize::MAX >> 1)?;
            dump.documents.push((document, history));
        }
    }
    for index in 0..=u8::MAX {
        let found = view.scan(&everything(Index(index)))?;
        dump.entries.extend(
            found
                .into_iter()
                .map(|(key, document)| (index, key, document)),
        );
    }
    Ok(dump)
}

/// See [`dump`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The last change.
    pub last: Seq,
    /// The present version of everything, by change.
    pub changes: Vec<Document>,
    /// The same by kind and id, with kept versions.
    pub documents: Vec<(Document, Vec<Document>)>,
    /// Index, key and what is found there.
    pub entries: Vec<(u8, Vec<u8>, Document)>,
}

/// What a reader of its own sees now.
///
/// # Errors
/// Of the engine.
pub fn read<T>(
    engine: &Arc<dyn Engine>,
    user: &UserId,
    read: impl Fn(&dyn View) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut result = None;
    engine.open_reader(user)?.snapshot(&mut |view| {
        result = Some(read(view)?);
        Ok(())
    })?;
    result.ok_or_else(|| StoreError::engine("reading", "the snapshot was not run"))
}

/// Everything that a journal holds after `from`.
///
/// # Errors
/// Of the journal.
pub fn rows(
    journal: &dyn Journal,
    from: Position,
) -> Result<Vec<(Position, UserId, Vec<u8>)>, StoreError> {
    let mut rows = Vec::new();
    journal.replay(from, &mut |position, user, bytes| {
        rows.push((position, user.clone(), bytes.to_vec()));
        Ok(())
    })?;
    Ok(rows)
}
