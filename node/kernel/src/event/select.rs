//! From a streams query to sets of streams, with what the access may not see taken out
//! (spec/pryv-api §4.4, App. B.3 steps 6 to 9).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use homecore_types::{ErrorId, limits};
use serde_json::{Value, json};
use thiserror::Error;

use super::query::{Clause, Selector, StreamsQuery};
use crate::error::Refusal;
use crate::permission::{Level, Parents, Rights};
use crate::stream::store::{ACCOUNT_ROOT, AUDIT_ROOT, EMAILS, SHARED_SECRETS, Store};
use crate::stream::system;
use crate::stream::tree::Tree;

/// Streams that one query may be worked out into, each counted as often as it is met: every part of a
/// query may mean every stream.
const STREAMS_MET_MAX: usize = 10 * limits::STREAMS_PER_USER_MAX;

/// Streams by id.
pub type StreamSet = BTreeSet<Arc<str>>;

/// A clause with every stream that it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// An event is in one of these.
    pub any: StreamSet,
    /// And in one of each of these.
    pub all: Vec<StreamSet>,
    /// And in none of these.
    pub not: StreamSet,
}

/// What a query selects: sets that are or-ed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only those that can match anything.
    pub sets: Vec<Sets>,
}

/// Why a well-formed query was refused.
#[derive(Debug, Error)]
pub enum SelectError {
    /// A stream that is there and may not be read.
    #[error("stream [{id}] has not sufficent permission to get events")]
    Forbidden {
        /// Which.
        id: String,
    },
    /// Streams that are not there.
    #[error("Unknown referenced {} {}", if .ids.len() == 1 { "stream" } else { "streams" },
        .ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", "))]
    Unknown {
        /// Which.
        ids: Vec<String>,
    },
    /// Each part of the query is fine, and together they mean too much.
    #[error("\"streams\" means more than {STREAMS_MET_MAX} streams, those of each part counted")]
    TooMany,
}

impl Refusal for SelectError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Forbidden { .. } => ErrorId::Forbidden,
            Self::Unknown { .. } => ErrorId::UnknownReferencedResource,
            Self::TooMany => ErrorId::InvalidRequestStructure,
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Forbidden { .. } | Self::TooMany => None,
            Self::Unknown { ids } => Some(json!({ "streams": ids })),
        }
    }
}

impl Sets {
    /// Whether an event of these streams is selected.
    #[must_use]
    pub fn matches(&self, streams: &[String]) -> bool {
        let in_one_of = |set: &StreamSet| streams.iter().any(|id| set.contains(id.as_str()));
        in_one_of(&self.any) && self.all.iter().all(in_one_of) && !in_one_of(&self.not)
    }
}

impl Selection {
    /// Whether an event of these streams is selected.
    #[must_use]
    pub fn matches(&self, streams: &[String]) -> bool {
        self.sets.iter().any(|sets| sets.matches(streams))
    }

    /// Whether a single stream is selected.
    #[must_use]
    pub fn matches_one(&self, stream: &str) -> bool {
        self.matches(&[stream.to_owned()])
    }

    /// Every stream that a selected event may be in.
    #[must_use]
    pub fn streams(&self) -> StreamSet {
        self.sets
            .iter()
            .flat_map(|sets| sets.any.iter().cloned())
            .collect()
    }
}

/// Decides what a query selects for an access. `trashed_too`: with streams in the trash.
///
/// # Errors
/// See [`SelectError`]; a forbidden stream wins over an unknown one.
pub fn select(
    tree: &Tree,
    rights: &Rights,
    query: Option<&StreamsQuery>,
    trashed_too: bool,
) -> Result<Selection, SelectError> {
    let everything = [Clause::everything()];
    let clauses = query.map_or(everything.as_slice(), |query| query.clauses.as_slice());
    check(tree, rights, clauses)?;
    let left = Cell::new(STREAMS_MET_MAX);
    let expander = Expander {
        tree,
        trashed_too,
        left: &left,
    };
    let mut sets = Vec::new();
    for clause in clauses {
        let of = expander.sets(rights, clause)?;
        if !of.any.is_empty() {
            sets.push(of);
        }
    }
    Ok(Selection { sets })
}

/// Existence of, and permission for, every id of `any`.
fn check(tree: &Tree, rights: &Rights, clauses: &[Clause]) -> Result<(), SelectError> {
    let mut unknown = Vec::new();
    for selector in clauses
        .iter()
        .flat_map(|clause| &clause.any)
        .filter(|s| s.id != "*")
    {
        let id = selector.id.as_str();
        if !tree.contains(id) {
            // An access's first shared secret makes the stream of it; until then it is an empty one.
            if Store::of(id) == Store::SharedSecrets && may_read(tree, rights, id) {
                continue;
            }
            unknown.push(id.to_owned());
        } else if !may_read(tree, rights, id) && own_part(rights, selector).is_empty() {
            return Err(SelectError::Forbidden { id: id.to_owned() });
        }
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(SelectError::Unknown { ids: unknown })
    }
}

/// Whether an access may read the events of a stream. Hidden account fields nobody may.
#[must_use]
pub fn may_read(tree: &Tree, rights: &Rights, id: &str) -> bool {
    tree.schema().get(id).is_none_or(|stream| stream.shown) && rights.allows(tree, id, Level::reads)
}

/// What an access may read of a store that it names: the root of the audit log stands for what it
/// was given there, its own entries at least, where it may not read all.
fn own_part(rights: &Rights, selector: &Selector) -> Vec<Selector> {
    if selector.id != AUDIT_ROOT || !selector.deep {
        return Vec::new();
    }
    let named = rights.named();
    named
        .filter(|(id, level)| Store::of(id) == Store::Audit && level.reads())
        .map(|(id, _)| Selector {
            id: id.to_owned(),
            deep: true,
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Expander<'a> {
    tree: &'a Tree,
    trashed_too: bool,
    /// Streams that may still be met.
    left: &'a Cell<usize>,
}

impl Expander<'_> {
    fn sets(&self, rights: &Rights, clause: &Clause) -> Result<Sets, SelectError> {
        let any = if clause.is_star() {
            self.readable(rights)
        } else {
            let named = clause.any.iter();
            named
                .flat_map(|selector| {
                    if may_read(self.tree, rights, &selector.id) {
                        return vec![selector.clone()];
                    }
                    own_part(rights, selector)
                })
                .collect()
        };
        let withheld = self.withheld(rights, clause.is_star());
        let mut not = clause.not.clone();
        not.extend(withheld.iter().cloned());
        let no_stop: BTreeSet<&str> = BTreeSet::new();
        let stop_any: BTreeSet<&str> = deep_ids(&not);
        let stop_not: BTreeSet<&str> = any.iter().map(|selector| selector.id.as_str()).collect();
        let mut sets = Sets {
            any: self.expand_all(&any, &stop_any, false)?,
            all: Vec::new(),
            not: self.expand_all(&clause.not, &stop_not, true)?,
        };
        // What an access may not see stays so in the trash.
        let whole = Expander {
            trashed_too: true,
            ..*self
        };
        sets.not
            .extend(whole.expand_all(&withheld, &stop_not, true)?);
        for selector in &clause.all {
            let set = self.expand_all(std::slice::from_ref(selector), &stop_any, false)?;
            // An id that means nothing sets no condition: so the contract says.
            if !set.is_empty() {
                sets.all.push(set);
            }
        }
        // What an operator forces is a limit, and one that means nothing lets nothing through.
        for id in rights.forced() {
            let selector = Selector {
                id: id.clone(),
                deep: true,
            };
            sets.all
                .push(self.expand_all(&[selector], &no_stop, false)?);
        }
        Ok(sets)
    }

    /// What `*` means for an access: the local roots if it holds `*`, and every stream that it was
    /// given to read, the audit log and shared secrets apart.
    fn readable(&self, rights: &Rights) -> Vec<Selector> {
        let mut ids: Vec<&str> = Vec::new();
        if rights.star().is_some_and(Level::reads) {
            ids.extend(self.tree.local_roots());
        }
        if *rights == Rights::Personal {
            ids.push(ACCOUNT_ROOT);
        }
        ids.extend(
            rights
                .named()
                .filter(|(id, level)| *id != "*" && level.reads() && self.tree.contains(id))
                .map(|(id, _)| id)
                .filter(|id| !matches!(Store::of(id), Store::Audit | Store::SharedSecrets)),
        );
        ids.into_iter()
            .map(|id| Selector {
                id: id.to_owned(),
                deep: true,
            })
            .collect()
    }

    /// Streams that an access must not get events of, whatever it asks for.
    fn withheld(&self, rights: &Rights, star: bool) -> Vec<Selector> {
        let mut ids: Vec<&str> = rights
            .named()
            .filter(|(id, level)| *id != "*" && !level.reads())
            .map(|(id, _)| id)
            .collect();
        // The account root is among the named ones: every access holds none there by default.
        if *rights != Rights::Personal {
            ids.push(EMAILS);
        }
        if star {
            ids.extend([SHARED_SECRETS, EMAILS]);
        }
        ids.into_iter()
            .map(|id| Selector {
                id: id.to_owned(),
                deep: true,
            })
            .collect()
    }

    /// The union of what the selectors mean. A subtree that begins at one of `stops` is left out,
    /// except where `keep_first` lets a selector stand that is itself one.
    fn expand_all(
        &self,
        selectors: &[Selector],
        stops: &BTreeSet<&str>,
        keep_first: bool,
    ) -> Result<StreamSet, SelectError> {
        let mut found = StreamSet::new();
        let (deep, alone): (Vec<_>, Vec<_>) = selectors.iter().partition(|s| s.deep);
        // Those first: what is found then was found with all that is below it.
        for selector in deep {
            if keep_first || !stops.contains(selector.id.as_str()) {
                self.expand(&selector.id, stops, &mut found)?;
            }
        }
        found.extend(alone.into_iter().map(|s| Arc::from(s.id.as_str())));
        Ok(found)
    }

    /// Adds a stream and everything below it. Works through a list, so depth costs no stack.
    fn expand(
        &self,
        root: &str,
        stops: &BTreeSet<&str>,
        found: &mut StreamSet,
    ) -> Result<(), SelectError> {
        if !self.tree.contains(root) || (!self.trashed_too && self.tree.is_trashed(root)) {
            return Ok(());
        }
        let mut open: Vec<Arc<str>> = vec![Arc::from(root)];
        while let Some(id) = open.pop() {
            if found.contains(&id) {
                continue;
            }
            let left = self.left.get().checked_sub(1);
            self.left.set(left.ok_or(SelectError::TooMany)?);
            for child in self.tree.children_of(&id) {
                let shown = self.trashed_too || !self.tree.is_trashed(child);
                if shown && !stops.contains(&**child) {
                    open.push(Arc::clone(child));
                }
            }
            if &*id != AUDIT_ROOT {
                let system = system::children_of(self.tree.schema(), &id);
                open.extend(system.filter(|child| !stops.contains(child)).map(Arc::from));
            }
            found.insert(id);
        }
        Ok(())
    }
}

fn deep_ids(selectors: &[Selector]) -> BTreeSet<&str> {
    selectors
        .iter()
        .filter(|selector| selector.deep)
        .map(|s| s.id.as_str())
        .collect()
}

#[cfg(test)]
mod tests;
