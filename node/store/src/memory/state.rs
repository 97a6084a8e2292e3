//! One version of a user's data. Cloning shares everything, so that snapshots cost nothing.

use std::ops::Bound;

use homecore_types::UserId;
use imbl::OrdMap;

use crate::document::{Document, Kind, Rev, Seq};
use crate::engine::View;
use crate::error::StoreError;
use crate::index::{Entry, Index, Scan};
use crate::journal::Position;
use crate::mutation::{Commit, Mutation};

/// Where a document is found in an index: index, key, id; the kind only tells ids apart.
type Place = (Index, Vec<u8>, String, Kind);

/// Everything of a user at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) applied: Position,
    last: Seq,
    documents: OrdMap<(Kind, String), (Document, Vec<Entry>)>,
    by_seq: OrdMap<Seq, (Kind, String)>,
    entries: OrdMap<Place, ()>,
    history: OrdMap<(Kind, String, Rev), Document>,
}

impl State {
    /// Nothing yet, and nothing to be applied at or before a position.
    pub(super) fn starting_at(applied: Position) -> Self {
        Self {
            applied,
            ..Self::default()
        }
    }

    /// Applies a commit; half of it may be there if this fails.
    pub(super) fn apply(&mut self, user: &UserId, commit: &Commit) -> Result<(), StoreError> {
        for mutation in &commit.mutations {
            if mutation.seq <= self.last {
                continue;
            }
            if mutation.seq != self.last.next() {
                return Err(StoreError::Corrupted {
                    what: format!(
                        "user {user}: change {} follows change {}",
                        mutation.seq.0, self.last.0
                    ),
                });
            }
            self.put(commit, mutation);
        }
        Ok(())
    }

    fn put(&mut self, commit: &Commit, mutation: &Mutation) {
        let place = (mutation.kind, mutation.id.clone());
        let document = Document {
            kind: mutation.kind,
            id: mutation.id.clone(),
            rev: mutation.rev,
            seq: mutation.seq,
            written_at: commit.at,
            deleted: mutation.deleted,
            body: mutation.body.clone(),
        };
        if mutation.drop_history {
            self.forget_history(&place);
        }
        for entry in &mutation.entries {
            self.entries.insert(found_at(entry, &place), ());
        }
        let former = self
            .documents
            .insert(place.clone(), (document, mutation.entries.clone()));
        if let Some((former, entries)) = former {
            for entry in entries
                .iter()
                .filter(|entry| !mutation.entries.contains(entry))
            {
                self.entries.remove(&found_at(entry, &place));
            }
            self.by_seq.remove(&former.seq);
            if mutation.keep_previous {
                self.history
                    .insert((former.kind, former.id.clone(), former.rev), former);
            }
        }
        self.by_seq.insert(mutation.seq, place);
        self.last = mutation.seq;
    }

    fn forget_history(&mut self, (kind, id): &(Kind, String)) {
        let from = (*kind, id.clone(), Rev::default());
        let kept: Vec<(Kind, String, Rev)> = self
            .history
            .range(from..)
            .map(|(place, _)| place.clone())
            .take_while(|(of, whose, _)| of == kind && whose == id)
            .collect();
        for place in kept {
            self.history.remove(&place);
        }
    }

    fn document(&self, kind: Kind, id: &str) -> Option<Document> {
        self.documents
            .get(&(kind, id.to_owned()))
            .map(|(document, _)| document.clone())
    }
}

fn found_at(entry: &Entry, (kind, id): &(Kind, String)) -> Place {
    (entry.index, entry.key.clone(), id.clone(), *kind)
}

impl View for State {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        Ok(self.document(kind, id))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        let after = scan.after.as_ref();
        // Filtering, not narrowing the bounds, keeps this simple enough to be the model.
        let wanted = |(_, key, id, _): &&Place| {
            key >= &scan.from
                && scan.to.as_ref().is_none_or(|to| key < to)
                && after.is_none_or(|(after_key, after_id)| {
                    let order = (key, id).cmp(&(after_key, after_id));
                    if scan.descending {
                        order.is_lt()
                    } else {
                        order.is_gt()
                    }
                })
        };
        let first = if scan.descending {
            scan.from.clone()
        } else {
            after.map_or_else(
                || scan.from.clone(),
                |(key, _)| key.clone().max(scan.from.clone()),
            )
        };
        let from = (scan.index, first, String::new(), Kind::Account);
        let places = self
            .entries
            .range((Bound::Included(from), Bound::Unbounded))
            .map(|(place, ())| place)
            .take_while(|(index, key, ..)| {
                *index == scan.index && scan.to.as_ref().is_none_or(|to| key < to)
            })
            .filter(wanted);
        let found = |(_, key, id, kind): &Place| Some((key.clone(), self.document(*kind, id)?));
        Ok(if scan.descending {
            let mut all: Vec<&Place> = places.collect();
            all.reverse();
            all.into_iter().filter_map(found).take(scan.limit).collect()
        } else {
            places.filter_map(found).take(scan.limit).collect()
        })
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let from = match after {
            Some(id) => Bound::Excluded((kind, id.to_owned())),
            None => Bound::Included((kind, String::new())),
        };
        let found = self.documents.range((from, Bound::Unbounded));
        Ok(found
            .take_while(|((of, _), _)| *of == kind)
            .map(|(_, (document, _))| document.clone())
            .take(limit)
            .collect())
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        let places = self
            .by_seq
            .range((Bound::Excluded(since), Bound::Unbounded));
        Ok(places
            .filter_map(|(_, (kind, id))| self.document(*kind, id))
            .take(limit)
            .collect())
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let from = Bound::Excluded((kind, id.to_owned(), after));
        let versions = self.history.range((from, Bound::Unbounded));
        Ok(versions
            .take_while(|((of, whose, _), _)| *of == kind && whose == id)
            .map(|(_, document)| document.clone())
            .take(limit)
            .collect())
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        Ok(self.last)
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let mut wanted = OrdMap::new();
        for (place, (_, entries)) in &self.documents {
            wanted.extend(entries.iter().map(|entry| (found_at(entry, place), ())));
        }
        if wanted != self.entries {
            each("the indexes are not those of the documents".to_owned());
        }
        Ok(())
    }
}
