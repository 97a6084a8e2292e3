//! The write primitive: a condition on what is there, and what shall be there.

use bytes::Bytes;
use homecore_types::{Millis, UserId};
use thiserror::Error;

use crate::document::{Document, Kind, Rev, Seq};
use crate::engine::View;
use crate::error::StoreError;
use crate::index::Entry;
use crate::mutation::{Commit, Mutation};

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Whatever is there: the last write wins.
    Any,
    /// No live document; a tombstone may be there.
    Absent,
    /// Nothing at all, and nobody looks: for an id that was made just now, of which no other can be
    /// ([`OrderedIds`](homecore_types::entropy::OrderedIds) and the like).
    New,
    /// Exactly this version.
    Exact(Rev),
    /// A version that another replica wrote: takes the given number if it is larger than ours,
    /// and is skipped if not.
    Graft(Rev),
}

/// One document to write.
#[derive(Clone, Debug)]
pub struct Write {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What must be there.
    pub base: Base,
    /// The new body.
    pub body: Bytes,
    /// Write a tombstone.
    pub deleted: bool,
    /// Keys to find it under.
    pub entries: Vec<Entry>,
    /// Keep the replaced version as history.
    pub keep_previous: bool,
}

/// Why a [`Transaction::put`] was refused.
#[derive(Debug, Error)]
pub enum PutError {
    /// What is there is not what [`Write::base`] asks for.
    #[error("the document is not at the expected version")]
    Conflict {
        /// What is there.
        current: Option<Rev>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the state before itself; collects what shall be after it. It sees its own writes only
/// through [`Transaction::get`].
#[derive(Debug)]
pub struct Transaction<'a> {
    view: &'a dyn ViewDebug,
    user: &'a UserId,
    at: Millis,
    next_seq: Seq,
    mutations: Vec<Mutation>,
}

/// A view that can be shown, so that transactions can be.
pub trait ViewDebug: View + std::fmt::Debug {}
impl<T: View + std::fmt::Debug + ?Sized> ViewDebug for T {}

impl<'a> Transaction<'a> {
    /// Opens a transaction on the present state.
    ///
    /// # Errors
    /// Of the engine.
    pub fn new(view: &'a dyn ViewDebug, user: &'a UserId, at: Millis) -> Result<Self, StoreError> {
        let next_seq = view.last_seq()?.next();
        Ok(Self {
            view,
            user,
            at,
            next_seq,
            mutations: Vec::new(),
        })
    }

    /// The state before this transaction.
    #[must_use]
    pub fn view(&self) -> &dyn View {
        self.view
    }

    /// Whose data.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.user
    }

    /// The time of everything written here.
    #[must_use]
    pub fn at(&self) -> Millis {
        self.at
    }

    /// A document, with this transaction's own writes.
    ///
    /// # Errors
    /// Of the engine.
    pub fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        let own = self
            .mutations
            .iter()
            .rev()
            .find(|m| m.kind == kind && m.id == id);
        match own {
            Some(m) => Ok(Some(Document {
                kind,
                id: m.id.clone(),
                rev: m.rev,
                seq: m.seq,
                written_at: self.at,
                deleted: m.deleted,
                body: m.body.clone(),
            })),
            None => self.view.get(kind, id),
        }
    }

    /// Writes a document and returns its new version.
    ///
    /// # Errors
    /// [`PutError::Conflict`] if the base does not hold; nothing is written then.
    pub fn put(&mut self, write: Write) -> Result<Rev, PutError> {
        self.write(write, false)
    }

    /// As [`Transaction::put`]; every version of the document that was kept before is forgotten.
    /// A history is rewritten by putting its versions again after this.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn put_dropping_history(&mut self, write: Write) -> Result<Rev, PutError> {
        self.write(write, true)
    }

    fn write(&mut self, write: Write, drop_history: bool) -> Result<Rev, PutError> {
        let current = match write.base {
            Base::New => None,
            _ => self.get(write.kind, &write.id)?,
        };
        let current_rev = current.as_ref().map(|d| d.rev);
        let present = current_rev.unwrap_or_default();
        let rev = match write.base {
            Base::Any | Base::New => Rev(present.0 + 1),
            Base::Absent if current.as_ref().is_none_or(|d| d.deleted) => Rev(present.0 + 1),
            Base::Exact(expected) if current_rev == Some(expected) => Rev(present.0 + 1),
            Base::Graft(theirs) if theirs > present => theirs,
            Base::Graft(_) => return Ok(present),
            Base::Absent | Base::Exact(_) => {
                return Err(PutError::Conflict {
                    current: current_rev,
                });
            }
        };
        self.mutations.push(Mutation {
            kind: write.kind,
            id: write.id,
            rev,
            seq: self.next_seq,
            deleted: write.deleted,
            body: write.body,
            entries: write.entries,
            keep_previous: write.keep_previous,
            drop_history,
        });
        self.next_seq = self.next_seq.next();
        Ok(rev)
    }

    /// How many versions were written so far: who may write much stops in time by it.
    #[must_use]
    pub fn written(&self) -> usize {
        self.mutations.len()
    }

    /// What shall be, or nothing if nothing was written.
    #[must_use]
    pub fn into_commit(self) -> Option<Commit> {
        if self.mutations.is_empty() {
            return None;
        }
        Some(Commit {
            user: self.user.clone(),
            at: self.at,
            mutations: self.mutations,
        })
    }
}
