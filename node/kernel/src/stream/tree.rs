//! A user's streams as a tree in memory. It holds the stored streams; those that are not stored
//! ([`super::system`]) are answered beside them, so that every question about a stream has one
//! place to be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use homecore_store::{Document, Kind, StoreError, View};

use super::schema::Schema;
use super::store::EMAILS;
use super::{STREAM_DEPTH_MAX, Stream, system};
use crate::permission::Parents;

/// Streams read at once while a tree is loaded.
const LOAD_PAGE: usize = 1_000;

/// Siblings in the order of their names.
type Siblings = BTreeSet<(String, Arc<str>)>;

/// The streams of a user.
#[derive(Clone, Debug)]
pub struct Tree {
    streams: BTreeMap<Arc<str>, Stream>,
    /// By parent; none: the roots.
    children: BTreeMap<Option<Arc<str>>, Siblings>,
    /// Those of the account, which are not stored.
    schema: Arc<Schema>,
}

impl Tree {
    /// No stream but those of the account.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        Self {
            streams: BTreeMap::new(),
            children: BTreeMap::new(),
            schema,
        }
    }

    /// The streams of the account.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Reads every stream of a user.
    ///
    /// # Errors
    /// Of the store.
    pub fn load(view: &dyn View, schema: Arc<Schema>) -> Result<Self, StoreError> {
        let mut tree = Self::new(schema);
        let mut after: Option<String> = None;
        loop {
            let page = view.list(Kind::Stream, after.as_deref(), LOAD_PAGE)?;
            for document in &page {
                tree.apply(document)?;
            }
            match page.last() {
                Some(last) if page.len() == LOAD_PAGE => after = Some(last.id.clone()),
                _ => return Ok(tree),
            }
        }
    }

    /// Takes over the present version of a stream document.
    ///
    /// # Errors
    /// If its body is damaged.
    pub fn apply(&mut self, document: &Document) -> Result<(), StoreError> {
        self.forget(&document.id);
        if !document.deleted {
            self.insert(&document.id, Stream::decode(document)?);
        }
        Ok(())
    }

    /// Adds a stream that is not there.
    pub fn insert(&mut self, id: &str, stream: Stream) {
        let id: Arc<str> = Arc::from(id);
        let parent = stream.parent_id.as_deref().map(Arc::from);
        let name = stream.name.clone();
        self.children
            .entry(parent)
            .or_default()
            .insert((name, Arc::clone(&id)));
        self.streams.insert(id, stream);
    }

    /// Takes over a stream, which may be there.
    pub fn replace(&mut self, id: &str, stream: Stream) {
        self.forget(id);
        self.insert(id, stream);
    }

    fn forget(&mut self, id: &str) {
        let Some((id, old)) = self.streams.remove_entry(id) else {
            return;
        };
        let parent = old.parent_id.as_deref().map(Arc::from);
        if let Some(siblings) = self.children.get_mut(&parent) {
            siblings.remove(&(old.name, id));
            if siblings.is_empty() {
                self.children.remove(&parent);
            }
        }
    }

    /// A stored stream.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// Stored streams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether any stream is in the trash itself.
    #[must_use]
    pub fn has_trashed(&self) -> bool {
        self.streams.values().any(|stream| stream.trashed)
    }

    /// Whether no stream is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Stored roots, in the order of names.
    pub fn roots(&self) -> impl Iterator<Item = &Arc<str>> {
        self.children
            .get(&None)
            .into_iter()
            .flatten()
            .map(|(_, id)| id)
    }

    /// Stored children, in the order of names.
    pub fn children_of(&self, id: &str) -> impl Iterator<Item = &Arc<str>> {
        self.children
            .get(&Some(Arc::from(id)))
            .into_iter()
            .flatten()
            .map(|(_, id)| id)
    }

    /// Every stored stream, in the order of ids.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Stream)> {
        self.streams.iter()
    }

    /// A stored child of `parent` with this very name.
    #[must_use]
    pub fn child_named(&self, parent: Option<&str>, name: &str) -> Option<&Arc<str>> {
        let siblings = self.children.get(&parent.map(Arc::from))?;
        let first = (name.to_owned(), Arc::from(""));
        siblings
            .range(first..)
            .next()
            .filter(|(found, _)| found == name)
            .map(|(_, id)| id)
    }

    /// How many streams lie above one, itself included.
    #[must_use]
    pub fn depth_of(&self, id: &str) -> usize {
        self.ancestry(id).count()
    }

    /// A stream, its parent, and so on up to its root.
    pub fn ancestry<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::successors(Some(id), |id| self.parent_of(id)).take(STREAM_DEPTH_MAX + 1)
    }

    /// A stored stream and everything below it; each parent before its children.
    #[must_use]
    pub fn branch(&self, root: &str) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        let mut open: Vec<Arc<str>> = vec![Arc::from(root)];
        while let Some(id) = open.pop() {
            open.extend(self.children_of(&id).cloned());
            found.push(id);
        }
        found
    }

    /// Whether a stream is in the trash itself. What is above it counts only where it is reached from there:
    /// what is named itself is not hidden by it (spec/pryv-api §5.5).
    #[must_use]
    pub fn is_trashed(&self, id: &str) -> bool {
        self.get(id).is_some_and(|stream| stream.trashed)
    }

    /// Every local root: the stored ones and the reserved stream of addresses, by name.
    #[must_use]
    pub fn local_roots(&self) -> Vec<&str> {
        let mut roots: Vec<(&str, &str)> = self
            .children
            .get(&None)
            .into_iter()
            .flatten()
            .map(|(name, id)| (name.as_str(), &**id))
            .collect();
        if self.get(EMAILS).is_none() {
            roots.push(("Emails", EMAILS));
        }
        roots.sort_unstable();
        roots.into_iter().map(|(_, id)| id).collect()
    }
}

impl Parents for Tree {
    fn parent_of(&self, stream_id: &str) -> Option<&str> {
        match self.streams.get(stream_id) {
            Some(stream) => stream.parent_id.as_deref(),
            None => system::parent_of(&self.schema, stream_id),
        }
    }

    fn contains(&self, stream_id: &str) -> bool {
        self.streams.contains_key(stream_id) || system::exists(&self.schema, stream_id)
    }
}
