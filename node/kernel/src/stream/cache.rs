//! Trees of streams kept between requests.
//!
//! A tree is valid for one sequence number of its user. It is brought up to a later one by reading
//! what changed since ([`View::changes`]), so an event that was written costs a look at that event
//! and not the whole tree. Only committed states get in: a write that is undone must not leave its
//! tree behind under a sequence number that another write will take. A write works on its own copy
//! ([`WriterTree`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homecore_store::{Kind, Seq, StoreError, View};
use homecore_types::UserId;

use super::tree::Tree;

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

/// A tree as of a sequence number.
#[derive(Clone, Debug)]
struct Versioned {
    seq: Seq,
    tree: Arc<Tree>,
}

impl TreeCache {
    /// The trees of a read of committed states.
    #[must_use]
    pub fn for_reading<'a>(&'a self, user: &'a UserId) -> ReaderTree<'a> {
        ReaderTree { cache: self, user }
    }

    /// The trees of one write request, beginning with the last committed one.
    #[must_use]
    pub fn for_writing(&self, user: &UserId) -> WriterTree {
        WriterTree {
            versioned: self.find(user),
        }
    }

    /// Forgets a user.
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

    fn keep(&self, user: &UserId, versioned: &Versioned) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
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
}

/// Trees of committed states: what is read anew is kept for later requests.
#[derive(Debug)]
pub struct ReaderTree<'a> {
    cache: &'a TreeCache,
    user: &'a UserId,
}

impl Trees for ReaderTree<'_> {
    fn current(&mut self, view: &dyn View) -> Result<Arc<Tree>, StoreError> {
        let kept = self.cache.find(self.user);
        let kept_seq = kept.as_ref().map(|kept| kept.seq);
        let current = refresh(view, kept)?;
        // The tree of an older snapshot than the kept one stays private.
        if kept_seq.is_none_or(|kept| kept < current.seq) {
            self.cache.keep(self.user, &current);
        }
        Ok(current.tree)
    }
}

/// The tree as one write request sees it, after each of its own attempts. Never kept for others.
#[derive(Debug)]
pub struct WriterTree {
    versioned: Option<Versioned>,
}

impl Trees for WriterTree {
    fn current(&mut self, view: &dyn View) -> Result<Arc<Tree>, StoreError> {
        let current = refresh(view, self.versioned.take())?;
        let tree = Arc::clone(&current.tree);
        self.versioned = Some(current);
        Ok(tree)
    }
}

/// Brings a tree to the state of a view.
fn refresh(view: &dyn View, known: Option<Versioned>) -> Result<Versioned, StoreError> {
    let seq = view.last_seq()?;
    if let Some(mut known) = known {
        if known.seq == seq {
            return Ok(known);
        }
        if known.seq < seq {
            let changes = view.changes(known.seq, CHANGES_MAX)?;
            if changes.len() < CHANGES_MAX {
                for document in changes
                    .iter()
                    .filter(|document| document.kind == Kind::Stream)
                {
                    Arc::make_mut(&mut known.tree).apply(document)?;
                }
                known.seq = seq;
                return Ok(known);
            }
        }
    }
    Ok(Versioned {
        seq,
        tree: Arc::new(Tree::load(view)?),
    })
}
