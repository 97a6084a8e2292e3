//! Trees of streams kept between requests, each with what events show of the account.
//!
//! A tree is valid for one sequence number of its user. It is brought up to a later one by reading
//! what changed since ([`View::changes`]), so an event that was written costs a look at that event
//! and not the whole tree. Only committed states get in: a write that is undone must not leave its
//! tree behind under a sequence number that another write will take. A write works on its own copy
//! ([`WriterTree`]), and hands it back once it is committed ([`TreeCache::keep_committed`]); where
//! users only write, each write would else read all that was written since the last read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homecore_store::{Kind, Seq, StoreError, View};
use homecore_types::UserId;

use super::schema::{Schema, SchemaSource};
use super::tree::Tree;
use crate::account::{self, AccountError};
use crate::event::account::AccountEvents;

/// Users whose trees are kept.
const USERS_MAX: usize = 1_024;
/// Streams kept, of all users.
const STREAMS_MAX: usize = 1_000_000;
/// Changes looked at to bring a tree up to date; with more it is read anew.
const CHANGES_MAX: usize = 64;

/// Trees by user.
#[derive(Debug, Default)]
pub struct TreeCache {
    kept: Mutex<Kept>,
    schema: SchemaSource,
}

#[derive(Debug, Default)]
struct Kept {
    trees: BTreeMap<UserId, Slot>,
    streams: usize,
    tick: u64,
}

#[derive(Clone, Debug)]
struct Slot {
    used: u64,
    versioned: Versioned,
}

/// A tree as of a sequence number, and what events show of the account then, once that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    seq: Seq,
    tree: Arc<Tree>,
    account: Option<Arc<AccountEvents>>,
}

impl Versioned {
    /// Whether its account streams are those of a schema.
    fn is_of(&self, schema: &Arc<Schema>) -> bool {
        Arc::ptr_eq(self.tree.schema(), schema)
    }
}

impl TreeCache {
    /// An empty one, of trees with the account streams of a schema.
    #[must_use]
    pub fn new(schema: SchemaSource) -> Self {
        Self {
            kept: Mutex::default(),
            schema,
        }
    }

    /// The trees of a read of committed states.
    #[must_use]
    pub fn for_reading<'a>(&'a self, user: &'a UserId) -> ReaderTree<'a> {
        ReaderTree {
            cache: self,
            user,
            versioned: None,
        }
    }

    /// How many streams the user's kept tree has.
    pub(crate) fn known_len(&self, user: &UserId) -> Option<usize> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.trees.get(user).map(|slot| slot.versioned.tree.len())
    }

    /// The tree of a write whose request was committed.
    pub(crate) fn keep_committed(&self, user: &UserId, versioned: Option<Versioned>) {
        if let Some(versioned) = versioned {
            self.keep(user, &versioned);
        }
    }

    /// The trees of one write request, beginning with the last committed one.
    #[must_use]
    pub fn for_writing(&self, user: &UserId) -> WriterTree {
        WriterTree {
            versioned: self.find(user),
            schema: self.schema.get(),
        }
    }

    /// Forgets a user: when it is removed, and again before one of its id is made. What a late request of
    /// the former one kept in between would be taken for an earlier state of the new one.
    pub(crate) fn forget(&self, user: &UserId) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.remove(user);
    }

    fn find(&self, user: &UserId) -> Option<Versioned> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.tick += 1;
        let tick = kept.tick;
        let slot = kept.trees.get_mut(user)?;
        slot.used = tick;
        Some(slot.versioned.clone())
    }

    /// Keeps what is known of a committed state, unless it is older than what is kept, or has other account
    /// streams than the platform declares by now. What is kept with others is replaced in any case.
    fn keep(&self, user: &UserId, versioned: &Versioned) {
        let schema = self.schema.get();
        if !versioned.is_of(&schema) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let present = kept.trees.get(user).map(|slot| &slot.versioned);
        if let Some(present) = present.filter(|present| present.is_of(&schema))
            && (present.seq > versioned.seq
                || (present.seq == versioned.seq && present.account.is_some()))
        {
            return;
        }
        kept.tick += 1;
        let used = kept.tick;
        kept.remove(user);
        kept.streams += versioned.tree.len();
        kept.trees.insert(
            user.clone(),
            Slot {
                used,
                versioned: versioned.clone(),
            },
        );
        while kept.trees.len() > USERS_MAX || kept.streams > STREAMS_MAX {
            let oldest = kept.trees.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(user, _)| user.clone()) else {
                break;
            };
            kept.remove(&oldest);
        }
    }
}

impl Kept {
    fn remove(&mut self, user: &UserId) {
        if let Some(old) = self.trees.remove(user) {
            self.streams = self.streams.saturating_sub(old.versioned.tree.len());
        }
    }
}

/// Where a method gets the tree of the state that it works on.
pub trait Trees {
    /// The tree of the state that `view` shows.
    ///
    /// # Errors
    /// Of the store.
    fn current(&mut self, view: &dyn View) -> Result<Arc<Tree>, StoreError>;

    /// What events show of the account in that state.
    ///
    /// # Errors
    /// Of the store, or if there is no account.
    fn account(&mut self, view: &dyn View) -> Result<Arc<AccountEvents>, AccountError>;
}

/// Trees of one committed state: what is read anew is kept for later requests.
#[derive(Debug)]
pub struct ReaderTree<'a> {
    cache: &'a TreeCache,
    user: &'a UserId,
    /// As of the state that is read.
    versioned: Option<Versioned>,
}

impl ReaderTree<'_> {
    fn versioned(&mut self, view: &dyn View) -> Result<&mut Versioned, StoreError> {
        let current = match self.versioned.take() {
            Some(current) => current,
            None => {
                let schema = self.cache.schema.get();
                let kept = self.cache.find(self.user);
                let kept = kept.filter(|kept| kept.is_of(&schema));
                let kept_seq = kept.as_ref().map(|kept| kept.seq);
                let current = refresh(view, kept, &schema)?;
                // The tree of an older snapshot than the kept one stays private.
                if kept_seq.is_none_or(|kept| kept < current.seq) {
                    self.cache.keep(self.user, &current);
                }
                current
            }
        };
        Ok(self.versioned.insert(current))
    }
}

impl Trees for ReaderTree<'_> {
    fn current(&mut self, view: &dyn View) -> Result<Arc<Tree>, StoreError> {
        Ok(Arc::clone(&self.versioned(view)?.tree))
    }

    fn account(&mut self, view: &dyn View) -> Result<Arc<AccountEvents>, AccountError> {
        let current = self.versioned(view)?;
        if let Some(known) = &current.account {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(AccountEvents::of(
            &account::load(view)?,
            current.tree.schema(),
        ));
        current.account = Some(Arc::clone(&read));
        let current = current.clone();
        self.cache.keep(self.user, &current);
        Ok(read)
    }
}

/// The tree as one write request sees it, after each of its own attempts. Not kept for others before
/// the request is committed.
#[derive(Debug)]
pub struct WriterTree {
    versioned: Option<Versioned>,
    schema: Arc<Schema>,
}

impl WriterTree {
    /// What was seen last, for [`TreeCache::keep_committed`].
    pub(crate) fn into_versioned(self) -> Option<Versioned> {
        self.versioned
    }
}

impl Trees for WriterTree {
    fn current(&mut self, view: &dyn View) -> Result<Arc<Tree>, StoreError> {
        let current = refresh(view, self.versioned.take(), &self.schema)?;
        let tree = Arc::clone(&current.tree);
        self.versioned = Some(current);
        Ok(tree)
    }

    fn account(&mut self, view: &dyn View) -> Result<Arc<AccountEvents>, AccountError> {
        let mut current = refresh(view, self.versioned.take(), &self.schema)?;
        let account = match &current.account {
            Some(known) => Arc::clone(known),
            None => Arc::new(AccountEvents::of(
                &account::load(view)?,
                current.tree.schema(),
            )),
        };
        current.account = Some(Arc::clone(&account));
        self.versioned = Some(current);
        Ok(account)
    }
}

/// Brings a tree to the state of a view.
fn refresh(
    view: &dyn View,
    known: Option<Versioned>,
    schema: &Arc<Schema>,
) -> Result<Versioned, StoreError> {
    let seq = view.last_seq()?;
    // One that was read before this core knew its platform, or before the platform declared what it declares
    // now, has other account streams.
    let known = known.filter(|known| known.is_of(schema));
    if let Some(mut known) = known {
        if known.seq == seq {
            return Ok(known);
        }
        if known.seq < seq && view.is_unchanged(&[Kind::Stream, Kind::Account], known.seq) {
            known.seq = seq;
            return Ok(known);
        }
        if known.seq < seq {
            let changes = view.changes(known.seq, CHANGES_MAX)?;
            if changes.len() < CHANGES_MAX {
                for document in &changes {
                    match document.kind {
                        Kind::Stream => Arc::make_mut(&mut known.tree).apply(document)?,
                        Kind::Account => known.account = None,
                        _ => {}
                    }
                }
                known.seq = seq;
                return Ok(known);
            }
        }
    }
    Ok(Versioned {
        seq,
        tree: Arc::new(Tree::load(view, Arc::clone(schema))?),
        account: None,
    })
}

#[cfg(test)]
mod tests;
